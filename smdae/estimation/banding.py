"""The offsets of a sensor's rows and columns.

    y(i, j) = x(i, j) + a_i + b_j + noise

What a row has over the mean of the 16 rows above and the 16 below, averaged over the flat part of the picture, is
a_i less the mean of its neighbours, with variance sigma^2 / n of the noise. Edges, lines, textures and gradients do not
pass for offsets: those are the same in every part of the picture's width, unrelated from row to row, no larger than the
noise, and near normal.

Parts are sixths of the width, so that halves and thirds are sums of them. Columns are rows of the transposed picture.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["find_banding"]

SMALLEST_SIDE = 64  # pixels
REACH = 16  # rows above and below that a row is compared with
PARTS = 6  # of the width
STRIP, MAX_STRIPS = 64, 12  # columns looked at together; as many strips are enough
SAMPLE_STRIPS = 8  # of 32 columns, that the level of the noise is taken from
ENERGY_WINDOW = 17  # pixels a side of the window that tells whether a place is flat
FLAT = 2.0  # times the energy of the flattest
FLATTEST = 0.2  # of the picture
TRIM = 2.5  # standard deviations
LEAST_FLAT = 0.3  # of the picture
LEAST_OF_ROW = 1 / 12  # of a row, that has to be flat
LEAST_ROWS = 0.7  # of the rows, that have to be seen
LEAST_RATIO = 3.0  # the variance of the offsets over what noise explains
LEAST_COMMON, LEAST_COMMON_ROWS = 0.3, 40  # of the rows, and rows, that are seen in two parts at once
LEAST_AGREEMENT = 0.5  # correlation between halves, and between thirds
MOST_RELATED = 0.4  # correlation between rows
MOST_DEVIATION = 2.0  # of the offsets, in standard deviations of the noise
MOST_TAILED = 1.6  # the standard deviation over that of the central half
NORMAL_QUARTILES = 1.349  # standard deviations between them


def find_banding(planes: np.ndarray, white: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the offset of each row and of each column of every channel, in the unit of the planes.

    Args:
        planes: With shape (H, W, C), uint8, uint16 or float; finite.
        white: The value of white, the unit in which noise is too little to be told from rounding.

    Returns:
        Offsets with shapes (H, C) and (W, C), float32, zero where there are none; None where there are none at all.
    """
    height, width, channels = planes.shape
    if min(height, width) < SMALLEST_SIDE:
        return None
    least = 0.5 if planes.dtype.kind == "u" else 1e-6 * white  # of the noise's standard deviation
    rows, columns = np.zeros((height, channels), np.float32), np.zeros((width, channels), np.float32)
    for channel in range(channels):
        rows[:, channel] = _offsets(planes[:, :, channel], least)
        columns[:, channel] = _offsets(planes[:, :, channel].T, least)
    return (rows, columns) if rows.any() or columns.any() else None


@dataclass(frozen=True, eq=False)
class _Level:
    """The standard deviation of what is left of flat places, and the energy up to which a place is flat."""

    sigma: float
    energy: float


def _offsets(plane: np.ndarray, least: float) -> np.ndarray:
    """Return the offsets of rows, (H,); zeros where they might be anything else."""
    height, width = plane.shape
    nothing = np.zeros(height, np.float32)
    level = _level(plane)
    if level is None or level.sigma < least:
        return nothing
    sums, counts = np.zeros((height, PARTS)), np.zeros((height, PARTS))
    looked_at = 0
    for left, strip in _strips(plane, STRIP, max(STRIP, math.ceil(width / MAX_STRIPS))):
        high, energy = _high_passed(strip)
        looked_at += strip.size
        flat = (energy < level.energy) & (np.abs(high) < TRIM * level.sigma)
        part = (left + np.arange(strip.shape[1])) * PARTS // width
        for number in np.unique(part):
            chosen = part == number
            sums[:, number] += np.where(flat[:, chosen], high[:, chosen], 0).sum(1, dtype=np.float64)
            counts[:, number] += flat[:, chosen].sum(1)
    if counts.sum() < LEAST_FLAT * looked_at:
        return nothing
    seen = counts.sum(1) > LEAST_OF_ROW * looked_at / height
    if seen.mean() < LEAST_ROWS:
        return nothing
    offsets = np.divide(sums.sum(1), counts.sum(1), out=np.zeros(height), where=seen)
    noise = level.sigma**2 * (1 / counts.sum(1)[seen]).mean()
    if not _is_banding(offsets, sums, counts, seen, noise, level.sigma):
        return nothing
    return offsets.astype(np.float32)


