"""The memory that work on a file takes, and how many pixels it has, by its header."""

import os
import struct
import warnings
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from smdae.files.foreign import RAW
from smdae.files.formats import function
from smdae.files.images import HEAD, format_of
from smdae.files.ome_metadata import is_volume
from smdae.files.room import needed
from smdae.files.slabs import ROOM

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


def needed_for(path: Path) -> Need:
    """Return what memory work on one picture, or page, of a file takes, and how many pixels it has at most.

    Only the header is read. A pipe is not read, and errors in a file are left for its reader to report.
    """
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as of damaged EXIF
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
