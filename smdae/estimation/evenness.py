"""Whether pixels are spread evenly over a picture, as pixels replaced at random are.

n_i pixels in group i are compared with the e_i expected there by Pearson's statistic over its degrees of freedom,

    sum (n_i - e_i)^2 / e_i / (number of groups - 1)

which chance makes about 1. Parts of the picture are far less even, and dithers far more regular.
"""

import math

import numpy as np

MAX_CHI2, MIN_CHI2 = 1.7, 0.4  # of the statistic
MAX_DEVIATIONS = 4  # by which chance may raise it above 1, if that is more
MIN_FREEDOM = 30  # degrees of freedom of which it may be too small
UNEVEN_GROUND = 0.1  # relative unevenness of the ground itself, which is allowed for
PIXELS_OF_BLOCK = 6  # expected in a block, if that makes MIN_SIDE to MAX_SIDE blocks a side
MIN_SIDE, MAX_SIDE = 2, 12


def are_evenly_placed(hits: np.ndarray, ground: np.ndarray, shape: tuple[int, int]) -> bool:
    """Return whether pixels are equally frequent in every block, row and column of the ground.

    Args:
        hits: The pixels as row * W + column, with shape (n,).
        ground: A sample of the pixels where they could have been, with shape (m,).
        shape: (H, W) of the picture.
    """
    height, width = shape
    side = int(np.clip(math.sqrt(len(hits) / PIXELS_OF_BLOCK), MIN_SIDE, MAX_SIDE))

    def rows(index: np.ndarray) -> np.ndarray:
        return index // width

    def columns(index: np.ndarray) -> np.ndarray:
        return index % width

    def block(index: np.ndarray) -> np.ndarray:
        found: np.ndarray = rows(index) * side // height * side + columns(index) * side // width
        return found

    groups = [(block(hits), np.bincount(block(ground)))]
    for line, length in ((rows, height), (columns, width)):
        bands = np.bincount(line(ground) * side // length, minlength=side)
        groups.append((line(hits), bands[np.arange(length) * side // length]))
    return all(fits(group, expected) for group, expected in groups)


def fits(group: np.ndarray, expected: np.ndarray) -> bool:
    """Return whether each group has about as many pixels as expected, neither too unevenly nor too regularly.

    Args:
        group: The group of each pixel, from 0, with shape (n,).
        expected: The number of pixels expected in each group, up to a factor, with shape (m,).
    """
    length = max(len(expected), int(group.max()) + 1)
    hits = np.bincount(group, minlength=length)
    expected = np.pad(expected.astype(float), (0, length - len(expected)))
    kept = expected > 0
    hits, expected = hits[kept], expected[kept] * (len(group) / expected.sum())
    freedom = max(1, len(hits) - 1)
    statistic = float(((hits - expected) ** 2 / expected).sum()) / freedom
    by_chance = MAX_DEVIATIONS * math.sqrt(2 / freedom)
    most = 1 + max(MAX_CHI2 - 1, by_chance) + UNEVEN_GROUND**2 * expected.mean()
    is_regular = statistic < MIN_CHI2 and freedom >= MIN_FREEDOM and expected.mean() > 1
    return bool(statistic < most and not is_regular)
