"""TIFF stacks: many pages in one file, read and written a page at a time, in the memory of one.

Facts this relies on:
- A page is a directory of the chain, or one of the planes that ImageJ keeps behind a single directory. One at
  reduced size is a thumbnail, not a page, and is dropped.
- All directories are checked before the first page is decoded: it is cheap, and no one wants to hear of page
  90 after an hour.
- A page is written as its directory and then its samples. How long both are is known before they are written,
  so the pointer to the next directory is too, and what is written never goes back: it may go into a pipe.
- In a BigTIFF, Pillow gives the EXIF directories below the first pointers of type LONG, which end at 4 GB:
  behind that they are left out.
"""

import contextlib
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL.ExifTags import IFD

from smdae.errors import InputError, OutputError
from smdae.files import images, tiff, writing
from smdae.files.picture import Picture, samples_of

if TYPE_CHECKING:
    import tifffile

__all__ = ["Stack", "count", "encoded", "opened", "write"]

WORDS = 2**16  # bytes for the EXIF directories below the first of a page
TABLE_OF_COLOURS = 4


@dataclass(frozen=True, eq=False)
class Stack:
    """The pages of an open TIFF. `len` is their number; each iteration decodes them anew, one at a time.

    nbytes      what the pictures take in a file, metadata included, at most, if they keep their depth

    Iteration gives `Picture`s, and raises InputError, which names the page, for one that cannot be decoded.
    """

    nbytes: int
    _name: str
    _stream: BinaryIO
    _file: "tifffile.TiffFile"
    _places: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Picture]:
        return (self.page(number) for number in range(len(self)))

    def close(self) -> None:
        """Close the file before its time: what is open is not replaced on Windows."""
        self._stream.close()

    def page(self, number: int) -> Picture:
        """Decode one page, counted from 0."""
        place = self._places[number]
        with images.decoding(_page_of(self._name, number)):
            return tiff.decoded(self._stream, tiff.checked(self._file, place), plane=place[1])


def count(source: Path | bytes) -> int:
    """The number of pages of a TIFF, of which nothing is decoded; 1 for whatever is no stack.

    That includes what cannot be read at all: `images.read` says why. A pipe is not looked into.
    """
    if isinstance(source, Path) and not os.path.isfile(source):
        return 1
    try:
        with _stream_of(source) as stream:
            if images.format_of(stream.read(images.HEAD), "") != "TIFF":
                return 1
            import tifffile  # only now: most pictures are none

            stream.seek(0)
            with tifffile.TiffFile(stream) as file:
                return len(tiff.places(file))
    except Exception:
        return 1


@contextlib.contextmanager
def opened(source: Path | bytes, name: str) -> Iterator[Stack]:
    """Open a TIFF of any number of pages and check them all, so that only damaged data is left to go wrong.

    `name` is what messages call it. Raises InputError, which names the page, for one that is not supported or
    cut, and for what is no TIFF.
    """
    import tifffile

    with contextlib.ExitStack() as whole:
        with images.opening(name):
            stream = whole.enter_context(_stream_of(source))
            if images.format_of(stream.read(images.HEAD), name) != "TIFF":
                raise InputError(f"{name!r} is not a TIFF, and only TIFFs have pages")
            stream.seek(0)
        with images.decoding(repr(name)):
            file = whole.enter_context(tifffile.TiffFile(stream))
            places = tiff.places(file)
        nbytes = 0
        for number, place in enumerate(places):
            with images.decoding(_page_of(name, number)):
                nbytes += _bound(tiff.checked(file, place))
        yield Stack(nbytes, name, stream, file, places)


def write(
    path: Path,
    pictures: Iterable[Picture],
    count: int,
    nbytes: int,
    *,
    overwrite: bool = False,
    origin: writing.Origin | None = None,
) -> None:
    """Write pictures as the pages of one TIFF as they come, whole or not at all.

    Raises OutputError as `writing.whole` does, and what `encoded` raises, to which the arguments go.
    """
    with writing.whole(path, overwrite=overwrite, origin=origin) as put:
        for piece in encoded(pictures, count, nbytes):
            put(piece)


def encoded(pictures: Iterable[Picture], count: int, nbytes: int) -> Iterator[bytes | memoryview]:
    """The bytes of a TIFF of `count` pages, piece by piece.

    `nbytes` is an upper bound for all of them, such as `Stack.nbytes`: over 4 GB it will be a BigTIFF. Raises
    SmdaeError for NaN or infinity in a picture, OutputError where 4 GB are passed against the bound, and
    ValueError where the number of pictures is not `count`.
    """
    big = nbytes > tiff.MAX_BYTES
    header = tiff.BIG_HEADER if big else tiff.HEADER
    yield header
    position, page = len(header), 0
    for page, picture in enumerate(pictures, 1):
        images.refuse_infinite(picture)
        samples = samples_of(picture)
        if not big and position + samples.nbytes > tiff.MAX_BYTES:
            raise OutputError(f"page {page} passes the 4 GB that TIFF holds")
        tags = tiff.directory(picture, samples, big=big)
        if position > tiff.MAX_BYTES:
            for below in (IFD.Exif, IFD.GPSInfo):
                tags.pop(below, None)
        directory = bytearray(tags.tobytes(position))
        position += len(directory) + samples.nbytes
        padding = position % 2
        position += padding
        pointer, at = ("<Q", 8 + 20 * len(tags)) if big else ("<I", 2 + 12 * len(tags))
        struct.pack_into(pointer, directory, at, position if page < count else 0)
        yield bytes(directory)
        little = np.ascontiguousarray(samples, samples.dtype.newbyteorder("<"))
        yield little.reshape(-1).view(np.uint8).data
        yield bytes(padding)
        # The next picture is made while this frame waits: nothing of the last one should be held by then.
        del picture, samples, little
    if page != count:
        raise ValueError(f"{page} pictures for {count} pages")


def _stream_of(source: Path | bytes) -> BinaryIO:
    return source.open("rb") if isinstance(source, Path) else BytesIO(source)


def _page_of(name: str, number: int) -> str:
    return f"page {number + 1} of {name!r}"


def _bound(page: "tifffile.TiffPage") -> int:
    expansion = TABLE_OF_COLOURS if page.photometric == tiff.PALETTE else 1
    return page.nbytes * expansion + sum(tag.valuebytecount for tag in page.tags) + WORDS
