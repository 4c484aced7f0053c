"""Marks of results: a line in the file on the model that made it, where the format has a place for words.

    PNG                    a chunk `tEXt` with the keyword `smdae`, before the end
    JPEG                   a comment, behind the segments of applications
    WebP                   a chunk `SMDA` at the end
    GIF                    a comment at the end
    PPM, PAM               a comment in the second line
    AVIF, HEIC, JXL, JP2   a box `uuid` at the end
    TIFF                   a private tag of the first directory, which is written anew at the end of the file
    FITS                   a card HISTORY, see `fits_header`

All are left out when a picture is read, so that a result says only what was done last, and by them a result is known.
BMP, arrays, video, Zarr and a codestream alone have no place for words.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from smdae.files.boxes import Box
from smdae.files.fits_header import told

BOXED = ("AVIF", "HEIC", "JXL", "JP2")
COMMENTED = ("PPM", "PAM")
HOLDERS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", *COMMENTED, *BOXED)  # formats with a place for words

KEYWORD = b"smdae\0"
OPENING = b"smdae: "  # of a comment, and of a tag
CHUNK = b"SMDA"  # of a WebP, as no words have it
UUID = bytes.fromhex("5d1f3a6e9c0b47d2a8e4736d6461652e")  # of a box
OF_BOX = b"uuid" + UUID
GIF_COMMENT, GIF_END, GIF_PIECE = b"!\xfe", b";", 255  # the last is the most bytes of a piece
TAG = 65113  # of a TIFF, among those that anyone may take
END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))  # of a PNG
COMMENT = b"\xff\xfe"
BOXES = (b"ftyp", b"JXL ", b"jP  ")  # the kinds of the first box of a file
TAIL = 1 << 10  # bytes before the end of a file, in which its words are
MAX_ENTRIES = 4096  # of a directory that makes sense
ASCII = 2  # type of a tag
MAX_TIFF = 1 << 32  # bytes of a TIFF


def marked(data: bytes, format: str, words: str) -> bytes:
    """Return a file with words in it; the same bytes in formats without a place for them.

    Args:
        data: The whole file, as it was encoded here.
        format: A name in `formats.FORMATS`.
        words: ASCII, fewer than 1,000 letters.
    """
    text = printable(words)
    if format == "PNG" and data.endswith(END):
        chunk = b"tEXt" + KEYWORD + text
        return (
            data[: -len(END)] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + END
        )
    if format == "JPEG":
        at = 2
        while data[at] == 0xFF and 0xE0 <= data[at + 1] <= 0xEF:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        text = OPENING + text
        return data[:at] + COMMENT + struct.pack(">H", len(text) + 2) + text + data[at:]
    if format == "WEBP":
        chunk = CHUNK + struct.pack("<I", len(text)) + text + bytes(len(text) % 2)
        return data[:4] + struct.pack("<I", len(data) + len(chunk) - 8) + data[8:] + chunk
    if format == "TIFF":
        file = BytesIO(data)
        mark_tiff(file, words)
        return file.getvalue()
    if format == "GIF" and data.endswith(GIF_END):
        text = OPENING + text
        pieces = [text[k : k + GIF_PIECE] for k in range(0, len(text), GIF_PIECE)]
        return data[:-1] + GIF_COMMENT + b"".join(bytes([len(one)]) + one for one in pieces) + b"\0" + GIF_END
    if format in COMMENTED and data[2:3] == b"\n":
        return data[:3] + b"# " + OPENING + text + b"\n" + data[3:]
    if format in BOXED and data[4:8] in BOXES:
        return data + struct.pack(">I", len(text) + 8 + len(UUID)) + OF_BOX + text
    return data


def printable(words: str) -> bytes:
    """Return words as ASCII, with a question mark for each other letter and for what would end a line."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in words).encode("ascii")


def without_words(boxes: tuple[Box, ...]) -> tuple[Box, ...]:
    """Return the boxes of a file, kind and payload, but for those with words as `marked` wrote them."""
    return tuple(one for one in boxes if one[0] != b"uuid" or not one[1].startswith(UUID))


def mark_tiff(file: BinaryIO, words: str) -> None:
    """Write words into a TIFF that is open for reading and writing; one that cannot hold them stays as it is."""
    found = _first_directory(file)
    if found is None:
        return
    order, wide, pointer, entries, follows = found
    text = OPENING + printable(words) + b"\0"
    number = order + ("Q" if wide else "I")  # of an offset
    file.seek(0, os.SEEK_END)
    end = file.tell()
    at = end + end % 2
    directory = at + len(text) + len(text) % 2
    if not wide and directory + 12 * len(entries) >= MAX_TIFF:
        return
    entry = struct.pack(order + "HH" + 2 * number[1], TAG, ASCII, len(text), at)
    codes = [struct.unpack_from(order + "H", one)[0] for one in entries]
    place = sum(code < TAG for code in codes)
    whole = [*entries[:place], entry, *entries[place:]]
    file.write(bytes(end % 2) + text + bytes(len(text) % 2))
    file.write(struct.pack(order + ("Q" if wide else "H"), len(whole)) + b"".join(whole) + follows)
    file.seek(pointer)
    file.write(struct.pack(number, directory))


