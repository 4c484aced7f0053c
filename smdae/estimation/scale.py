"""The scale of a picture's values: which are black and white, and at which the noise was clipped.

Networks were fitted on pictures whose values fill 0 to 1. An 8-bit picture fills its range. A 12-bit micrograph stored
in 16 bits, or floats in any unit, are scaled so that nearly all of their values lie between 0 and 1. Such a picture is
not clipped at these ends.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from smdae.estimation.noise_level import is_clipped

LOW_QUANTILE, HIGH_QUANTILE = 0.001, 0.999  # of the values, that become 0 and 1
MAX_SAMPLE = 1 << 20  # values of which quantiles are taken
MAX_ROUNDING = 1e-3  # gray levels by which single precision may be off the 8 bits that floats hold
PROBE = 4096  # values that are tested for that before all are
MIN_OF_FULL_RANGE = 0.5  # of 65535: a 16-bit picture with a larger value may use the full range
MIN_SPAN_OF_FULL_RANGE = 1 / 16  # of 65535, from the low to the high quantile: with less, it does not
# Floats have white 1 if all of them lie between the first two, noise included, and the largest reaches the third.
MIN_OF_UNIT, MAX_OF_UNIT, MIN_BRIGHTEST_OF_UNIT = -0.5, 1.5, 0.2


@dataclass(frozen=True)
class Scale:
    """A linear scale of brightness.

    Attributes:
        black: The value that becomes 0.
        white: The value that becomes 1.
        clip: The smallest and the largest value that can be stored, if noise was clipped there; else None.
        standard: Whether black is 0 and white is that of the picture's type: 255, 65535, or 1 for floats.
    """

    black: float = 0.0
    white: float = 1.0
    clip: tuple[float, float] | None = None
    standard: bool = True

    @property
    def span(self) -> float:
        """Return white - black, in the picture's unit."""
        return self.white - self.black

    @property
    def may_clip(self) -> bool:
        """Return whether noise may be clipped at black and at white themselves."""
        return self.standard and self.clip is not None

    @property
    def unit_clip(self) -> tuple[float, float]:
        """Return the values of `clip` in units in which black is 0 and white 1; infinite if there is no clipping."""
        if self.clip is None:
            return -math.inf, math.inf
        return (self.clip[0] - self.black) / self.span, (self.clip[1] - self.black) / self.span

    def times(self, factor: float) -> "Scale":
        """Return the scale of the same picture with every value multiplied by a factor."""
        clip = None if self.clip is None else (self.clip[0] * factor, self.clip[1] * factor)
        return replace(self, black=self.black * factor, white=self.white * factor, clip=clip)

    def to_unit(self, planes: np.ndarray) -> np.ndarray:
        """Return pixels as float32, black being 0 and white 1."""
        if planes.dtype.itemsize > 4:  # values may differ by less than single precision resolves: subtract first
            return ((planes - self.black) / self.span).astype(np.float32)
        values = planes.astype(np.float32)
        if self.black:
            values -= np.float32(self.black)
        values /= np.float32(self.span)
        return values


UNIT = Scale(clip=(0.0, 1.0))


