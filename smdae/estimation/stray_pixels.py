"""Stray pixels, far from the values of all pixels around them: hot and dead pixels, cosmic rays.

Of a local extreme y, with low and high the order statistics of the 11 x 11 pixels around it without the inner 3 x 3,

    r = (y - high) / max(high - low, median spread at this brightness)

Gaussian noise stays below 2, Poisson noise of few counts below 5, and textures fall off slowly. What a lens has drawn
spreads into the next pixels: beside a spot 1.2 pixels wide (full width at half maximum) they have 0.15 of its height.
Beside a replaced pixel they have nothing, or two of the four have, if it belongs to a cluster or a streak.

Extremes count as replaced pixels in two cases. They may be many: at least as many have r > R as all other extremes
have r > R/2, they are neither closer together nor more regular than chance makes them, and there are no strokes of the
same height, as beside the dots of letters. Or they are a few lone ones, with r far beyond that of all others and higher
than everything else in the picture.

A demosaicer spreads a hot pixel in one channel to a tent, with 1/2 of the height beside it and 1/4 at the corners, or
to a cross of 1/4. What a lens draws is nearly the product of its profiles down and across, so with sides a its corners
are a^2: a cross without corners was not drawn by a lens either.
"""

from dataclasses import dataclass

import numpy as np

from smdae.estimation.surroundings import (
    AROUND_3X3,
    AROUND_5X5,
    AROUND_11X11,
    SIGMAS_OF_SPREAD,
    Channel,
    Spreads,
    extremes,
    order_statistics,
    parts,
    thinned,
)

MIN_RISE = 2.0  # of a candidate above the median of its 3 x 3, in median spreads
MAX_CANDIDATES = 150_000  # of each sign
STRONG, MODERATE, ACCEPTED = 6.0, 3.0, 2.5  # values of r: two for R, and of the pixels accepted if there are many
MIN_STRONG, MIN_MODERATE, MIN_SHARE = 8, 40, 1e-5  # numbers of pixels with r above these R, and their share of all
MAX_ONE_SIDED, MAX_SHARE = 0.005, 0.1  # share of all pixels, if nearly all are brighter or all darker, and otherwise
MIN_OF_BOTH = 0.2  # share of the rarer sign, if they are not one-sided
MAX_BESIDE = 0.04  # mean of the lower two sides, in heights
MAX_IN_SQUARE = 0.2  # least of the other three pixels of a square of 2 x 2, in heights
MAX_FLAT = 0.5  # share of the sampled pixels with no spread: with more, there is no noise to compare with
CLUSTER, MAX_DISTANCE = 2, 8  # pixels between which pairs are counted
MAX_PAIRED = 2_000  # pixels among which pairs are counted
MAX_PAIRS, MIN_PAIRS = 2.0, 0.3  # over the number that chance gives
MIN_CLEAR = 0.02  # share of the picture smooth enough to show extremes, where all of them are
STROKE = 0.7  # of the median height: a stroke is higher above the same ground
MAX_STROKES, MAX_STROKES_OF_EACH = 0.03, 40  # share of all pixels in strokes, and what each replaced pixel adds
LONE, MIN_GAP, MAX_LONE = 12.0, 2.5, 1e-4  # the largest r, the ratio to the next smaller r, and the share of all pixels
LOW_QUANTILE, HIGH_QUANTILE = 0.005, 0.995  # of low and high: their difference is the contrast of the picture
MAX_UNEVEN, MAX_OFF_SHAPE = 0.15, 0.1  # in heights: sides from each other, and from those of a tent or a cross
MIN_ARM, MAX_ARM = 0.2, 0.8  # sides of a cross without corners, in heights
MAX_ELSEWHERE = 0.2  # of the height, in other channels
MIN_NEIGHBOUR, MAX_GROWN = 6.0, 12  # standard deviations of a neighbour that belongs to it, and number of them


