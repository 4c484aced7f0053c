"""TIFF pages that Pillow decodes, most by way of libtiff: LZW, JPEG, palettes and the like.

Facts this relies on:
- libtiff knows all compressions in use, but Pillow fewer kinds of pixels: 8 bits, 16-bit gray, 16-bit colour by
  decoding twice, float32 gray. The raw mode in `image.tile` tells its C decoder how to unpack a row: `RGB;16B` takes
  the first byte of each sample, `RGB;16L` the second, `;16N` is the machine's order. Should a later Pillow name them
  differently, reading stops with an error; it never falls back to 8 bits.
- Pillow turns the pixels by the Orientation that `getexif` gives, swaps the size from the start, and divides
  colours by associated alpha. None is wanted: the Orientation is overwritten with 1, the size with that of
  the page, and the raw mode `RGBa` with `RGBA`.
- libtiff gets the file as a descriptor where it has one and as `getvalue()` where it is in memory, and the
  offset of the directory; it reads no page but that.
- libtiff prints what it finds wrong to file descriptor 2, past Python, unless its handler of errors is null. To
  redirect the descriptor would silence other threads too.
"""

import contextlib
import ctypes
import struct
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from PIL import _imaging
from PIL.ExifTags import Base
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from smdae.errors import InputError
from smdae.files.picture import samples_in

if TYPE_CHECKING:
    import tifffile

__all__ = ["decoded"]

OTHER_BYTE = {
    f"{colours};16{order}": f"{colours};16{other}"
    for colours in ("RGB", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B" if sys.byteorder == "little" else "L"))
}


def decoded(stream: BinaryIO, page: "tifffile.TiffPage", shift: int = 0) -> np.ndarray:
    """The samples of a page of the file `stream`, (H, W) or (H, W, 2 to 4), palettes looked up.

    `shift` is how many bytes behind the place that the directory names they are. Raises InputError for kinds
    of pixels that Pillow does not know in that compression, and whatever Pillow raises for damaged ones.
    """
    import tifffile

    def opened() -> ImageFile:
        stream.seek(0)
        image = TiffImageFile(cast(BinaryIO, _StartingAt(page, stream)))
        image.getexif()[Base.Orientation] = 1
        image._size = page.imagewidth, page.imagelength
        image.tile = [_unassociated(tile)._replace(offset=tile.offset + shift) for tile in image.tile]
        return image

    try:
        image = opened()
    except SyntaxError as error:
        compression = tifffile.COMPRESSION(page.compression).name
        raise InputError(
            f"its TIFF compression, {compression}, is not supported for this kind of pixels",
            "save it uncompressed, or with deflate compression",
        ) from error
    _silence()
    if page.bitspersample == 16 and page.samplesperpixel > 1:
        return _both_bytes(opened)
    return samples_in(image)


class _StartingAt:
    """A TIFF file whose header points to a page: Pillow would read all directories up to it, for every page."""

    def __init__(self, page: "tifffile.TiffPage", stream: BinaryIO) -> None:
        at, format = (8, "Q") if page.parent.is_bigtiff else (4, "I")
        self._stream = stream
        self._header = stream.read(at) + struct.pack(page.parent.byteorder + format, page.offset)
        stream.seek(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, size: int = -1) -> bytes:
        position = self._stream.tell()
        data = self._stream.read(size)
        header = self._header[position : position + len(data)]
        return header + data[len(header) :]


def _silence() -> None:
    """Take libtiff's handler of errors away, which prints; Pillow tells of them by exceptions."""
    # A libtiff that hides its functions is heard.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


def _unassociated(tile: Any) -> Any:
    raw_mode, *rest = tile.args
    return tile._replace(args=(raw_mode.replace("RGBa", "RGBA"), *rest))


def _both_bytes(opened: Callable[[], ImageFile]) -> np.ndarray:
    """Decode 16-bit RGB or RGBA exactly: uint16 (H, W, 3 or 4).

    `opened` gives the same image, opened and not yet decoded, each time. Raises InputError where Pillow's raw
    modes are not those known here.
    """
    image = opened()
    other = OTHER_BYTE.get(_raw_mode(image))
    if other is None or len(image.tile) != 1:
        raise InputError("its 16-bit colour cannot be decoded exactly", "convert it to a 16-bit RGB PNG")
    high = np.asarray(image)
    low = np.asarray(_with_raw_mode(opened(), other))
    samples = high.astype(np.uint16)
    samples <<= 8
    samples |= low
    return samples


def _raw_mode(image: ImageFile) -> str:
    args = image.tile[0].args or ""
    return args if isinstance(args, str) else str(args[0])


def _with_raw_mode(image: ImageFile, raw_mode: str) -> ImageFile:
    tile = image.tile[0]
    args = (raw_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode
    image.tile = [tile._replace(args=args)]
    return image
