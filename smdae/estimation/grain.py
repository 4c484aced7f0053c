"""Grain: how the noise of neighbouring pixels, and of the channels of a pixel, goes together.

The covariance at the lags 0 to 3 is measured on the flattest blocks of each brightness, where planes are taken out of
them, and solved for what that took (`blocks.unbiased`). As noise of a picture is the same everywhere but for its level,
blocks are divided by the level of their brightness and averaged.

Texture that fills a picture has correlated pixels too. It gives itself away by not being everywhere alike: of grain
even the weakest block in fifty has more than half of the usual deviation. Print is everywhere alike, but not normal:
ink and paper make it skewed or flat.
"""

from dataclasses import dataclass

import numpy as np

from smdae.estimation.blocks import LAGS, SIDE, Blocks, covariances, unbiased, without_planes
from smdae.estimation.curve import Bins

__all__ = ["QUANTILES", "Grain", "among_channels", "measured", "non_normality", "spread", "with_unseen"]

QUANTILES = (0.02, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90)  # of all blocks, the weakest first
TORUS = 64  # pixels a side on which a correlation is made possible
MAX_OF_BIN = 200  # blocks that correlations are taken of
ROUNDS = 20
UNSEEN_AT = (0.75, 0.85, 0.95)  # correlation of channels as seen, and the factors there
UNSEEN_COLOUR, UNSEEN_BRIGHTNESS = (1.0, 1.4, 3.0), (1.0, 1.05, 1.15)
BOUND = 1e-4  # of a power spectrum, below which it must not go


@dataclass(frozen=True, eq=False)
class Grain:
    """The correlation of the noise of one channel.

    Attributes:
        rho: At the lags 0 to 3, with shape (4, 4), 1 at (0, 0); that of some noise.
        factor: Variance of the noise over what planes leave of it.
    """

    rho: np.ndarray
    factor: float

    @property
    def nearest(self) -> float:
        """Return the mean correlation of pixels side by side."""
        return float(self.rho[0, 1] + self.rho[1, 0]) / 2


def measured(blocks: Blocks, channel: int, bins: Bins, weights: np.ndarray) -> Grain:
    """Return the grain of one channel.

    Args:
        blocks: Of the picture.
        channel: Which one.
        bins: Of that channel, of its variance.
        weights: Of the bins, with shape (m,).
    """
    index, shares = _some(bins, weights)
    found = unbiased(covariances(blocks.pixels(index, slice(channel, channel + 1))[:, 0], shares))
    factor = float(np.clip(found[0, 0], 0.8, 2.5))
    return Grain(_possible(found / max(found[0, 0], 1e-9)), factor)


def _some(bins: Bins, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return some of the blocks that were chosen, and how much each counts: the less, the more noise it has."""
    members, shares = [], []
    for chosen, variance, weight in zip(bins.chosen, bins.variance, weights / weights.sum(), strict=True):
        some = chosen[:: max(1, len(chosen) // MAX_OF_BIN)]
        members.append(some)
        shares.append(np.full(len(some), weight / variance / len(some)))
    return np.concatenate(members), np.concatenate(shares)


def _possible(rho: np.ndarray) -> np.ndarray:
    """Return the correlation nearest to rho, (4, 4), that some noise has: its power spectrum is not negative."""
    inside = np.minimum(np.arange(TORUS), TORUS - np.arange(TORUS)) < LAGS
    kept = np.outer(inside, inside)
    lag = np.minimum(np.minimum(np.arange(TORUS), TORUS - np.arange(TORUS)), LAGS - 1)
    table = np.where(kept, rho[np.ix_(lag, lag)], 0.0)
    for _ in range(ROUNDS):
        power = np.maximum(np.fft.fft2(table).real, BOUND)
        table = np.where(kept, np.fft.ifft2(power).real, 0.0)
        table /= table[0, 0]
    lowest = float(np.fft.fft2(table).real.min())
    if lowest < 0:  # what the rounds leave is taken out by adding white noise
        table = table / (1 - lowest)
        table[0, 0] = 1.0
    return table[:LAGS, :LAGS]


def among_channels(blocks: Blocks, bins: Bins, weights: np.ndarray) -> np.ndarray:
    """Return the correlation of the channels, (C, C), on the blocks chosen for one of them."""
    index, shares = _some(bins, weights)
    pixels = blocks.pixels(index)
    pixels = pixels.reshape(*pixels.shape[:2], SIDE**2)  # (n, C, 64)
    centred = pixels - pixels.mean(2, keepdims=True)
    total = np.einsum("n,ncp,ndp->cd", shares, centred, centred, optimize=True)
    deviation = np.sqrt(np.maximum(np.diag(total), 1e-30))
    rho = total / np.outer(deviation, deviation)
    rho = (rho + rho.T) / 2
    np.fill_diagonal(rho, 1.0)
    return rho


def non_normality(blocks: Blocks, channel: int, bins: Bins, weights: np.ndarray) -> float:
    """Return how far from normal what planes leave of the flattest blocks is; arguments of `measured`.

    It is the statistic of Jarque and Bera (1980) for one value, skewness^2/6 + (kurtosis - 3)^2/24.
    """
    index, shares = _some(bins, weights)
    r = without_planes(blocks.pixels(index, slice(channel, channel + 1))[:, 0])
    r /= np.sqrt(np.square(r).mean(1, keepdims=True)) + 1e-12
    shares = shares * blocks.variance[index, channel]  # all brightnesses by their weight
    skewness, kurtosis = (float(np.average((r**power).mean(1), weights=shares)) for power in (3, 4))
    return skewness**2 / 6 + (kurtosis - 3) ** 2 / 24


def spread(blocks: Blocks, channel: int, bins: Bins, usable: np.ndarray) -> np.ndarray:
    """Return the deviations of blocks, as shares of the usual one of their brightness, at `QUANTILES`.

    Even the weakest blocks of noise have 0.6 or more; those of texture have less, and the strongest much more.
    """
    index = np.flatnonzero(usable)
    usual = np.interp(blocks.mean[index, channel], bins.at, bins.variance)
    return np.quantile(np.sqrt(blocks.variance[index, channel] / usual), QUANTILES)


def with_unseen(covariance: np.ndarray) -> np.ndarray:
    """Return the covariance of the channels of grain, with what blocks of 8 pixels do not see of it, (3, 3).

    Cameras blur the noise of colours more widely than a block, and JPEG leaves one value of it in a block: the more it
    is missing beside that of brightness, the more of it there is that no block shows. Both are taken to be larger by a
    factor, as the noise of Canon cameras and of synthetic ones is.
    """
    mean = np.full((3, 3), 1 / 3)
    colour = np.eye(3) - mean
    brightness_seen, all_seen = float((mean * covariance).sum()), float(np.trace(covariance))
    shared = (3 * brightness_seen / max(all_seen, 1e-30) - 1) / 2  # mean correlation of channels
    of_colour, of_brightness = (np.interp(shared, UNSEEN_AT, row) for row in (UNSEEN_COLOUR, UNSEEN_BRIGHTNESS))
    grown = of_brightness * mean + of_colour * colour
    made = grown @ covariance @ grown
    return (made + made.T) / 2
