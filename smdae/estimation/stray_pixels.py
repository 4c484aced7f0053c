"""Pixels far beyond what is around them: hot and dead pixels, cosmic rays.

Of a local extreme y, with low and high of 11 x 11 pixels around but for the nearest,

    r = (y - high) / max(high - low, what is usual where it is as bright)

Gaussian noise stays below 2, Poisson noise of few counts below 5, textures fall off slowly. What a lens has drawn
spreads into the next pixels: of a spot 1.2 pixels wide (full width at half maximum) they have 0.15 of the height.
Around a replaced pixel they have nothing, or two of the four, where it is one of a cluster or a streak.

Pixels pass for replaced where there are many, of which at least as many have r > R as all others have R/2 < r < R, and
that are neither closer together nor more regular than chance, nor of the same height as strokes, as the dots of letters
are; or where few stand alone: r far beyond all else, and higher than everything else in the picture.

A demosaicer spreads a hot pixel to a tent, 1/2 beside it and 1/4 at the corners, or to a cross of 1/4, in one channel.
What a lens draws is nearly the product of its profiles down and across, so that sides a have corners a^2; a cross
without them is not drawn by a lens either.
"""

from dataclasses import dataclass

import numpy as np

from smdae.estimation.surroundings import NEAR, NEXT, SPREAD, WIDE, Channel, Scales, extremes, ordered, parts, thinned

__all__ = ["stray_pixels"]

CANDIDATE = 2.0  # usual spreads above the middle of the next pixels
MAX_CANDIDATES = 150_000  # of each sign
STRONG, MODERATE, ACCEPTED = 6.0, 3.0, 2.5  # r
MIN_STRONG, MIN_MODERATE, MIN_SHARE = 8, 40, 1e-5  # pixels; part of all
MAX_ONE_SIDED, MAX_SHARE = 0.005, 0.1  # of all pixels, where they are all bright or all dark, and otherwise
POINT = 0.04  # of the height, that the lower two of the four next pixels have
SOLID = 0.2  # of the height, that a square of 2 x 2 pixels has
MAX_FLAT = 0.5  # of the surroundings that have one value only: there is no noise to tell from
MIN_DISTANCE, CLUSTER = 8, 2  # pixels
MAX_PAIRED = 2000  # pixels that are looked at in pairs
MAX_CLOSE, MIN_CLOSE = 2.0, 0.3  # pairs, over what chance gives
STROKE, MAX_STROKES = 0.7, (0.03, 40)  # of the height; of all places, and for each replaced pixel
LONE, LONE_GAP, MAX_LONE = 12.0, 2.5, 1e-4  # r; over whatever comes next; of all pixels
EVEN, LIKE = 0.15, 0.1  # of the height, by which the sides of a cross differ, and from what a demosaicer makes
ELSEWHERE = 0.2  # of the height, that other channels have there
GROWS, MAX_GROWN = 6.0, 12  # standard deviations; pixels


@dataclass(frozen=True, eq=False)
class _Extremes:
    """Local extremes; what is above the ground is counted downwards for minima.

    Attributes:
        index, sign: The pixels, (n,), and 1 for maxima, -1 for minima.
        middle, spread: Of 11 x 11 around, the latter at least the usual one.
        height: Over what is high around.
        near: Over what is high in 5 x 5 around, in spreads of that.
        loose: height in spreads, these being no less than the least.
        sides, corners: The mean of the four next pixels, and of the diagonal ones, over the middle, in heights over it.
        uneven: By how much the sides differ, or the corners.
        beside: The mean of the lower two sides.
        solid: Part of a square of 2 x 2 pixels.
        flat: Whether more than a third of what is around has the same value.
    """

    index: np.ndarray
    sign: np.ndarray
    middle: np.ndarray
    spread: np.ndarray
    height: np.ndarray
    near: np.ndarray
    loose: np.ndarray
    sides: np.ndarray
    corners: np.ndarray
    uneven: np.ndarray
    beside: np.ndarray
    solid: np.ndarray
    flat: np.ndarray

    @property
    def r(self) -> np.ndarray:
        return self.height / self.spread

    @property
    def error(self) -> np.ndarray:
        """Return the standard deviation of noise, in heights."""
        return 1 / (SPREAD * np.maximum(self.r, 1))

    def chosen(self, which: np.ndarray) -> "_Extremes":
        return _Extremes(*(values[which] for values in vars(self).values()))

    @classmethod
    def joined(cls, several: "list[_Extremes]") -> "_Extremes":
        return cls(*(np.concatenate(columns) for columns in zip(*(vars(one).values() for one in several), strict=True)))

    @classmethod
    def described(cls, channel: Channel, index: np.ndarray, sign: int, scales: Scales) -> "_Extremes":
        y, ring = sign * channel.at(index), sign * channel.around(index, NEXT)
        low, middle, high = ordered(sign * channel.around(index, WIDE)).T
        near_low, _, near_high = ordered(sign * channel.around(index, NEAR)).T
        brightness = scales.bin_of(sign * middle)
        least, spread = scales.least[brightness], np.maximum(high - low, scales.usual[brightness])
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
            loose=(y - high) / np.maximum(high - low, least),
            sides=sides.mean(1),
            corners=corners.mean(1),
            uneven=np.maximum(np.ptp(sides, 1), np.ptp(corners, 1)),
            beside=np.sort(sides, 1)[:, :2].mean(1),
            solid=squares.max(1) > SOLID,
            flat=(high == middle) | (low == middle),
        )


