"""The pages of a TIFF: where they are, which series each belongs to, and their samples, decoded by tifffile.

Facts this relies on:
- tifffile fills missing strips with zeros and has no size limit: offsets, byte counts and sizes are checked first. Of a
  chain of directories that leads out of the file it drops the rest, and it may follow a circle for ever: the chain is
  followed here before it.
- A page at reduced size is a thumbnail or a level of a pyramid, not a page.
- ImageJ and tifffile may write stacks behind a single directory, one bare plane after the other, and say so only in the
  description. Files that other programs made of such a stack can say so too and hold less.
- What OME-XML says may be of other files, too, and need not be true: numbers beyond reason are not believed.
"""

import copy
import logging
import math
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from smdae.errors import InputError
from smdae.files.picture import SAMPLES, check_size
from smdae.files.room import refuse_huge
from smdae.files.tiff_axes import ALL, Axes, Selection
from smdae.files.tiff_series import alone, by_series

if TYPE_CHECKING:
    import tifffile

# Without a handler, logging would print tifffile's complaints about broken files to stderr.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

MINISWHITE, MINISBLACK, RGB, PALETTE, MASK, CMYK, YCBCR = 0, 1, 2, 3, 4, 5, 6
# Samples of a pixel that are colours, of what is read.
COLOURS = {MINISWHITE: 1, MINISBLACK: 1, RGB: 3, PALETTE: 1, MASK: 1, CMYK: 4, YCBCR: 3}
UNREAD = {8: "L*a*b* colour", 9: "L*a*b* colour", 10: "L*a*b* colour", 32803: "the mosaic of a camera's sensor"}
UNREAD |= {34892: "the linear light of a camera's sensor", 32844: "logarithms of light", 32845: "logarithms of light"}
UNCOMPRESSED, JPEGS = 1, (6, 7, 34892, 33007)
TOGETHER, PLANAR = 1, 2
DENSEST = 2**15  # pixels for which a byte can stand: in Zstandard, 4 bytes are 2^17
MOST_SAMPLES = 4096  # of a pixel
MAX_DEPTH = 2**16  # planes of a page that is a volume
OF_A_PAGE = 1 << 13  # bytes that a directory takes, beside the values of its tags
NEW_SUBFILE_TYPE, SUBFILE_TYPE, REDUCED = 254, 255, 2
NUMBERS = {3: "H", 4: "I"}
MAX_TAGS = 4096  # of a directory that makes sense


class Place(NamedTuple):
    """The place of a page in a file.

    Attributes:
        directory: Its number in the chain.
        plane: Its number among the planes whose samples follow each other behind that directory, 0 for the first.
        series: The number of its series.
        channel: Along C, counted from 0.
    """

    directory: int
    plane: int = 0
    series: int = 0
    channel: int = 0


class Pages:
    """The checked pages of a file. All are kept to begin with, until they take too much memory; and the last one."""

    def __init__(self, file: "tifffile.TiffFile", places: Sequence[Place], room: int) -> None:
        self._file = file
        self._places = places
        self._room = room
        self._kept: dict[int, tifffile.TiffPage] = {}
        self._last: tuple[int, tifffile.TiffPage] | None = None

    def __len__(self) -> int:
        return len(self._places)

    def page(self, number: int) -> "tifffile.TiffPage":
        """Return the page with a number, read and checked if it is not kept; raise InputError as `checked` does."""
        if number in self._kept:
            return self._kept[number]
        if self._last is None or self._last[0] != number:
            page = checked(self._file, self._places[number])
            self._room -= OF_A_PAGE + sum(tag.valuebytecount for tag in page.tags)
            if self._room >= 0:
                self._kept[number] = page
            self._last = number, page
        return self._last[1]


def opened(stream: BinaryIO) -> "tifffile.TiffFile":
    """Return an open TIFF; raise InputError if it is cut off before its first directory. tifffile's own errors pass."""
    import tifffile

    file = tifffile.TiffFile(stream)
    try:
        _ = file.pages.first
    except IndexError as error:
        raise InputError("the file is truncated") from error
    return file


def count(file: "tifffile.TiffFile") -> int:
    """Return the number of directories that are not marked as reduced; InputError if their chain is a circle."""
    return _are_reduced(file).count(False)


