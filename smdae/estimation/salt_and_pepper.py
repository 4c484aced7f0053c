"""Salt and pepper: pixels replaced at random by one of two values v.

A pixel sees v from afar, z = |middle - v| / sigma >= 3.5, with middle and sigma those of the 24 pixels around it that
have neither value. There noise and texture reach v less often than the values before it, while pixels replaced at
random, each with probability p, have v

    as often in every part, row, column and brightness:     sum (n_i - e_i)^2 / e_i ~ degrees of freedom
    with the neighbours that chance gives:                   P(none of 24 has v) = (1 - p)^24 ~ exp(-24 p)

Text, dithers, glints, sparks and noise that black and white cut off fail one of these. Of a tail that falls by the
factor f from one interval to the next, f/(1 - f) times as many pixels as are in the last one before v are cut off at v.

Once p is known, pixels with v are sorted by c = sqrt(z times the second smallest distance of the next pixels from v); a
pixel counts as replaced unless more than twice as many as chance gives have about its c.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from smdae.errors import InputError
from smdae.estimation.surroundings import NEAR, RING, SAMPLES, SPREAD, Channel, Scales, ordered, parts, thinned

__all__ = ["salt_and_pepper"]

MAX_SHARE = 0.25  # of the pixels: beyond it there is too little to repair them from
MIN_PIXELS, MIN_PROBABILITY = 20, 3e-4  # that have a value and are alone
MAX_OF_A_VALUE = 0.45  # of the pixels: beyond it, it is the ground
MAX_LOOKED_AT = 20_000  # pixels
FAR = (3.5, 5.0, 7.0)  # local standard deviations
FAR_CONTRAST = 0.04  # of the channel's range, that the first of them are at least
MIN_SEEN = 0.1  # of all places, that see the value from afar
MIN_LEVELS, MIN_OTHERS = 8, 0.25  # values of the other pixels, and their part
PILE = 4.0  # how many times as often a value is there as the values before it
SURE_TAIL, SLOWEST_FALL = 30, 0.9  # pixels that tell how a tail falls, and the factor
MAX_UNEVEN, MIN_UNEVEN = 1.7, 0.4  # chi^2 over degrees of freedom
UNEVEN_GROUND = 0.1  # by which the ground itself may be uneven
MAX_ALONE_ERROR = 0.1
MAX_NATURAL = 2.5  # times what chance gives
STEPS = np.geomspace(0.3, 12, 20)  # of c


@dataclass(frozen=True, eq=False)
class _Places:
    """Pixels as they see a value.

    Attributes:
        index: The pixels, (n,).
        middle, sigma: The ground around each, and its standard deviation.
        z: How far the ground is from the value.
        c: The same, and how far the next pixels are.
        same: How many of the 24 pixels around have the value.
    """

    index: np.ndarray
    middle: np.ndarray
    sigma: np.ndarray
    z: np.ndarray
    c: np.ndarray
    same: np.ndarray

    def chosen(self, which: np.ndarray) -> "_Places":
        return _Places(*(values[which] for values in vars(self).values()))

    @property
    def far(self) -> "_Places":
        return self.chosen(self.z >= FAR[0])


@dataclass(frozen=True, eq=False)
class _Suspect:
    """A value that pixels may have been replaced by, in a channel where others are suspected too."""

    channel: Channel
    value: float
    all_values: tuple[float, ...]
    scales: Scales
    least: float  # standard deviation

    def places(self, index: np.ndarray) -> _Places:
        """Return pixels, each with the ground around it and how far that is from the value."""
        statistics, near, same = [], [], []
        for part in parts(index):
            windows = self.channel.around(part, NEAR)
            same.append((windows == np.float32(self.value)).sum(1))
            for value in self.all_values:
                windows[windows == np.float32(value)] = np.nan
            statistics.append(ordered(windows))
            distances = np.nan_to_num(np.abs(windows[:, RING] - self.value), nan=np.inf)
            near.append(np.partition(distances, 1, 1)[:, 1])
        low, middle, high = np.concatenate(statistics).T
        usual = self.scales.least[self.scales.bin_of(middle)]
        sigma = np.maximum(np.maximum(high - low, usual) / SPREAD, self.least)
        z = np.abs(middle - self.value) / sigma
        c = np.sqrt(z * np.concatenate(near) / np.maximum(usual / SPREAD, 2 * self.least))
        return _Places(index, middle, sigma, z, c, np.concatenate(same))


def salt_and_pepper(channel: Channel, white: float) -> np.ndarray:
    """Return the pixels of a channel that salt and pepper replaced, (n,).

    Args:
        channel: What to look at.
        white: The value of white, one of those suspected.

    Raises:
        InputError: More than a quarter of the pixels were replaced.
    """
    nothing = np.zeros(0, int)
    plane = channel.planes[:, :, channel.number]
    lowest, highest = float(plane.min()), float(plane.max())
    if lowest == highest:
        return nothing
    values = {value for value in (lowest, highest, 0.0, float(white)) if lowest <= value <= highest}
    pixels = {value: channel.where(partial(np.equal, value)) for value in sorted(values)}
    ground = {value: index for value, index in pixels.items() if len(index) > MAX_OF_A_VALUE * channel.size}
    if any(_is_mixed(channel, value, index) for value, index in ground.items()):
        return nothing
    pixels = {v: index for v, index in pixels.items() if MIN_PIXELS <= len(index) <= MAX_OF_A_VALUE * channel.size}
    scales = Scales.of(channel, tuple(pixels)) if pixels else None
    if scales is None:
        return nothing
    levels = channel.at(scales.index)
    others = levels[~np.isin(levels, np.array(list(pixels), np.float32))]
    if len(np.unique(others)) < MIN_LEVELS or len(others) < MIN_OTHERS * len(levels):
        return nothing
    least = FAR_CONTRAST / FAR[0] * (highest - lowest)
    share, replaced = 0.0, [nothing]
    for value, index in pixels.items():
        suspect = _Suspect(channel, value, tuple(pixels), scales, least)
        some, part = thinned(index, MAX_LOOKED_AT)
        far = suspect.places(some).far
        if len(far.index) < MIN_PIXELS:  # as in most pictures: then nothing else need be looked at
            continue
        everywhere = suspect.places(scales.index)
        p = _probability(suspect, far, part, everywhere, np.unique(others))
        if p:
            share += p
            replaced.append(_replaced(suspect.places(index), everywhere, p, channel.size))
    if share > MAX_SHARE:
        raise InputError(
            f"more than a quarter of the pixels are outliers, {100 * share:.0f} %",
            "too little of the picture is left to repair them from",
        )
    return np.concatenate(replaced)


def _is_mixed(channel: Channel, value: float, index: np.ndarray) -> bool:
    """Return whether pixels of a value are mixed with others, as noise that is cut off, and not parts of their own."""
    some = thinned(index, SAMPLES)[0]
    alike = float(
        np.concatenate([(channel.around(part, NEAR) == np.float32(value)).mean(1) for part in parts(some)]).mean()
    )
    return alike < (1 + len(index) / channel.size) / 2


def _max_neighbours(p: float, deviations: float) -> float:
    """Return how many pixels around one that was replaced may be replaced too."""
    mean = len(NEAR) * p
    return mean + deviations * math.sqrt(mean) + 1


def _probability(suspect: _Suspect, far: _Places, part: float, everywhere: _Places, levels: np.ndarray) -> float:
    """Return the probability that a pixel was replaced by a value; 0 if those who have it come by it in another way.

    Args:
        suspect: The value.
        far: Those of the pixels looked at that have it and see it from afar.
        part: The share of the pixels with the value that is looked at, 0 to 1.
        everywhere: Places all over the channel.
        levels: The values of the other ones.
    """
    seen = everywhere.far
    if len(seen.index) < MIN_SEEN * len(everywhere.index):
        return 0.0
    area = len(seen.index) / len(everywhere.index) * suspect.channel.size * part
    alone, p = far, len(far.index) / area
    for _ in range(8):  # clumps are parts of the picture
        alone = far.chosen(far.same <= _max_neighbours(p, 3))
        p = len(alone.index) / area
    if len(alone.index) < MIN_PIXELS or p < MIN_PROBABILITY:
        return 0.0
    random = _is_alone(alone, p) and _is_even(alone, seen, suspect.channel.shape, suspect.scales.edges)
    return p if random and _is_piled_up(suspect, alone, seen, levels, part) else 0.0


def _is_alone(alone: _Places, p: float) -> bool:
    """Return whether as many pixels have none like them around as chance gives, of those that have few."""
    mean, most = len(NEAR) * p, int(_max_neighbours(p, 3))
    chances = np.array([math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(most + 1)])
    expected, n = chances[0] / chances.sum(), len(alone.index)
    error = math.sqrt(expected * (1 - expected) / n + 1 / n**2)
    return bool(abs((alone.same == 0).mean() - expected) < MAX_ALONE_ERROR + 3 * error)


def _is_even(hits: _Places, ground: _Places, shape: tuple[int, int], edges: np.ndarray) -> bool:
    """Return whether pixels are as frequent in every block, row, column and brightness of the ground."""
    height, width = shape
    side = int(np.clip(math.sqrt(len(hits.index) / 6), 2, 12))

    def rows(index: np.ndarray) -> np.ndarray:
        return index // width

    def columns(index: np.ndarray) -> np.ndarray:
        return index % width

    def block(index: np.ndarray) -> np.ndarray:
        return rows(index) * side // height * side + columns(index) * side // width

    groups = [(block(hits.index), np.bincount(block(ground.index)))]
    for line, length in ((rows, height), (columns, width)):
        bands = np.bincount(line(ground.index) * side // length, minlength=side)
        groups.append((line(hits.index), bands[np.arange(length) * side // length]))
    groups.append((np.searchsorted(edges, hits.middle), np.bincount(np.searchsorted(edges, ground.middle))))
    return all(_fits(group, expected.astype(float)) for group, expected in groups)


def _fits(group: np.ndarray, expected: np.ndarray) -> bool:
    length = max(len(expected), int(group.max()) + 1)
    hits, expected = np.bincount(group, minlength=length), np.pad(expected, (0, length - len(expected)))
    kept = expected > 0
    hits, expected = hits[kept], expected[kept] * (len(group) / expected.sum())
    freedom = max(1, len(hits) - 1)
    uneven = float(((hits - expected) ** 2 / expected).sum()) / freedom
    most = 1 + max(MAX_UNEVEN - 1, 4 * math.sqrt(2 / freedom)) + UNEVEN_GROUND**2 * expected.mean()
    regular = uneven < MIN_UNEVEN and freedom >= 30 and expected.mean() > 1
    return bool(uneven < most and not regular)


def _is_piled_up(suspect: _Suspect, alone: _Places, seen: _Places, levels: np.ndarray, part: float) -> bool:
    """Return whether many more pixels have a value than those before it, or than a tail that was cut off there."""
    value = suspect.value
    inward = 1 if np.median(seen.middle) > value else -1
    before = np.abs(levels[inward * (levels - value) > 0] - value)
    reach = float(np.median(seen.sigma)) / 2
    if len(before) < (levels != value).sum():  # values go on beyond: nothing has been cut off here
        reach /= 20
    reach = max(reach, float(before.min(initial=np.inf)), suspect.channel.step)
    counts = []
    for first, last in ((0.0, reach), (reach, 2 * reach)):
        index, kept = thinned(suspect.channel.where(_between(value, inward, first, last)), MAX_LOOKED_AT // 2)
        places = suspect.places(index)
        counts.append([(places.z >= z).sum() / kept for z in FAR])
    for z, last_before, earlier in zip(FAR, *counts, strict=True):
        hits = int((alone.z >= z).sum())
        if earlier > SURE_TAIL:
            fall = min(last_before / earlier, SLOWEST_FALL)
            last_before *= max(1.0, fall / (1 - fall))
        if hits >= MIN_PIXELS and hits / part > PILE * last_before:
            return True
    return False


def _between(value: float, sign: int, first: float, last: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return a test for values more than `first` and up to `last` above a value, or below it."""
    if sign > 0:
        return lambda band: (band > value + first) & (band <= value + last)
    return lambda band: (band < value - first) & (band >= value - last)


def _replaced(places: _Places, everywhere: _Places, p: float, size: int) -> np.ndarray:
    """Return the pixels that have a value because they were replaced, rather than for any other reason."""
    places = places.chosen((places.same <= _max_neighbours(p, 4) + 1) & np.isfinite(places.z))
    hits, ground = (
        np.convolve(np.bincount(np.searchsorted(STEPS, c), minlength=len(STEPS) + 1), np.ones(3), "same")
        for c in (places.c, everywhere.c)
    )
    chance = p * size * (ground + 1) / len(everywhere.c)
    natural = hits > MAX_NATURAL * chance + 2 * np.sqrt(chance)
    return places.index[~natural[np.searchsorted(STEPS, places.c)]]
