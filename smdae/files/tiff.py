"""TIFF as one picture of those that smdae knows, and any picture as a TIFF of its own.

Files of many pictures, and what a result keeps of its source, are the business of `stack`. A file of its own is written
uncompressed in one strip, little-endian, by Pillow's directory writer, so that nested EXIF directories go with it.
"""

import functools
import re
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL.ExifTags import Base
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from PIL.TiffTags import BYTE, LONG, RATIONAL, SHORT, UNDEFINED

from smdae.errors import InputError, OutputError
from smdae.files.exif import described, exif_of, resolution
from smdae.files.picture import Metadata, Picture, samples_of
from smdae.files.tiff_pages import checked, opened, places, samples_in
from smdae.files.tiff_parts import Part, is_looked_up, looked_up, parted, parts_of

if TYPE_CHECKING:
    import tifffile

MINISBLACK, RGB = 1, 2
UNCOMPRESSED = 1
PREMULTIPLIED, STRAIGHT = 1, 2
FORMATS = {"u": 1, "i": 2, "f": 3}
INCH = 2
MAX_BYTES = 2**32 - 2**20
HEADER = b"II*\0\x08\0\0\0"


def read(data: bytes) -> Picture:
    """Return the picture of a TIFF of one picture; raise InputError or MemoryLimitError with the reason."""
    stream = BytesIO(data)
    with opened(stream) as file:
        found, axes, _ = places(file)
        if len(found) > 1:
            raise InputError(f"it has {len(found)} pages", "save the page that you want as a TIFF of its own")
        page = checked(file, found[0])
        parts = [Part(0, (0, 1, 2))] if is_looked_up(page) else parts_of(page, axes[0].samples != "S")
        if page.imagedepth > 1:
            raise InputError("it is a volume", "save the slice that you want as a TIFF of its own")
        if parts[0].is_kept:
            raise InputError("it has 1-bit pixels", "convert it to 8-bit gray first")
        if len(parts) > 1:
            raise InputError(
                f"its {len(parts)} channels are not gray or RGB, with or without alpha", "save it as gray or RGB first"
            )
        samples = samples_in(page)
        samples = looked_up(samples, page) if is_looked_up(page) else samples
        return parted(samples, parts[0], page, _metadata(stream, page))


def encode(picture: Picture) -> bytes:
    """Return the TIFF file of a picture of any kind; OutputError over 4 GB."""
    samples = samples_of(picture)
    if samples.nbytes > MAX_BYTES:
        raise OutputError(f"TIFF holds 4 GB at most, and this picture has {samples.nbytes:,} bytes", "write .npy")
    buffer = BytesIO()
    _directory(picture, samples).save(buffer)
    buffer.write(samples.astype(samples.dtype.newbyteorder("<"), copy=False).tobytes())
    return buffer.getvalue()


def _directory(picture: Picture, samples: np.ndarray) -> ImageFileDirectory_v2:
    """Return the header and the directory of a little-endian TIFF, whose samples follow right behind."""
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
        Base.SampleFormat: (SHORT, (FORMATS[samples.dtype.kind],) * channels),
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
    tags = ImageFileDirectory_v2(HEADER)
    for tag, (kind, value) in (words | layout).items():
        tags.tagtype[tag] = kind
        tags[tag] = value
    return tags


@functools.lru_cache(maxsize=4)
def _words(exif: bytes) -> dict[int, tuple[int, Any]]:
    """Return the type and the value of each tag that EXIF bytes describe a picture by."""
    words = described(BytesIO(exif))
    return {tag: (words.tagtype[tag], words[tag]) for tag in words}


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
