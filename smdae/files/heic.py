"""HEIC of 8, 10 and 12 bits, through pillow-heif, which comes with the extra `smdae[heic]`.

The library turns pixels upright. They are turned back by the orientation of their EXIF, as other formats have it, and
the library turns them again when they are written. The subsampling of chroma is that of the file, for not all that
shows HEIC shows any. A file is written with one picture: depth and gain maps are lost, with a warning.
"""

from io import BytesIO
from typing import Any

import numpy as np

from smdae.errors import InputError
from smdae.files.eight_bit import EXIF_PREFIX
from smdae.files.orientation import turned_back
from smdae.files.picture import Metadata, Picture, check_size, from_samples, samples_of, stretched, unstretched
from smdae.files.room import refuse_huge

QUALITY = 95
CHROMA = 420  # of pictures from other formats
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
DEEP_GRAY = "I"  # what the library calls gray of more than 8 bits
DENSEST = 2**18  # pixels for which a byte can stand


def read(data: bytes) -> Picture:
    """Return the picture of a HEIC file, not turned upright: its EXIF says how it is to be turned.

    Raises:
        InputError: The file is damaged, holds several pictures, or its pixels are neither gray nor RGB.
        MemoryLimitError: The picture does not fit into memory.
    """
    file = _library().open_heif(BytesIO(data), convert_hdr_to_8bit=False, hdr_to_16bit=False)
    if len(file) > 1:
        raise InputError(f"it holds {len(file)} pictures", "save the one that you want as a HEIC or PNG of its own")
    image = file[0]
    info = image.info
    width, height = image.size
    check_size(width, height, DENSEST * len(data))
    refuse_huge(width * height, width * height * 4 * (2 if info["bit_depth"] > 8 else 1), len(data))
    if image.mode.split(";")[0] not in (*MODES.values(), DEEP_GRAY):
        raise InputError(f"its pixels are of the kind {image.mode}", "convert it to RGB first")
    samples = np.asarray(image)
    bits = info["bit_depth"]
    maxval = 2**bits - 1
    orientation = _orientation(info)
    exif = (info.get("exif") or b"").removeprefix(EXIF_PREFIX)
    metadata = Metadata(
        exif=exif or None,
        icc=info.get("icc_profile") or None,
        xmp=info.get("xmp") or None,
        heif=tuple((name, info[name]) for name in ("chroma", "nclx_profile") if info.get(name)),
    )
    lost = [name for name, there in (("its depth map", "depth_images"), ("its gain map", "aux")) if info.get(there)]
    return from_samples(
        turned_back(stretched(samples, maxval), orientation),
        "HEIC",
        metadata=metadata,
        lossless=False,
        maxval=None if maxval == 255 else maxval,
        lost=tuple(lost),
    )


def encode(picture: Picture, quality: int = QUALITY) -> bytes:
    """Return a picture as a HEIC file: with 8 bits for uint8, with 10 for uint16, but 12 if its `maxval` is 4095.

    Values are scaled to those bits. `quality` is from 1 to 100.
    """
    library = _library()
    metadata = picture.metadata
    samples = samples_of(picture)
    channels = samples.shape[2] if samples.ndim == 3 else 1
    mode, options = MODES[channels], {"chroma": CHROMA} | dict[str, Any](metadata.heif)
    if samples.dtype == np.uint16:
        bits = 12 if picture.maxval == 4095 else 10
        mode, samples = f"{mode};{bits}", unstretched(samples, 2**bits - 1)
    if metadata.exif:
        options["exif"] = EXIF_PREFIX + metadata.exif
    if metadata.xmp:
        options["xmp"] = metadata.xmp
    if metadata.icc:
        options |= {"icc_profile": metadata.icc, "icc_profile_type": "prof"}
    buffer = BytesIO()
    height, width = samples.shape[:2]
    library.encode(mode, (width, height), np.ascontiguousarray(samples).tobytes(), buffer, quality=quality, **options)
    return buffer.getvalue()


def extent(data: bytes) -> tuple[int, int]:
    """Return the number of pixels of a picture, and the bytes of its samples, both by the header."""
    image = _library().open_heif(BytesIO(data), convert_hdr_to_8bit=False)[0]
    pixels = image.size[0] * image.size[1]
    return pixels, pixels * 4 * (2 if image.info["bit_depth"] > 8 else 1)


def _library() -> Any:
    import pillow_heif

    return pillow_heif


def _orientation(info: dict[str, Any]) -> int:
    """Return how EXIF or XMP say that a picture is turned, 1 to 8."""
    return _library().set_orientation(dict(info)) or 1
