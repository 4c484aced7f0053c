"""Denoising: from a noisy image and a score to an estimate of the clean one.

From arrays to arrays:

denoise        an array or the pages of a stack
denoised       one image with its noise, estimated quality and uncertainty
estimated      the estimated quality or the posterior variance alone
pictures       arrays in any order of axes, and files, as pictures
pages          the noise and the scale that pages of a stack share
request        checks of an image, its white and sigma; loading of its model
preparation    the steps before and after: invalid pixels, outliers, gray stored as colour
task           an image with its noise, the model and the settings
conversion     pixels to tensors and back
strengths      the strength of denoising, for brightness and for colour
flat           flat areas without noise, which are left as they are
steady         the noise of a stream of frames

Along the score:

samplers       how an image moves along the score
paths          a sampler run on channels of different levels
tiles          images of any size in bounded memory
precision      the precision of products in networks
self_ensemble  the mean over flips and turns

Noise that is not white:

treatment      how a model of white noise becomes one of the noise of a picture
stabilised     signal-dependent noise, by a transform
correlated     grain, by two passes of a model of white noise
informed       shared noise and grain, by networks conditioned on the noise
coarse         noise coarser than the pixels, at a fraction of the size
blotched       blotches of colour, out of the colours of means
blotch_search  blotches of colour, found and told from real colour
sensor         the noise of a camera's sensor, estimated from its mosaic
mosaic         the mosaic of a sensor, denoised before demosaicing

How good a result is:

metrics        PSNR and SSIM, given the clean image
sure           the error without a clean image: Stein's estimate
unclipped      the pixels to measure on
probing        traces of the Jacobian of a result
judgement      the estimated quality of a result, and reasons to doubt it
uncertainty    the posterior variance of each pixel
components     the principal components of the posterior
selfchecks     checks that a posterior mean must pass
"""

from smdae.denoising.denoise import denoise
from smdae.denoising.denoised import Denoised, denoise_image
from smdae.denoising.samplers import SAMPLERS, SamplerSettings, sample

__all__ = ["SAMPLERS", "Denoised", "SamplerSettings", "denoise", "denoise_image", "sample"]
