"""Denoising: from a noisy image and a score to an estimate of the clean one.

steppers       how an image moves along the score
noise_level    how much noise there is
symmetries     the mean over flips and turns
tiles          images of any size in bounded memory
denoise        arrays in, arrays out
quality        PSNR and SSIM
"""

from smdae.denoising.denoise import denoise, move
from smdae.denoising.steppers import STEPPERS

__all__ = ["STEPPERS", "denoise", "move"]