def scale_of(pixels: np.ndarray, white: float | None = None, black: float | None = None, keep: bool = False) -> Scale:
    """Return the scale of a picture: which values are black and white, and the range that they were clipped to, if any.

    If neither is given, they are the ends of the type for uint8, for uint16 that reaches more than half of its range
    and does not lie within a sixteenth of it but for a few values, and for floats that look like 0 to 1. Else nearly
    all values lie between them. Nothing is checked: white must be above black.

    Args:
        pixels: uint8, uint16 or float, of any shape; NaN and infinity do not count.
        white: The value of white; None to find it, or for that of the type if black is given.
        black: The value of black; None to find it, or for 0 if white is given.
        keep: Whether white is 1 for floats whatever their values are, as where a noise level is given in their unit.
    """
    is_integer = pixels.dtype.kind == "u"
    usual_white = float(np.iinfo(pixels.dtype).max) if is_integer else 1.0
    if white is not None or black is not None:
        white, black = usual_white if white is None else white, 0.0 if black is None else black
        clips = is_integer or (black == 0 and is_clipped(pixels, white))
        return Scale(black, white, (0.0, white) if clips else None, black == 0 and white == usual_white)
    if pixels.dtype == np.uint8:
        return Scale(0.0, usual_white, (0.0, usual_white))
    some = pixels.reshape(-1)[:: max(1, pixels.size // MAX_SAMPLE)]
    if not is_integer:
        some = some[np.isfinite(some)]
    if not some.size:
        return Scale(0.0, usual_white)
    if is_integer:
        if pixels.max() > MIN_OF_FULL_RANGE * usual_white and not _is_narrow(some, usual_white):
            return Scale(0.0, usual_white, (0.0, usual_white))
    elif keep or (some.min() >= MIN_OF_UNIT and MIN_BRIGHTEST_OF_UNIT <= some.max() <= MAX_OF_UNIT):
        return Scale(0.0, 1.0, (0.0, 1.0) if _is_clipped_at_1(pixels) else None)
    return _between(some, (0.0, usual_white) if is_integer else None, usual_white)


def in_bytes(planes: np.ndarray, scale: Scale, valid: np.ndarray | None = None) -> tuple[np.ndarray, Scale]:
    """Return a picture of 8 bits that is stored in another type, such as floats, as uint8, with its scale.

    Every other picture is returned unchanged, with the scale that was given.

    Args:
        planes: With shape (H, W, C), finite.
        scale: The scale of its values.
        valid: Which pixels count, with shape (H, W); None for all.
    """
    if planes.dtype == np.uint8 or scale.black or not scale.standard:
        return planes, scale
    counting = planes if valid is None else planes[valid]
    some = counting.reshape(-1)[:: max(1, counting.size // PROBE)]
    if not (_are_bytes(some, scale.white) and _are_bytes(counting, scale.white)):
        return planes, scale
    levels = np.rint(planes.astype(np.float64) * (255 / scale.white)).clip(0, 255)
    return levels.astype(np.uint8), Scale(0.0, 255.0, (0.0, 255.0))


def _are_bytes(values: np.ndarray, white: float) -> bool:
    """Return whether values are whole multiples of a 255th of white, from black to white."""
    levels = values.astype(np.float64) * (255 / white)
    whole = np.rint(levels)
    return bool(np.abs(levels - whole).max() < MAX_ROUNDING and whole.min() >= 0 and whole.max() <= 255)


def scale_of_integers(pixels: np.ndarray, name: str) -> Scale:
    """Return the scale of a picture of integers of a type without a usual white, such as int16, held as floats.

    Args:
        pixels: Of any shape.
        name: The name of the integer type.
    """
    ends = np.iinfo(name)
    some = pixels.reshape(-1)[:: max(1, pixels.size // MAX_SAMPLE)]
    return _between(some, (float(ends.min), float(ends.max)), float(ends.max))


def _between(some: np.ndarray, clip: tuple[float, float] | None, white: float) -> Scale:
    """Return the scale that puts nearly all of some values between 0 and 1; from 0 to `white` if all are equal."""
    low, high = (float(value) for value in np.quantile(some.astype(np.float64), (LOW_QUANTILE, HIGH_QUANTILE)))
    if high <= low:
        low, high = float(some.min()), float(some.max())
    if high <= low:
        return Scale(0.0, white)
    return Scale(low, high, clip, standard=False)


def _is_narrow(some: np.ndarray, white: float) -> bool:
    """Return whether integers lie close together in their range but for a few: on an offset, or below saturated stars.

    What is stored as 8 bits in 16 is not: its levels are those of a picture of 8 bits.
    """
    low, high = np.quantile(some, (LOW_QUANTILE, HIGH_QUANTILE))
    return bool(low < high < low + MIN_SPAN_OF_FULL_RANGE * white) and not _are_bytes(some, white)


def _is_clipped_at_1(pixels: np.ndarray) -> bool:
    finite = pixels if np.isfinite(pixels).all() else pixels[np.isfinite(pixels)]
    return is_clipped(finite, 1.0)
