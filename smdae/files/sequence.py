"""Pictures one behind the other in a stream: PNG, PGM and PPM files as programs such as ffmpeg pipe them.

The end of a picture is found from its chunks or its header; nothing is decoded here.
"""

from collections.abc import Iterator

from smdae.errors import InputError
from smdae.files.plain import pnm_header
from smdae.files.png_chunks import SIGNATURE
from smdae.files.y4m import Readable, exactly

MAX_HEADER = 4096  # bytes of a PGM or PPM, before its pixels
MAX_PICTURE = 1 << 30  # bytes
RAW_KINDS = (b"P5", b"P6")
PADDING = b"\0 \t\r\n"
BEGINNING = 8  # bytes by which what follows is recognised


class Ahead:
    """A stream, some of which was read already and comes first."""

    def __init__(self, begun: bytes, stream: Readable) -> None:
        self._begun, self._stream = begun, stream

    @property
    def left(self) -> bytes:
        """Return what was read already and has not been given out."""
        return self._begun

    def read(self, n: int, /) -> bytes:
        """Return up to n bytes."""
        if self._begun:
            part, self._begun = self._begun[:n], self._begun[n:]
            return part if len(part) == n else part + self._stream.read(n - len(part))
        return self._stream.read(n)


def first_of(stream: Readable) -> tuple[bytes, bytes]:
    """Return the first picture of a stream, if its end can be found, and the bytes after it.

    If it cannot, the first part is all that was read, and the second empty.
    """
    begun = exactly(stream, BEGINNING)
    picture = _picture(begun, stream)
    if picture is None:
        return begun, b""
    data, is_whole = picture
    return data, exactly(stream, BEGINNING) if is_whole else b""


def more_of(begun: bytes, stream: Readable) -> Iterator[bytes]:
    """Yield the files of the pictures of a stream whose first bytes have been read.

    Raises:
        InputError: The stream ends inside a picture, or something else follows one; the message has the picture's
            number, counted from 2.
    """
    number = 1
    while begun:
        number += 1
        picture = _picture(begun, stream)
        if picture is None:
            raise InputError(f"what follows picture {number - 1} is not a PNG, PGM or PPM")
        data, is_whole = picture
        if not is_whole:
            raise InputError(f"it ends inside picture {number}")
        yield data
        begun = exactly(stream, BEGINNING)


def begins_one(begun: bytes) -> bool:
    """Return whether bytes are the beginning of a picture whose end can be found."""
    return begun.startswith(SIGNATURE) or (begun[:2] in RAW_KINDS and begun[2:3].isspace())


def refuse_several(data: bytes) -> bool:
    """Return whether more than padding follows the picture of a PNG, PGM or PPM; False for other formats.

    Raises:
        InputError: Another picture follows, which would be lost.
    """
    end = len(data)
    if data.startswith(SIGNATURE):
        end = _end_of_png(data)
    elif begins_one(data) and (header := pnm_header(data[:MAX_HEADER])) is not None:
        end = _size(header)
    behind = data[end : end + MAX_HEADER]
    if behind.startswith(SIGNATURE) or (begins_one(behind) and pnm_header(behind) is not None):
        raise InputError("it holds several pictures", "a stream may hold many: smdae denoise - -o - < FILE > RESULT")
    return bool(data[end:].strip(PADDING))


def _end_of_png(data: bytes) -> int:
    """Return where the chunks of a PNG end; the length of the file where they do not."""
    at = len(SIGNATURE)
    while at < len(data):
        kind = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        if kind == b"IEND":
            return at
    return len(data)


def _size(header: tuple[int, int, int, int, int]) -> int:
    """Return the bytes of a raw PGM or PPM with that header."""
    kind, width, height, largest, end = header
    return end + width * height * (3 if kind == 6 else 1) * (1 if largest < 256 else 2)


def _picture(begun: bytes, stream: Readable) -> tuple[bytes, bool] | None:
    """Return the bytes of a picture that begins with `begun`, and whether they are complete; None for other kinds."""
    if not begins_one(begun):
        return None
    return _png(begun, stream) if begun.startswith(SIGNATURE) else _pnm(begun, stream)


def _png(begun: bytes, stream: Readable) -> tuple[bytes, bool]:
    pieces, size = [begun], len(begun)
    while size < MAX_PICTURE:
        head = exactly(stream, 8)
        length = int.from_bytes(head[:4], "big")
        body = exactly(stream, length + 4) if len(head) == 8 and length <= MAX_PICTURE else b""
        pieces += [head, body]
        size += len(head) + len(body)
        if len(body) < length + 4:
            return b"".join(pieces), False
        if head[4:] == b"IEND":
            return b"".join(pieces), True
    return b"".join(pieces), False


def _pnm(begun: bytes, stream: Readable) -> tuple[bytes, bool]:
    data = bytearray(begun)
    while (header := pnm_header(bytes(data))) is None:
        more = stream.read(1)
        if not more or len(data) >= MAX_HEADER:
            return bytes(data), False
        data += more
    size = _size(header)
    if size > MAX_PICTURE:
        return bytes(data), False
    rest = exactly(stream, size - len(data))
    return bytes(data) + rest, len(data) + len(rest) == size
