"""Animated WebP: chunks of a RIFF file, of which each ANMF holds the chunks of one frame's pixels.

All chunks stay, and in a frame all but its pixels; a frame that was lossless stays so
(https://developers.google.com/speed/webp/docs/riff_container).
"""

import struct
from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO

import numpy as np
from PIL import Image
from PIL.WebPImagePlugin import WebPImageFile

from smdae.errors import InputError
from smdae.files.animation import CLEAR, KEEP, Animation, Frame
from smdae.files.eight_bit import QUALITY
from smdae.files.exif import stripped
from smdae.files.formats import FORMATS
from smdae.files.marks import CHUNK
from smdae.files.parts import Rewriting
from smdae.files.picture import Metadata

HEAD = 16  # bytes of a frame, before its chunks
PIXELS = (b"ALPH", b"VP8 ", b"VP8L")
HAS_EXIF, HAS_XMP, HAS_ALPHA = 8, 4, 16  # flags of VP8X


def parts_of_webp(data: bytes) -> Animation | None:
    """Return the frames of an animated WebP; None for a single picture."""
    if data[12:16] != b"VP8X" or b"ANMF" not in data:
        return None
    found = list(_chunks(data, 12))
    width, height = _three(found[0][1], 4) + 1, _three(found[0][1], 7) + 1
    if max(width, height) > FORMATS["WEBP"].longest_side:
        raise InputError("the file is damaged: it has more pixels a side than a WebP can have")
    frames = []
    for kind, payload in found:
        if kind == b"ANMF":
            corner = 2 * _three(payload, 0), 2 * _three(payload, 3)
            size = _three(payload, 6) + 1, _three(payload, 9) + 1
            flags = payload[15]
            decode = partial(_decoded, size, payload)
            frames.append(Frame(corner, size, decode, CLEAR if flags & 1 else KEEP, not flags & 2))
    if len(frames) < 2:
        return None
    lossless = all(_is_lossless(payload) for kind, payload in found if kind == b"ANMF")
    return Animation(data, "WEBP", (width, height), tuple(frames), partial(_rewritten, found), lossless)


def _chunks(data: bytes, position: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and payload of each chunk."""
    while position + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        if position + 8 + length > len(data):
            raise InputError("the file is truncated")
        yield kind, data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(payload)) + payload + bytes(len(payload) % 2)


def _file(found: Sequence[tuple[bytes, bytes]]) -> bytes:
    body = b"WEBP" + b"".join(_chunk(*one) for one in found)
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def _three(data: bytes, position: int) -> int:
    """Return the number in the three bytes at a position, the lowest first."""
    return int.from_bytes(data[position : position + 3], "little")


def _is_lossless(frame: bytes) -> bool:
    return any(kind == b"VP8L" for kind, _ in _chunks(frame, HEAD))


def _decoded(size: tuple[int, int], frame: bytes) -> np.ndarray:
    """Return the pixels of a frame, (h, w, 4)."""
    pixels = [chunk for chunk in _chunks(frame, HEAD) if chunk[0] in PIXELS]
    extents = b"".join((side - 1).to_bytes(3, "little") for side in size)
    image = WebPImageFile(BytesIO(_file([(b"VP8X", bytes([HAS_ALPHA, 0, 0, 0]) + extents), *pixels])))
    if image.size != size:
        raise InputError("the file is damaged")
    return np.asarray(image.convert("RGBA"))


def _rewritten(found: Sequence[tuple[bytes, bytes]], pixels: Sequence[np.ndarray | None], how: Rewriting) -> bytes:
    """Return the file with other pixels in its frames."""
    made, number = list[tuple[bytes, bytes]](), 0
    for kind, payload in found:
        if kind == b"ANMF":
            new = pixels[number]
            if new is None and how.quality is not None:
                new = _decoded((_three(payload, 6) + 1, _three(payload, 9) + 1), payload)
            made.append((kind, payload if new is None else _frame(payload, new, how.quality)))
            number += 1
        elif kind == b"EXIF" and how.strip:
            upright = stripped(Metadata(exif=payload)).exif
            made += [] if upright is None else [(kind, upright)]
        elif kind != CHUNK and not (kind == b"XMP " and how.strip):
            made.append((kind, payload))
    kinds = {kind for kind, _ in made}
    flags = made[0][1][0] & ~(0 if b"EXIF" in kinds else HAS_EXIF) & ~(0 if b"XMP " in kinds else HAS_XMP)
    made[0] = (b"VP8X", bytes([flags]) + made[0][1][1:])
    return _file(made)


def _frame(frame: bytes, pixels: np.ndarray, quality: int | None) -> bytes:
    """Return the payload of a frame with other pixels."""
    opaque = bool((pixels[..., 3] == 255).all())
    image = Image.fromarray(np.ascontiguousarray(pixels[..., :3]) if opaque else pixels)
    buffer = BytesIO()
    if _is_lossless(frame) and quality is None:
        image.save(buffer, "WEBP", lossless=True, exact=True)
    else:
        image.save(buffer, "WEBP", quality=QUALITY if quality is None else quality, exact=True)
    coded = [chunk for chunk in _chunks(buffer.getvalue(), 12) if chunk[0] in PIXELS]
    kept = [chunk for chunk in _chunks(frame, HEAD) if chunk[0] not in PIXELS]
    return frame[:HEAD] + b"".join(_chunk(*one) for one in [*coded, *kept])