def places(file: "tifffile.TiffFile", selection: Selection = ALL) -> tuple[list[Place], list[Axes], list[str]]:
    """Return the pages at full size, at least one, the axes of their series, and what there is to say of them.

    A page that the file promises but does not hold is among them: `checked` refuses it.

    Raises:
        InputError: There is none, or the file is damaged.
        UsageError: The axes that the user gives contradict the file.
    """
    reduced = _are_reduced(file)
    if 0 in (file.pages.first.imagewidth, file.pages.first.imagelength):  # before its other pages are looked at
        raise InputError("it has no pixels")
    if file.pages.first.is_reduced:
        raise InputError("it holds no picture at full size", "save it as a plain TIFF or PNG first")
    numbers: dict[int, tuple[int, int]] = {}
    behind: dict[int, int] = {}
    axes, lower, remarks = by_series(file, reduced, selection, numbers, behind)
    below = len(file.pages.first.subifds or ())
    found = []
    for index, is_reduced in enumerate(reduced):
        if is_reduced or index in lower:
            continue
        if index not in numbers:
            numbers[index] = len(axes), 0
            axes.append(alone(file, index, selection))
        series, position = numbers[index]
        for plane in range(behind.get(index, 1)):
            found.append(Place(index, plane, series, axes[series].channel(position + plane)))
    smaller = sum(reduced) + len(lower) + below
    return found, axes, remarks + _of_smaller(smaller)


def checked(file: "tifffile.TiffFile", place: Place) -> "tifffile.TiffPage":
    """Return the page at one of `places`, its data not yet read; InputError where it is cut or not supported."""
    try:
        page = copy.copy(file.pages[place.directory].aspage())
    except IndexError as error:
        raise InputError("the file is truncated") from error
    page.dataoffsets = tuple(offset + place.plane * page.nbytes for offset in page.dataoffsets)
    _check(page, file.filehandle.size)
    return page


def _are_reduced(file: "tifffile.TiffFile") -> list[bool]:
    """Return, for each directory of the chain, whether it says that its picture is of reduced size.

    Only two entries of a directory are read: parsing all takes half a millisecond. A chain that is cut off ends there.

    Raises:
        InputError: The chain goes round in a circle.
    """
    handle, layout = file.filehandle, file.tiff

    def number(position: int, format: str, size: int) -> int:
        handle.seek(position)
        data = handle.read(size)
        return int(struct.unpack(format, data)[0]) if len(data) == size else handle.size

    offset, seen, reduced = file.pages.first.offset, set[int](), list[bool]()
    while offset:
        if offset in seen:
            raise InputError("its pages go round in a circle: the file is damaged")
        seen.add(offset)
        reduced.append(False)
        if offset >= handle.size:
            break
        tags = number(offset, layout.tagnoformat, layout.tagnosize)
        if tags <= MAX_TAGS:
            reduced[-1] = _is_reduced(handle.read(tags * layout.tagsize), layout)
        offset = number(offset + layout.tagnosize + tags * layout.tagsize, layout.offsetformat, layout.offsetsize)
    return reduced


def _is_reduced(entries: bytes, layout: "tifffile.TiffFormat") -> bool:
    """Return whether entries say that the picture is of reduced size; False where they cannot be understood."""
    stated = dict[int, int]()
    for start in range(0, len(entries) - layout.tagsize + 1, layout.tagsize):
        entry = entries[start : start + layout.tagsize]
        code, kind = struct.unpack_from(layout.byteorder + "HH", entry)
        if code in (NEW_SUBFILE_TYPE, SUBFILE_TYPE) and kind in NUMBERS:
            place = 8 if layout.tagsize == 12 else 12
            stated.setdefault(code, struct.unpack_from(layout.byteorder + NUMBERS[kind], entry, place)[0])
    return bool(stated.get(NEW_SUBFILE_TYPE, 0) & 1) or stated == {SUBFILE_TYPE: REDUCED}


