"""Banding: offsets of the rows and columns of a sensor.

    y(i, j) = x(i, j) + a_i + b_j + noise

The excess of row i over the mean of the 16 rows above and the 16 below, averaged over its n flat pixels, is a_i less
the mean offset of those rows, with a variance of sigma^2 / n by noise. Edges, lines, textures and gradients make such
excesses too. They are taken for offsets only if they are alike in every part of the picture's width, uncorrelated from
row to row, no larger than the noise, and nearly normal.

The parts of the width are sixths, of which halves and thirds are made. Columns are the rows of the transposed picture.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

MIN_SIDE = 64  # pixels of a picture
MIN_SIGMA, MIN_SIGMA_OF_FLOATS = 0.5, 1e-6  # of the noise: in gray levels, and of floats over white
REACH = 16  # rows above and below that a row is compared with
PARTS = 6  # of the width
STRIP, MAX_STRIPS = 64, 12  # columns of a strip, and number of strips, from which offsets are measured
SAMPLE_STRIP, SAMPLE_STRIPS = 32, 8  # the same for the level of the noise
WINDOW = 17  # pixels a side of the window in which energy is averaged
FLATTEST, MAX_ENERGY = 0.2, 2.0  # flat places have less than MAX_ENERGY times the energy at this quantile
MAX_DEVIATIONS = 2.5  # from the rows around, in standard deviations of the noise: pixels beyond it are left out
MIN_FLAT = 0.3  # share of the pixels that are flat
MIN_FLAT_OF_ROW = 1 / 12  # share of a row's pixels that are flat, if its offset is to be known
MIN_KNOWN_ROWS = 0.7  # share of the rows whose offset is known
MIN_RATIO = 3.0  # of the variance of the offsets to what noise explains
MIN_SHARED, MIN_SHARED_ROWS = 0.3, 40  # share and number of the rows that are known in two parts at once
MIN_AGREEMENT = 0.5  # correlation of the offsets in two halves, and in two thirds
MAX_AUTOCORRELATION = 0.4  # of the offsets, at any lag
MAX_OVER_NOISE = 2.0  # standard deviation of the offsets over that of the noise
MAX_OVER_QUARTILES = 1.6  # their standard deviation over that by their quartiles, which is 1 if they are normal
NORMAL_QUARTILES = 1.349  # standard deviations between the quartiles of a normal distribution


def find_banding(planes: np.ndarray, white: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the offsets of the rows and of the columns of each channel; None without any, or under 64 pixels a side.

    Args:
        planes: With shape (H, W, C), uint8, uint16 or float; finite.
        white: The value of white.

    Returns:
        Offsets in the unit of the planes, with shapes (H, C) and (W, C), float32, zeros where a channel has none.
    """
    height, width, channels = planes.shape
    if min(height, width) < MIN_SIDE:
        return None
    min_sigma = MIN_SIGMA if planes.dtype.kind == "u" else MIN_SIGMA_OF_FLOATS * white
    rows, columns = np.zeros((height, channels), np.float32), np.zeros((width, channels), np.float32)
    for channel in range(channels):
        rows[:, channel] = _offsets(planes[:, :, channel], min_sigma)
        columns[:, channel] = _offsets(planes[:, :, channel].T, min_sigma)
    return (rows, columns) if rows.any() or columns.any() else None


@dataclass(frozen=True, eq=False)
class _Flat:
    """The flat places of a plane.

    Attributes:
        sigma: Standard deviation there of the pixels from the rows around.
        energy: The energy below which a place is flat.
    """

    sigma: float
    energy: float


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over the flat pixels of each row, in each of the parts of its width.

    Attributes:
        excess: Sum of what the pixels have over the rows around, with shape (H, PARTS).
        count: Number of pixels, with shape (H, PARTS).
        known: Which rows have enough of them, with shape (H,).
        share: Share of the examined pixels that are flat.
    """

    excess: np.ndarray
    count: np.ndarray
    known: np.ndarray
    share: float

    @property
    def offsets(self) -> np.ndarray:
        """Return the mean excess of each row, 0 where it is not known, with shape (H,)."""
        found: np.ndarray = np.divide(
            self.excess.sum(1), self.count.sum(1), out=np.zeros(len(self.count)), where=self.known
        )
        return found


def _offsets(plane: np.ndarray, min_sigma: float) -> np.ndarray:
    """Return the offset of each row, (H,), in the unit of the plane; all 0 unless they clearly are of a sensor."""
    nothing = np.zeros(plane.shape[0], np.float32)
    flat = _flat(plane)
    if flat is None or flat.sigma < min_sigma:
        return nothing
    sums = _sums(plane, flat)
    if sums.share < MIN_FLAT or sums.known.mean() < MIN_KNOWN_ROWS or not _is_banding(sums, flat.sigma):
        return nothing
    return sums.offsets.astype(np.float32)


def _sums(plane: np.ndarray, flat: _Flat) -> _Sums:
    """Return the sums over the flat pixels of each row."""
    height, width = plane.shape
    excess, count = np.zeros((height, PARTS)), np.zeros((height, PARTS))
    examined = 0
    for left, strip in _strips(plane, STRIP, max(STRIP, math.ceil(width / MAX_STRIPS))):
        high, energy = _high_passed(strip)
        examined += strip.size
        is_flat = (energy < flat.energy) & (np.abs(high) < MAX_DEVIATIONS * flat.sigma)
        part = (left + np.arange(strip.shape[1])) * PARTS // width
        for number in np.unique(part):
            chosen = part == number
            excess[:, number] += np.where(is_flat[:, chosen], high[:, chosen], 0).sum(1, dtype=np.float64)
            count[:, number] += is_flat[:, chosen].sum(1)
    return _Sums(excess, count, count.sum(1) > MIN_FLAT_OF_ROW * examined / height, count.sum() / examined)


def _strips(plane: np.ndarray, columns: int, every: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the first column of each strip, and the strip as float32; strips begin `every` columns."""
    for left in range(0, plane.shape[1], every):
        yield left, plane[:, left : left + columns].astype(np.float32)


