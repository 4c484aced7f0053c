"""AVIF of 8 bits, through Pillow, which gives the turns of a picture as the orientation of its EXIF, and takes them so.

Pillow decodes 10 and 12 bits to 8, and writes colours as sRGB where they have no profile, so other depths and other
colours are refused. It is written at quality 95 without chroma subsampling.
"""

import struct
from io import BytesIO

from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile

from smdae.errors import InputError
from smdae.files.animation import refuse_animation
from smdae.files.eight_bit import EXIF_PREFIX, decoded
from smdae.files.picture import Picture, samples_of

QUALITY = 95
DEEP, TWELVE = 0x40, 0x20  # flags of a configuration
SRGB = (1, 2)  # primaries: those of sRGB, or not given
CURVES = (1, 2, 6, 13)  # curves that are taken for that of sRGB
DENSEST = 2**18  # pixels for which a byte can stand


def read(data: bytes) -> Picture:
    """Return the picture of an AVIF of one picture; raise InputError or MemoryLimitError with the reason."""
    place = data.find(b"av1C")
    if place >= 0 and len(data) > place + 6 and data[place + 6] & DEEP:
        bits = 12 if data[place + 6] & TWELVE else 10
        raise InputError(f"its samples have {bits} bits", "convert it to a 16-bit PNG first, for example with avifdec")
    refuse_colours(data)
    image = AvifImageFile(BytesIO(data))
    refuse_animation(image.n_frames)
    return decoded(image, "AVIF", len(data), lossless=False, room=DENSEST * len(data))


def encode(picture: Picture, quality: int = QUALITY) -> bytes:
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


def refuse_colours(data: bytes) -> None:
    """Raise InputError for colours that are given by numbers other than those of sRGB."""
    place = data.find(b"colrnclx")
    if place < 0 or b"colrprof" in data[:place] or len(data) < place + 12:
        return
    primaries, curve = struct.unpack_from(">HH", data, place + 8)
    if primaries not in SRGB or curve not in CURVES:
        raise InputError("its colours are not sRGB, and would be written as if they were", "convert it to a PNG first")
