"""The files that a fit or a comparison is given, and the images of each with the value of white in it.

Integers of 8 and 16 bits stay as they are; those of other types become floats, of which 1 is the largest value of the
type.
"""

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np

from smdae.errors import InputError
from smdae.files import fits, ome_metadata, stack, y4m
from smdae.files.folders import places
from smdae.files.formats import SUFFIXES
from smdae.files.images import decoding, opening, read
from smdae.files.kinds import CLOSED, CLOSED_ONES, is_overlooked, kind_of, refuse_closed
from smdae.files.picture import WHITES, Picture, stretched
from smdae.files.regular import opened

ARRAYS = (".npy", ".npz")
PIECE = 1 << 24  # bytes of a stack that are read at once
FRAMES = 20  # of a video, that are read


def files_below(path: Path, more: Sequence[str] = (), left_out: Counter[str] | None = None) -> Iterator[Path]:
    """Yield the path itself, or the images and arrays below it, and files with more suffixes, in a fixed order.

    A file to which several links lead is yielded once. In `left_out` the other files are counted by their kinds.
    """
    if not os.path.isdir(path) or ome_metadata.is_volume(path):
        yield path
        return
    endings = (*SUFFIXES, *ARRAYS, y4m.ENDING, *more)
    closed: list[OSError] = []
    seen: set[str] = set()
    for place in places(path, closed.append):
        volumes = [name for name in place.folders if Path(name).suffix.lower() == ome_metadata.ENDING]
        place.folders[:] = [name for name in place.folders if name not in volumes]
        if left_out is not None:
            left_out.update(map(kind_of, volumes))
        for name in place.names:
            file = place.path / name
            # A pipe or a device may never end; a broken link is reported when it is read.
            is_stream = os.path.exists(file) and not os.path.isfile(file)
            is_taken = file.suffix.lower() in endings or (fits.is_named(name) and fits.is_installed())
            if is_overlooked(name) or is_stream:
                continue
            if not is_taken:
                if left_out is not None:
                    left_out[kind_of(name)] += 1
            elif (real := place.real_file(name)) not in seen:
                seen.add(real)
                yield file
    count = refuse_closed(path, closed)
    if left_out is not None and count:
        left_out[CLOSED if count == 1 else CLOSED_ONES] += count


def images_in(file: Path, white: float) -> Iterator[tuple[np.ndarray, float, bool]]:
    """Yield each image of a file, the value of white in it, and whether it holds floats in the file.

    The value of white is `white` for floats. Integers of some types become floats, for which it is 1.

    Raises:
        InputError: The file cannot be read, or holds something that is not an image.
        MemoryLimitError: An image takes more memory than there is.
    """
    if file.suffix.lower() not in ARRAYS:
        for picture in _pictures(file):
            if not picture.is_finite:
                raise _not_finite(file)
            if picture.stored is not None:
                yield _float32(picture.pixels, file) / np.float32(picture.white), 1.0, False
            elif picture.pixels.dtype.kind == "f":
                yield _float32(picture.pixels, file), white, True
            else:
                yield picture.pixels, picture.white, False
        return
    for array in arrays(file):
        if array.dtype.name not in WHITES:
            raise InputError(f"cannot use '{file}': its values are {array.dtype}, not uint8, uint16 or float")
        if array.ndim == 4 and array.shape[-1] == 1:
            array = array[..., 0]
        colour = array.ndim >= 3 and array.shape[-1] == 3
        if array.ndim - colour not in (2, 3) or 0 in array.shape:
            raise InputError(f"cannot use '{file}': its shape is {array.shape}", _advice(array.shape))
        shape = array.shape if array.ndim - colour == 3 else (1, *array.shape)
        for several in _pieces(array, shape, file):
            for image in several:
                if image.dtype.kind == "f":
                    yield _float32(image, file), white, True
                else:
                    yield image, WHITES[image.dtype.name], False


