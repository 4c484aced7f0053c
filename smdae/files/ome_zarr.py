"""OME-Zarr: volumes as folders of chunks (NGFF 0.4 in Zarr 2, 0.5 in Zarr 3), opened to be read and written by chunks.

Zarr, an extra (`smdae[zarr]`), reads and writes the chunks. All else is copied byte for byte: attributes, `omero`,
units, codecs, labels, tables. So a result differs from its source in the chunks of its images alone.

Facts this relies on:
- A chunk that is not there stands for the fill value everywhere (Zarr 2 and 3). Writers leave out what is empty.
- The axes are at most five: time, channel, then space, rows and columns last (NGFF 0.4). Before 0.3 they were TCZYX.
"""

import contextlib
import functools
import importlib.util
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smdae.errors import InputError
from smdae.files import images
from smdae.files.ome_metadata import METADATA
from smdae.files.zarr_images import Image, images_of

INSTALL = "pip install 'smdae[zarr]'"
AT_ONCE = 2  # chunks that are decoded at the same time


@dataclass(frozen=True, eq=False)
class Volume:
    """An open volume."""

    folder: Path
    images: tuple[Image, ...]
    remarks: tuple[str, ...] = ()


@functools.cache
def is_installed() -> bool:
    """Return whether zarr, which comes with the extra smdae[zarr], is installed."""
    return importlib.util.find_spec("zarr") is not None


@contextlib.contextmanager
def opened(folder: Path, name: str) -> Iterator[Volume]:
    """Open a volume, check all of its metadata, so that later only damaged chunks can fail, and yield it.

    Raises:
        InputError: The extra is missing, or it is not an OME-Zarr that can be read.
        MemoryLimitError: It takes more memory than there is.
    """
    if not is_installed():
        raise InputError(f"cannot read '{name}': OME-Zarr needs the extra smdae[zarr]", INSTALL)
    import zarr

    with zarr.config.set({"async.concurrency": AT_ONCE, "threading.max_workers": AT_ONCE}):
        with reading(name):
            found, remarks = images_of(folder)
        yield Volume(folder, tuple(found), tuple(dict.fromkeys(remarks)))


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn whatever goes wrong inside into InputError or MemoryLimitError, one line that names the volume."""
    with images.decoding(f"'{name}'"):
        try:
            yield
        except OSError as error:
            if error.strerror is None:
                raise
            raise InputError(f"{error.strerror.lower()}: {error.filename}") from error


def copied(volume: Volume, target: Path, without: Sequence[Path] = ()) -> None:
    """Copy a volume into an existing folder, but for the chunks of the arrays in `without`, folders relative to it."""
    _copied(volume.folder, target, frozenset(volume.folder / place for place in without))


def copied_array(source: Path, target: Path) -> None:
    """Copy the folder of an array."""
    _copied(source, target)


def _copied(source: Path, target: Path, without: frozenset[Path] = frozenset()) -> None:
    seen = set()
    for name, folders, names in os.walk(source, followlinks=True):
        place, real = Path(name), os.path.realpath(name)
        if real in seen:  # a link in a circle
            folders.clear()
            continue
        seen.add(real)
        into = target / place.relative_to(source)
        into.mkdir(parents=True, exist_ok=True)
        if place in without:
            folders.clear()
            names = [file for file in names if file in METADATA]
        for file in names:
            if (place / file).is_file():
                shutil.copyfile(place / file, into / file)


def sample(image: Image, plane: Sequence[int], side: int, many: int) -> np.ndarray:
    """Return a plane, (H, W); of a large one, `many` x `many` windows of `side` x `side` pixels from all over it.

    The plane is given by its index along all axes but rows and columns.
    """
    height, width = image.shape[-2:]
    above: tuple[int | slice, ...] = tuple(plane)
    every = slice(None)
    if height * width <= (side * many) ** 2:
        return np.asarray(image.array[(*above, every, every)])
    rows, columns = (_windows(length, side, many) for length in (height, width))
    return np.block([[np.asarray(image.array[(*above, y, x)]) for x in columns] for y in rows])


def _windows(length: int, side: int, many: int) -> list[slice]:
    if length <= side * many:
        return [slice(0, length)]
    starts = (round(k * (length - side) / (many - 1)) for k in range(many))
    return [slice(start, start + side) for start in starts]
