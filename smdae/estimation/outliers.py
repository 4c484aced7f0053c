"""Outliers: pixels whose values were replaced outright, found and repaired.

`salt_and_pepper` finds pixels replaced by one of two values, `stray_pixels` those far beyond their surroundings, such
as hot and dead pixels and cosmic rays. Neither takes noise, textures, stars, text or dithers for outliers; the two
modules say how they tell these apart.

A marked pixel first gets the median of the unmarked ones in the smallest window that has enough of them. Then, twice,
it gets the value that the pixels in four directions predict (`surroundings.predicted`).
"""

from dataclasses import dataclass

import numpy as np

from smdae.estimation.salt_and_pepper import salt_and_pepper
from smdae.estimation.stray_pixels import stray_pixels
from smdae.estimation.surroundings import AROUND_5X5, Channel, medians, parts, predicted

MIN_SIDE = 16  # pixels of a picture
RADII = (1, 2, 4, 8)  # pixels: windows of 3 x 3 to 17 x 17
MIN_UNMARKED = 3  # pixels of a window, for a median
ROUNDS = 2  # of prediction


@dataclass(frozen=True, eq=False)
class Outliers:
    """The outliers of a picture.

    Attributes:
        mask: Which values are outliers, bool, with shape (H, W, C).
        repaired: The planes with these repaired and all others unchanged, of the same dtype.
        share: The share of all values that are outliers.
    """

    mask: np.ndarray
    repaired: np.ndarray
    share: float


def find_outliers(planes: np.ndarray, white: float) -> Outliers | None:
    """Return the outliers of a picture; None if it has none, or fewer than 16 pixels a side.

    Each channel is searched by itself, but hot pixels spread by a demosaicer must be in one channel only.

    Args:
        planes: With shape (H, W, C), uint8, uint16 or float; finite.
        white: The value of white.

    Raises:
        InputError: More than a quarter of the pixels of a channel were replaced.
    """
    height, width, channels = planes.shape
    if min(height, width) < MIN_SIDE:
        return None
    whole = np.ascontiguousarray(planes)
    pepper = [salt_and_pepper(Channel(whole, number), white) for number in range(channels)]
    repaired = _repaired(planes, pepper)
    stray = stray_pixels(repaired)
    marked = [np.union1d(*both) for both in zip(pepper, stray, strict=True)]
    if not any(len(index) for index in marked):
        return None
    mask = np.zeros((height * width, channels), bool)
    for number, index in enumerate(marked):
        mask[index, number] = True
    if any(len(index) for index in stray):
        repaired = _repaired(planes, marked)
    return Outliers(mask.reshape(planes.shape), repaired, float(mask.mean()))


def _repaired(planes: np.ndarray, marked: list[np.ndarray]) -> np.ndarray:
    """Return planes with the marked pixels of each channel repaired, as a copy if any are marked."""
    if not any(len(index) for index in marked):
        return np.ascontiguousarray(planes)
    repaired = planes.copy(order="C")
    for number, index in enumerate(marked):
        _repair(Channel(repaired, number), index)
    return repaired


def _repair(channel: Channel, index: np.ndarray) -> None:
    """Repair the pixels of a channel at an index in place."""
    is_marked = np.zeros(channel.size, bool)
    is_marked[index] = True
    left = index
    for radius in RADII:
        offsets = tuple((i, j) for i in range(-radius, radius + 1) for j in range(-radius, radius + 1) if i or j)
        still = []
        for part in parts(left):
            windows = channel.around(part, offsets)
            windows[is_marked[channel.neighbours(part, offsets)]] = np.nan
            values = medians(windows, MIN_UNMARKED)
            known = ~np.isnan(values)
            channel.put(part[known], values[known])
            still.append(part[~known])
        left = np.concatenate(still)
        if not len(left):
            break
    if len(left):
        channel.put(left, np.median(channel.at(np.flatnonzero(~is_marked))))
    for _ in range(ROUNDS if len(index) else 0):
        channel.put(index, np.concatenate([predicted(channel.around(part, AROUND_5X5)) for part in parts(index)]))
