"""The steps before and after a picture's noise is taken out.

Before: gray that is stored as colour becomes one channel; pixels that are hidden or are not numbers are filled from
those around them; pixels that were replaced outright, as by dust, cosmic rays and dead sensors, are repaired. After:
the pixels that do not count come back as they were, and gray becomes colour again. What the values mean is a `Scale`.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from smdae.errors import InputError
from smdae.estimation.absence import why_drawn
from smdae.estimation.banding import find_banding
from smdae.estimation.blocks import survey
from smdae.estimation.outliers import Outliers, find_outliers
from smdae.estimation.scale import Scale, scale_of

__all__ = ["Prepared", "is_gray", "prepare"]

SAMPLE = 1 << 17  # values
MAX_VALUE = 1e30  # of a pixel, and of the span from black to white, or its inverse: squares stay in single precision
MAX_UNITS = 1e9  # times that span, that a pixel is from black


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture as it is denoised.

    Attributes:
        original: As it was given, with shape (H, W) or (H, W, C).
        pixels: As it is denoised, of the same dtype; (H, W) where all channels were alike.
        scale: What its values mean.
        valid: Which pixels count, with shape (H, W); None for all.
        outliers: What was repaired; None if nothing was.
        is_banded: Whether rows or columns had offsets, which were taken off.
    """

    original: np.ndarray
    pixels: np.ndarray
    scale: Scale
    valid: np.ndarray | None = None
    outliers: Outliers | None = None
    is_banded: bool = False

    @property
    def is_mended(self) -> bool:
        """Return whether outliers were repaired or offsets taken off."""
        return self.is_banded or self.outliers is not None

    @property
    def is_shared(self) -> bool:
        """Return whether all channels were alike and became one."""
        return self.pixels.ndim < self.original.ndim

    def sample(self) -> np.ndarray:
        """Return some values of pixels that count, evenly chosen, black being 0 and white 1."""
        planes = self.pixels if self.valid is None else self.pixels[self.valid]
        flat = planes.reshape(-1)
        return self.scale.to_unit(flat[:: max(1, flat.size // SAMPLE)])

    def restored(self, result: np.ndarray) -> np.ndarray:
        """Return a result, of the shape of `pixels`, with the shape of `original`."""
        if self.valid is not None:
            inside = self.valid if result.ndim == 2 else self.valid[:, :, None]
            before = self.original[:, :, 0] if self.is_shared else self.original
            result = np.where(inside, result, before)
        if self.is_shared:
            result = np.repeat(result[:, :, None], self.original.shape[2], 2)
        return result


def prepare(
    pixels: np.ndarray,
    white: float | None = None,
    black: float | None = None,
    visible: np.ndarray | None = None,
    keep_scale: bool = False,
    share: bool = True,
    scale: Scale | None = None,
    mend: bool = True,
) -> Prepared:
    """Return a picture as it is denoised.

    Args:
        pixels: With shape (H, W) or (H, W, C), uint8, uint16 or float.
        white: The value of white, if it is known.
        black: The value of black, if it is known.
        visible: Which pixels are not hidden, with shape (H, W); None for all.
        keep_scale: Whether floats have white 1 whatever their values.
        share: Whether gray that is stored as colour becomes one channel.
        scale: What its values mean, if that is known; None to find out.
        mend: Whether outliers are repaired and offsets of rows and columns taken off: stars are as small as outliers.

    Raises:
        InputError: No pixel counts, or too many are outliers.
    """
    known = scale is not None
    finite = np.isfinite(pixels)
    if pixels.dtype.kind == "f":
        _refuse_beyond(pixels, finite, MAX_VALUE, "")
    if scale is None:
        scale = scale_of(pixels, white, black, keep_scale)
    if not scale.span >= 1 / MAX_VALUE:
        raise InputError(f"its values differ by {scale.span:.3g} at most", "multiply them, so that white is about 1")
    _refuse_beyond(pixels, finite, MAX_UNITS * scale.span, f", and white is {scale.white:g}")
    valid = visible
    if pixels.dtype.kind == "f" and not finite.all():
        finite = finite if pixels.ndim == 2 else finite.all(2)
        valid = finite if valid is None else finite & valid
    if valid is not None and valid.all():
        valid = None
    if valid is not None and not valid.any():
        raise InputError("none of its pixels counts", "all are hidden or not finite")
    work = pixels
    if share and is_gray(pixels, valid):
        work = pixels if pixels.ndim == 2 else pixels[:, :, 0]
    if valid is not None:
        work = _filled(work, valid)
    found = find_outliers(work[:, :, None] if work.ndim == 2 else work, scale.white) if mend else None
    if found is not None:
        work = found.repaired.reshape(work.shape)
        if not known and (
            not scale.standard or pixels.dtype.kind == "f"
        ):  # a single ray may have been the largest value
            scale = scale_of(work, white, black, keep_scale)
    planes = work[:, :, None] if work.ndim == 2 else work
    banding = find_banding(planes, scale.white) if mend else None
    if banding is not None and why_drawn(planes, survey(planes, scale, valid)):
        banding = None  # lines of print are no offsets
    if banding is not None:
        work = _without(work, *banding)
    return Prepared(pixels, work, scale, valid, found, banding is not None)


def _refuse_beyond(pixels: np.ndarray, finite: np.ndarray, most: float, and_white: str) -> None:
    """Raise InputError where the magnitude of a finite value of a picture is larger than `most`."""
    low, high = (float(end(pixels, where=finite, initial=0)) for end in (np.min, np.max))
    if max(-low, high) > most:
        raise InputError(
            f"its values reach {high if high > -low else low:.3g}{and_white}", "divide them, so that white is about 1"
        )


def _without(pixels: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return a picture, (H, W) or (H, W, C), less the offsets of its rows, (H, C), and of its columns, (W, C)."""
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    values = planes - rows[:, None] - columns[None]
    if pixels.dtype.kind == "u":
        values = np.rint(values).clip(0, np.iinfo(pixels.dtype).max)
    return values.astype(pixels.dtype).reshape(pixels.shape)


def is_gray(pixels: np.ndarray, valid: np.ndarray | None = None) -> bool:
    """Return whether an image, (H, W) or (H, W, C), has one channel, or equal ones in all pixels that count."""
    if pixels.ndim == 2:
        return True
    shown = pixels if valid is None else pixels[valid]
    return bool((shown == shown[..., :1]).all())


def _filled(pixels: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return a picture whose pixels that do not count are means of the nearest that do, by halving it again and again.

    Args:
        pixels: With shape (H, W) or (H, W, C).
        valid: With shape (H, W), not all false.
    """
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    known = torch.from_numpy(valid.astype(np.float32))[None, None]
    values = torch.from_numpy(np.where(valid[:, :, None], planes, 0).astype(np.float32)).permute(2, 0, 1)[None]
    pyramid = [(values, known)]
    while pyramid[-1][1].min() == 0 and min(pyramid[-1][1].shape[2:]) > 1:
        v, k = pyramid[-1]
        weight = F.avg_pool2d(k, 2, ceil_mode=True, count_include_pad=False)
        mean = F.avg_pool2d(v * k, 2, ceil_mode=True, count_include_pad=False) / weight.clamp(min=1e-9)
        pyramid.append((mean, (weight > 0).float()))
    v, k = pyramid[-1]
    below = torch.where(k > 0, v, (v * k).sum((2, 3), keepdim=True) / k.sum().clamp(min=1))
    for v, k in reversed(pyramid[:-1]):
        grown = F.interpolate(below, v.shape[2:], mode="bilinear", align_corners=False)
        below = torch.where(k > 0, v, grown)
    filled = below[0].permute(1, 2, 0).numpy()
    if pixels.dtype.kind == "u":
        filled = np.rint(filled).clip(0, np.iinfo(pixels.dtype).max)
    return np.where(valid[:, :, None], planes, filled.astype(pixels.dtype)).reshape(pixels.shape)