def stray_pixels(planes: np.ndarray) -> list[np.ndarray]:
    """Return the replaced pixels of each channel, as row * W + column.

    Args:
        planes: With shape (H, W, C), C-contiguous.
    """
    channels = [Channel(planes, number) for number in range(planes.shape[2])]
    scales = [Scales.of(channel) for channel in channels]
    known = [one for one in scales if one is not None]
    if len(known) < len(channels):
        return [np.zeros(0, int) for _ in channels]
    places = extremes(planes, np.array([CANDIDATE * one.usual.min() for one in known]))
    found = []
    for channel, its_scales in zip(channels, known, strict=True):
        others = [other for other in channels if other.number != channel.number]
        sides = [
            _candidates(channel, where[where % len(channels) == channel.number] // len(channels), sign, its_scales)
            for where, sign in zip(places, (1, -1), strict=True)
        ]
        found.append(_replaced(channel, others, _Extremes.joined(sides), its_scales))
    return found


def _candidates(channel: Channel, index: np.ndarray, sign: int, scales: Scales) -> _Extremes:
    kept = []
    for part in parts(index):
        middle = np.sort(channel.around(part, NEXT), 1)[:, 3:5].mean(1)
        kept.append(part[sign * (channel.at(part) - middle) > CANDIDATE * scales.usual[scales.bin_of(middle)]])
    index = thinned(np.concatenate(kept), MAX_CANDIDATES)[0]
    return _Extremes.joined([_Extremes.described(channel, part, sign, scales) for part in parts(index)])


def _replaced(channel: Channel, others: list[Channel], found: _Extremes, scales: Scales) -> np.ndarray:
    """Return the extremes that nothing but replacement explains, with all that belongs to them."""
    point = (found.beside < POINT + found.error) & ~found.solid
    accepted = np.zeros(len(found.index), bool)
    if (scales.high == scales.low).mean() < MAX_FLAT:
        r = np.minimum(found.near, found.r)
        sharp = (found.beside < POINT) & ~found.solid & ~found.flat
        for limit, fewest in ((STRONG, MIN_STRONG), (MODERATE, MIN_MODERATE)):
            rivals = int((~found.flat & (r > limit / 2)).sum()) - int((sharp & (r > limit)).sum())
            if _are_many(channel, found.chosen(sharp & (r > limit)), rivals, fewest, scales):
                accepted |= (found.near > ACCEPTED) & point
    accepted[_lone(found, point, scales, channel.size)] = True
    return np.union1d(_grown(channel, found.chosen(accepted)), _crosses(channel, others, found, point, scales))


def _are_many(channel: Channel, strong: _Extremes, rivals: int, fewest: int, scales: Scales) -> bool:
    """Return whether extremes are so many more than rivals that they are no tail, and lie as chance would have it."""
    n = len(strong.index)
    if n < max(fewest, rivals, MIN_SHARE * channel.size):
        return False
    bright = float((strong.sign > 0).mean())
    if n > (MAX_SHARE if 0.2 < bright < 0.8 else MAX_ONE_SIDED) * channel.size:
        return False
    return _are_scattered(strong, channel, scales) and not _are_of_strokes(strong, scales, n / channel.size)


def _are_scattered(strong: _Extremes, channel: Channel, scales: Scales) -> bool:
    """Return whether about as many pixels are a few pixels apart as chance gives, where they can be seen."""
    index = thinned(strong.index, MAX_PAIRED)[0]
    rows, columns = np.divmod(index, channel.shape[1])
    apart = np.maximum(np.abs(rows[:, None] - rows), np.abs(columns[:, None] - columns))
    pairs = ((apart > CLUSTER) & (apart <= MIN_DISTANCE)).sum() / 2
    n, area = len(index), (2 * MIN_DISTANCE + 1) ** 2 - (2 * CLUSTER + 1) ** 2
    expected = n**2 / 2 * area / channel.size
    room = float((np.median(strong.height) > STRONG * (scales.high - scales.low)).mean())
    return bool(MIN_CLOSE * expected - 3 <= pairs <= 3 + n / 10 + MAX_CLOSE * expected / max(room, 0.02))


def _are_of_strokes(strong: _Extremes, scales: Scales, share: float) -> bool:
    """Return whether there are strokes of the same height above the same ground, as beside the dots of letters."""
    strokes = 0.0
    for sign in np.unique(strong.sign):
        same = strong.sign == sign
        ground = float(np.median(sign * strong.middle[same]))
        level = ground + STROKE * float(np.median(strong.height[same]))
        high = scales.high if sign > 0 else -scales.low
        strokes += float(((high > level) & (sign * scales.middle < (ground + level) / 2)).mean())
    return strokes > MAX_STROKES[0] + MAX_STROKES[1] * share


def _lone(found: _Extremes, point: np.ndarray, scales: Scales, size: int) -> np.ndarray:
    """Return the few extremes whose r is far beyond that of all others, and which are higher than all the picture."""
    order = np.argsort(-found.r)
    r = np.append(found.r[order], 0.0)
    gaps = np.flatnonzero((r[:-1] > LONE_GAP * r[1:]) & (r[:-1] > STRONG))
    nothing = order[:0]
    if not len(gaps) or r[0] < LONE:
        return nothing
    lone = order[: gaps[-1] + 1]
    contrast = float(np.quantile(scales.high, 0.995) - np.quantile(scales.low, 0.005))
    sure = (point & ~found.flat & (found.height > contrast))[lone].all()
    return lone if sure and len(lone) < MIN_MODERATE + MAX_LONE * size else nothing


def _crosses(
    channel: Channel, others: list[Channel], found: _Extremes, point: np.ndarray, scales: Scales
) -> np.ndarray:
    """Return which extremes are tents or crosses, as demosaicing makes of hot pixels."""
    even = (found.uneven < EVEN + 2 * found.error) & (found.loose > ACCEPTED) & ~found.flat
    tent = (np.abs(found.sides - 0.5) < LIKE) & (np.abs(found.corners - 0.25) < LIKE)
    cross = (np.abs(found.sides - 0.25) < LIKE) & (np.abs(found.corners) < LIKE)
    shaped = even & (tent | cross)
    shaped[shaped] = _are_alone(found.chosen(shaped), others)
    sides = np.clip(found.sides, 0.2, 0.8)
    shaped |= even & (sides == found.sides) & (found.corners + found.error / 2 < sides**2 / 2)
    strong = found.r > STRONG
    rivals = int((strong & ~found.flat & ~point & ~shaped).sum())
    if not _are_many(channel, found.chosen(shaped & strong), rivals, MIN_STRONG, scales):
        return found.index[:0]
    chosen = found.chosen(shaped)
    tents = chosen.index[chosen.corners > LIKE]
    return np.unique(
        np.concatenate([chosen.index, channel.near(chosen.index, NEXT[:4]).ravel(), channel.near(tents, NEXT).ravel()])
    )


def _are_alone(found: _Extremes, others: list[Channel]) -> np.ndarray:
    """Return, for each extreme, whether all other channels are flat there, (n,), bool; false if there are no others."""
    alone = np.full(len(found.index), bool(others))
    for channel in others:
        middle = np.median(channel.around(found.index, WIDE), 1)
        there = np.concatenate([channel.around(found.index, NEXT), channel.at(found.index)[:, None]], 1)
        most = np.maximum(ELSEWHERE * found.height, 2 * found.spread)
        alone &= np.abs(there - middle[:, None]).max(1) < most
    return alone


def _grown(channel: Channel, seeds: _Extremes) -> np.ndarray:
    """Return pixels with those next to them that stand out too; neither where these are more than a streak has."""
    pixels, seed = seeds.index, np.arange(len(seeds.index))
    edge, of = pixels, seed
    limit = GROWS / SPREAD * seeds.spread
    for _ in range(MAX_GROWN):
        near = channel.near(edge, NEXT).ravel()
        of = np.repeat(of, len(NEXT))
        out = seeds.sign[of] * (channel.at(near) - seeds.middle[of]) > limit[of]
        names = np.setdiff1d(of[out] * channel.size + near[out], seed * channel.size + pixels)
        if not len(names):
            break
        of, edge = np.divmod(names, channel.size)
        pixels, seed = np.concatenate([pixels, edge]), np.concatenate([seed, of])
    streaks = np.bincount(seed, minlength=len(seeds.index)) <= MAX_GROWN
    return np.unique(pixels[streaks[seed]])
