"""Denoising: from a noisy image and a score to an estimate of the clean one.

steppers    how an image moves along the score
denoise     arrays in, arrays out
quality     PSNR and SSIM
"""

from smdae.denoising.denoise import denoise, move
from smdae.denoising.steppers import STEPPERS

__all__ = ["STEPPERS", "denoise", "move"]
