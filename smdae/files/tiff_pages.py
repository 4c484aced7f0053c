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
import re
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from smdae.errors import InputError
from smdae.files.extent import refuse_huge
from smdae.files.picture import SAMPLES, check_size
from smdae.files.tiff_axes import ALL, Axes, Selection, axes_named, of_series

if TYPE_CHECKING:
    import tifffile

__all__ = [
    "JPEGS",
    "MINISWHITE",
    "PALETTE",
    "RGB",
    "YCBCR",
    "Place",
    "checked",
    "colours_of",
    "count",
    "name_of",
    "opened",
    "places",
    "samples_in",
]

# Without a handler, logging would print tifffile's complaints about broken files to stderr.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

MINISWHITE, MINISBLACK, RGB, PALETTE, MASK, CMYK, YCBCR = 0, 1, 2, 3, 4, 5, 6
# Samples of a pixel that are colours, of what is read.
COLOURS = {MINISWHITE: 1, MINISBLACK: 1, RGB: 3, PALETTE: 1, MASK: 1, CMYK: 4, YCBCR: 3}
UNREAD = {8: "L*a*b* colour", 9: "L*a*b* colour", 10: "L*a*b* colour", 32803: "the mosaic of a camera's sensor"}
UNREAD |= {34892: "the linear light of a camera's sensor", 32844: "logarithms of light", 32845: "logarithms of light"}
UNCOMPRESSED, JPEGS = 1, (6, 7, 34892, 33007)
PLANAR = 2
NEW_SUBFILE_TYPE, SUBFILE_TYPE, REDUCED = 254, 255, 2
NUMBERS = {3: "H", 4: "I"}
MAX_TAGS = 4096  # of a directory that makes sense
DENSEST = 2**15  # pixels for which a byte can stand: in Zstandard, 4 bytes are 2^17
MAX_DEPTH = 2**16  # planes of a page that is a volume
MAX_NUMBER = 10**7  # of planes, that OME-XML can be believed
OME_COUNT = re.compile(r'\b(?:Size[A-Z]|PlaneCount|NumPlanes|IFD|First[A-Z]|SamplesPerPixel)="([0-9]+)"')
OME_RANGE = re.compile(r'\b(?:Start|End|Step)="([-+0-9.eE]{1,30})"')
FIRST_OF_SERIES = ("ome", "imagej", "shaped")


class Place(NamedTuple):
    """Where a page is.

    Attributes:
        directory: Its number in the chain.
        plane: Behind that directory, 0 for the one that it describes.
        series: The number of its series.
        channel: Along C, counted from 0.
    """

    directory: int
    plane: int = 0
    series: int = 0
    channel: int = 0


def opened(stream: BinaryIO) -> "tifffile.TiffFile":
    """Open a TIFF; raise InputError for one whose directories go round in a circle, or that has none."""
    import tifffile

    file = tifffile.TiffFile(stream)
    try:
        _ = file.pages.first
    except IndexError as error:
        raise InputError("the file is truncated") from error
    return file


def count(file: "tifffile.TiffFile") -> int:
    """Return the number of directories that are not told to be of reduced size; raise InputError as `places` does."""
    return _are_reduced(file).count(False)


def places(file: "tifffile.TiffFile", selection: Selection = ALL) -> tuple[list[Place], list[Axes], list[str]]:
    """Return the pages at full size, at least one, the axes of their series, and what there is to say of them.

    A page that the file promises but does not hold is among them: `checked` refuses it.

    Raises:
        InputError: There is none, or the file is damaged.
        UsageError: The axes that the user tells contradict the file.
    """
    reduced = _are_reduced(file)
    if 0 in (file.pages.first.imagewidth, file.pages.first.imagelength):  # before its other pages are looked at
        raise InputError("it has no pixels")
    if file.pages.first.is_reduced:
        raise InputError("it holds no picture at full size", "save it as a plain TIFF or PNG first")
    numbers: dict[int, tuple[int, int]] = {}
    behind: dict[int, int] = {}
    axes, lower, remarks = _by_series(file, reduced, selection, numbers, behind)
    below = len(file.pages.first.subifds or ())
    found = []
    for index, is_reduced in enumerate(reduced):
        if is_reduced or index in lower:
            continue
        if index not in numbers:
            numbers[index] = len(axes), 0
            axes.append(_alone(file, index, selection))
        series, position = numbers[index]
        for plane in range(behind.get(index, 1)):
            found.append(Place(index, plane, series, axes[series].channel(position + plane)))
    smaller = sum(reduced) + len(lower) + below
    return found, axes, remarks + _of_smaller(smaller)


