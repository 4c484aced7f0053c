"""TIFF: 8 and 16 bits and floating point; gray, colour, alpha and palettes; metadata. A page at a time.

Facts this relies on:
- tifffile keeps every sample type but decodes, without codecs of its own, only the compressions in
  `OWN_CODECS`. The rest (LZW, JPEG, ...) goes through libtiff.
- Where gray counts down from white, Pillow turns it round in 8 bits only, and tifffile never.
- tifffile fills missing strips with zeros and has no size limit: offsets, byte counts and sizes are checked
  first. Of a chain of directories that leads out of the file it drops the rest, and it may follow a circle
  for ever: the chain is followed here.
- ImageJ writes stacks over 4 GB behind a single directory, one bare plane after the other, and says so only
  in the description. Files that other programs made of such a stack can say so too and hold less.

A file is written uncompressed in one strip, little-endian, by Pillow's directory writer, so that every sample
type and the nested EXIF directories go the same way.
"""

import copy
import functools
import logging
import math
import re
import struct
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL.ExifTags import Base
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from PIL.TiffTags import BYTE, LONG, LONG8, RATIONAL, SHORT, UNDEFINED

from smdae.errors import InputError, OutputError
from smdae.files import libtiff
from smdae.files.exif import described, exif_of, resolution
from smdae.files.extent import refuse_huge
from smdae.files.picture import Metadata, Picture, check_size, from_samples, samples_of

if TYPE_CHECKING:
    import tifffile

__all__ = ["BIG_HEADER", "HEADER", "MAX_BYTES", "checked", "decoded", "directory", "encode", "places", "read"]

# Without a handler, logging would print tifffile's complaints about broken files to stderr.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

MINISWHITE, MINISBLACK, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
LAB = (8, 9, 10)
COLOURS = {MINISWHITE: 1, MINISBLACK: 1, RGB: 3, PALETTE: 1, YCBCR: 3}
OWN_CODECS = (1, 8, 32773, 32946)
UNCOMPRESSED, JPEGS = 1, (6, 7)
NO_PREDICTOR, HORIZONTAL = 1, 2
PREMULTIPLIED, STRAIGHT = 1, 2
PLANES = 2
UNSIGNED, FLOATING = 1, 3
INCH = 2
NEW_SUBFILE_TYPE, SUBFILE_TYPE, REDUCED = 254, 255, 2
NUMBERS = {SHORT: "H", LONG: "I"}
MAX_TAGS = 4096  # of a directory that makes sense
DENSEST = 2**15  # pixels for which a byte can stand: in Zstandard, 4 bytes are 2^17
MAX_BYTES = 2**32 - 2**20
HEADER = b"II*\0\x08\0\0\0"
BIG_HEADER = b"II+\0\x08\0\0\0\x10" + bytes(7)


def read(data: bytes) -> Picture:
    """Read a TIFF of one page; raises InputError with the reason."""
    import tifffile

    stream = BytesIO(data)
    with tifffile.TiffFile(stream) as file:
        place, *more = places(file)
        if more:
            raise InputError(f"it has {1 + len(more)} pages", "save the page that you want as a TIFF of its own")
        return decoded(stream, checked(file, place))


def places(file: "tifffile.TiffFile") -> list[tuple[int, int]]:
    """Where the pages at full size are: (directory, plane behind it), at least one; InputError for none.

    A page that the file promises but does not hold is among them: `checked` refuses it.
    """
    try:
        first = file.pages.first
    except IndexError as error:
        raise InputError("the file is truncated") from error
    if first.is_reduced:
        raise InputError("it holds no picture at full size", "save it as a plain TIFF or PNG first")
    reduced = _are_reduced(file)
    images = int((file.imagej_metadata or {}).get("images", 1)) if file.is_imagej else 1
    if images > len(reduced) and first.is_final:
        # Of planes that lie beyond the end of the file, one is enough to be refused.
        held = (file.filehandle.size - first.dataoffsets[0]) // max(first.nbytes, 1)
        return [(0, plane) for plane in range(max(1, min(images, held + 1)))]
    return [(index, 0) for index, is_reduced in enumerate(reduced) if not is_reduced]


