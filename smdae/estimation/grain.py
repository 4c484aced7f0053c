"""Grain: the correlation of noise between neighbouring pixels and between the channels of a pixel.

The covariance at the lags 0 to 3 is measured on the flattest blocks of each brightness (`lagged_covariance`). Noise is
taken to be the same everywhere but for its level, so the covariances of the blocks are divided by the variance at their
brightness and averaged.

A texture that fills the picture has correlated pixels too, but is not equally strong everywhere: even the weakest
fiftieth of the blocks of grain has more than half of the usual standard deviation (`spread`). Print is equally strong
everywhere, but not normal: ink and paper make it skewed or flat (`non_normality`).
"""

from dataclasses import dataclass

import numpy as np

from smdae.estimation.blocks import SIDE, Blocks
from smdae.estimation.curve import Bins
from smdae.estimation.lagged_covariance import LAGS, covariances, unbiased, without_planes

MIN_WHOLE = 40  # blocks without saturated pixels, of which normality is asked
QUANTILES = (0.02, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90)  # of the standard deviations of blocks
MAX_BLOCKS_OF_BIN = 200  # of each brightness, from which correlations are measured
MIN_FACTOR, MAX_FACTOR = 0.8, 2.5  # of `Grain.factor`
TORUS = 64  # pixels a side on which a correlation is made positive semidefinite,
ROUNDS = 20  # of projections by which that is done
MIN_POWER = 1e-4  # of a power spectrum with mean 1
# Factors by which the standard deviation of colour and of brightness exceeds what blocks see of it, at three mean
# correlations of the channels, and linear between them; chosen on Canon cameras and on synthetic ones.
SEEN_CORRELATIONS, COLOUR_FACTORS, BRIGHTNESS_FACTORS = (0.75, 0.85, 0.95), (1.0, 1.4, 3.0), (1.0, 1.05, 1.15)


@dataclass(frozen=True, eq=False)
class Grain:
    """The correlation of the noise of one channel.

    Attributes:
        rho: Correlation at the lags 0 to 3 in rows and columns, with shape (4, 4), positive semidefinite, 1 at (0, 0).
        factor: Variance of the noise over that of the blocks without their planes.
    """

    rho: np.ndarray
    factor: float

    @property
    def nearest(self) -> float:
        """Return the mean correlation of pixels side by side and of pixels above each other."""
        return float(self.rho[0, 1] + self.rho[1, 0]) / 2


def measured(blocks: Blocks, channel: int, bins: Bins, weights: np.ndarray) -> Grain:
    """Return the correlation of the noise of one channel, and the factor by which blocks see too little variance.

    Args:
        blocks: The blocks of the picture.
        channel: Number of the channel.
        bins: The variances of that channel by brightness.
        weights: Weight of each bin, with shape (m,).
    """
    index, shares = _sample(bins, weights)
    found = unbiased(covariances(blocks.pixels(index, slice(channel, channel + 1))[:, 0], shares))
    factor = float(np.clip(found[0, 0], MIN_FACTOR, MAX_FACTOR))
    return Grain(_semidefinite(found / max(found[0, 0], 1e-9)), factor)