def _advice(shape: tuple[int, ...]) -> str:
    """Return what images are, or what makes them of an array of that shape."""
    if len(shape) == 4 and shape[1] in (1, 3):
        return "channels come last, (n, H, W, 3): numpy.moveaxis(images, 1, 3)"
    if len(shape) == 4:
        return f"images have 1 or 3 channels: save those of each of the {shape[3]} as images of its own, (n, H, W)"
    return "arrays are (H, W), (n, H, W), or those with 3 colours"


def _pictures(file: Path) -> Iterator[Picture]:
    """Yield the picture of a file, or those of all pages and channels of a TIFF, a page at a time.

    The pictures of a FITS file are its planes. Those of a Y4M are the luma of its first frames; the rest is not read.
    """
    if fits.is_fits(file):
        yield from _of_fits(file)
    elif y4m.is_video(file):
        yield from _of_video(file)
    elif ome_metadata.is_volume(file):
        raise InputError(f"'{file}' is an OME-Zarr, which a fit does not read", "export planes of it as TIFF first")
    elif stack.count(file) == 1:
        yield read(file, str(file))
    else:
        with stack.opened(file, str(file)) as pages:
            for number in range(len(pages)):
                yield from (picture for _, picture in pages.chosen(number))
            if not pages.groups:  # of black and white alone, which is refused with the reason
                yield read(file, str(file))


def _of_fits(file: Path) -> Iterator[Picture]:
    with fits.opened(file, str(file)) as opened:
        for image in opened.images:
            for number in range(image.count):
                values = image.plane(opened.file, number)
                yield Picture(values, 1.0, "FITS", is_finite=bool(np.isfinite(values).all()))


def _of_video(file: Path) -> Iterator[Picture]:
    with decoding(f"'{file}'"), file.open("rb") as stream:
        header = y4m.read_header(stream)
        for _, planes in islice(y4m.frames(stream, header), FRAMES):
            luma = stretched(planes[0], header.white)
            yield Picture(luma, WHITES[luma.dtype.name], "Y4M")


def arrays(file: Path) -> Iterator[np.ndarray]:
    """Yield the arrays in a .npy or .npz file; the array of a .npy is a memory map of the file.

    Raises:
        InputError: The file cannot be read, or is damaged.
        MemoryLimitError: An array takes more memory than there is.
    """
    with opening(str(file)):
        opened(file).close()  # NumPy would wait for a pipe
    with _loading(file):
        data = np.load(file, mmap_mode="r", allow_pickle=False)
    if isinstance(data, np.ndarray):
        yield data
        return
    with data:
        for name in data.files:
            with _loading(file):
                array = data[name]
            if not isinstance(array, np.ndarray):  # NumPy gives other files in a .npz as they are
                raise InputError(f"cannot read '{file}': what it calls {name!r:.60} is no array")
            yield array


def _pieces(array: np.ndarray, shape: tuple[int, ...], file: Path) -> Iterator[np.ndarray]:
    """Yield an array as stacks of images, each in memory: what is touched of a map would stay there."""
    if not isinstance(array, np.memmap) or not array.flags.c_contiguous:
        yield np.asarray(array).reshape(shape)
        return
    numbers = math.prod(shape[1:])
    step = max(1, PIECE // (numbers * array.itemsize))
    for k in range(0, shape[0], step):
        count = min(step, shape[0] - k)
        with _loading(file):
            stack = np.fromfile(
                file, array.dtype, count * numbers, offset=array.offset + k * numbers * array.itemsize
            ).reshape(count, *shape[1:])
        yield stack


@contextmanager
def _loading(file: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise InputError(f"cannot read '{file}': it is not an array that can be loaded, or was cut off") from error


def _float32(array: np.ndarray, file: Path) -> np.ndarray:
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise _not_finite(file)
    return array


def _not_finite(file: Path) -> InputError:
    reason = f"cannot use '{file}': it has values that are not numbers (NaN or infinity)"
    return InputError(reason, "leave that file out, or replace these values")
