"""Take out noise that is coarser than the pixels, at a half or a quarter of the size.

Film that is scanned finely, pictures that were enlarged, and what a phone leaves of noise have grains of many pixels,
which no network sees as a whole. Where noise has no details finer than s pixels, it is all in the means h of s x s
pixels, and among these its grains are small. With D the denoiser of the means and U bicubic interpolation,

    x^ = y - U(h - D(h)),

so details of the picture that are finer than s pixels stay as they are. The noise of the means follows from that of the
pixels, y = x + S K e with the correlation rho:

    Cov(h_0, h_k) = S^2 sum over t of w(t) rho(s k + t),   w(t) = (s - |t|) / s^2 in each direction, |t| < s

and in the other direction rho is interpolated from that of the means.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from smdae.noise import Noise
from smdae.protocols import ImageScoreModel, posterior_mean, widened

INTERPOLATED = 2  # means away that bicubic interpolation looks


def means(y: Tensor, side: int) -> Tensor:
    """Return the means of side x side pixels of y, (B, C, H, W), with shape (B, C, ceil(H / side), ceil(W / side)).

    Squares that end beyond the edge are filled up with the pixels at the edge.
    """
    height, width = y.shape[-2:]
    return F.avg_pool2d(F.pad(y, (0, -width % side, 0, -height % side), mode="replicate"), side)


def enlarged(h: Tensor, side: int, size: Sequence[int]) -> Tensor:
    """Return pictures whose means of side x side pixels are about h, (B, C, ., .), cut to H x W, (B, C, H, W)."""
    # With `antialias` torch takes Keys' kernel of a = -1/2, which keeps linear pictures; without, a = -3/4.
    large = F.interpolate(h, scale_factor=side, mode="bicubic", align_corners=False, antialias=True)
    return large[..., : size[0], : size[1]]


def of_means(noise: Noise) -> Noise:
    """Return the noise of the means of squares as large as the coarseness of a noise, in the same unit."""
    side = noise.coarseness
    if side == 1:
        return noise
    rho = np.array(noise.grain)
    lags = np.arange(-(-(len(rho) + side - 1) // side))  # in squares
    weights = np.zeros((len(lags), len(rho)))  # of rho at each distance in pixels, in one direction
    for shift in range(1 - side, side):
        apart = np.abs(side * lags + shift)
        inside = apart < len(rho)
        np.add.at(weights, (lags[inside], apart[inside]), (side - abs(shift)) / side**2)
    covariance = weights @ rho @ weights.T
    variance = float(covariance[0, 0])
    grain = tuple(tuple(line) for line in (covariance / variance).tolist())
    return replace(noise.amplified(variance**0.5), grain=grain, coarseness=1)


def of_pixels(noise: Noise, side: int) -> Noise:
    """Return noise of coarseness `side`, 2 or 4, whose means over side x side pixels are like `noise`.

    The means have the level of `noise`. Their grain is a little wider, as the grain of `noise` is interpolated
    linearly.
    """
    rho = np.pad(np.array(noise.grain), (0, 1))  # 0 beyond the table
    at = np.arange(side * (len(rho) - 1)) / side
    weights = np.clip(1 - np.abs(at[:, None] - np.arange(len(rho))), 0, None)
    grain = tuple(tuple(line) for line in (weights @ rho @ weights.T).tolist())
    coarse = replace(noise, grain=grain, coarseness=side)
    return coarse.amplified(noise.sigma / of_means(coarse).sigma) if noise.sigma else coarse


class Coarse:
    """A score model for coarse noise, psi(y) = (x^ - y) / sigma^2, made of one for the noise of the means.

    Args:
        model: The score model of the means.
        level: The level of their noise, as the model takes it, white being 1.
        side: Side of the squares in pixels.
    """

    def __init__(self, model: ImageScoreModel, level: float, side: int) -> None:
        self.model, self.level, self.side = model, level, side
        self.channels, self.noise_range = model.channels, model.noise_range
        self.shift_multiple, self.bytes_per_pixel = side * model.shift_multiple, model.bytes_per_pixel
        self.halo = widened(model.halo, side, side * INTERPOLATED, self.shift_multiple)

    def reconstruct(self, y: Tensor) -> Tensor:
        """Return the clean estimate x^, with the shape of y, (B, C, H, W)."""
        h = means(y, self.side)
        return y - enlarged(h - posterior_mean(self.model, h, self.level), self.side, y.shape[-2:])

    def score(self, y: Tensor, sigma: Any) -> Tensor:
        """Return psi(y) = (x^ - y) / sigma^2, with the shape of y."""
        return (self.reconstruct(y) - y) / torch.as_tensor(sigma, dtype=y.dtype, device=y.device) ** 2
