"""JPEG XL, through imagecodecs: gray and RGB of 8 and 16 bits and float 32, with or without alpha.

A file is a codestream, or boxes around one (ISO/IEC 18181-2), all of which stay but the codestream and what rebuilds
the JPEG that it was made of. What does not work in XYB, and was no JPEG, is written without loss, anything else at the
distance that libjxl has for a quality, 0.1 + 0.09 (100 - quality) from quality 30 on.

The library calls 8 bits sRGB, and deeper samples linear. Where the pixels are as they were, not in XYB, what the header
says of colours is only said: those bits are put back as they were in the file. In XYB it matters, so of lossy files
only 8 bits in sRGB are read. A profile in the codestream is coded, and is refused. The library turns pixels upright,
and so they are written; the EXIF of a JPEG XL has no say in that.
"""

from functools import cache
from io import BytesIO

import numpy as np
from PIL.ExifTags import Base

from smdae.errors import InputError
from smdae.files.boxes import Box, boxes_of, joined
from smdae.files.exif import described, exif_of
from smdae.files.jpegxl_header import Header, header_of, with_colours
from smdae.files.marks import without_words
from smdae.files.picture import Metadata, Picture, check_size, from_samples, samples_of, stretched, unstretched
from smdae.files.room import refuse_huge

CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
CODED = (b"jxlc", b"jxlp", b"jxll", b"jbrd", b"jxli")
QUALITY = 95
DENSEST = 2**20  # pixels for which a byte can stand: one colour needs a few bits


def read(data: bytes) -> Picture:
    """Return the picture of a JPEG XL; raise InputError or MemoryLimitError with the reason."""
    import imagecodecs

    boxes, coded = _parts(data)
    header = header_of(coded)
    _refuse(header, len(data))
    samples = imagecodecs.jpegxl_decode(data)
    width, height = header.size
    if sorted(samples.shape[:2]) != sorted((width, height)) or samples[0, 0].size != header.channels:
        raise InputError("the file is damaged")
    maxval = None if header.floats else 2**header.bits - 1
    lossless = header.lossless and not any(kind == b"jbrd" for kind, _ in boxes)
    return from_samples(
        samples if maxval is None else stretched(np.minimum(samples, maxval), maxval),
        "JXL",
        metadata=_metadata(boxes, header),
        lossless=lossless,
        maxval=None if maxval in (255, 65535) else maxval,
    )


def encode(picture: Picture, quality: int | None = None) -> bytes:
    """Return the JPEG XL of a picture of uint8, uint16 or float32.

    The result is lossy for uint8 if `quality`, 1 to 100, is given or the file of the picture was lossy; else lossless.
    """
    import imagecodecs

    samples = samples_of(picture)
    bits = None
    if samples.dtype.kind == "u":
        samples = unstretched(samples, picture.maxval)
        bits = (picture.maxval or int(np.iinfo(samples.dtype).max)).bit_length()
    lossless = (picture.lossless and quality is None) or samples.dtype != np.uint8  # deep, in XYB it would be linear
    how = {"lossless": True} if lossless else {"distance": distance_at(quality or QUALITY)}
    coded = bytes(
        imagecodecs.jpegxl_encode(np.ascontiguousarray(samples), bitspersample=bits, usecontainer=True, **how)
    )
    made = list(boxes_of(coded))
    if lossless:
        colours = picture.metadata.jxl_colours or _standard(1 if picture.pixels.ndim == 2 else 3)
        made = [(kind, with_colours(payload, colours) if kind == b"jxlc" else payload) for kind, payload in made]
    kept = picture.metadata.jxl
    if not kept:
        exif, xmp = picture.metadata.exif, picture.metadata.xmp
        kept = (*(((b"Exif", bytes(4) + exif),) if exif else ()), *(((b"xml ", xmp),) if xmp else ()))
    return joined([*made, *(one for one in kept if one[0] not in (b"JXL ", b"ftyp", *CODED))])


@cache
def _standard(channels: int) -> str:
    """Return the bits, as text of 0 and 1, by which the library's header for 8 bits describes the colours of sRGB."""
    import imagecodecs

    shape = (1, 1) if channels == 1 else (1, 1, channels)
    coded = imagecodecs.jpegxl_encode(np.zeros(shape, np.uint8), lossless=True, usecontainer=False)
    return header_of(bytes(coded)).colours


def distance_at(quality: int) -> float:
    """Return the distance of butteraugli that libjxl has for a quality of 1 to 100."""
    if quality >= 100:
        return 0.0
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return 53 / 3000 * quality**2 - 23 / 20 * quality + 25


def extent(data: bytes) -> tuple[int, int]:
    """Return the number of pixels of a picture, and the bytes of its samples, as its header says.

    Raises:
        InputError: The header is damaged.
    """
    header = header_of(_parts(data)[1])
    pixels = header.size[0] * header.size[1]
    return pixels, pixels * header.channels * _bytes(header)


def _bytes(header: Header) -> int:
    """Return the bytes of a sample."""
    return 4 if header.floats else 2 if header.bits > 8 else 1


def _parts(data: bytes) -> tuple[tuple[Box, ...], bytes]:
    """Return the boxes of a file, () for a bare codestream, and its codestream."""
    if not data.startswith(CONTAINER):
        return (), data
    boxes = tuple(boxes_of(data))
    # Parts of a codestream begin with their number.
    return boxes, b"".join(p if kind == b"jxlc" else p[4:] for kind, p in boxes if kind in (b"jxlc", b"jxlp"))


def _refuse(header: Header, size: int) -> None:
    """Raise InputError or MemoryLimitError for what is not supported, before it is decoded."""
    if header.animated:
        raise InputError("it is an animation", "save the frame that you want as a PNG")
    check_size(*header.size, DENSEST * size)
    if header.odd:
        raise InputError("it has channels beside colour and alpha", "save it as a TIFF first")
    if header.profile or (not header.lossless and (not header.standard or header.bits > 8)):
        raise InputError(
            "its colours have a profile, or it is lossy and not of 8 bits in sRGB, which cannot be written back",
            "save it as a PNG or a TIFF first",
        )
    if header.bits > 16 and not (header.floats and header.bits == 32):
        raise InputError(f"its samples have {header.bits} bits", "save it as a TIFF first")
    pixels = header.size[0] * header.size[1]
    refuse_huge(pixels, pixels * header.channels * _bytes(header), size)


def _metadata(boxes: tuple[Box, ...], header: Header) -> Metadata:
    """Return EXIF, its orientation upright, and XMP, and the boxes themselves."""
    found = dict(boxes)
    exif = found.get(b"Exif", b"")[4:]
    if exif:
        start = int.from_bytes(found[b"Exif"][:4])
        exif = _upright(exif[start:])
    return Metadata(exif=exif or None, xmp=found.get(b"xml "), jxl=without_words(boxes), jxl_colours=header.colours)


def _upright(exif: bytes) -> bytes:
    words = described(BytesIO(exif))
    if words.get(Base.Orientation, 1) == 1:
        return exif
    words[Base.Orientation] = 1
    return exif_of(words) or b""
