"""The scale of a picture's values: where black and white are, and where noise has been cut off.

Networks were fitted on pictures that fill 0 to 1. An 8-bit picture does; a 12-bit micrograph in 16 bits, or floats of
any unit, are brought there by the values between which nearly all of theirs lie, and are not clipped there.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from smdae.estimation.noise_level import is_clipped

__all__ = ["UNIT", "Scale", "in_bytes", "scale_of", "scale_of_integers"]

LOW, HIGH = 0.001, 0.999  # quantiles that become 0 and 1
SAMPLE = 1 << 20  # pixels of which quantiles are taken
MAX_OFF_STEP = 1e-3  # of a gray level, of 8 bits that floats hold: what single precision leaves of them
PROBE = 4096  # values that are looked at before all are
FULL_RANGE = 0.5  # of the range of 16 bits, that one of their pictures reaches
FLOATS = (-0.5, 1.5)  # floats with white 1 lie between these, noise and all,
MIN_BRIGHTEST = 0.2  # and some of them reach this


@dataclass(frozen=True)
class Scale:
    """A linear scale of brightness.

    Attributes:
        black: The value that becomes 0.
        white: The value that becomes 1.
        clip: The least and largest value that the picture could hold, if noise has been cut off there; else None.
        standard: Whether black and white are the usual ones of the picture's type.
    """

    black: float = 0.0
    white: float = 1.0
    clip: tuple[float, float] | None = None
    standard: bool = True

    @property
    def span(self) -> float:
        """Return how much brighter white is than black, in the picture's unit."""
        return self.white - self.black

    @property
    def may_clip(self) -> bool:
        """Return whether black and white, as of a file's type, may have cut the noise off."""
        return self.standard and self.clip is not None

    @property
    def unit_clip(self) -> tuple[float, float]:
        """Return the ends of clipping, black being 0 and white 1; infinite where there is none."""
        if self.clip is None:
            return -math.inf, math.inf
        return (self.clip[0] - self.black) / self.span, (self.clip[1] - self.black) / self.span

    def times(self, factor: float) -> "Scale":
        """Return the scale of a picture whose values are so many times as large."""
        clip = None if self.clip is None else (self.clip[0] * factor, self.clip[1] * factor)
        return replace(self, black=self.black * factor, white=self.white * factor, clip=clip)

    def to_unit(self, planes: np.ndarray) -> np.ndarray:
        """Return pixels as float32, black being 0 and white 1."""
        if planes.dtype.itemsize > 4:  # whose values may differ by less than single precision tells apart
            return ((planes - self.black) / self.span).astype(np.float32)
        values = planes.astype(np.float32)
        if self.black:
            values -= np.float32(self.black)
        values /= np.float32(self.span)
        return values


UNIT = Scale(clip=(0.0, 1.0))


def scale_of(pixels: np.ndarray, white: float | None = None, black: float | None = None, keep: bool = False) -> Scale:
    """Return the scale of a picture.

    Args:
        pixels: uint8, uint16 or float, of any shape; NaN and infinity do not count.
        white: The value of white, if it is known.
        black: The value of black, if it is known.
        keep: Whether floats have white 1 whatever their values, as where a level is given in their unit.
    """
    whole = pixels.dtype.kind == "u"
    limit = float(np.iinfo(pixels.dtype).max) if whole else 1.0
    if white is not None or black is not None:
        white, black = limit if white is None else white, 0.0 if black is None else black
        bounds = (0.0, white) if whole else None
        if not whole and black == 0 and is_clipped(pixels, white):
            bounds = (0.0, white)
        return Scale(black, white, bounds, black == 0 and white == limit)
    if pixels.dtype == np.uint8:
        return Scale(0.0, limit, (0.0, limit))
    some = pixels.reshape(-1)[:: max(1, pixels.size // SAMPLE)]
    if not whole:
        some = some[np.isfinite(some)]
    if not some.size:
        return Scale(0.0, limit)
    if whole:
        if pixels.max() > FULL_RANGE * limit:
            return Scale(0.0, limit, (0.0, limit))
    elif keep or (FLOATS[0] <= some.min() and MIN_BRIGHTEST <= some.max() <= FLOATS[1]):
        return Scale(0.0, 1.0, (0.0, 1.0) if _is_clipped(pixels) else None)
    return _between(some, (0.0, limit) if whole else None, limit)


def in_bytes(planes: np.ndarray, scale: Scale, valid: np.ndarray | None = None) -> tuple[np.ndarray, Scale]:
    """Return a picture of 8 bits that is stored in another type, as floats say, as uint8, with its scale.

    Every other picture is returned as it is.

    Args:
        planes: With shape (H, W, C), finite.
        scale: What its values mean.
        valid: Which pixels count, with shape (H, W); None for all.
    """
    if planes.dtype == np.uint8 or scale.black or not scale.standard:
        return planes, scale
    told = planes if valid is None else planes[valid]
    if not all(_are_bytes(some, scale.white) for some in (told.reshape(-1)[:: max(1, told.size // PROBE)], told)):
        return planes, scale
    levels = np.rint(planes.astype(np.float64) * (255 / scale.white)).clip(0, 255)
    return levels.astype(np.uint8), Scale(0.0, 255.0, (0.0, 255.0))


def _are_bytes(values: np.ndarray, white: float) -> bool:
    """Return whether values are whole multiples of a 255th of white, from black to white."""
    levels = values.astype(np.float64) * (255 / white)
    whole = np.rint(levels)
    return bool(np.abs(levels - whole).max() < MAX_OFF_STEP and whole.min() >= 0 and whole.max() <= 255)


def scale_of_integers(pixels: np.ndarray, name: str) -> Scale:
    """Return the scale of a picture whose integers, of a type with no usual white, floats stand for.

    Args:
        pixels: Of any shape.
        name: The type, such as int16.
    """
    ends = np.iinfo(name)
    some = pixels.reshape(-1)[:: max(1, pixels.size // SAMPLE)]
    return _between(some, (float(ends.min), float(ends.max)), float(ends.max))


def _between(some: np.ndarray, clip: tuple[float, float] | None, limit: float) -> Scale:
    """Return the scale on which nearly all of some values lie between 0 and 1; from 0 to a limit if they are one."""
    low, high = (float(value) for value in np.quantile(some.astype(np.float64), (LOW, HIGH)))
    if high <= low:
        low, high = float(some.min()), float(some.max())
    if high <= low:
        return Scale(0.0, limit)
    return Scale(low, high, clip, standard=False)


def _is_clipped(pixels: np.ndarray) -> bool:
    finite = pixels if np.isfinite(pixels).all() else pixels[np.isfinite(pixels)]
    return is_clipped(finite, 1.0)