def _sample(bins: Bins, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return some of the chosen blocks of each bin, (n,), and their weights over the variance of the bin, (n,)."""
    members, shares = [], []
    for chosen, variance, weight in zip(bins.chosen, bins.variance, weights / weights.sum(), strict=True):
        some = chosen[:: max(1, len(chosen) // MAX_BLOCKS_OF_BIN)]
        members.append(some)
        shares.append(np.full(len(some), weight / variance / len(some)))
    return np.concatenate(members), np.concatenate(shares)


def _semidefinite(rho: np.ndarray) -> np.ndarray:
    """Return a correlation near rho, (4, 4), whose power spectrum is not negative, as that of any noise.

    It alternates projections on such spectra and on correlations that are 0 beyond lag 3.
    """
    distance = np.minimum(np.arange(TORUS), TORUS - np.arange(TORUS))
    kept = np.outer(distance < LAGS, distance < LAGS)
    lag = np.minimum(distance, LAGS - 1)
    table = np.where(kept, rho[np.ix_(lag, lag)], 0.0)
    for _ in range(ROUNDS):
        power = np.maximum(np.fft.fft2(table).real, MIN_POWER)
        table = np.where(kept, np.fft.ifft2(power).real, 0.0)
        table /= table[0, 0]
    lowest = float(np.fft.fft2(table).real.min())
    if lowest < 0:  # a little white noise makes up for what the projections leave
        table = table / (1 - lowest)
        table[0, 0] = 1.0
    return table[:LAGS, :LAGS]


def correlation_of_channels(blocks: Blocks, bins: Bins, weights: np.ndarray) -> np.ndarray:
    """Return the correlation of the channels of a pixel, (C, C), on the blocks chosen in the bins of one of them."""
    index, shares = _sample(bins, weights)
    pixels = blocks.pixels(index)
    pixels = pixels.reshape(*pixels.shape[:2], SIDE**2)  # (n, C, 64)
    centred = pixels - pixels.mean(2, keepdims=True)
    total = np.einsum("n,ncp,ndp->cd", shares, centred, centred, optimize=True)
    deviation = np.sqrt(np.maximum(np.diag(total), 1e-30))
    rho = total / np.outer(deviation, deviation)
    rho = (rho + rho.T) / 2
    np.fill_diagonal(rho, 1.0)
    found: np.ndarray = rho
    return found


def non_normality(blocks: Blocks, channel: int, bins: Bins, weights: np.ndarray) -> float:
    """Return how far from normal the flattest blocks are without their planes: 0 if they are normal.

    It is the statistic of Jarque and Bera (1980) over the number of values, skewness^2/6 + (kurtosis - 3)^2/24. Noise
    that black or white cuts off is not normal, so blocks without such pixels are asked, if there are enough.

    Args:
        blocks: The blocks of the picture.
        channel: Number of the channel.
        bins: The variances of that channel by brightness, with the flattest blocks of each bin.
        weights: Weight of each bin, with shape (m,).
    """
    index, shares = _sample(bins, weights)
    whole = blocks.saturated[index, channel] == 0
    if whole.sum() >= MIN_WHOLE:
        index, shares = index[whole], shares[whole]
    r = without_planes(blocks.pixels(index, slice(channel, channel + 1))[:, 0])
    r /= np.sqrt(np.square(r).mean(1, keepdims=True)) + 1e-12
    shares = shares * blocks.variance[index, channel]  # here the noise of each brightness counts by its weight alone
    skewness, kurtosis = (float(np.average((r**power).mean(1), weights=shares)) for power in (3, 4))
    return skewness**2 / 6 + (kurtosis - 3) ** 2 / 24


def spread(blocks: Blocks, channel: int, bins: Bins, usable: np.ndarray) -> np.ndarray:
    """Return quantiles of the standard deviations of blocks over the usual one at their brightness, at `QUANTILES`.

    The lowest is 0.6 or more for noise. For texture it is lower, and the highest is much higher.

    Args:
        blocks: The blocks of the picture.
        channel: Number of the channel.
        bins: The variances of that channel by brightness.
        usable: Which blocks to use, with shape (n,).
    """
    index = np.flatnonzero(usable)
    usual = np.interp(blocks.mean[index, channel], bins.at, bins.variance)
    found: np.ndarray = np.quantile(np.sqrt(blocks.variance[index, channel] / usual), QUANTILES)
    return found


def with_unseen(covariance: np.ndarray) -> np.ndarray:
    """Return the covariance of the channels of grain, (3, 3), corrected for what blocks of 8 x 8 pixels do not see.

    Cameras blur colour noise more widely than a block, and JPEG leaves one value of it in a block. So the less colour
    noise is seen beside that of brightness, the more of it is not seen. Both are multiplied by factors that depend on
    the mean correlation of the channels.
    """
    mean = np.full((3, 3), 1 / 3)
    colour = np.eye(3) - mean
    brightness_seen, all_seen = float((mean * covariance).sum()), float(np.trace(covariance))
    shared = (3 * brightness_seen / max(all_seen, 1e-30) - 1) / 2  # mean correlation of channels
    factor_of_colour = np.interp(shared, SEEN_CORRELATIONS, COLOUR_FACTORS)
    factor_of_brightness = np.interp(shared, SEEN_CORRELATIONS, BRIGHTNESS_FACTORS)
    stretch = factor_of_brightness * mean + factor_of_colour * colour
    corrected = stretch @ covariance @ stretch
    found: np.ndarray = (corrected + corrected.T) / 2
    return found
