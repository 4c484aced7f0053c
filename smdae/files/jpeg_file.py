"""JPEG, through Pillow: gray and RGB of 8 bits.

Pillow's class is opened directly: `Image.open` would guess the type again, and would apply a size limit of its own
whose setting is global. A JPEG is written at quality 95 without chroma subsampling. One that was read as a JPEG gets
back every segment that applications had written, all but the mark of an earlier result, and what stood behind its end,
and is progressive if it was; of other pictures, EXIF and XMP go into segments of 64 KB, and ICC into 255 of them: what
does not fit is left out.
"""

from dataclasses import replace
from io import BytesIO

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from smdae.files.eight_bit import EXIF_PREFIX, decoded
from smdae.files.jpeg_segments import APP14, COMMENT, MPF, end_of, segments_of, with_segments
from smdae.files.marks import OPENING
from smdae.files.picture import Picture

SEGMENT = 65533
MAX_EXIF = SEGMENT - len(EXIF_PREFIX)
MAX_ICC = 255 * (SEGMENT - 14)
MAX_XMP = SEGMENT - 29
QUALITY = 95
SUM_AT_50 = 3688  # of libjpeg's quantisation table of luma at quality 50
DENSEST = 4096  # pixels for which a byte can stand: a bit is a block of 64, and rarely less


def read(data: bytes) -> Picture:
    """Return the picture of a JPEG, gray or RGB, the first of several; InputError or MemoryLimitError says why not."""
    image = JpegImageFile(BytesIO(data))
    picture = decoded(image, "JPEG", len(data), lossless=False, room=DENSEST * len(data))
    segments = segments_of(data)
    of_one = tuple(s for s in segments if not s[1].startswith(MPF))  # the index of an MPO is no picture's
    tail = data[end_of(data) :] if len(of_one) == len(segments) else b""
    kept = tuple(s for s in of_one if s[0] != COMMENT or not s[1].startswith(OPENING))
    metadata = replace(picture.metadata, jpeg=kept, tail=tail, progressive="progressive" in image.info)
    return replace(picture, metadata=metadata, quality=quality_of(image))


def encode(picture: Picture, quality: int = QUALITY) -> bytes:
    """Return the JPEG file of a uint8 picture without alpha, at most 65,500 pixels a side; quality is 1 to 100.

    Metadata that do not fit into a JPEG are left out.
    """
    metadata = picture.metadata
    options: dict[str, object] = {"quality": quality, "progressive": metadata.progressive}
    if metadata.jpeg:
        # Pillow writes the one kind of colour that needs no word of Adobe's.
        segments = [segment for segment in metadata.jpeg if segment[0] != APP14]
        return with_segments(_saved(picture.pixels, **options), segments) + metadata.tail
    if metadata.exif and len(metadata.exif) <= MAX_EXIF:
        options["exif"] = EXIF_PREFIX + metadata.exif
    if metadata.icc and len(metadata.icc) <= MAX_ICC:
        options["icc_profile"] = metadata.icc
    if metadata.xmp and len(metadata.xmp) <= MAX_XMP:
        options["xmp"] = metadata.xmp
    if metadata.dpi and max(metadata.dpi) < 65535:
        options["dpi"] = metadata.dpi
    return _saved(picture.pixels, **options)


def quality_of(image: JpegImageFile) -> int | None:
    """Return the quality, 1 to 100, whose luma table has the same mean as the file's; None if the file has no table."""
    table = image.quantization.get(0)
    if not table:
        return None
    scale = 100 * sum(table) / SUM_AT_50
    return max(1, min(100, round((200 - scale) / 2 if scale <= 100 else 5000 / scale)))


def _saved(samples: np.ndarray, **options: object) -> bytes:
    buffer = BytesIO()
    Image.fromarray(samples).save(buffer, "JPEG", subsampling=0, **options)
    return buffer.getvalue()
