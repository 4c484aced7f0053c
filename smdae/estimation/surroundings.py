"""Pixels and what lies around them.

Of the neighbours of a pixel, in windows of 5 x 5 or 11 x 11 pixels, the order statistics low, middle and high, a
twelfth being cut off either end, tell the ground and how much it spreads: of Gaussian noise high - low is 2.6 sigma. A
few replaced pixels among the neighbours change neither.

What a pixel would be is the mean of the two opposite each other in four directions, sharpened by the two beyond,
(7 (a + b) - (a' + b')) / 12, and weighted by 1/change^2, the change being that along the direction.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

__all__ = [
    "NEAR",
    "NEXT",
    "SAMPLES",
    "SPREAD",
    "WIDE",
    "Channel",
    "Scales",
    "along",
    "extremes",
    "medians",
    "ordered",
    "parts",
    "thinned",
]

Offsets = tuple[tuple[int, int], ...]

BAND_PIXELS = 1 << 19  # of a band of rows
MAX_VALUE = {"uint8": 255, "uint16": 65535}
PART_PIXELS = 1 << 14  # whose windows are looked at together
SAMPLES = 10_000  # places that a channel's scales are taken from
ACROSS, DOWN = 0.5698402910980532, 0.7548776662466927  # of the sequence of lowest discrepancy in two dimensions
BRIGHTNESSES = 16
FEWEST_KNOWN = 7  # neighbours
TRIM = 12  # one of so many neighbours is cut off either end
SPREAD = 2.6  # standard deviations of Gaussian noise between what is left
LEAST_STEPS = 2  # spreads of fewer gray levels are of rounding
FINEST = 1e-6  # of the range, that takes the place of gray levels in floats
SHARPNESS = 1e-3  # of the value: changes below it are alike

NEXT: Offsets = ((-1, 0), (0, 1), (1, 0), (0, -1), (-1, -1), (-1, 1), (1, 1), (1, -1))  # sides, then corners
NEAR: Offsets = tuple((i, j) for i in range(-2, 3) for j in range(-2, 3) if i or j)
WIDE: Offsets = tuple((i, j) for i in range(-5, 6) for j in range(-5, 6) if max(abs(i), abs(j)) > 1)


@dataclass(frozen=True, eq=False)
class Channel:
    """One channel of planes (H, W, C) in memory order; a pixel is named by row * W + column.

    Attributes:
        planes: With shape (H, W, C), C-contiguous.
        number: Of the channel.
    """

    planes: np.ndarray
    number: int

    @property
    def shape(self) -> tuple[int, int]:
        """Return (H, W)."""
        return self.planes.shape[0], self.planes.shape[1]

    @property
    def size(self) -> int:
        """Return the number of pixels."""
        return self.shape[0] * self.shape[1]

    @property
    def step(self) -> float:
        """Return the step between gray levels; 0 for floats."""
        return 1.0 if self.planes.dtype.kind == "u" else 0.0

    def at(self, index: np.ndarray) -> np.ndarray:
        """Return the values of pixels as float32, with the shape of the index."""
        return self.planes.reshape(-1)[index * self.planes.shape[2] + self.number].astype(np.float32)

    def put(self, index: np.ndarray, values: np.ndarray) -> None:
        """Set pixels in place, rounded where the planes are integers."""
        rounded = np.rint(values) if self.planes.dtype.kind == "u" else values
        self.planes.reshape(-1)[index * self.planes.shape[2] + self.number] = rounded

    def near(self, index: np.ndarray, offsets: Offsets) -> np.ndarray:
        """Return the pixels at offsets from pixels, (n, offsets), mirrored at the borders."""
        height, width = self.shape
        down, across = np.array(offsets).T
        near = index[:, None] + (down * width + across)
        rows, columns = np.divmod(index, width)
        radius = int(np.abs(offsets).max())
        border = (np.minimum(rows, columns) < radius) | (rows >= height - radius) | (columns >= width - radius)
        if border.any():
            rows = height - 1 - np.abs(height - 1 - np.abs(rows[border, None] + down))
            columns = width - 1 - np.abs(width - 1 - np.abs(columns[border, None] + across))
            near[border] = rows * width + columns
        return near

    def around(self, index: np.ndarray, offsets: Offsets, without: tuple[float, ...] = ()) -> np.ndarray:
        """Return the values at offsets from pixels, (n, offsets), NaN where they are one of some values."""
        windows = self.at(self.near(index, offsets))
        for value in without:
            windows[windows == np.float32(value)] = np.nan
        return windows

    def where(self, test: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return the pixels that pass a test of bands of rows."""
        height, width = self.shape
        rows = max(1, BAND_PIXELS // width)
        bands = ((top, self.planes[top : top + rows, :, self.number]) for top in range(0, height, rows))
        return np.concatenate([np.flatnonzero(test(band)) + top * width for top, band in bands])


def parts(index: np.ndarray) -> Iterator[np.ndarray]:
    """Yield pixels in parts whose windows fit into little memory; one empty part if there are none."""
    for start in range(0, max(1, len(index)), PART_PIXELS):
        yield index[start : start + PART_PIXELS]


def thinned(index: np.ndarray, most: int) -> tuple[np.ndarray, float]:
    """Return about `most` of the pixels, or all if there are fewer, and their share of all; places play no part."""
    part = most / max(1, len(index))
    if part >= 1:
        return index, 1.0
    return index[index * 2654435761 % (1 << 32) < part * (1 << 32)], part  # multiplicative hashing


def ordered(windows: np.ndarray) -> np.ndarray:
    """Return low, middle and high of each window without its NaN, (n, 3); NaN where too little is left."""
    windows = np.sort(windows, 1)  # NaN last
    known = np.isfinite(windows).sum(1)
    picks = np.stack([known // TRIM, known // 2, known - 1 - known // TRIM], 1)
    found = np.take_along_axis(windows, np.maximum(picks, 0), 1)
    found[known < FEWEST_KNOWN] = np.nan
    return found


def medians(windows: np.ndarray, fewest: int) -> np.ndarray:
    """Return the median of each window, NaN left out, with shape (n,); NaN if fewer than `fewest` values are left."""
    windows = np.sort(windows, 1)
    known = np.isfinite(windows).sum(1)
    picks = np.stack([np.maximum(known - 1, 0) // 2, known // 2], 1)
    found = np.take_along_axis(windows, np.minimum(picks, windows.shape[1] - 1), 1).mean(1)
    return np.where(known < fewest, np.float32(np.nan), found)


@dataclass(frozen=True, eq=False)
class Scales:
    """The spread of the surroundings of a pixel, typical and least, by their brightness.

    Attributes:
        index: Pixels all over the channel, (n,).
        low, middle, high: Of 5 x 5 around each.
        edges: The brightness at which each bin but the last ends.
        usual, least: The median and the lower quartile of high - low in each bin.
    """

    index: np.ndarray
    low: np.ndarray
    middle: np.ndarray
    high: np.ndarray
    edges: np.ndarray
    usual: np.ndarray
    least: np.ndarray

    @classmethod
    def of(cls, channel: Channel, without: tuple[float, ...] = ()) -> "Scales | None":
        """Return the scales of a channel but for pixels of some values; None if hardly anything else is there."""
        height, width = channel.shape
        n = np.arange(1, min(SAMPLES, channel.size) + 1)
        index = (n * DOWN % 1 * height).astype(int) * width + (n * ACROSS % 1 * width).astype(int)
        statistics = np.concatenate([ordered(channel.around(part, NEAR, without)) for part in parts(index)])
        known = ~np.isnan(statistics[:, 1])
        if known.sum() < len(index) / 20:
            return None
        index, (low, middle, high) = index[known], statistics[known].T
        spread = high - low
        bins = [part for part in np.array_split(np.argsort(middle, kind="stable"), BRIGHTNESSES) if len(part)]
        usual, least = np.array([_quantiles(spread[part], (0.5, 0.25)) for part in bins]).T
        smallest = LEAST_STEPS * (channel.step or FINEST * float(high.max() - low.min()) or 1.0)
        edges = np.array([middle[part[-1]] for part in bins[:-1]])
        return cls(index, low, middle, high, edges, np.maximum(usual, smallest), np.maximum(least, smallest))

    def bin_of(self, middle: np.ndarray) -> np.ndarray:
        """Return the bin of each brightness."""
        return np.searchsorted(self.edges, middle)


def _quantiles(values: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """Return quantiles as `np.quantile` does, in a tenth of its time for few values."""
    ordered_values = np.sort(values)
    return np.interp(np.array(shares) * (len(values) - 1), np.arange(len(values)), ordered_values)


def _columns(*offsets: tuple[int, int]) -> list[int]:
    return [NEAR.index(offset) for offset in offsets]


RING = _columns(*NEXT)
# Of each direction: the pair next to the pixel; then pairs of neighbours along it, on the line and on both sides of it.
LINES = [
    (
        _columns((-i, -j), (i, j), (-2 * i, -2 * j), (2 * i, 2 * j)),
        _columns((-2 * i, -2 * j), (2 * i, 2 * j), (-i - j, i - j), (-j, i), (j - i, -i - j), (j, -i)),
        _columns((-i, -j), (i, j), (-j, i), (i - j, i + j), (j, -i), (i + j, j - i)),
    )
    for i, j in ((0, 1), (1, 0), (1, 1), (1, -1))
]


def along(windows: np.ndarray) -> np.ndarray:
    """Return the value predicted for each pixel from the 5 x 5 around it, (n, 24), with shape (n,).

    It is clipped to the range of the eight neighbours.
    """
    total, weights = np.zeros(len(windows), np.float32), np.zeros(len(windows), np.float32)
    for line, first, second in LINES:
        a, b, a2, b2 = windows[:, line].T
        change = np.abs(a - b) + np.abs(windows[:, first] - windows[:, second]).sum(1) / 2
        weight = 1 / (change + SHARPNESS * np.abs(a) + np.finfo(np.float32).eps) ** 2
        total += weight * (7 * (a + b) - (a2 + b2)) / 12
        weights += weight
    ring = windows[:, RING]
    return np.clip(total / weights, ring.min(1), ring.max(1))


def extremes(planes: np.ndarray, least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where values are the largest or the smallest of 3 x 3, and over `least` from the other end.

    Args:
        planes: With shape (H, W, C), C-contiguous.
        least: For each channel, (C,).

    Returns:
        Places in the flat planes, of maxima and of minima. Equal neighbours are extremes both.
    """
    height, width, channels = planes.shape
    dtype = np.dtype(np.float32) if planes.dtype.kind == "f" else planes.dtype
    limit = np.tile(np.minimum(least, MAX_VALUE.get(dtype.name, np.inf)), width).astype(dtype)
    maxima, minima = [], []
    rows = max(1, BAND_PIXELS // (width * channels))
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        inside = height - 1 - np.abs(height - 1 - np.abs(np.arange(top - 1, bottom + 1)))  # mirrored at the borders
        band = planes[inside].astype(dtype, copy=False)
        band = np.concatenate([band[:, 1:2], band, band[:, -2:-1]], 1).reshape(len(inside), -1)
        left, middle, right = band[:, : -2 * channels], band[:, channels:-channels], band[:, 2 * channels :]
        high, low = (_of_the_next(extreme, left, middle, right) for extreme in (np.maximum, np.minimum))
        y, start = middle[1:-1], top * width * channels
        maxima.append(np.flatnonzero((y >= high) & (y > low) & (y - low > limit)) + start)
        minima.append(np.flatnonzero((y <= low) & (y < high) & (high - y > limit)) + start)
    return np.concatenate(maxima), np.concatenate(minima)


def _of_the_next(extreme: np.ufunc, left: np.ndarray, middle: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the largest or the smallest of the eight next pixels, without the first and last row."""
    sides = extreme(left, right)
    rows = extreme(sides, middle)
    return extreme(extreme(rows[:-2], rows[2:]), sides[1:-1])