def checked(file: "tifffile.TiffFile", place: tuple[int, int]) -> "tifffile.TiffPage":
    """The page at one of `places`, its data not yet read; InputError where it is cut or not supported."""
    index, plane = place
    try:
        page = copy.copy(file.pages[index].aspage())
    except IndexError as error:
        raise InputError("the file is truncated") from error
    page.dataoffsets = tuple(offset + plane * page.nbytes for offset in page.dataoffsets)
    _check(page, file.filehandle.size)
    return page


def decoded(stream: BinaryIO, page: "tifffile.TiffPage", plane: int = 0) -> Picture:
    """The picture of a page that is `checked`: that plane behind its directory in the file `stream`."""
    own = page.compression in OWN_CODECS and page.predictor in (NO_PREDICTOR, HORIZONTAL)
    own = own and page.photometric not in (PALETTE, YCBCR)
    samples = page.asarray(maxworkers=1) if own else libtiff.decoded(stream, page, shift=plane * page.nbytes)
    if own and page.planarconfig == PLANES and samples.ndim == 3:
        samples = np.moveaxis(samples, 0, 2)
    if page.photometric == MINISWHITE and (own or page.bitspersample > 8):
        samples = _inverted(samples)
    return from_samples(
        samples,
        "TIFF",
        metadata=_metadata(stream, page),
        lossless=page.compression not in JPEGS,
        premultiplied=tuple(page.extrasamples) == (PREMULTIPLIED,),
    )


def encode(picture: Picture) -> bytes:
    """The TIFF file of a picture of any kind; OutputError over 4 GB."""
    samples = samples_of(picture)
    if samples.nbytes > MAX_BYTES:
        raise OutputError(f"TIFF holds 4 GB at most, and this picture has {samples.nbytes:,} bytes", "write .npy")
    buffer = BytesIO()
    directory(picture, samples).save(buffer)
    buffer.write(samples.astype(samples.dtype.newbyteorder("<"), copy=False).tobytes())
    return buffer.getvalue()


def directory(picture: Picture, samples: np.ndarray, *, big: bool = False) -> ImageFileDirectory_v2:
    """What a little-endian TIFF, or BigTIFF, says of a picture whose samples follow right behind it."""
    length = LONG8 if big else LONG
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    layout: dict[int, tuple[int, Any]] = {
        Base.ImageWidth: (LONG, width),
        Base.ImageLength: (LONG, height),
        Base.BitsPerSample: (SHORT, (8 * samples.itemsize,) * channels),
        Base.Compression: (SHORT, UNCOMPRESSED),
        Base.PhotometricInterpretation: (SHORT, RGB if channels > 2 else MINISBLACK),
        Base.StripOffsets: (length, 0),  # Pillow adds the length of the directory
        Base.SamplesPerPixel: (SHORT, channels),
        Base.RowsPerStrip: (LONG, height),
        Base.StripByteCounts: (length, samples.nbytes),
        Base.PlanarConfiguration: (SHORT, 1),
        Base.SampleFormat: (SHORT, (FLOATING if samples.dtype.kind == "f" else UNSIGNED,) * channels),
    }
    if picture.alpha is not None:
        layout[Base.ExtraSamples] = (SHORT, PREMULTIPLIED if picture.premultiplied else STRAIGHT)
    metadata = picture.metadata
    if metadata.icc:
        layout[Base.InterColorProfile] = (UNDEFINED, metadata.icc)
    if metadata.xmp:
        layout[Base.XMLPacket] = (BYTE, metadata.xmp)
    words = _words(metadata.exif) if metadata.exif else {}
    if metadata.dpi:
        across, down = metadata.dpi
        dots = {Base.XResolution: (RATIONAL, across), Base.YResolution: (RATIONAL, down)}
        words = words | dots | {Base.ResolutionUnit: (SHORT, INCH)}
    tags = ImageFileDirectory_v2(BIG_HEADER if big else HEADER)
    for tag, (kind, value) in (words | layout).items():
        tags.tagtype[tag] = kind
        tags[tag] = value
    return tags


