"""The neighbours of a pixel: how bright they are, how much they spread, and which value they predict for it.

Of the neighbours in a window of 5 x 5 or 11 x 11 pixels, `order_statistics` gives three: the median, and low and high,
beyond which a twelfth of the values lie at either end. Of Gaussian noise high - low, the spread, is 2.6 sigma. A few
replaced pixels among the neighbours change none of the three.

A pixel is predicted from the 5 x 5 pixels around it, by interpolation in four directions. In each, with a and b the
pixels next to it on either side and a' and b' the two beyond them, the value is

    (7 (a + b) - (a' + b')) / 12

and the weight 1/change^2, the change being the absolute differences of pixels along this direction.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

Offsets = tuple[tuple[int, int], ...]

BAND_PIXELS = 1 << 19  # of a band of rows, and
PART_PIXELS = 1 << 14  # pixels whose windows are held at once, to bound the memory
MAX_VALUE = {"uint8": 255, "uint16": 65535}
MAX_SAMPLE = 10_000  # pixels of a channel from which its spreads are measured
ACROSS, DOWN = 0.5698402910980532, 0.7548776662466927  # 1/g^2 and 1/g of the R2 sequence (Roberts 2018), g^3 = g + 1
BRIGHTNESS_BINS = 16
MIN_SHARE_KNOWN = 1 / 20  # of the sampled pixels, that have order statistics
MIN_KNOWN = 7  # neighbours without NaN, for order statistics
TRIM = 12  # low and high have a 1/TRIM of the values beyond them
SIGMAS_OF_SPREAD = 2.6  # high - low of Gaussian noise, in standard deviations
MIN_SPREAD = 2  # gray levels: smaller spreads are due to rounding
STEP_OF_FLOATS = 1e-6  # of the range of a channel of floats, in place of a gray level
MIN_CHANGE = 1e-3  # of the value, added to the change along a direction: smaller changes are due to noise

# Offsets (rows, columns) of neighbours. Of 3 x 3 the four sides come first, then the corners; 11 x 11 is without the
# inner 3 x 3.
AROUND_3X3: Offsets = ((-1, 0), (0, 1), (1, 0), (0, -1), (-1, -1), (-1, 1), (1, 1), (1, -1))
AROUND_5X5: Offsets = tuple((i, j) for i in range(-2, 3) for j in range(-2, 3) if i or j)
AROUND_11X11: Offsets = tuple((i, j) for i in range(-5, 6) for j in range(-5, 6) if max(abs(i), abs(j)) > 1)


@dataclass(frozen=True, eq=False)
class Channel:
    """One channel of planes in memory; the index of a pixel is row * W + column.

    Attributes:
        planes: With shape (H, W, C), C-contiguous.
        number: Number of the channel, from 0.
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
        """Return the difference between gray levels: 1, or 0 for floats."""
        return 1.0 if self.planes.dtype.kind == "u" else 0.0

    def at(self, index: np.ndarray) -> np.ndarray:
        """Return the values of the pixels at an index as float32, with its shape."""
        found: np.ndarray = self.planes.reshape(-1)[index * self.planes.shape[2] + self.number].astype(np.float32)
        return found

    def put(self, index: np.ndarray, values: np.ndarray) -> None:
        """Set the pixels at an index in place; values are rounded if the planes are integers."""
        rounded = np.rint(values) if self.planes.dtype.kind == "u" else values
        self.planes.reshape(-1)[index * self.planes.shape[2] + self.number] = rounded

    def neighbours(self, index: np.ndarray, offsets: Offsets) -> np.ndarray:
        """Return the indices of the neighbours of pixels, (n, offsets), mirrored at the borders."""
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
        found: np.ndarray = near
        return found

    def around(self, index: np.ndarray, offsets: Offsets, without: tuple[float, ...] = ()) -> np.ndarray:
        """Return the values of the neighbours of pixels, (n, offsets), NaN in place of the values in `without`."""
        windows = self.at(self.neighbours(index, offsets))
        for value in without:
            windows[windows == np.float32(value)] = np.nan
        return windows

    def where(self, test: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return the index of the pixels that pass a test, which is given bands of rows and returns booleans."""
        height, width = self.shape
        rows = max(1, BAND_PIXELS // width)
        bands = ((top, self.planes[top : top + rows, :, self.number]) for top in range(0, height, rows))
        return np.concatenate([np.flatnonzero(test(band)) + top * width for top, band in bands])


def parts(index: np.ndarray) -> Iterator[np.ndarray]:
    """Yield an index in parts whose windows fit into little memory; one empty part if it is empty."""
    for start in range(0, max(1, len(index)), PART_PIXELS):
        yield index[start : start + PART_PIXELS]


def thinned(index: np.ndarray, most: int) -> tuple[np.ndarray, float]:
    """Return about `most` of an index, chosen by a hash, or all if there are fewer, and their share of all, 0 to 1."""
    part = most / max(1, len(index))
    if part >= 1:
        return index, 1.0
    return index[index * 2654435761 % (1 << 32) < part * (1 << 32)], part  # multiplicative hashing


def order_statistics(windows: np.ndarray) -> np.ndarray:
    """Return low, median and high of each window, (n, 3), NaN left out; NaN if fewer than MIN_KNOWN are left."""
    windows = np.sort(windows, 1)  # NaN last
    known = np.isfinite(windows).sum(1)
    picks = np.stack([known // TRIM, known // 2, known - 1 - known // TRIM], 1)
    found = np.take_along_axis(windows, np.maximum(picks, 0), 1)
    found[known < MIN_KNOWN] = np.nan
    return found


def medians(windows: np.ndarray, fewest: int) -> np.ndarray:
    """Return the median of each window, NaN left out, with shape (n,); NaN if fewer than `fewest` values are left."""
    windows = np.sort(windows, 1)
    known = np.isfinite(windows).sum(1)
    picks = np.stack([np.maximum(known - 1, 0) // 2, known // 2], 1)
    found = np.take_along_axis(windows, np.minimum(picks, windows.shape[1] - 1), 1).mean(1)
    return np.where(known < fewest, np.float32(np.nan), found)


@dataclass(frozen=True, eq=False)
class Spreads:
    """How much the neighbours of a pixel spread in a channel, by their brightness.

    Attributes:
        index: A sample of pixels all over the channel, (n,).
        low: The low order statistic of the 5 x 5 pixels around each, (n,).
        middle: Their median, (n,).
        high: Their high order statistic, (n,).
        edges: The brightness at which each of m bins of the median ends, without the last, (m - 1,).
        median: The median of the spread high - low in each bin, (m,).
        quartile: Its lower quartile, (m,).
    """

    index: np.ndarray
    low: np.ndarray
    middle: np.ndarray
    high: np.ndarray
    edges: np.ndarray
    median: np.ndarray
    quartile: np.ndarray

    @classmethod
    def of(cls, channel: Channel, without: tuple[float, ...] = ()) -> "Spreads | None":
        """Return the spreads of a channel, the values in `without` left out; None if they leave too few pixels."""
        height, width = channel.shape
        n = np.arange(1, min(MAX_SAMPLE, channel.size) + 1)
        index = (n * DOWN % 1 * height).astype(int) * width + (n * ACROSS % 1 * width).astype(int)
        statistics = np.concatenate(
            [order_statistics(channel.around(part, AROUND_5X5, without)) for part in parts(index)]
        )
        known = ~np.isnan(statistics[:, 1])
        if known.sum() < MIN_SHARE_KNOWN * len(index):
            return None
        index, (low, middle, high) = index[known], statistics[known].T
        spread = high - low
        bins = [part for part in np.array_split(np.argsort(middle, kind="stable"), BRIGHTNESS_BINS) if len(part)]
        median, quartile = np.array([_quantiles(spread[part], (0.5, 0.25)) for part in bins]).T
        smallest = MIN_SPREAD * (channel.step or STEP_OF_FLOATS * float(high.max() - low.min()) or 1.0)
        edges = np.array([middle[part[-1]] for part in bins[:-1]])
        return cls(index, low, middle, high, edges, np.maximum(median, smallest), np.maximum(quartile, smallest))

    def bin_of(self, middle: np.ndarray) -> np.ndarray:
        """Return the number of the bin of each brightness."""
        return np.searchsorted(self.edges, middle)


def _quantiles(values: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """Return the quantiles that `np.quantile` returns, in a tenth of its time for few values."""
    ordered_values = np.sort(values)
    found: np.ndarray = np.interp(np.array(shares) * (len(values) - 1), np.arange(len(values)), ordered_values)
    return found


def _columns(*offsets: tuple[int, int]) -> list[int]:
    """Return which columns of a window of 5 x 5 are at some offsets."""
    return [AROUND_5X5.index(offset) for offset in offsets]


RING = _columns(*AROUND_3X3)
# For each direction: the pixels a, b, a', b'; and the first and second of all pairs along it whose differences are its
# change, on the line through the pixel and on both sides of it.
LINES = [
    (
        _columns((-i, -j), (i, j), (-2 * i, -2 * j), (2 * i, 2 * j)),
        _columns((-2 * i, -2 * j), (2 * i, 2 * j), (-i - j, i - j), (-j, i), (j - i, -i - j), (j, -i)),
        _columns((-i, -j), (i, j), (-j, i), (i - j, i + j), (j, -i), (i + j, j - i)),
    )
    for i, j in ((0, 1), (1, 0), (1, 1), (1, -1))
]


def predicted(windows: np.ndarray) -> np.ndarray:
    """Return the value predicted for each pixel, (n,), clipped to the range of its eight neighbours.

    Args:
        windows: The values of the 5 x 5 pixels around each, with shape (n, 24).
    """
    total, weights = np.zeros(len(windows), np.float32), np.zeros(len(windows), np.float32)
    for line, first, second in LINES:
        a, b, a2, b2 = windows[:, line].T
        change = np.abs(a - b) + np.abs(windows[:, first] - windows[:, second]).sum(1) / 2
        weight = 1 / (change + MIN_CHANGE * np.abs(a) + np.finfo(np.float32).eps) ** 2
        total += weight * (7 * (a + b) - (a2 + b2)) / 12
        weights += weight
    ring = windows[:, RING]
    found: np.ndarray = np.clip(total / weights, ring.min(1), ring.max(1))
    return found


def extremes(planes: np.ndarray, least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels that are the largest, and those that are the smallest, of the 3 x 3 pixels around them.

    Args:
        planes: With shape (H, W, C), C-contiguous, not empty; mirrored at the borders. One pixel wide, it has none.
        least: For each channel, (C,), what the largest of the 3 x 3 must exceed the smallest by.

    Returns:
        Indices of the maxima and of the minima in the flattened planes. Of equal neighbours both are extremes.
    """
    height, width, channels = planes.shape
    dtype = np.dtype(np.float32) if planes.dtype.kind == "f" else planes.dtype
    limit = np.tile(np.minimum(least, MAX_VALUE.get(dtype.name, np.inf)), width).astype(dtype)
    maxima, minima = [], []
    rows = max(1, BAND_PIXELS // (width * channels))
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        inside = height - 1 - np.abs(height - 1 - np.abs(np.arange(top - 1, bottom + 1)))  # mirrors at the borders
        band = planes[inside].astype(dtype, copy=False)
        band = np.concatenate([band[:, 1:2], band, band[:, -2:-1]], 1).reshape(len(inside), -1)
        left, middle, right = band[:, : -2 * channels], band[:, channels:-channels], band[:, 2 * channels :]
        high, low = (_of_neighbours(extreme, left, middle, right) for extreme in (np.maximum, np.minimum))
        y, start = middle[1:-1], top * width * channels
        maxima.append(np.flatnonzero((y >= high) & (y > low) & (y - low > limit)) + start)
        minima.append(np.flatnonzero((y <= low) & (y < high) & (high - y > limit)) + start)
    return np.concatenate(maxima), np.concatenate(minima)


def _of_neighbours(extreme: np.ufunc, left: np.ndarray, middle: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the largest or the smallest of the eight neighbours, for all rows but the first and the last."""
    sides = extreme(left, right)
    rows = extreme(sides, middle)
    found: np.ndarray = extreme(extreme(rows[:-2], rows[2:]), sides[1:-1])
    return found
