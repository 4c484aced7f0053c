"""The images that `smdae.fit` gets: an array, a list of arrays, or paths; and the level of the noise for rows."""

import math
from collections.abc import Iterable, Mapping, Sequence, Set, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from smdae.denoising.arrays import HasArray, array_of, is_image
from smdae.denoising.pictures import is_file, pictures_of
from smdae.errors import InputError, UsageError
from smdae.files.picture import SAMPLES, STANDS_FOR

INTEGERS = (np.uint8, np.uint16)  # dtypes whose white is their largest value, so that sigma is given for white 255
SHARE_OF_SPREAD = 1 / 3  # level of the noise for rows, of their spread
MIN_SIGMA, MAX_SIGMA = 1e-3, 1e5  # that a fit takes, white being 255


@dataclass(frozen=True, eq=False)
class Images:
    """Images to fit on."""

    images: Sequence[np.ndarray]  # arrays of one dtype with shape (H, W) or (H, W, C)
    white: float  # the value of white in them
    is_integer: bool  # whether they were integers, so that sigma is given for white 255


def gathered(patches: Any) -> Any:
    """Return what a caller passes as images or rows: one array, a list of images or of paths, or a single path.

    Rows in a list, as of a CSV file that Python has read, become one array (N, d), and N numbers one with shape (N, 1).

    Raises:
        UsageError: It is none of these, or rows in a list differ in length.
    """
    if is_file(patches):
        return patches
    if is_image(patches):
        return [patches]
    if isinstance(patches, HasArray):
        array = array_of(patches)
        return array[:, None] if array.ndim == 1 else array
    if not isinstance(patches, Sized) or isinstance(patches, str | bytes | Mapping | Set):
        raise UsageError(f"patches are arrays or paths, not of type {type(patches).__name__}")
    listed = list(cast(Iterable[Any], patches))
    if any(is_file(one) or is_image(one) for one in listed):
        return listed
    arrays = [array_of(one) for one in listed]
    if arrays and all(array.ndim == 0 for array in arrays):
        return np.stack(arrays)[:, None]
    if not arrays or any(array.ndim != 1 for array in arrays):
        return arrays
    odd = next((k for k, row in enumerate(arrays) if len(row) != len(arrays[0])), None)
    if odd is not None:
        raise UsageError(f"rows differ in length: row {odd + 1} has {len(arrays[odd])}, and row 1 has {len(arrays[0])}")
    return np.stack(arrays)


def images_of(patches: Any, axes: str | None, color: bool) -> Images:
    """Return the images in an array, in a list of images, or below paths, with their white.

    `patches` is what `gathered` returns, and `axes` is as for `denoise`; files are read in gray unless `color` is true.

    Raises:
        InputError: There is no usable image, or they are not all of one dtype and of 1 or 3 channels.
        UsageError: The axes do not fit.
        MemoryLimitError: It takes more memory than there is.
    """
    if is_file(patches):
        patches = [patches]
    elif isinstance(patches, np.ndarray):
        if 0 in patches.shape:
            raise InputError(f"there are no images to fit on in an array with shape {patches.shape}")
        if axes is None and patches.ndim == 3 and patches.shape[2] in (2, 4):
            axes = "NHW"  # for no fit takes two or four channels
        pictures = pictures_of(patches, axes)
        patches, axes = [image.astype(patches.dtype, copy=False) for image in pictures.arrays], None
    if axes is not None:
        raise UsageError(
            "axes can be given for one array only",
            "bring all images of a list to one order of axes, and leave axes out",
        )
    if len(patches) and all(is_file(path) for path in patches):
        return _of_files([Path(path) for path in patches], color)
    images = [array_of(image) for image in patches]
    dtype, white = _unit(images)
    if dtype.name in STANDS_FOR:  # white is the largest value of the type, as in files
        images = [(image / white).astype(np.float32) for image in images]
        return Images(images, 1.0, True)
    return Images(images, white, dtype.kind == "u")