def checked(file: "tifffile.TiffFile", place: Place) -> "tifffile.TiffPage":
    """The page at one of `places`, its data not yet read; InputError where it is cut or not supported."""
    try:
        page = copy.copy(file.pages[place.directory].aspage())
    except IndexError as error:
        raise InputError("the file is truncated") from error
    page.dataoffsets = tuple(offset + place.plane * page.nbytes for offset in page.dataoffsets)
    _check(page, file.filehandle.size)
    return page


def samples_in(page: "tifffile.TiffPage") -> np.ndarray:
    """Decode a page that is `checked`: (samples apart, depth, H, W, samples together), in the byte order at hand.

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


# ---- the chain of directories -------------------------------------------------------------------------------------


def _are_reduced(file: "tifffile.TiffFile") -> list[bool]:
    """Return of each directory of the chain whether it says that its picture is one of reduced size.

    Of a directory only two entries are looked at: to understand all takes half a millisecond.
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
    """Return what the entries of a directory say, False where they cannot be understood: no one can read that page."""
    said = dict[int, int]()
    for start in range(0, len(entries) - layout.tagsize + 1, layout.tagsize):
        entry = entries[start : start + layout.tagsize]
        code, kind = struct.unpack_from(layout.byteorder + "HH", entry)
        if code in (NEW_SUBFILE_TYPE, SUBFILE_TYPE) and kind in NUMBERS:
            place = 8 if layout.tagsize == 12 else 12
            said.setdefault(code, struct.unpack_from(layout.byteorder + NUMBERS[kind], entry, place)[0])
    return bool(said.get(NEW_SUBFILE_TYPE, 0) & 1) or said == {SUBFILE_TYPE: REDUCED}


# ---- series -------------------------------------------------------------------------------------------------------