@dataclass(frozen=True, eq=False)
class _Extremes:
    """Local extremes, each attribute with shape (n,).

    Minima are described as the maxima of the negative picture. Sides, corners and what is derived from them are values
    above the median of the 11 x 11 pixels around, divided by how far the extreme is above it, or by the spread if that
    is larger.

    Attributes:
        index: The pixels.
        sign: 1 for maxima, -1 for minima.
        middle: Median of the 11 x 11 pixels around.
        spread: Their spread, or the median spread at this brightness if that is larger.
        height: How far the extreme is beyond `high` of the 11 x 11.
        near: How far it is beyond `high` of the 5 x 5 around, over the spread of these.
        own_r: Height over the spread of the 11 x 11, or the lower quartile at this brightness if that is larger.
        sides: Mean of the four sides.
        corners: Mean of the four corners.
        uneven: Largest difference of two sides, or of two corners.
        beside: Mean of the lower two sides.
        solid: Whether it belongs to a square of 2 x 2 pixels.
        flat: Whether low or high of the 11 x 11 equals their median.
    """

    index: np.ndarray
    sign: np.ndarray
    middle: np.ndarray
    spread: np.ndarray
    height: np.ndarray
    near: np.ndarray
    own_r: np.ndarray
    sides: np.ndarray
    corners: np.ndarray
    uneven: np.ndarray
    beside: np.ndarray
    solid: np.ndarray
    flat: np.ndarray

    @property
    def r(self) -> np.ndarray:
        """Return r, (n,)."""
        found: np.ndarray = self.height / self.spread
        return found

    @property
    def error(self) -> np.ndarray:
        """Return the standard deviation of the noise in heights, (n,)."""
        found: np.ndarray = 1 / (SIGMAS_OF_SPREAD * np.maximum(self.r, 1))
        return found

    def chosen(self, which: np.ndarray) -> "_Extremes":
        return _Extremes(*(values[which] for values in vars(self).values()))

    @classmethod
    def joined(cls, several: "list[_Extremes]") -> "_Extremes":
        return cls(*(np.concatenate(columns) for columns in zip(*(vars(one).values() for one in several), strict=True)))

    @classmethod
    def described(cls, channel: Channel, index: np.ndarray, sign: int, spreads: Spreads) -> "_Extremes":
        """Return the maxima of a channel at an index, if the sign is 1, or minima, if it is -1."""
        y, ring = sign * channel.at(index), sign * channel.around(index, AROUND_3X3)
        low, middle, high = order_statistics(sign * channel.around(index, AROUND_11X11)).T
        near_low, _, near_high = order_statistics(sign * channel.around(index, AROUND_5X5)).T
        brightness = spreads.bin_of(sign * middle)
        least, spread = spreads.quartile[brightness], np.maximum(high - low, spreads.median[brightness])
        relative = (ring - middle[:, None]) / np.maximum(y - middle, spread)[:, None]
        sides, corners = relative[:, :4], relative[:, 4:]
        squares = np.minimum(np.minimum(sides, np.roll(sides, -1, 1)), corners[:, [1, 2, 3, 0]])
        return cls(
            index=index,
            sign=np.full(len(index), sign),
            middle=sign * middle,
            spread=spread,
            height=y - high,
            near=(y - near_high) / np.maximum(near_high - near_low, least),
            own_r=(y - high) / np.maximum(high - low, least),
            sides=sides.mean(1),
            corners=corners.mean(1),
            uneven=np.maximum(np.ptp(sides, 1), np.ptp(corners, 1)),
            beside=np.sort(sides, 1)[:, :2].mean(1),
            solid=squares.max(1) > MAX_IN_SQUARE,
            flat=(high == middle) | (low == middle),
        )


