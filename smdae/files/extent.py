"""The memory that a picture takes, known from its header before a pixel is decoded.

A few bytes can stand for gigabytes of samples. With n bytes of samples, p pixels and a file of f bytes, work on a
picture takes at most about

    f + 3 n + 8 p   bytes

beside what programs and models take: the samples, twice what they come from or become, and floats of each pixel.
"""

import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from smdae.errors import MemoryLimitError
from smdae.files.formats import function
from smdae.memory import left

__all__ = ["Need", "needed", "needed_for", "refuse_huge"]

COPIES = 3  # of the samples
WORK = 8  # bytes a pixel
ALWAYS = 64 << 20  # bytes that work may take without a look at the free memory
FREE = 5 << 29  # bytes that work on any picture may take
MAX_EXPANSION = 50  # times the bytes of its file, that work on a larger picture may take
RAW_EXPANSION = 30  # times a camera raw file, that work on it takes
CHANNELS = {0: 2, 2: 4, 3: 4, 4: 2, 6: 4}  # of a PNG by its type of colour, alpha included
BITS = b"P4"  # how a PBM begins, of eight pixels a byte
OTHERS: dict[str, type[ImageFile]] = {
    "JPEG": JpegImageFile,
    "WEBP": WebPImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
    "AVIF": AvifImageFile,
}
HEADERS = {"JXL": "jpegxl.extent", "JP2": "jpeg2000.extent", "HEIC": "heic.extent"}


class Need(NamedTuple):
    """The memory that work on one picture or page of a file takes, and its pixels.

    Attributes:
        nbytes: Bytes of memory; 0 if unknown.
        pixels: Number of pixels; None if unknown.
    """

    nbytes: int
    pixels: int | None


def needed(pixels: int, nbytes: int, file: int) -> int:
    """Return the bytes of memory for work on a number of pixels, whose samples take `nbytes`, from a file of a size."""
    return file + COPIES * nbytes + WORK * pixels


def refuse_huge(pixels: int, nbytes: int, file: int) -> None:
    """Raise MemoryLimitError, before decoding, if a picture needs more memory than there is or its file can justify."""
    need = needed(pixels, nbytes, file)
    if need > ALWAYS and need > min(left(), max(FREE, MAX_EXPANSION * file)):
        raise MemoryLimitError(
            f"its {pixels:,} pixels would take {need / 2**30:.1f} GB of memory", "cut it into smaller images first"
        )


def needed_for(path: Path) -> Need:
    """Return what memory work on one picture, or page, of a file takes, and how many pixels it has at most.

    Only the header is read. A pipe is not read, and errors in a file are left for its reader to report.
    """
    from smdae.files.foreign import RAW
    from smdae.files.images import HEAD, format_of
    from smdae.files.ome_metadata import is_volume
    from smdae.files.slabs import ROOM

    with suppress(Exception):
        if is_volume(path):
            return Need(ROOM, None)
        if os.path.isfile(path):
            if path.suffix.lower() in RAW.endings:
                return Need(RAW_EXPANSION * path.stat().st_size, None)
            with path.open("rb") as file:
                kind = format_of(file.read(HEAD), "")
                file.seek(0)
                pixels, nbytes = _extent(file, kind, size := path.stat().st_size)
                return Need(needed(pixels, nbytes, size), pixels)
    return Need(0, None)


def _extent(file: BinaryIO, kind: str, size: int) -> tuple[int, int]:
    """Return the pixels of a picture and the bytes of its samples."""
    if kind == "PNG":
        width, height, depth, colour = struct.unpack(">IIBB", file.read(26)[16:])
        return width * height, width * height * CHANNELS.get(colour, 4) * max(1, depth // 8)
    if kind == "TIFF":
        import tifffile

        with tifffile.TiffFile(file) as tiff:
            page = tiff.pages.first
            pixels = page.imagewidth * page.imagelength
            return pixels, max(page.nbytes, 3 * pixels if page.photometric == 3 else 0)
    if kind in HEADERS:
        extent: tuple[int, int] = function(HEADERS[kind])(file.read())
        return extent
    if kind in OTHERS:
        image = OTHERS[kind](file)
        pixels = image.width * image.height
        return pixels, pixels * len(image.getbands())
    samples = 8 * size if file.read(2) == BITS else size
    return samples, samples