def words_in(path: Path) -> str | None:
    """Return the words on the model that made a file, as `marked` wrote them; None without any, or if unreadable."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
            if head.startswith(b"\x89PNG"):
                text = _of_png(_tail(file))
            elif head[:4] == b"RIFF" and head[8:] == b"WEBP":
                text = _of_webp(_tail(file))
            elif head.startswith(b"\xff\xd8"):
                text = next((comment for comment in _comments(file) if comment.startswith(OPENING)), None)
            elif head.startswith(b"GIF8"):
                text = _of_gif(_tail(file))
            elif head.startswith((b"P5\n", b"P6\n", b"P7\n")):
                file.seek(3)
                text = file.readline(TAIL).removeprefix(b"# ").rstrip(b"\n")
                text = text if text.startswith(OPENING) else None
            elif head[4:8] in BOXES:
                text = _of_box(_tail(file))
            else:
                text = _of_tiff(file) or told(file, OPENING)
    except (OSError, EOFError, struct.error, zlib.error):
        return None
    return None if text is None else text.removeprefix(OPENING).rstrip(b"\0").decode("ascii", "replace")


def _tail(file: BinaryIO) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - TAIL))
    return file.read(TAIL)


def _of_png(tail: bytes) -> bytes | None:
    at = tail.rfind(b"tEXt" + KEYWORD)
    if at < 4:
        return None
    end = at + 4 + int.from_bytes(tail[at - 4 : at])
    return tail[at + 4 + len(KEYWORD) : end] if tail[end + 4 :] == END else None


def _of_webp(tail: bytes) -> bytes | None:
    at = tail.rfind(CHUNK)
    size = int.from_bytes(tail[at + 4 : at + 8], "little")
    return tail[at + 8 : at + 8 + size] if at >= 0 and at + 8 + size + size % 2 == len(tail) else None


def _of_gif(tail: bytes) -> bytes | None:
    at = tail.rfind(GIF_COMMENT)
    if at < 0:
        return None
    text, at = b"", at + len(GIF_COMMENT)
    while at < len(tail) and tail[at]:
        text, at = text + tail[at + 1 : at + 1 + tail[at]], at + 1 + tail[at]
    return text if tail[at:] == b"\0" + GIF_END and text.startswith(OPENING) else None


def _of_box(tail: bytes) -> bytes | None:
    at = tail.rfind(OF_BOX) - 4
    if at < 0 or int.from_bytes(tail[at : at + 4]) != len(tail) - at:
        return None
    return tail[at + 4 + len(OF_BOX) :]


def _comments(file: BinaryIO) -> Iterator[bytes]:
    """Yield the comments of a JPEG that stand before its tables."""
    file.seek(2)
    for _ in range(MAX_ENTRIES):
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF or not (0xE0 <= head[1] <= 0xEF or head[:2] == COMMENT):
            return
        size = int.from_bytes(head[2:]) - 2
        if head[:2] == COMMENT:
            yield file.read(size)
        else:
            file.seek(size, os.SEEK_CUR)


def _of_tiff(file: BinaryIO) -> bytes | None:
    found = _first_directory(file)
    if found is None:
        return None
    order, wide, _, entries, _ = found
    for entry in entries:
        code, kind, count, at = struct.unpack(order + ("HHQQ" if wide else "HHII"), entry)
        if (code, kind) == (TAG, ASCII) and len(OPENING) < count < TAIL:
            file.seek(at)
            text = file.read(count)
            return text if text.startswith(OPENING) else None
    return None


def _first_directory(file: BinaryIO) -> tuple[str, bool, int, list[bytes], bytes] | None:
    """Return the first directory of a TIFF; None for what is no TIFF, or damaged.

    Returns:
        The byte order, whether it is a BigTIFF, where the offset of the directory is stored, its entries, and what
        follows them: the place of the next.
    """
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 16:
        return None
    version = struct.unpack(order + "H", head[2:4])[0]
    if version not in (42, 43):
        return None
    wide = version == 43
    pointer, size, number, count = (8, 20, "Q", "Q") if wide else (4, 12, "I", "H")
    file.seek(struct.unpack_from(order + number, head, pointer)[0])
    entries = struct.unpack(order + count, file.read(struct.calcsize(count)))[0]
    if entries > MAX_ENTRIES:
        return None
    data = file.read(entries * size + struct.calcsize(number))
    if len(data) < entries * size + struct.calcsize(number):
        return None
    return order, wide, pointer, [data[size * k : size * k + size] for k in range(entries)], data[size * entries :]