def stray_pixels(planes: np.ndarray) -> list[np.ndarray]:
    """Return the stray pixels of each channel as row * W + column.

    Args:
        planes: With shape (H, W, C), C-contiguous.
    """
    channels = [Channel(planes, number) for number in range(planes.shape[2])]
    spreads = [Spreads.of(channel) for channel in channels]
    known = [one for one in spreads if one is not None]
    if len(known) < len(channels):
        return [np.zeros(0, int) for _ in channels]
    places = extremes(planes, np.array([MIN_RISE * one.median.min() for one in known]))
    found = []
    for channel, its_spreads in zip(channels, known, strict=True):
        others = [other for other in channels if other.number != channel.number]
        sides = [
            _candidates(channel, where[where % len(channels) == channel.number] // len(channels), sign, its_spreads)
            for where, sign in zip(places, (1, -1), strict=True)
        ]
        found.append(_replaced(channel, others, _Extremes.joined(sides), its_spreads))
    return found


def _candidates(channel: Channel, index: np.ndarray, sign: int, spreads: Spreads) -> _Extremes:
    """Return those extremes at an index that rise far enough above the median of their 3 x 3."""
    kept = []
    for part in parts(index):
        middle = np.sort(channel.around(part, AROUND_3X3), 1)[:, 3:5].mean(1)
        kept.append(part[sign * (channel.at(part) - middle) > MIN_RISE * spreads.median[spreads.bin_of(middle)]])
    index = thinned(np.concatenate(kept), MAX_CANDIDATES)[0]
    return _Extremes.joined([_Extremes.described(channel, part, sign, spreads) for part in parts(index)])


def _replaced(channel: Channel, others: list[Channel], found: _Extremes, spreads: Spreads) -> np.ndarray:
    """Return the extremes that were replaced, as nothing else explains them, and the neighbours that belong to them."""
    point = (found.beside < MAX_BESIDE + found.error) & ~found.solid
    accepted = np.zeros(len(found.index), bool)
    if (spreads.high == spreads.low).mean() < MAX_FLAT:
        r = np.minimum(found.near, found.r)
        sharp = (found.beside < MAX_BESIDE) & ~found.solid & ~found.flat
        for limit, fewest in ((STRONG, MIN_STRONG), (MODERATE, MIN_MODERATE)):
            rivals = int((~found.flat & (r > limit / 2)).sum()) - int((sharp & (r > limit)).sum())
            if _are_many(channel, found.chosen(sharp & (r > limit)), rivals, fewest, spreads):
                accepted |= (found.near > ACCEPTED) & point
    accepted[_lone(found, point, spreads, channel.size)] = True
    return np.union1d(_grown(channel, found.chosen(accepted)), _crosses(channel, others, found, point, spreads))


def _are_many(channel: Channel, strong: _Extremes, rivals: int, fewest: int, spreads: Spreads) -> bool:
    """Return whether extremes are no tail of others, because they outnumber these rivals, and are placed by chance."""
    n = len(strong.index)
    if n < max(fewest, rivals, MIN_SHARE * channel.size):
        return False
    bright = float((strong.sign > 0).mean())
    if n > (MAX_SHARE if MIN_OF_BOTH < bright < 1 - MIN_OF_BOTH else MAX_ONE_SIDED) * channel.size:
        return False
    return _are_scattered(strong, channel, spreads) and not _are_of_strokes(strong, spreads, n / channel.size)


def _are_scattered(strong: _Extremes, channel: Channel, spreads: Spreads) -> bool:
    """Return whether about as many pairs are a few pixels apart as chance gives, where extremes can be seen at all."""
    index = thinned(strong.index, MAX_PAIRED)[0]
    rows, columns = np.divmod(index, channel.shape[1])
    apart = np.maximum(np.abs(rows[:, None] - rows), np.abs(columns[:, None] - columns))
    pairs = ((apart > CLUSTER) & (apart <= MAX_DISTANCE)).sum() / 2
    n, area = len(index), (2 * MAX_DISTANCE + 1) ** 2 - (2 * CLUSTER + 1) ** 2
    expected = n**2 / 2 * area / channel.size
    clear = float((np.median(strong.height) > STRONG * (spreads.high - spreads.low)).mean())
    return bool(MIN_PAIRS * expected - 3 <= pairs <= 3 + n / 10 + MAX_PAIRS * expected / max(clear, MIN_CLEAR))


def _are_of_strokes(strong: _Extremes, spreads: Spreads, share: float) -> bool:
    """Return whether the sampled pixels hold strokes as high as the extremes above the same ground, as letters have."""
    strokes = 0.0
    for sign in np.unique(strong.sign):
        same = strong.sign == sign
        ground = float(np.median(sign * strong.middle[same]))
        level = ground + STROKE * float(np.median(strong.height[same]))
        high = spreads.high if sign > 0 else -spreads.low
        strokes += float(((high > level) & (sign * spreads.middle < (ground + level) / 2)).mean())
    return strokes > MAX_STROKES + MAX_STROKES_OF_EACH * share


def _lone(found: _Extremes, point: np.ndarray, spreads: Spreads, size: int) -> np.ndarray:
    """Return the numbers of the few extremes with r far beyond all others and heights beyond the contrast, (k,)."""
    order = np.argsort(-found.r)
    r = np.append(found.r[order], 0.0)
    gaps = np.flatnonzero((r[:-1] > MIN_GAP * r[1:]) & (r[:-1] > STRONG))
    nothing = order[:0]
    if not len(gaps) or r[0] < LONE:
        return nothing
    lone = order[: gaps[-1] + 1]
    contrast = float(np.quantile(spreads.high, HIGH_QUANTILE) - np.quantile(spreads.low, LOW_QUANTILE))
    sure = (point & ~found.flat & (found.height > contrast))[lone].all()
    return lone if sure and len(lone) < MIN_MODERATE + MAX_LONE * size else nothing


def _crosses(
    channel: Channel, others: list[Channel], found: _Extremes, point: np.ndarray, spreads: Spreads
) -> np.ndarray:
    """Return the pixels of the tents and crosses that demosaicing makes of hot pixels."""
    even = (found.uneven < MAX_UNEVEN + 2 * found.error) & (found.own_r > ACCEPTED) & ~found.flat
    tent = (np.abs(found.sides - 0.5) < MAX_OFF_SHAPE) & (np.abs(found.corners - 0.25) < MAX_OFF_SHAPE)
    cross = (np.abs(found.sides - 0.25) < MAX_OFF_SHAPE) & (np.abs(found.corners) < MAX_OFF_SHAPE)
    shaped = even & (tent | cross)
    shaped[shaped] = _are_alone(found.chosen(shaped), others)
    arms = np.clip(found.sides, MIN_ARM, MAX_ARM)
    shaped |= even & (arms == found.sides) & (found.corners + found.error / 2 < arms**2 / 2)
    strong = found.r > STRONG
    rivals = int((strong & ~found.flat & ~point & ~shaped).sum())
    if not _are_many(channel, found.chosen(shaped & strong), rivals, MIN_STRONG, spreads):
        return found.index[:0]
    chosen = found.chosen(shaped)
    tents = chosen.index[chosen.corners > MAX_OFF_SHAPE]
    return np.unique(
        np.concatenate(
            [
                chosen.index,
                channel.neighbours(chosen.index, AROUND_3X3[:4]).ravel(),
                channel.neighbours(tents, AROUND_3X3).ravel(),
            ]
        )
    )


def _are_alone(found: _Extremes, others: list[Channel]) -> np.ndarray:
    """Return for each extreme whether all other channels are flat there, (n,), bool; false if there are no others."""
    alone = np.full(len(found.index), bool(others))
    for channel in others:
        middle = np.median(channel.around(found.index, AROUND_11X11), 1)
        there = np.concatenate([channel.around(found.index, AROUND_3X3), channel.at(found.index)[:, None]], 1)
        most = np.maximum(MAX_ELSEWHERE * found.height, 2 * found.spread)
        alone &= np.abs(there - middle[:, None]).max(1) < most
    return alone


def _grown(channel: Channel, seeds: _Extremes) -> np.ndarray:
    """Return pixels and the neighbours that stand out too; none of both if they are more than a streak has."""
    pixels, seed = seeds.index, np.arange(len(seeds.index))
    edge, of = pixels, seed
    limit = MIN_NEIGHBOUR / SIGMAS_OF_SPREAD * seeds.spread
    for _ in range(MAX_GROWN):
        near = channel.neighbours(edge, AROUND_3X3).ravel()
        of = np.repeat(of, len(AROUND_3X3))
        out = seeds.sign[of] * (channel.at(near) - seeds.middle[of]) > limit[of]
        new = np.setdiff1d(of[out] * channel.size + near[out], seed * channel.size + pixels)  # seed and pixel as one
        if not len(new):
            break
        of, edge = np.divmod(new, channel.size)
        pixels, seed = np.concatenate([pixels, edge]), np.concatenate([seed, of])
    is_streak = np.bincount(seed, minlength=len(seeds.index)) <= MAX_GROWN
    return np.unique(pixels[is_streak[seed]])