def _window_sums(values: np.ndarray, radius: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return sums over windows of 2 radius + 1 along an axis, cut off at the borders, and how many values each has."""
    length = values.shape[axis]
    sums = np.concatenate([np.zeros_like(values.take([0], axis), np.float64), values.cumsum(axis, np.float64)], axis)
    first, last = np.maximum(np.arange(length) - radius, 0), np.minimum(np.arange(length) + radius + 1, length)
    counts = (last - first).astype(np.float32)
    return (sums.take(last, axis) - sums.take(first, axis)).astype(np.float32), np.expand_dims(counts, 1 - axis)


def _high_passed(strip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the excess of pixels over the mean of the rows around, and its mean square over a window, the energy."""
    sums, counts = _window_sums(strip, REACH, 0)
    high = strip - (sums - strip) / (counts - 1)
    energy = high**2
    for axis in (0, 1):
        sums, counts = _window_sums(energy, WINDOW // 2, axis)
        energy = sums / counts
    return high, energy


def _flat(plane: np.ndarray) -> _Flat | None:
    """Return which places of a plane are flat, from a sample of strips; None if too much of it is constant."""
    every = max(SAMPLE_STRIP, plane.shape[1] // SAMPLE_STRIPS)
    parts = [_high_passed(strip) for _, strip in _strips(plane, SAMPLE_STRIP, every) if strip.shape[1] >= WINDOW]
    high, energy = (np.concatenate([part[which].ravel() for part in parts]) for which in (0, 1))
    changing = energy > 0  # constant places are clipped at black or white, and hold no noise
    if changing.mean() < MIN_FLAT:
        return None
    limit = MAX_ENERGY * float(np.quantile(energy[changing], FLATTEST))
    quartiles = np.quantile(high[changing & (energy < limit)], [0.25, 0.75])
    return _Flat(float(quartiles[1] - quartiles[0]) / NORMAL_QUARTILES, limit)


def _is_banding(sums: _Sums, sigma: float) -> bool:
    """Return whether excesses of rows are offsets, sigma being the standard deviation of the noise."""
    known = sums.offsets[sums.known]
    deviation = float(known.std())
    by_noise = sigma**2 * (1 / sums.count.sum(1)[sums.known]).mean()
    if deviation**2 < MIN_RATIO * by_noise or deviation > MAX_OVER_NOISE * sigma:
        return False
    quartiles = np.quantile(known, [0.25, 0.75])
    if deviation > MAX_OVER_QUARTILES * float(quartiles[1] - quartiles[0]) / NORMAL_QUARTILES:
        return False
    if not all(_agree(sums, size) for size in (PARTS // 2, PARTS // 3)):
        return False
    centred = np.where(sums.known, sums.offsets - known.mean(), 0)
    lags = range(1, min(4 * REACH, len(centred) // 4))
    products = [abs(float((centred[lag:] * centred[:-lag]).sum())) for lag in lags]
    return max(products) < MAX_AUTOCORRELATION * float((centred**2).sum())


def _agree(sums: _Sums, size: int) -> bool:
    """Return whether the offsets in all groups of `size` neighbouring parts are correlated with each other."""
    excess, count = (values.reshape(len(values), -1, size).sum(2) for values in (sums.excess, sums.count))
    means = np.divide(excess, count, out=np.zeros_like(excess), where=count > 0)
    for one, other in itertools.combinations(range(means.shape[1]), 2):
        both = sums.known & (count[:, one] > 0) & (count[:, other] > 0)
        if both.sum() < max(MIN_SHARED * len(both), MIN_SHARED_ROWS):
            return False
        if _correlation(means[both, one], means[both, other]) < MIN_AGREEMENT:
            return False
    return True


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the correlation of two series, (n,); 0 if one is constant."""
    scale = float(a.std() * b.std())
    return float(((a - a.mean()) * (b - b.mean())).mean()) / scale if scale > 0 else 0.0