def _by_series(
    file: "tifffile.TiffFile",
    reduced: list[bool],
    selection: Selection,
    numbers: dict[int, tuple[int, int]],
    behind: dict[int, int],
) -> tuple[list[Axes], set[int], list[str]]:
    """Return the axes of each series, the directories of smaller levels of pyramids, and what there is to say.

    Args:
        file: The file.
        reduced: Which of its directories are thumbnails.
        selection: What the user tells.
        numbers: Gets the series of each directory and its position there.
        behind: Gets how many planes lie behind a directory.
    """
    axes: list[Axes] = []
    lower: set[int] = set()
    remarks: list[str] = []
    for series in _series(file):
        own = [page if page is not None and page.parent is file else None for page in series._pages]
        for level in series.levels[1:]:
            lower |= {p.index for p in level._pages if p is not None and p.parent is file and not p.is_subifd}
        first = next((page for page in own if page is not None), None)
        if first is None or first.is_subifd:
            continue
        key = series.keyframe
        size = math.prod(key.shape)
        count = max(1, math.prod(series.shape) // max(size, 1))
        if len(own) == 1 and count > 1:
            following = [k for k in range(first.index, len(reduced)) if not reduced[k]]
            if len(following) >= count:
                positions = dict(zip(following[:count], range(count), strict=True))
            else:
                positions = {first.index: 0}
                # Of planes that lie beyond the end of the file, one is enough to be refused.
                held = (file.filehandle.size - key.dataoffsets[0]) // max(key.nbytes, 1)
                behind[first.index] = max(1, min(count, held + 1))
        else:
            count = len(own)
            positions = {page.index: k for k, page in enumerate(own) if page is not None and not page.is_subifd}
        told = of_series(series.axes, series.shape, key.axes, key.shape, count)
        if selection.axes is not None:
            lead = len(series.shape) - len(key.shape)
            own_shape = series.shape[:lead] if told is not None else (count,)
            told = axes_named(selection.axes, key.axes, key.shape, tuple(dict.fromkeys((own_shape, (count,)))))
        elif told is None:
            told = Axes("I", (count,), told="I" + key.axes)
        for index, position in positions.items():
            numbers.setdefault(index, (len(axes), position))
        axes.append(told)
    if file.is_imagej and len(reduced) == 1 and not behind:
        # tifffile takes no note of planes that lie beyond the end of the file.
        page = file.pages.first
        images = int((file.imagej_metadata or {}).get("images", 1))
        if images > 1 and page.is_final:
            held = (file.filehandle.size - page.dataoffsets[0]) // max(page.nbytes, 1)
            behind[0] = max(1, min(images, held + 1))
    is_told = next((kind for kind in FIRST_OF_SERIES if getattr(file, f"is_{kind}")), None)
    if is_told and selection.axes is None and not any(series.kind in FIRST_OF_SERIES for series in _series(file)):
        remarks.append("what it says of its axes contradicts its pages: taken for one stack (--axes tells them)")
    _forget_series(file)
    return axes, lower, remarks


def _series(file: "tifffile.TiffFile") -> "list[tifffile.TiffPageSeries]":
    """Return tifffile's series; none where it fails at them."""
    if file.is_ome and _is_vast(file.pages.first.description):
        file.is_ome = False
    try:
        return list(file.series)
    except MemoryError:
        raise
    except Exception:  # whatever it stumbles at, the pages may be fine
        return []


def _is_vast(text: str) -> bool:
    """Return whether OME-XML promises more planes, or divides an axis into more parts, than there can be."""
    if any(len(number) > 8 or int(number) > MAX_NUMBER for number in OME_COUNT.findall(text)):
        return True
    ends = [0.0]
    for value in OME_RANGE.findall(text):
        with suppress(ValueError):
            ends.append(abs(float(value)))
    least = min((end for end in ends if end), default=1.0)
    return not max(ends) <= MAX_NUMBER * least


def _forget_series(file: "tifffile.TiffFile") -> None:
    """Let go of an object for each page, which takes more memory than a few bytes."""
    file.__dict__.pop("series", None)
    file.pages.cache = True
    file.pages.cache = False
    file.pages.useframes = False


def _alone(file: "tifffile.TiffFile", index: int, selection: Selection) -> Axes:
    """Return the axes of a page that belongs to no series."""
    if selection.axes is None:
        return Axes("", ())
    try:
        page = file.pages[index].aspage()
    except IndexError as error:
        raise InputError("the file is truncated") from error
    return axes_named(selection.axes, page.axes, page.shape, ((), (1,)))


def _of_smaller(count: int) -> list[str]:
    """Return what to say of pages that are left out."""
    if not count:
        return []
    return [f"{count:,} {'page' if count == 1 else 'pages'} of a reduced size {'is' if count == 1 else 'are'} left out"]


# ---- checks -------------------------------------------------------------------------------------------------------


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
        told = number if name == number else f"{number} ({name})"
        raise InputError(f"its compression, {told}, is not known", "save it with Deflate or LZW first") from error
    if page.photometric not in COLOURS or page.samplesperpixel < COLOURS[page.photometric]:
        raise InputError(f"its {page.samplesperpixel} channels are not gray or RGB", "save it as gray or RGB first")
    if page.is_subsampled and (page.compression not in JPEGS or page.planarconfig == PLANAR):
        raise InputError("its colours have a lower resolution than it", "save it as RGB first")
    if page.dtype is None or page.dtype.name not in (*SAMPLES, "bool"):
        kind = page.dtype.name if page.dtype is not None else f"{page.bitspersample} bits"
        raise InputError(f"its samples are {kind}", f"smdae reads {', '.join(SAMPLES)}: convert it to one of these")
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    whole = len(segments) >= math.prod(page.chunked) and all(
        count > 0 and offset + count <= size for offset, count in segments
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
