"""TIFF: 8 and 16 bits and floating point; gray, colour, alpha and palettes; metadata. One page, 4 GB at most.

Facts this relies on:
- tifffile keeps every sample type but decodes, without codecs of its own, only the compressions in
  `OWN_CODECS`. The rest (LZW, JPEG, ...) goes through Pillow, whose libtiff knows them but fewer kinds: 8
  bits, 16-bit gray, 16-bit colour by decoding twice, float32 gray.
- Pillow turns the pixels by the Orientation tag and divides colours by associated alpha. Neither is wanted,
  so the tag is overwritten with 1 in the bytes that Pillow gets, and the raw mode `RGBa` with `RGBA`.
- Where gray counts down from white, Pillow turns it round in 8 bits only, and tifffile never.
- libtiff prints what it finds wrong to file descriptor 2, past Python, which leads nowhere for that while.
- tifffile fills missing strips with zeros and has no size limit: offsets, byte counts and sizes are checked
  first.

A file is written uncompressed in one strip, little-endian, by Pillow's directory writer, so that every sample
type and the nested EXIF directories go the same way.
"""

import contextlib
import logging
import math
import os
import struct
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.ExifTags import Base
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.TiffTags import BYTE, LONG, SHORT, UNDEFINED

from smdae.errors import InputError, OutputError
from smdae.files.exif import described, exif_of, resolution
from smdae.files.picture import Metadata, Picture, check_size, from_samples, samples_in, samples_of
from smdae.files.png16 import both_bytes

if TYPE_CHECKING:
    import tifffile

__all__ = ["encode", "read"]

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
MAX_BYTES = 2**32 - 2**20


def read(data: bytes) -> Picture:
    """Read a TIFF of one page; raises InputError with the reason."""
    import tifffile

    with tifffile.TiffFile(BytesIO(data)) as file:
        page = _only_page(file)
        _check(page, len(data))
        own = page.compression in OWN_CODECS and page.predictor in (NO_PREDICTOR, HORIZONTAL)
        own = own and page.photometric not in (PALETTE, YCBCR)
        samples = page.asarray(maxworkers=1) if own else _read_with_pillow(data, page)
        if own and page.planarconfig == PLANES and samples.ndim == 3:
            samples = np.moveaxis(samples, 0, 2)
        if page.photometric == MINISWHITE and (own or page.bitspersample > 8):
            samples = _inverted(samples)
        return from_samples(
            samples,
            "TIFF",
            metadata=_metadata(data, page),
            lossless=page.compression not in JPEGS,
            premultiplied=tuple(page.extrasamples) == (PREMULTIPLIED,),
        )


def encode(picture: Picture) -> bytes:
    """The TIFF file of a picture of any kind; OutputError over 4 GB."""
    samples = samples_of(picture)
    if samples.nbytes > MAX_BYTES:
        raise OutputError(f"TIFF holds 4 GB at most, and this picture has {samples.nbytes:,} bytes", "write .npy")
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    layout: dict[int, tuple[int, Any]] = {
        Base.ImageWidth: (LONG, width),
        Base.ImageLength: (LONG, height),
        Base.BitsPerSample: (SHORT, (8 * samples.itemsize,) * channels),
        Base.Compression: (SHORT, UNCOMPRESSED),
        Base.PhotometricInterpretation: (SHORT, RGB if channels > 2 else MINISBLACK),
        Base.StripOffsets: (LONG, 0),  # Pillow adds the length of the directory
        Base.SamplesPerPixel: (SHORT, channels),
        Base.RowsPerStrip: (LONG, height),
        Base.StripByteCounts: (LONG, samples.nbytes),
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
    directory = described(metadata.exif or b"")
    if metadata.dpi:
        directory[Base.XResolution], directory[Base.YResolution] = metadata.dpi
        directory[Base.ResolutionUnit] = INCH
    for tag, (kind, value) in layout.items():
        directory.tagtype[tag] = kind
        directory[tag] = value
    buffer = BytesIO()
    directory.save(buffer)
    buffer.write(samples.astype(samples.dtype.newbyteorder("<"), copy=False).tobytes())
    return buffer.getvalue()


def _only_page(file: "tifffile.TiffFile") -> "tifffile.TiffPage":
    count = len(file.pages)
    if count == 0:
        raise InputError("the file is truncated")
    if file.pages.first.is_reduced:
        raise InputError("it holds no picture at full size", "save it as a plain TIFF or PNG first")
    # ImageJ writes large stacks behind a single directory and says so only in the description.
    stacked = int((file.imagej_metadata or {}).get("images", 1)) if file.is_imagej else 1
    thumbnail = count == 2 and file.pages[1].aspage().is_reduced
    if max(count - thumbnail, stacked) > 1:
        raise InputError(f"it has {max(count, stacked)} pages", "save the page that you want as a TIFF of its own")
    return file.pages.first


def _check(page: "tifffile.TiffPage", size: int) -> None:
    check_size(page.imagewidth, page.imagelength)
    if page.is_tiled:
        across, down = (
            math.ceil(page.imagewidth / page.tilewidth),
            math.ceil(page.imagelength / page.tilelength),
        )
        check_size(across * page.tilewidth, down * page.tilelength)
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
    if not whole or (page.compression == UNCOMPRESSED and sum(page.databytecounts) < page.nbytes):
        raise InputError("the file is truncated")


def _inverted(samples: np.ndarray) -> np.ndarray:
    if samples.dtype.kind != "u":
        raise InputError(f"its {samples.dtype.name} samples count down from white", "convert it to count up from black")
    gray = np.atleast_3d(samples).copy()
    gray[..., 0] = np.iinfo(samples.dtype).max - gray[..., 0]
    return gray.reshape(samples.shape)


def _read_with_pillow(data: bytes, page: "tifffile.TiffPage") -> np.ndarray:
    import tifffile

    upright = bytearray(data)
    orientation = page.tags.get(Base.Orientation)
    if orientation is not None:
        struct.pack_into(page.parent.byteorder + "H", upright, orientation.valueoffset, 1)

    def opened() -> ImageFile:
        image = TiffImageFile(BytesIO(bytes(upright)))
        image.tile = [_unassociated(tile) for tile in image.tile]
        return image

    try:
        image = opened()
    except SyntaxError as error:
        compression = tifffile.COMPRESSION(page.compression).name
        raise InputError(
            f"its TIFF compression, {compression}, is not supported for this kind of pixels",
            "save it uncompressed, or with deflate compression",
        ) from error
    with _unheard():
        if page.bitspersample == 16 and page.samplesperpixel > 1:
            return both_bytes(opened)
        return samples_in(image)


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        # Where descriptor 2 is closed, nothing can be heard anyway.
        with contextlib.suppress(OSError):
            stderr, void = os.dup(2), os.open(os.devnull, os.O_WRONLY)
            os.dup2(void, 2)
            os.close(void)
            stack.callback(os.close, stderr)
            stack.callback(os.dup2, stderr, 2)
        yield


def _unassociated(tile: Any) -> Any:
    raw_mode, *rest = tile.args
    return tile._replace(args=(raw_mode.replace("RGBa", "RGBA"), *rest))


def _metadata(data: bytes, page: "tifffile.TiffPage") -> Metadata:
    directory = described(data)
    blocks = (page.tags.get(tag) for tag in (Base.InterColorProfile, Base.XMLPacket))
    icc, xmp = (block.value if block and isinstance(block.value, bytes) else None for block in blocks)
    return Metadata(exif=exif_of(directory), icc=icc or None, xmp=xmp or None, dpi=resolution(directory))
