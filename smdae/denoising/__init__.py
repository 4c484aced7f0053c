"""Denoising: from a noisy image and a score to an estimate of the clean one.

steppers       how an image moves along the score
task           what is to be done with one image
precision      in which numbers networks take their products
noise_level    how much noise there is
symmetries     the mean over flips and turns
tiles          images of any size in bounded memory
denoise        arrays in, arrays out
quality        PSNR and SSIM, to a clean image
risk           the error without a clean image, by Stein's estimate
judgement      how good a result is by it, and what makes that doubtful
uncertainty    the posterior covariance: of each pixel, and its principal directions
selfchecks     what a posterior mean owes, checked without a clean image
"""

from smdae.denoising.denoise import denoise
from smdae.denoising.steppers import STEPPERS, Steps, steps_of

__all__ = ["STEPPERS", "Steps", "denoise", "steps_of"]
