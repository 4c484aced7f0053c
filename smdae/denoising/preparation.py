"""Prepare a picture for denoising, and undo the preparation afterwards.

Before denoising: gray stored as colour becomes one channel; invalid pixels, which are hidden or not finite, are filled
from those around them; outliers (dust, cosmic rays, dead pixels) are repaired, and offsets of rows and columns taken
off. Afterwards: the invalid pixels come back as they were, and gray becomes colour again. The meaning of the values is
a `Scale`.
"""

from dataclasses import dataclass

import numpy as np

from smdae.errors import InputError
from smdae.estimation.absence import why_drawn
from smdae.estimation.banding import find_banding
from smdae.estimation.blocks import survey
from smdae.estimation.filling import filled
from smdae.estimation.outliers import Outliers, find_outliers
from smdae.estimation.scale import Scale, scale_of

SAMPLE_SIZE = 1 << 17  # values
MAX_VALUE = 1e30  # of a pixel, of white - black and of its inverse: squares do not overflow single precision
MAX_UNITS = 1e9  # of a pixel, in units of white - black


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture as it is denoised.

    Attributes:
        original: As it was given, with shape (H, W) or (H, W, C).
        pixels: As it is denoised, of the same dtype; (H, W) where all channels were equal.
        scale: The meaning of its values.
        valid: Which pixels are visible and finite, with shape (H, W); None for all.
        outliers: The outliers that were repaired; None if there were none.
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
        """Return whether all channels were equal and became one."""
        return self.pixels.ndim < self.original.ndim

    @property
    def ends(self) -> tuple[float, float]:
        """Return the least and the largest value of `pixels`, black being 0 and white 1."""
        low, high = self.scale.to_unit(np.array([self.pixels.min(), self.pixels.max()]))
        return float(low), float(high)

    def sample(self) -> np.ndarray:
        """Return values of valid pixels, (n,), evenly spaced over the picture, black being 0 and white 1.

        They are all of them if the picture has fewer than 2^18, else from 2^17 to 2^18.
        """
        planes = self.pixels if self.valid is None else self.pixels[self.valid]
        flat = planes.reshape(-1)
        return self.scale.to_unit(flat[:: max(1, flat.size // SAMPLE_SIZE)])

    def restored(self, result: np.ndarray) -> np.ndarray:
        """Return a result, with the shape of `pixels`, in the shape of `original`, its invalid pixels as they were."""
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
    *,
    keep_scale: bool = False,
    share: bool = True,
    scale: Scale | None = None,
    mend: bool = True,
) -> Prepared:
    """Return a picture prepared for denoising; the one given is not changed.

    Args:
        pixels: With shape (H, W) or (H, W, C), uint8, uint16 or float.
        white: The value of white; None to find it.
        black: The value of black; None to find it.
        visible: Which pixels are not hidden, with shape (H, W); None for all.
        keep_scale: Whether floats have white 1 whatever their values.
        share: Whether gray stored as colour becomes one channel.
        scale: The meaning of its values; None to find it.
        mend: Whether to repair outliers and take off offsets of rows and columns. False for pictures of stars, which
            are as small as outliers.

    Raises:
        InputError: No pixel is valid, too many are outliers, or the values are too large or too close together.
    """
    is_scale_given = scale is not None
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
        raise InputError("none of its pixels is valid", "all are hidden or not finite")
    work = pixels
    if share and is_gray(pixels, valid):
        work = pixels if pixels.ndim == 2 else pixels[:, :, 0]
    if valid is not None:
        work = filled(work, valid)
    outliers = find_outliers(work[:, :, None] if work.ndim == 2 else work, scale.white) if mend else None
    if outliers is not None:
        work = outliers.repaired.reshape(work.shape)
        if not is_scale_given and (not scale.standard or pixels.dtype.kind == "f"):
            # The scale may have been that of an outlier, such as a cosmic ray.
            scale = scale_of(work, white, black, keep_scale)
    planes = work[:, :, None] if work.ndim == 2 else work
    banding = find_banding(planes, scale.white) if mend else None
    if banding is not None and why_drawn(planes, survey(planes, scale, valid)):
        banding = None  # in drawings and print, rows differ because of what they show
    if banding is not None:
        work = _without(work, *banding)
    return Prepared(pixels, work, scale, valid, outliers, banding is not None)


def _refuse_beyond(pixels: np.ndarray, finite: np.ndarray, most: float, remark: str) -> None:
    """Raise InputError, its message with a remark, if the magnitude of a finite value is larger than `most`."""
    low, high = (float(end(pixels, where=finite, initial=0)) for end in (np.min, np.max))
    if max(-low, high) > most:
        raise InputError(
            f"its values reach {high if high > -low else low:.3g}{remark}", "divide them, so that white is about 1"
        )


def _without(pixels: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Subtract from a picture, (H, W) or (H, W, C), offsets of its rows, (H, C), and of its columns, (W, C)."""
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    values = planes - rows[:, None] - columns[None]
    if pixels.dtype.kind == "u":
        values = np.rint(values).clip(0, np.iinfo(pixels.dtype).max)
    found: np.ndarray = values.astype(pixels.dtype).reshape(pixels.shape)
    return found


def is_gray(pixels: np.ndarray, valid: np.ndarray | None = None) -> bool:
    """Return whether an image, (H, W) or (H, W, C), has one channel, or equal channels in all valid pixels."""
    if pixels.ndim == 2:
        return True
    shown = pixels if valid is None else pixels[valid]
    return bool((shown == shown[..., :1]).all())
