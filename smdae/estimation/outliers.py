"""Pixels that were replaced outright, found and repaired.

`salt_and_pepper` finds pixels that have one of two values, `stray_pixels` what is far beyond its surroundings: hot and
dead pixels, cosmic rays. Neither touches noise, textures, stars, text or dithers; the modules say how these are told
apart. `find_banding` finds the offsets of rows and columns.

Repaired pixels are first the median of those next to them that are not marked, then, twice, what the four directions
through them say (`surroundings.along`).
"""

from dataclasses import dataclass

import numpy as np

from smdae.estimation.banding import find_banding
from smdae.estimation.salt_and_pepper import salt_and_pepper
from smdae.estimation.stray_pixels import stray_pixels
from smdae.estimation.surroundings import NEAR, Channel, along, medians, parts

__all__ = ["Outliers", "find_banding", "find_outliers"]

MIN_SIDE = 16  # pixels
RADII = (1, 2, 4, 8)  # pixels in which unmarked ones are looked for
MIN_UNMARKED = 3  # pixels
ROUNDS = 2


@dataclass(frozen=True, eq=False)
class Outliers:
    """Pixels that were replaced.

    Attributes:
        mask: Where, bool, with shape (H, W, C).
        repaired: The planes with those pixels repaired and no other changed, of the same dtype.
        share: The part of all values that were replaced.
    """

    mask: np.ndarray
    repaired: np.ndarray
    share: float


def find_outliers(planes: np.ndarray, white: float) -> Outliers | None:
    """Return the pixels that were replaced outright, and the planes without them.

    Channels are looked at one by one, but for what a demosaicer has spread in one of them.

    Args:
        planes: With shape (H, W, C), uint8, uint16 or float; finite.
        white: The value of white.

    Returns:
        None where there are none to speak of, or the picture has fewer than 16 pixels a side.

    Raises:
        InputError: More than a quarter of the pixels of a channel were replaced.
    """
    height, width, channels = planes.shape
    if min(height, width) < MIN_SIDE:
        return None
    repaired = np.ascontiguousarray(planes)
    first = [salt_and_pepper(Channel(repaired, number), white) for number in range(channels)]
    repaired = _repaired(planes, first)
    second = stray_pixels(repaired)
    marked = [np.union1d(*both) for both in zip(first, second, strict=True)]
    if not any(len(index) for index in marked):
        return None
    mask = np.zeros((height * width, channels), bool)
    for number, index in enumerate(marked):
        mask[index, number] = True
    if any(len(index) for index in second):
        repaired = _repaired(planes, marked)
    return Outliers(mask.reshape(planes.shape), repaired, float(mask.mean()))


def _repaired(planes: np.ndarray, marked: list[np.ndarray]) -> np.ndarray:
    """Return planes with the marked pixels of each channel repaired; the planes themselves if there are none."""
    if not any(len(index) for index in marked):
        return np.ascontiguousarray(planes)
    repaired = planes.copy(order="C")
    for number, index in enumerate(marked):
        _repair(Channel(repaired, number), index)
    return repaired


def _repair(channel: Channel, index: np.ndarray) -> None:
    """Repair pixels in place."""
    flags = np.zeros(channel.size, bool)
    flags[index] = True
    left = index
    for radius in RADII:
        offsets = tuple((i, j) for i in range(-radius, radius + 1) for j in range(-radius, radius + 1) if i or j)
        still = []
        for part in parts(left):
            windows = channel.around(part, offsets)
            windows[flags[channel.near(part, offsets)]] = np.nan
            values = medians(windows, MIN_UNMARKED)
            known = ~np.isnan(values)
            channel.put(part[known], values[known])
            still.append(part[~known])
        left = np.concatenate(still)
        if not len(left):
            break
    if len(left):
        channel.put(left, np.median(channel.at(np.flatnonzero(~flags))))
    for _ in range(ROUNDS if len(index) else 0):
        channel.put(index, np.concatenate([along(channel.around(part, NEAR)) for part in parts(index)]))
