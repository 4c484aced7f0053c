"""WebP, BMP and AVIF: 8 bits a sample, through Pillow.

The Pillow classes are opened directly: `Image.open` would guess the type again, and would apply a size limit
of its own whose setting is global. A WebP that was lossless stays so; `exact` keeps the colours under full
transparency. Alpha is lossless in every WebP written here.

WebP has no place for dots per inch, and BMP has a place for nothing but them. A BMP with alpha needs the fourth header
version and its channel masks, which Pillow reads but does not write.

Pillow gives the turns of an AVIF as the orientation of its EXIF, and takes them so. It decodes 10 and 12 bits to 8, and
writes colours as sRGB where they have no profile, so other depths and other colours are refused. An AVIF is written
without chroma subsampling.
"""

import struct
from io import BytesIO

import numpy as np
from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.WebPImagePlugin import WebPImageFile

from smdae.errors import InputError
from smdae.files.animation import refuse_animation
from smdae.files.picture import (
    MAX_PIXELS,
    Metadata,
    Picture,
    check_size,
    dots_per_inch,
    from_samples,
    samples_in,
    samples_of,
)
from smdae.files.room import refuse_huge

EXIF_PREFIX = b"Exif\0\0"
QUALITY = 95
BMP_DENSEST = 255  # pixels for which a byte can stand: two bytes are 255
DEEP, TWELVE = 0x40, 0x20  # flags of a configuration
SRGB = (1, 2)  # primaries: those of sRGB, or not given
CURVES = (1, 2, 6, 13)  # curves that are taken for that of sRGB
AVIF_DENSEST = 2**18  # pixels for which a byte can stand


def read_webp(data: bytes) -> Picture:
    """Return the picture of a WebP of one frame; raise InputError or MemoryLimitError with the reason."""
    if int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise InputError("the file is truncated")
    image = WebPImageFile(BytesIO(data))
    refuse_animation(image.n_frames)
    return decoded(image, "WEBP", len(data), lossless=_has_lossless_chunk(data))


def read_bmp(data: bytes) -> Picture:
    """Return the picture of a BMP of 4 bits or more a pixel; raise InputError or MemoryLimitError with the reason."""
    return decoded(BmpImageFile(BytesIO(data)), "BMP", len(data), lossless=True, room=BMP_DENSEST * len(data))


def encode_webp(picture: Picture, quality: int | None = None) -> bytes:
    """Return the WebP file of a uint8 picture, at most 16,383 pixels a side; gray becomes equal colours.

    With a quality from 1 to 100 it is lossy; without one it is lossless where the source was.
    """
    blocks = {
        "exif": picture.metadata.exif,
        "icc_profile": picture.metadata.icc,
        "xmp": picture.metadata.xmp,
    }
    carried = {name: block for name, block in blocks.items() if block}
    is_lossless = picture.lossless and quality is None
    kind = {"lossless": True} if is_lossless else {"quality": QUALITY if quality is None else quality}
    return _saved(in_colour(picture), "WEBP", exact=True, **kind, **carried)


def encode_bmp(picture: Picture) -> bytes:
    """Return the BMP file of a uint8 picture; with alpha, gray becomes equal colours."""
    dpi = picture.metadata.dpi
    if picture.alpha is None:
        return _saved(picture.pixels, "BMP", **({"dpi": dpi} if dpi else {}))
    per_metre = [round(dots / 0.0254) for dots in dpi or (0, 0)]
    height, width = picture.alpha.shape
    pixels = in_colour(picture)[::-1, :, [2, 1, 0, 3]].tobytes()
    masks = struct.pack("<IIII4s48x", 0xFF0000, 0xFF00, 0xFF, 0xFF000000, b"BGRs")
    info = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(pixels), *per_metre, 0, 0)
    return struct.pack("<2sIII", b"BM", 122 + len(pixels), 0, 122) + info + masks + pixels


def decoded(image: ImageFile, format: str, size: int, lossless: bool, room: int = MAX_PIXELS) -> Picture:
    """Return the picture of an opened Pillow image, of a file of `size` bytes with room for `room` pixels at most.

    Raises:
        InputError: It has too many pixels, or is of a kind that is not supported.
        MemoryLimitError: It would take more memory than there is.
    """
    check_size(*image.size, room)
    pixels = image.width * image.height
    refuse_huge(pixels, pixels * len(image.getbands()), size)
    samples = samples_in(image)
    info = image.info
    exif = info.get("exif") or b""
    metadata = Metadata(
        exif=exif.removeprefix(EXIF_PREFIX) or None,
        icc=info.get("icc_profile") or None,
        xmp=info.get("xmp") or None,
        dpi=dots_per_inch(*(float(dots) for dots in info.get("dpi", (0, 0)))),
    )
    return from_samples(samples, format, metadata=metadata, lossless=lossless)


def _has_lossless_chunk(data: bytes) -> bool:
    position = 12
    while position + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind in (b"VP8 ", b"VP8L"):
            found: bool = kind == b"VP8L"
            return found
        position += 8 + length + length % 2
    return False


def in_colour(picture: Picture) -> np.ndarray:
    """Return the samples of a picture, (H, W, 3 or 4), where gray becomes equal colours."""
    samples = samples_of(picture)
    if picture.pixels.ndim == 3:
        return samples
    return np.atleast_3d(samples)[..., [0, 0, 0] if picture.alpha is None else [0, 0, 0, 1]]


def _saved(samples: np.ndarray, format: str, **options: object) -> bytes:
    buffer = BytesIO()
    Image.fromarray(samples).save(buffer, format, **options)
    return buffer.getvalue()


def read_avif(data: bytes) -> Picture:
    """Return the picture of an AVIF of one picture; raise InputError or MemoryLimitError with the reason."""
    place = data.find(b"av1C")
    if place >= 0 and len(data) > place + 6 and data[place + 6] & DEEP:
        bits = 12 if data[place + 6] & TWELVE else 10
        raise InputError(f"its samples have {bits} bits", "convert it to a 16-bit PNG first, for example with avifdec")
    _refuse_colours(data)
    image = AvifImageFile(BytesIO(data))
    refuse_animation(image.n_frames)
    return decoded(image, "AVIF", len(data), lossless=False, room=AVIF_DENSEST * len(data))


def encode_avif(picture: Picture, quality: int = QUALITY) -> bytes:
    """Return the AVIF file of a uint8 picture, lossy, quality being 1 to 100; gray with alpha becomes colours."""
    metadata = picture.metadata
    blocks = {
        "exif": EXIF_PREFIX + metadata.exif if metadata.exif else None,
        "icc_profile": metadata.icc,
        "xmp": metadata.xmp,
    }
    carried = {name: block for name, block in blocks.items() if block}
    image = Image.fromarray(samples_of(picture))
    image = image.convert("RGBA") if image.mode == "LA" else image
    buffer = BytesIO()
    subsampling = "4:0:0" if image.mode == "L" else "4:4:4"
    image.save(buffer, "AVIF", quality=quality, subsampling=subsampling, **carried)
    return buffer.getvalue()


def _refuse_colours(data: bytes) -> None:
    """Raise InputError for colours that are given by numbers other than those of sRGB."""
    place = data.find(b"colrnclx")
    if place < 0 or b"colrprof" in data[:place] or len(data) < place + 12:
        return
    primaries, curve = struct.unpack_from(">HH", data, place + 8)
    if primaries not in SRGB or curve not in CURVES:
        raise InputError("its colours are not sRGB, and would be written as if they were", "convert it to a PNG first")