@functools.lru_cache(maxsize=4)
def _words(exif: bytes) -> dict[int, tuple[int, Any]]:
    """Return the type and the value of each tag that EXIF bytes describe a picture by; pages often have the same."""
    words = described(BytesIO(exif))
    return {tag: (words.tagtype[tag], words[tag]) for tag in words}


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
    while offset and offset not in seen:
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


def _check(page: "tifffile.TiffPage", size: int) -> None:
    held = sum(page.databytecounts)
    check_size(page.imagewidth, page.imagelength, DENSEST * held)
    if page.is_tiled:
        across, down = (
            math.ceil(page.imagewidth / page.tilewidth),
            math.ceil(page.imagelength / page.tilelength),
        )
        check_size(across * page.tilewidth, down * page.tilelength, DENSEST * held)
    if page.imagedepth != 1 or page.tiledepth > 1:
        raise InputError("it is a volume", "save the slice that you want as a TIFF of its own")
    if page.photometric == CMYK or page.photometric in LAB:
        raise InputError(f"it has {'CMYK' if page.photometric == CMYK else 'L*a*b*'} colour", "convert it to RGB first")
    if page.bitspersample == 1 and page.photometric != PALETTE:
        raise InputError("it has 1-bit pixels", "convert it to 8-bit gray first")
    colours = COLOURS.get(page.photometric)
    if colours is None or page.samplesperpixel not in (colours, colours + 1):
        raise InputError(
            f"its {page.samplesperpixel} channels are not gray or RGB, with or without alpha",
            "save it as gray or RGB first",
        )
    if page.photometric != PALETTE and (page.dtype is None or page.bitspersample != 8 * page.dtype.itemsize):
        raise InputError(f"its samples have {page.bitspersample} bits", "convert it to 8 or 16 bits first")
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    whole = len(segments) >= math.prod(page.chunked) and all(
        count > 0 and offset + count <= size for offset, count in segments
    )
    if not whole or (page.compression == UNCOMPRESSED and held < page.nbytes):
        raise InputError("the file is truncated")
    expansion = COLOURS[RGB] if page.photometric == PALETTE else 1
    refuse_huge(page.imagewidth * page.imagelength, page.nbytes * expansion, held)


def _inverted(samples: np.ndarray) -> np.ndarray:
    if samples.dtype.kind != "u":
        raise InputError(f"its {samples.dtype.name} samples count down from white", "convert it to count up from black")
    gray = np.atleast_3d(samples).copy()
    gray[..., 0] = np.iinfo(samples.dtype).max - gray[..., 0]
    return gray.reshape(samples.shape)


def _metadata(stream: BinaryIO, page: "tifffile.TiffPage") -> Metadata:
    words = described(stream, page.offset)
    description = words.get(Base.ImageDescription)
    if isinstance(description, bytes) and description.startswith(b"ImageJ="):
        # That is about the file. ImageJ would look for as many planes behind the first.
        words[Base.ImageDescription] = re.sub(rb"\bimages=\d+\n?", b"", description)
    elif isinstance(description, bytes) and description.startswith(b'{"shape":'):
        # tifffile's own word on how the planes of the whole file lie, which is not how they lie in the result.
        del words[Base.ImageDescription]
    blocks = (page.tags.get(tag) for tag in (Base.InterColorProfile, Base.XMLPacket))
    icc, xmp = (block.value if block and isinstance(block.value, bytes) else None for block in blocks)
    return Metadata(exif=exif_of(words), icc=icc or None, xmp=xmp or None, dpi=resolution(words))
