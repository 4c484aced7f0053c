"""PSNR and SSIM: the distance of a picture from a reference.

PSNR = 10 log10(white^2 / mean (x - y)^2), x clipped to [0, white] first
SSIM as Wang et al. (2004): Gaussian window of sigma 1.5 cut at 11 x 11, K1 = 0.01, K2 = 0.03, population
covariances, averaged over the pixels whose window lies inside the picture, and over channels
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def psnr(estimate: Tensor, reference: Tensor, white: float) -> float:
    """Return the peak signal-to-noise ratio in dB; infinite for equal pictures, NaN if a value is NaN.

    Args:
        estimate: Any shape; clipped to [0, white].
        reference: The same shape.
        white: The peak.
    """
    error = (estimate.clamp(0, white).double() - reference.double()).square().mean().item()
    return math.inf if error == 0 else 10 * math.log10(white**2 / error)


def ssim(estimate: Tensor, reference: Tensor, white: float) -> float:
    """Return the structural similarity, at most 1; NaN for pictures under 11 pixels on a side, or with a NaN.

    Args:
        estimate: With shape (C, H, W); clipped to [0, white].
        reference: The same shape.
        white: The peak.
    """
    if min(estimate.shape[1:]) < 11:
        return math.nan
    x, y = estimate.clamp(0, white).double()[:, None], reference.double()[:, None]  # (C, 1, H, W)
    offsets = torch.arange(-5, 6, dtype=torch.float64, device=x.device)
    window = torch.exp(-(offsets**2) / (2 * 1.5**2))
    window = window / window.sum()

    def blur(z: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(z, window[None, None, :, None]), window[None, None, None])

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    c1, c2 = (0.01 * white) ** 2, (0.03 * white) ** 2
    similarity = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return similarity.mean().item()


def psnr_and_ssim(estimate: tuple[np.ndarray, float], reference: tuple[np.ndarray, float]) -> tuple[float, float]:
    """Return PSNR and SSIM of two pictures of one shape, each an array (H, W) or (H, W, C) and its value of white.

    The estimate is clipped to [0, its white]; errors are as in `psnr` and `ssim`, over white.
    """
    x, y = (
        torch.from_numpy(np.atleast_3d(array).astype(np.float64)).permute(2, 0, 1) / white
        for array, white in (estimate, reference)
    )
    return psnr(x, y, 1.0), ssim(x, y, 1.0)
