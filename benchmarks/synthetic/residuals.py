"""Figures of the noise of a pair of pictures: how strong it is, how correlated, and how it depends on brightness."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Residual:
    """Figures of noisy - clean, whose mean is taken off per channel.

    Attributes:
        sd: Standard deviation, in gray levels.
        across, down: Correlation of horizontal and of vertical neighbours.
        second, fourth: Correlation at distances 2 and 4, mean of both directions.
        channels: Mean correlation of two channels; NaN for gray.
        ratio: Largest over smallest sd among 16 bins of brightness that hold 1 % of the pixels.
        bias: The mean that was taken off, in gray levels.
    """

    sd: float
    across: float
    down: float
    second: float
    fourth: float
    channels: float
    ratio: float
    bias: float


def residual(clean: np.ndarray, noisy: np.ndarray) -> Residual:
    """Return the figures of a pair of uint8 arrays (H, W) or (H, W, 3)."""
    truth = np.atleast_3d(clean)
    noise = np.atleast_3d(noisy).astype(float) - truth
    bias = float(noise.mean())
    noise -= noise.mean((0, 1))
    variance = noise.var()

    def correlation(down: int, across: int) -> float:
        height, width = noise.shape[0] - down, noise.shape[1] - across
        return float((noise[:height, :width] * noise[down:, across:]).mean() / variance)

    between = np.corrcoef(noise.reshape(-1, noise.shape[2]), rowvar=False)
    channels = float((between.sum() - 3) / 6) if truth.shape[2] == 3 else float("nan")
    bins = truth.ravel() // 16
    pixels = np.bincount(bins, minlength=16)
    filled = pixels >= 0.01 * bins.size
    levels = np.sqrt(np.bincount(bins, noise.ravel() ** 2, 16)[filled] / pixels[filled])
    second, fourth = ((correlation(0, lag) + correlation(lag, 0)) / 2 for lag in (2, 4))
    ratio = float(levels.max() / levels.min())
    return Residual(variance**0.5, correlation(0, 1), correlation(1, 0), second, fourth, channels, ratio, bias)