def samples_in(page: "tifffile.TiffPage") -> np.ndarray:
    """Return the samples of a `checked` page: (samples apart, depth, H, W, samples together), in native byte order.

    Of YCbCr the samples are RGB.
    """
    samples = page.asarray(maxworkers=1).reshape(page.shaped)
    samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    if page.photometric == YCBCR and page.compression not in JPEGS:
        together = samples if page.shaped[0] == 1 else samples.transpose(4, 1, 2, 3, 0)
        rgb = [np.asarray(Image.fromarray(plane, "YCbCr").convert("RGB")) for plane in together[0]]
        samples = np.stack(rgb)[None]  # (1, depth, H, W, 3)
    return samples


def colours_of(page: "tifffile.TiffPage") -> int:
    """Return how many samples of a pixel are its colours, 1, 3 or 4; the rest are alpha or data."""
    return COLOURS[int(page.photometric)]


def _of_smaller(count: int) -> list[str]:
    """Return a remark on pages that are left out, in a list that is empty if there are none."""
    if not count:
        return []
    return [f"{count:,} {'page' if count == 1 else 'pages'} of a reduced size {'is' if count == 1 else 'are'} left out"]


def _check(page: "tifffile.TiffPage", size: int) -> None:
    import tifffile

    held = sum(page.databytecounts)
    check_size(page.imagewidth, page.imagelength * page.imagedepth, DENSEST * held)
    if page.is_tiled:
        across, down = (
            math.ceil(page.imagewidth / page.tilewidth),
            math.ceil(page.imagelength / page.tilelength),
        )
        check_size(across * page.tilewidth, down * page.tilelength * page.imagedepth, DENSEST * held)
    if page.imagedepth > MAX_DEPTH:
        raise InputError(f"it is a volume of {page.imagedepth:,} planes", "save them as pages first")
    if page.photometric in UNREAD:
        raise InputError(f"it has {UNREAD[page.photometric]}", "convert it to RGB first")
    try:
        if page.compression != UNCOMPRESSED:
            _ = tifffile.TIFF.DECOMPRESSORS[page.compression]
    except KeyError as error:
        number, name = str(int(page.compression)), name_of(page.compression)
        shown = number if name == number else f"{number} ({name})"
        raise InputError(f"its compression, {shown}, is not known", "save it with Deflate or LZW first") from error
    if page.photometric not in COLOURS or page.samplesperpixel < COLOURS[page.photometric]:
        raise InputError(f"its {page.samplesperpixel} channels are not gray or RGB", "save it as gray or RGB first")
    if page.planarconfig not in (TOGETHER, PLANAR):  # the decoder would leave samples as they lay in memory
        raise InputError(
            f"its channels are stored in an unknown way ({int(page.planarconfig)})",
            "save it again with another program first",
        )
    if page.photometric == PALETTE and page.samplesperpixel > 1:
        raise InputError("it has a table of colours and more than one channel", "save it as RGB first")
    if page.samplesperpixel > MOST_SAMPLES:
        raise InputError(f"it has {page.samplesperpixel:,} channels in a page", "save them as pages first")
    if page.compression in JPEGS and page.bitspersample < 8:
        raise InputError(f"its samples have {page.bitspersample} bits, and JPEG has none so short")
    if page.is_subsampled and (page.compression not in JPEGS or page.planarconfig == PLANAR):
        raise InputError("its colours have a lower resolution than its brightness", "save it as RGB first")
    if page.dtype is None or page.dtype.name not in (*SAMPLES, "bool"):
        kind = page.dtype.name if page.dtype is not None else f"{page.bitspersample} bits"
        raise InputError(f"its samples are {kind}", f"smdae reads {', '.join(SAMPLES)}: convert it to one of these")
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    whole = len(segments) >= math.prod(page.chunked) and all(
        count > 0 and 0 <= offset <= size - count for offset, count in segments
    )
    bits = math.ceil(page.samplesperpixel * page.imagewidth * page.bitspersample / 8) * page.imagelength
    if not whole or (page.compression == UNCOMPRESSED and held < bits * page.imagedepth):
        raise InputError("the file is truncated")
    expansion = COLOURS[RGB] if page.photometric == PALETTE else 1
    pixels = page.imagewidth * page.imagelength * page.imagedepth
    refuse_huge(pixels, max(page.nbytes, pixels * page.samplesperpixel) * expansion, held)


def name_of(compression: int) -> str:
    """Return the name of a compression, or its number if it has none."""
    import tifffile

    with suppress(ValueError):
        return str(tifffile.COMPRESSION(compression).name)
    return str(int(compression))