def rows_of(rows: np.ndarray, seed: int) -> Images:
    """Return rows of numbers, (N, d), in random order, as one image whose patches have side 1.

    It raises InputError if they are not numbers, or no density can be fitted to them.
    """
    from smdae.files.table import one_table

    if rows.dtype.kind not in "iuf" or rows.shape[1] == 0:
        raise InputError(f"rows are numbers with shape (N, d), not {rows.dtype} with shape {rows.shape}")
    whole = rows.dtype in INTEGERS
    white = float(np.iinfo(rows.dtype).max) if whole else 1.0
    return Images([one_table(rows if whole else rows.astype(np.float32), "the rows", seed)], white, whole)


def level_for_rows(rows: np.ndarray, white: float) -> tuple[float, float]:
    """Return a value of white, and the level of the noise for rows for which none is given, that being 255.

    The level is a third of their spread, the root mean square of the standard deviations of the columns, the last axis.
    Rows come in any unit. Where the noise is small beside all that their density shows, the smoothed density is nearly
    that of the rows themselves, and objectives that belong to different densities can hardly be told apart. White is
    kept unless the level would be beyond what a fit takes: then it is the power of ten that is nearest to their spread.
    """
    spread = float(rows.var(axis=tuple(range(rows.ndim - 1)), dtype="float64").mean()) ** 0.5
    if not MIN_SIGMA <= 255 * SHARE_OF_SPREAD * spread / white <= MAX_SIGMA:
        white = 10.0 ** round(math.log10(spread))
    return white, float(f"{255 * SHARE_OF_SPREAD * spread / white:.3g}")


def level_of(sigma: Any, images: Images) -> Any:
    """Return sigma, of float images in their own unit, on the scale where white is 255; UsageError if it is larger.

    A pair of levels comes as a pair, and anything but a number unchanged.
    """
    if isinstance(sigma, tuple):
        return tuple(level_of(one, images) for one in sigma)
    if not isinstance(sigma, int | float):
        return sigma
    level = sigma if images.is_integer else 255 * sigma / images.white
    if level > 255:
        white = 255 if images.is_integer else images.white
        did_you = "" if images.is_integer else f": did you mean {sigma * images.white / 255:.4g}?"
        unit = "integers of any depth have white 255" if images.is_integer else "that of floats is in their own unit"
        raise UsageError(f"sigma {sigma:.4g} is larger than white, {white:g}{did_you} ({unit})")
    return level


def _of_files(paths: list[Path], color: bool) -> Images:
    """Return the images below paths, as the command reads them."""
    from smdae.files.corpus import gather, refuse_unit

    corpus = gather(paths, 1, color=color)
    refuse_unit(corpus)
    return Images(corpus.images, corpus.white, not corpus.has_floats)


def _unit(images: Sequence[np.ndarray]) -> tuple[np.dtype, float]:
    """Return the common dtype of images and the value of white in it.

    It raises InputError if they are not all images of one dtype and of 1 or 3 channels, or hold NaN or infinity.
    """
    if not images:
        raise InputError("there are no images to fit on")
    if any(image.ndim not in (2, 3) or 0 in image.shape for image in images):
        raise InputError("patches are images with shape (H, W) or (H, W, 3)")
    for kinds, what in (
        ({str(image.dtype) for image in images}, "dtype"),
        ({str(image.shape[2] if image.ndim == 3 else 1) for image in images}, "number of channels"),
    ):
        if len(kinds) > 1:
            raise InputError(f"images of one fit have one {what}, not {' and '.join(sorted(kinds))}")
    if images[0].ndim == 3 and images[0].shape[2] not in (1, 3):
        raise InputError(f"images have 1 or 3 channels, not {images[0].shape[2]}")
    dtype = images[0].dtype
    if dtype.name not in SAMPLES:
        raise InputError(f"images are of integers of 8, 16 or 32 bits or of floats, not {dtype}", "convert them first")
    if not all(np.isfinite(image).all() for image in images):
        raise InputError(
            "the images hold values that are not numbers (NaN or infinity)",
            "leave those images out, or replace these values",
        )
    return dtype, float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0
