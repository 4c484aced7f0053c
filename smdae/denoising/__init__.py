"""Denoising: from a noisy image and a score to an estimate of the clean one.

request        an image, its sigma and its model, checked
samplers       how an image moves along the score
paths          the same for all channels of an image, each at its own level
conversion     pixels as tensors and back
preparation    what is done to an image before and after
task           an image with the model, the noise and the settings that it is denoised with
treatment      what is done about each kind of noise
stabilised     noise that depends on the pixel, made white
correlated     noise whose neighbours are correlated, by two passes
finish         how much of the noise is taken out, of brightness and of colour
precision      in which numbers networks take their products
self_ensemble  the mean over flips and turns
tiles          images of any size in bounded memory
pictures       arrays in any order of axes, and files, as pictures
pages          what the pages of a stack share
denoise        arrays in, arrays out
denoised       one image with all that is known of it
metrics        PSNR and SSIM, to a clean image
sure           the error without a clean image, by Stein's estimate
unclipped      which pixels tell of the noise, as none of it was cut off
probing        probes of the Jacobian of a result
judgement      how good a result is by it, and what makes that doubtful
uncertainty    the posterior covariance: of each pixel, and its principal components
selfchecks     what a posterior mean owes, checked without a clean image
"""

from smdae.denoising.denoise import denoise
from smdae.denoising.denoised import Denoised, denoise_image
from smdae.denoising.samplers import SAMPLERS, SamplerSettings, sample

__all__ = ["SAMPLERS", "Denoised", "SamplerSettings", "denoise", "denoise_image", "sample"]
