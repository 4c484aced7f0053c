"""The chunks of a PNG: a signature, and then parts with a kind, a length and a checksum.

They are walked here, because Pillow checks neither the checksum of the pixel chunks nor that the file is whole, drops
the chunks on colour meaning, and fails on a broken comment.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Any

from smdae.errors import InputError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS = (b"IDAT", b"fdAT")
MAX_CHUNKS = 20_000  # of a small file
CHUNK = 256  # bytes that a chunk of a larger file has on average, at least


def parts(kind: bytes, payload: bytes | memoryview) -> tuple[bytes | memoryview, ...]:
    """Return the parts of one chunk: length, type, payload, checksum."""
    checksum = zlib.crc32(payload, zlib.crc32(kind))
    return struct.pack(">I", len(payload)), kind, payload, struct.pack(">I", checksum)


def chunk(kind: bytes, payload: bytes) -> bytes:
    """Return the bytes of one chunk."""
    return b"".join(parts(kind, payload))


def chunks(data: bytes) -> Iterator[tuple[bytes, Any]]:
    """Yield the kind and the payload of each chunk of a whole file, pixels as views of the data.

    Raises InputError where the file is cut, a checksum is wrong, or there are far too many.
    """
    position, kind = len(SIGNATURE), b""
    view = memoryview(data)
    room = MAX_CHUNKS + len(data) // CHUNK
    while kind != b"IEND":
        room -= 1
        if room < 0:
            raise InputError("the file is damaged: it is cut into far too many chunks")
        if position + 12 > len(data):
            raise InputError("the file is truncated")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise InputError("the file is truncated")
        payload = view[position + 8 : end - 4]
        if zlib.crc32(payload, zlib.crc32(kind)) != int.from_bytes(data[end - 4 : end]):
            raise InputError("the file is damaged: a checksum is wrong")
        yield kind, payload if kind in PIXELS else bytes(payload)
        position = end
