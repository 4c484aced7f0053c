"""16-bit samples in PNG, and the way to get all 16 bits of colour out of Pillow.

Facts this relies on, pinned by golden files in the tests:
- Pillow opens 16-bit colour as 8-bit and silently drops the low bytes; 16-bit gray it keeps.
- The raw mode in `image.tile` tells its C decoder how to unpack a row. `RGB;16B` takes the first byte of each
  sample, `RGB;16L` the second, so two decodings give both bytes. `;16N`, used with libtiff, is the machine's
  order.
- 16-bit gray with alpha is four bytes a pixel, and so is `RGBA`: one decoding under that name yields all
  bytes. Should a later Pillow name its raw modes differently, reading stops with an error; it never falls
  back to 8 bits.

Writing filters every row by "Up" (the difference to the row above), which is a plain subtraction in numpy.

What noise and texture have filled repeats nowhere, and to look for it is most of the time that deflate takes. Where
bands of rows say that runs alone are as good, it looks for no more: a quarter of the time, and 0.98 to 1.01 of the
bytes on photographs. Text and drawings, which repeat, are compressed as ever.
"""

import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO

import numpy as np
from PIL import ImageFile, PngImagePlugin

from smdae.errors import InputError

__all__ = ["COLOUR_TYPES", "SIGNATURE", "both_bytes", "chunk", "decode", "encode", "parts", "strategy"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
BAND = 256
BANDS, ROWS = 3, 16  # of an image, that strategies are tried on
WORSE = 1.02  # of the bytes, which a faster strategy may take

OTHER_BYTE = {
    f"{colours};16{order}": f"{colours};16{other}"
    for colours in ("RGB", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B" if sys.byteorder == "little" else "L"))
}


def parts(kind: bytes, payload: bytes | memoryview) -> tuple[bytes | memoryview, ...]:
    """One PNG chunk, yet to be joined: length, type, payload, checksum."""
    checksum = zlib.crc32(payload, zlib.crc32(kind))
    return struct.pack(">I", len(payload)), kind, payload, struct.pack(">I", checksum)


def chunk(kind: bytes, payload: bytes) -> bytes:
    """One PNG chunk."""
    return b"".join(parts(kind, payload))


def both_bytes(opened: Callable[[], ImageFile.ImageFile]) -> np.ndarray:
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


def decode(png: bytes) -> np.ndarray:
    """Decode a 16-bit PNG exactly: uint16 (H, W), or (H, W, 2 to 4) with alpha or colour."""

    def opened() -> ImageFile.ImageFile:
        return PngImagePlugin.PngImageFile(BytesIO(png))

    image = opened()
    if _raw_mode(image) == "I;16B":
        return np.asarray(image).astype(np.uint16)
    if _raw_mode(image) == "LA;16B":
        pairs = np.asarray(_with_raw_mode(image, "RGBA"))
        return np.ascontiguousarray(pairs).view(">u2").astype(np.uint16)
    return both_bytes(opened)


def encode(samples: np.ndarray) -> bytes:
    """A PNG without metadata of uint16 samples, (H, W) or (H, W, 1 to 4)."""
    samples = np.atleast_3d(samples)
    height, width, channels = samples.shape
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, 0)
    usual = zlib.Z_DEFAULT_STRATEGY
    data = _deflated(samples, strategy(samples, lambda part, how: sum(map(len, _deflated(part, how))), usual))
    return b"".join(
        [
            SIGNATURE,
            chunk(b"IHDR", header),
            *(chunk(b"IDAT", piece) for piece in data if piece),
            chunk(b"IEND", b""),
        ]
    )


def strategy(samples: np.ndarray, size: Callable[[np.ndarray, int], int], usual: int) -> int:
    """What deflate is to look for in samples, (H, W, ...): runs alone, or what it usually does; a strategy of zlib's.

    Args:
        samples: An image.
        size: Bytes that a part of it takes, (h, W, ...), by a strategy.
        usual: The strategy otherwise.
    """
    starts = np.linspace(0, max(0, len(samples) - ROWS), BANDS).astype(int)
    part = np.concatenate([samples[start : start + ROWS] for start in starts])
    return zlib.Z_RLE if size(part, zlib.Z_RLE) <= WORSE * size(part, usual) else usual


def _deflated(samples: np.ndarray, strategy: int) -> list[bytes]:
    compressor = zlib.compressobj(6, strategy=strategy)
    return [compressor.compress(rows) for rows in _filtered(samples)] + [compressor.flush()]


def _filtered(samples: np.ndarray) -> Iterator[bytes]:
    above = np.zeros(samples[0].nbytes, np.uint8)
    for top in range(0, len(samples), BAND):
        rows = samples[top : top + BAND].astype(">u2").reshape(-1, above.size // 2).view(np.uint8)
        filtered = np.empty((len(rows), 1 + above.size), np.uint8)
        filtered[:, 0] = 2
        filtered[0, 1:] = rows[0] - above
        filtered[1:, 1:] = rows[1:] - rows[:-1]
        above = rows[-1]
        yield filtered.tobytes()


def _raw_mode(image: ImageFile.ImageFile) -> str:
    args = image.tile[0].args or ""
    return args if isinstance(args, str) else str(args[0])


def _with_raw_mode(image: ImageFile.ImageFile, raw_mode: str) -> ImageFile.ImageFile:
    tile = image.tile[0]
    args = (raw_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode
    image.tile = [tile._replace(args=args)]
    return image
