"""What callers pass as an image: an array of one picture or of many, in any order of axes, or a file.

Arrays are (H, W), (H, W, C), (N, H, W) or (N, H, W, C). The last of three axes is that of channels if its length is 1
to 4; of 5 to 16 that look like channels it must be told. `axes` says otherwise, by a letter for each axis:

    H or Y    rows                  C or S       channels
    W or X    columns               N, T or Z    pages, of which there may be several axes

A file is read as `smdae denoise` reads it. Its alpha is kept, and pixels that it hides are left as they are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smdae.denoising.arrays import array_of, is_image
from smdae.errors import UsageError
from smdae.files.picture import STANDS_FOR, as_integers, looks_like_channels

KINDS = {"H": "rows", "Y": "rows", "W": "columns", "X": "columns", "C": "channels", "S": "channels"}
KINDS |= dict.fromkeys("NTZ", "pages")
ORDER = ("pages", "rows", "columns", "channels")
MAX_CHANNELS = 4  # length of the last of three axes, up to which it is taken for channels


@dataclass(frozen=True, eq=False)
class Pictures:
    """The pictures in an input, and how to put results together in the same form.

    Attributes:
        arrays: The pictures, each with shape (H, W) or (H, W, C), all alike.
        alpha: The alpha of each picture, (H, W); empty if there is none.
        quality: The quality of the JPEG that they were read from; None for others.
        order: The permutation that brings the axes of the input to the order pages, rows, columns, channels; None for
            files.
        lengths: Lengths of the axes in that order.
        is_many: Whether there is an axis of pages.
        channels: The number of the channel that each picture belongs to; pictures of one channel share their noise.
            Empty if all are of one.
        stored: The integer type that the pictures, which are floats, stand for; None for floats that are floats.
    """

    arrays: tuple[np.ndarray, ...]
    alpha: tuple[np.ndarray, ...] = ()
    quality: int | None = None
    order: tuple[int, ...] | None = None
    lengths: tuple[int, ...] = ()
    is_many: bool = False
    channels: tuple[int, ...] = ()
    stored: np.dtype | None = None

    def joined(self, results: Sequence[np.ndarray]) -> np.ndarray:
        """Return results, one for each picture, as one array with the axes and type of the input; alpha comes last."""
        if self.alpha:
            pairs = zip(results, self.alpha, strict=True)
            results = [np.concatenate([np.atleast_3d(result), alpha[:, :, None]], 2) for result, alpha in pairs]
        result = np.stack(results, dtype=results[0].dtype) if self.is_many else results[0]
        if self.stored is not None:
            result = as_integers(result, self.stored.name).astype(self.stored, copy=False)
        if self.order is None:
            return result
        ordered = result.reshape(self.lengths)
        return np.ascontiguousarray(ordered.transpose(np.argsort(self.order)))


def is_file(image: Any) -> bool:
    """Return whether an image is given as a path, a str or a Path; whether that file exists is not looked at."""
    return isinstance(image, str | Path)


def pictures_of(image: Any, axes: str | None = None) -> Pictures:
    """Return the pictures in an array or a file.

    Args:
        image: An array, a tensor, a Pillow image or anything that numpy converts to an array, or the path of a file.
        axes: A letter for each axis of an array; None to guess them from their number and the length of the last.

    Raises:
        UsageError: The axes do not fit the array, or it cannot be one of images.
        InputError: The file cannot be read.
        MemoryLimitError: The file takes more memory than there is.
    """
    if is_file(image):
        if axes is not None:
            raise UsageError("axes are for arrays; a file has its own", "leave axes out")
        return _of_file(Path(image))
    array = array_of(image)
    if array.ndim == 0:
        raise UsageError(f"an image is an array or the path of a file, not of type {type(image).__name__}")
    if axes is None and is_image(image) and array.shape[2:] in ((2,), (4,)):
        colours = array[:, :, 0] if array.shape[2] == 2 else array[:, :, :3]
        return Pictures((colours,), (array[:, :, -1],))
    stored = array.dtype if array.dtype.name in STANDS_FOR else None
    if stored is not None:
        array = array.astype(STANDS_FOR[stored.name])
    if axes is None:
        axes = _usual(array)
    order = _order(array, axes)
    lengths = tuple(array.shape[i] for i in order)
    ordered = array.transpose(order)
    kinds = [KINDS[axes[i].upper()] for i in order]
    pages = kinds.count("pages")
    if not pages:
        return Pictures((ordered,), order=order, lengths=lengths, stored=stored)
    arrays = ordered.reshape(math.prod(ordered.shape[:pages]), *ordered.shape[pages:])
    return Pictures(tuple(arrays), order=order, lengths=lengths, is_many=True, stored=stored)


def _usual(array: np.ndarray) -> str:
    """Return the axes of an array whose caller named none."""
    if 0 in array.shape or array.ndim not in (2, 3, 4):
        raise UsageError(f"an image has shape (H, W), (H, W, C), (N, H, W) or (N, H, W, C), not {array.shape}")
    if array.ndim == 3:
        if array.shape[2] > MAX_CHANNELS and looks_like_channels(*array.shape):
            count, height, width = array.shape
            raise UsageError(
                f"an array of shape {array.shape} is {count} pages of {width} x {height} or has {width} channels",
                "say which: axes='NHW' for pages, axes='HWC' for channels",
            )
        return "HWC" if array.shape[2] <= MAX_CHANNELS else "NHW"
    if array.ndim == 4 and array.shape[3] > MAX_CHANNELS:
        raise UsageError(
            f"an array of four axes has 1 to {MAX_CHANNELS} channels last, and this has shape {array.shape}",
            "say which axis is which, such as axes='TCYX'",
        )
    return {2: "HW", 4: "NHWC"}[array.ndim]


def _order(array: np.ndarray, axes: str) -> tuple[int, ...]:
    """Return the permutation of the axes of an array to pages, rows, columns and channels."""
    unknown = [letter for letter in axes if letter.upper() not in KINDS]
    if unknown:
        raise UsageError(f"axes {axes!r:.20} has the letter {unknown[0]!r}", f"there are {', '.join(KINDS)}")
    kinds = [KINDS[letter.upper()] for letter in axes]
    if len(axes) != array.ndim or 0 in array.shape:
        raise UsageError(f"axes {axes!r} name {len(axes)} axes, and the array has shape {array.shape}")
    if kinds.count("rows") != 1 or kinds.count("columns") != 1 or kinds.count("channels") > 1:
        raise UsageError(f"axes {axes!r} need one axis of rows and one of columns, and at most one of channels")
    return tuple(sorted(range(len(kinds)), key=lambda i: (ORDER.index(kinds[i]), i)))


def _of_file(path: Path) -> Pictures:
    """Return the pictures of a file."""
    from smdae.files import images, parts, stack
    from smdae.files.picture import Picture

    read: list[Picture] = []
    channels: tuple[int, ...] = ()
    if stack.count(path) > 1:
        with stack.opened(path, str(path)) as pages:
            pairs = [pair for number in range(len(pages)) for pair in pages.chosen(number)]
        keys = sorted({key for key, _ in pairs})
        read, channels = [picture for _, picture in pairs], tuple(keys.index(key) for key, _ in pairs)
    several = parts.find(path, str(path)) if not read else None
    if several is not None and several.container.format == "NPY":
        read = [*several]
    if not read:  # all pages are black and white only: reading one as an image raises the reason
        read = [images.read(path, str(path))]
    shapes = {(picture.pixels.shape, picture.depth, picture.alpha is None) for picture in read}
    if len(shapes) > 1:
        raise UsageError(f"the pages of '{path}' differ in size or kind, and one array cannot hold them")
    alpha = tuple(picture.alpha for picture in read if picture.alpha is not None)
    arrays = tuple(picture.pixels for picture in read)
    stored = None if read[0].stored is None else np.dtype(read[0].stored)
    return Pictures(arrays, alpha, read[0].quality, is_many=len(read) > 1, channels=channels, stored=stored)
