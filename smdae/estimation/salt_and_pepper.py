"""Salt and pepper: pixels replaced at random by one value v, or by one of two.

Noise and texture may have the value v too, but rarely far from it. A pixel is far from v if

    z = |median - v| / sigma >= 3.5

with the median and sigma of the 24 pixels around it that have no suspected value. Among the pixels far from v, natural
ones have v less often than the values just before it, while pixels replaced with probability p, independently of each
other, have v

    equally often in every block, row, column and brightness (`evenness`)
    with no more neighbours of value v than chance gives, P(none of 24) = (1 - p)^24 ~ exp(-24 p)

Text, dithers, glints, sparks and clipped noise fail one of these tests. Clipped noise piles up at v: if the number of
its values falls by the factor f from one interval to the next, f/(1 - f) times those of the last interval are at v.

Once p is known, the pixels with value v are binned by c = (z d)^1/2, d being the distance from v of the second nearest
in value of the eight pixels around, in standard deviations. In bins with many more of them than p explains they are
natural; in all others they were replaced.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from smdae.errors import InputError
from smdae.estimation.evenness import are_evenly_placed, fits
from smdae.estimation.surroundings import (
    AROUND_5X5,
    MAX_SAMPLE,
    RING,
    SIGMAS_OF_SPREAD,
    Channel,
    Spreads,
    order_statistics,
    parts,
    thinned,
)

MAX_SHARE = 0.25  # of the pixels that were replaced: with more, too little is left to repair them from
MAX_SHARE_OF_VALUE = 0.45  # of the pixels that have a value: with more, it is the ground
MIN_PIXELS, MIN_PROBABILITY = 20, 3e-4  # of replaced pixels that are not in clumps
MAX_EXAMINED = 20_000  # pixels of a value that are tested
FAR_LIMITS = (3.5, 5.0, 7.0)  # values of z; the first makes a pixel far
MIN_CONTRAST = 0.04  # of the channel's range, that the least z of a far pixel stands for
MIN_FAR = 0.1  # share of the sampled pixels that are far from the value
MIN_LEVELS, MIN_OTHERS = 8, 0.25  # number of values of the other pixels, and their share
MIN_PILE = 4.0  # how many times as often pixels have the value as the interval before it
MIN_TAIL, MAX_FALL = 30, 0.9  # pixels of an interval from which f is measured, and an upper bound of it
MAX_ALONE_ERROR = 0.1  # of the share of pixels without equal neighbours, from that by chance
ROUNDS = 8  # of leaving out clumps
MAX_NATURAL = 2.5  # times what p explains: in bins with more the pixels are natural
C_EDGES = np.geomspace(0.3, 12, 20)  # of the bins of c


@dataclass(frozen=True, eq=False)
class _Pixels:
    """Pixels, and how far their surroundings are from a suspected value v.

    Attributes:
        index: The pixels, (n,).
        middle: Median of the 24 pixels around each without those of suspected values, (n,).
        sigma: Their standard deviation, (n,).
        z: Distance of the median from v in standard deviations, (n,).
        c: (z d)^1/2, see above, (n,).
        equal: How many of the 24 pixels around have the value v, (n,).
    """

    index: np.ndarray
    middle: np.ndarray
    sigma: np.ndarray
    z: np.ndarray
    c: np.ndarray
    equal: np.ndarray

    def chosen(self, which: np.ndarray) -> "_Pixels":
        return _Pixels(*(values[which] for values in vars(self).values()))

    @property
    def far(self) -> "_Pixels":
        """Return the pixels that are far from v."""
        return self.chosen(self.z >= FAR_LIMITS[0])


@dataclass(frozen=True, eq=False)
class _Suspect:
    """A value v that pixels of a channel may have been replaced by.

    Attributes:
        channel: The channel.
        value: v.
        index: The pixels that have this value.
        all_values: All suspected values of the channel.
        levels: Values of pixels with no suspected value, increasing.
        spreads: Its spreads without these values.
        min_sigma: Lower bound of the standard deviations of surroundings.
    """

    channel: Channel
    value: float
    index: np.ndarray
    all_values: tuple[float, ...]
    levels: np.ndarray
    spreads: Spreads
    min_sigma: float

    def pixels(self, index: np.ndarray) -> _Pixels:
        """Return the pixels at an index with their surroundings measured."""
        statistics, near, equal = [], [], []
        for part in parts(index):
            windows = self.channel.around(part, AROUND_5X5)
            equal.append((windows == np.float32(self.value)).sum(1))
            for value in self.all_values:
                windows[windows == np.float32(value)] = np.nan
            statistics.append(order_statistics(windows))
            distances = np.nan_to_num(np.abs(windows[:, RING] - self.value), nan=np.inf)
            near.append(np.partition(distances, 1, 1)[:, 1])
        low, middle, high = np.concatenate(statistics).T
        spread = self.spreads.quartile[self.spreads.bin_of(middle)]
        sigma = np.maximum(np.maximum(high - low, spread) / SIGMAS_OF_SPREAD, self.min_sigma)
        z = np.abs(middle - self.value) / sigma
        c = np.sqrt(z * np.concatenate(near) / np.maximum(spread / SIGMAS_OF_SPREAD, 2 * self.min_sigma))
        return _Pixels(index, middle, sigma, z, c, np.concatenate(equal))


def salt_and_pepper(channel: Channel, white: float) -> np.ndarray:
    """Return the index of the pixels of a channel that salt and pepper replaced, (n,).

    Suspected are black, white, and the smallest and largest value of the channel.

    Args:
        channel: The channel.
        white: The value of white.

    Raises:
        InputError: More than a quarter of the pixels were replaced.
    """
    share, replaced = 0.0, [np.zeros(0, int)]
    for suspect in _suspects(channel, white):
        some, part = thinned(suspect.index, MAX_EXAMINED)
        far = suspect.pixels(some).far
        if len(far.index) < MIN_PIXELS:  # as in most pictures: save the time for the rest
            continue
        everywhere = suspect.pixels(suspect.spreads.index)
        p = _probability(suspect, far, part, everywhere)
        if p:
            share += p
            replaced.append(_replaced(suspect.pixels(suspect.index), everywhere, p, channel.size))
    if share > MAX_SHARE:
        raise InputError(
            f"more than a quarter of the pixels are outliers, {100 * share:.0f} %",
            "too little of the picture is left to repair them from",
        )
    return np.concatenate(replaced)


def _suspects(channel: Channel, white: float) -> list[_Suspect]:
    """Return the values that pixels of a channel may have been replaced by; none if nearly all pixels have them."""
    plane = channel.planes[:, :, channel.number]
    lowest, highest = float(plane.min()), float(plane.max())
    if lowest == highest:
        return []
    values = {value for value in (lowest, highest, 0.0, float(white)) if lowest <= value <= highest}
    pixels = {value: channel.where(partial(np.equal, value)) for value in sorted(values)}
    ground = {value: index for value, index in pixels.items() if len(index) > MAX_SHARE_OF_VALUE * channel.size}
    if any(_is_scattered(channel, value, index) for value, index in ground.items()):  # as noise clipped at black
        return []
    pixels = {v: index for v, index in pixels.items() if MIN_PIXELS <= len(index) <= MAX_SHARE_OF_VALUE * channel.size}
    spreads = Spreads.of(channel, tuple(pixels)) if pixels else None
    if spreads is None:
        return []
    sample = channel.at(spreads.index)
    others = sample[~np.isin(sample, np.array(list(pixels), np.float32))]
    levels = np.unique(others)
    if len(levels) < MIN_LEVELS or len(others) < MIN_OTHERS * len(sample):
        return []
    min_sigma = MIN_CONTRAST / FAR_LIMITS[0] * (highest - lowest)
    return [_Suspect(channel, v, index, tuple(pixels), levels, spreads, min_sigma) for v, index in pixels.items()]


def _is_scattered(channel: Channel, value: float, index: np.ndarray) -> bool:
    """Return whether the pixels of a value are scattered among others, as clipped noise is, and do not form areas."""
    some = thinned(index, MAX_SAMPLE)[0]
    share_equal = float(
        np.concatenate([(channel.around(part, AROUND_5X5) == np.float32(value)).mean(1) for part in parts(some)]).mean()
    )
    return share_equal < (1 + len(index) / channel.size) / 2


def _max_neighbours(p: float, deviations: float) -> float:
    """Return how many of 24 pixels are replaced at most, by so many standard deviations of chance, and one more."""
    mean = len(AROUND_5X5) * p
    return mean + deviations * math.sqrt(mean) + 1


def _probability(suspect: _Suspect, far: _Pixels, part: float, everywhere: _Pixels) -> float:
    """Return the probability p that a pixel was replaced by a value; 0 if pixels have it for other reasons.

    Args:
        suspect: The value.
        far: The examined pixels with this value whose surroundings are far from it.
        part: The examined share of all pixels with the value, 0 to 1.
        everywhere: A sample of pixels all over the channel.
    """
    ground = everywhere.far
    if len(ground.index) < MIN_FAR * len(everywhere.index):
        return 0.0
    area = len(ground.index) / len(everywhere.index) * suspect.channel.size * part
    alone, p = far, len(far.index) / area
    for _ in range(ROUNDS):  # clumps are parts of the picture
        alone = far.chosen(far.equal <= _max_neighbours(p, 3))
        p = len(alone.index) / area
    if len(alone.index) < MIN_PIXELS or p < MIN_PROBABILITY:
        return 0.0
    bright, expected = (suspect.spreads.bin_of(pixels.middle) for pixels in (alone, ground))
    is_random = (
        _is_alone(alone, p)
        and are_evenly_placed(alone.index, ground.index, suspect.channel.shape)
        and fits(bright, np.bincount(expected))
    )
    return p if is_random and _is_piled_up(suspect, alone, ground, part) else 0.0


def _is_alone(alone: _Pixels, p: float) -> bool:
    """Return whether as many pixels as chance gives have no equal neighbour, among those that have few."""
    mean, most = len(AROUND_5X5) * p, int(_max_neighbours(p, 3))
    chances = np.array([math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(most + 1)])
    expected, n = chances[0] / chances.sum(), len(alone.index)
    error = math.sqrt(expected * (1 - expected) / n + 1 / n**2)
    return bool(abs((alone.equal == 0).mean() - expected) < MAX_ALONE_ERROR + 3 * error)


def _is_piled_up(suspect: _Suspect, alone: _Pixels, ground: _Pixels, part: float) -> bool:
    """Return whether many more pixels have a value than the values before it and noise clipped there explain."""
    value, levels = suspect.value, suspect.levels
    inward = 1 if np.median(ground.middle) > value else -1
    before = np.abs(levels[inward * (levels - value) > 0] - value)
    width = float(np.median(ground.sigma)) / 2
    if len(before) < (levels != value).sum():  # there are values beyond v: it is no end of clipping
        width /= 20
    width = max(width, float(before.min(initial=np.inf)), suspect.channel.step)
    counts = []
    for first, last in ((0.0, width), (width, 2 * width)):
        index, kept = thinned(suspect.channel.where(_between(value, inward, first, last)), MAX_EXAMINED // 2)
        pixels = suspect.pixels(index)
        counts.append([(pixels.z >= z).sum() / kept for z in FAR_LIMITS])
    for z, last_before, earlier in zip(FAR_LIMITS, *counts, strict=True):
        hits = int((alone.z >= z).sum())
        if earlier > MIN_TAIL:
            fall = min(last_before / earlier, MAX_FALL)
            last_before *= max(1.0, fall / (1 - fall))
        if hits >= MIN_PIXELS and hits / part > MIN_PILE * last_before:
            return True
    return False


def _between(value: float, sign: int, first: float, last: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return a test for values more than `first` and up to `last` above a value, or below it if sign < 0."""
    if sign > 0:
        return lambda band: (band > value + first) & (band <= value + last)
    return lambda band: (band < value - first) & (band >= value - last)


def _replaced(pixels: _Pixels, everywhere: _Pixels, p: float, size: int) -> np.ndarray:
    """Return the index of those of all pixels with a value that were replaced with probability p."""
    pixels = pixels.chosen((pixels.equal <= _max_neighbours(p, 4) + 1) & np.isfinite(pixels.z))
    hits, ground = (
        np.convolve(np.bincount(np.searchsorted(C_EDGES, c), minlength=len(C_EDGES) + 1), np.ones(3), "same")
        for c in (pixels.c, everywhere.c)
    )
    chance = p * size * (ground + 1) / len(everywhere.c)
    natural = hits > MAX_NATURAL * chance + 2 * np.sqrt(chance)
    found: np.ndarray = pixels.index[~natural[np.searchsorted(C_EDGES, pixels.c)]]
    return found