def _strips(plane: np.ndarray, columns: int, every: int) -> Iterator[tuple[int, np.ndarray]]:
    for left in range(0, plane.shape[1], every):
        yield left, plane[:, left : left + columns].astype(np.float32)


def _window_sums(values: np.ndarray, radius: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return sums over windows of 2 radius + 1, cut off at the borders, and how many values each has."""
    length = values.shape[axis]
    sums = np.concatenate([np.zeros_like(values.take([0], axis), np.float64), values.cumsum(axis, np.float64)], axis)
    first, last = np.maximum(np.arange(length) - radius, 0), np.minimum(np.arange(length) + radius + 1, length)
    counts = (last - first).astype(np.float32)
    return (sums.take(last, axis) - sums.take(first, axis)).astype(np.float32), np.expand_dims(counts, 1 - axis)


def _high_passed(strip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows less the mean of the rows around, and the mean of the square of that over a window."""
    sums, counts = _window_sums(strip, REACH, 0)
    high = strip - (sums - strip) / (counts - 1)
    energy = high**2
    for axis in (0, 1):
        sums, counts = _window_sums(energy, ENERGY_WINDOW // 2, axis)
        energy = sums / counts
    return high, energy


def _level(plane: np.ndarray) -> _Level | None:
    every = max(32, plane.shape[1] // SAMPLE_STRIPS)
    parts = [_high_passed(strip) for _, strip in _strips(plane, 32, every) if strip.shape[1] >= ENERGY_WINDOW]
    high, energy = (np.concatenate([part[which].ravel() for part in parts]) for which in (0, 1))
    alive = energy > 0  # what is cut off at black and white is flat and tells nothing
    if alive.mean() < LEAST_FLAT:
        return None
    limit = FLAT * float(np.quantile(energy[alive], FLATTEST))
    quartiles = np.quantile(high[alive & (energy < limit)], [0.25, 0.75])
    return _Level(float(quartiles[1] - quartiles[0]) / NORMAL_QUARTILES, limit)


def _is_banding(
    offsets: np.ndarray, sums: np.ndarray, counts: np.ndarray, seen: np.ndarray, noise: float, sigma: float
) -> bool:
    known = offsets[seen]
    deviation = float(known.std())
    quartiles = np.quantile(known, [0.25, 0.75])
    if deviation**2 < LEAST_RATIO * noise or deviation > MOST_DEVIATION * sigma:
        return False
    if deviation > MOST_TAILED * float(quartiles[1] - quartiles[0]) / NORMAL_QUARTILES:
        return False
    for size in (PARTS // 2, PARTS // 3):
        total, number = (values.reshape(len(values), -1, size).sum(2) for values in (sums, counts))
        means = np.divide(total, number, out=np.zeros_like(total), where=number > 0)
        for one, other in itertools.combinations(range(means.shape[1]), 2):
            both = seen & (number[:, one] > 0) & (number[:, other] > 0)
            few = both.sum() < max(LEAST_COMMON * len(both), LEAST_COMMON_ROWS)
            if few or _correlation(means[both, one], means[both, other]) < LEAST_AGREEMENT:
                return False
    centred = np.where(seen, offsets - known.mean(), 0)
    lags = range(1, min(4 * REACH, len(offsets) // 4))
    related = [abs(float((centred[lag:] * centred[:-lag]).sum())) for lag in lags]
    return max(related) < MOST_RELATED * float((centred**2).sum())


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    scale = float(a.std() * b.std())
    return float(((a - a.mean()) * (b - b.mean())).mean()) / scale if scale > 0 else 0.0
