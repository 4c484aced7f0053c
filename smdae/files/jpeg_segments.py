"""The segments of a JPEG: what stands before its pixels, and where it ends.

A JPEG is markers, most with a length and a payload, and scans, which end at the next marker that is none of a restart
(ITU-T T.81, annex B). What applications know of a picture stands in segments of their own (APP0 to APP15) and in
comments, before the first scan. Behind its end cameras append what they like: a film, more pictures.
"""

import re
import struct
from collections.abc import Iterable

from smdae.errors import InputError

Segment = tuple[int, bytes]  # the marker, the payload

START, END, SCAN, COMMENT = 0xD8, 0xD9, 0xDA, 0xFE
APP0, APP1, APP2, APP14, APP15 = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF
ADOBE, MPF = b"Adobe", b"MPF\0"
BARE = (0x01, *range(0xD0, 0xD9))  # markers without a payload
MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)  # behind a scan


def segments_of(data: bytes | memoryview) -> list[Segment]:
    """Return the segments APP0 to APP15 and the comments before the first scan, in order: marker and payload.

    Raises:
        InputError: The file is damaged.
    """
    return [
        (marker, bytes(data[start:end]))
        for marker, start, end in _walk(data)
        if APP0 <= marker <= APP15 or marker == COMMENT
    ]


def end_of(data: bytes | memoryview) -> int:
    """Return the number of bytes up to the end of a JPEG: all of the data, if it has no end; InputError if damaged."""
    position = len(data)
    for marker, _, end in _walk(data, scans=True):
        if marker == END:
            position = end
            break
    return position


def with_segments(jpeg: bytes, segments: Iterable[Segment]) -> bytes:
    """Return a JPEG with these segments of applications, marker and payload, instead of its own.

    Raises:
        InputError: The JPEG is damaged.
    """
    kept = [jpeg[start - 4 : end] for marker, start, end in _walk(jpeg) if not _is_own(marker)]
    first_scan = next(start - 4 for marker, start, _ in _walk(jpeg) if marker == SCAN)
    made = [bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload for marker, payload in segments]
    return b"".join([b"\xff\xd8", *made, *kept, jpeg[first_scan:]])


def _is_own(marker: int) -> bool:
    """Return whether a segment is an application's, or has no payload, or is the first scan."""
    return APP0 <= marker <= APP15 or marker in (*BARE, COMMENT, SCAN)


def _walk(data: bytes | memoryview, scans: bool = False) -> "Iterable[tuple[int, int, int]]":
    """Yield marker, start and end of the payload of each segment; up to the first scan, or to the end."""
    if data[:2] != b"\xff\xd8":
        raise InputError("the file is damaged")
    position = 2
    while position + 2 <= len(data):
        found = MARKER.match(data, position)
        if found is None:
            return
        marker, position = found[1][0], found.end()
        if marker in BARE or marker == END:
            yield marker, position, position
            if marker == END:
                return
            continue
        if position + 2 > len(data):
            return
        end = position + int.from_bytes(data[position : position + 2])
        if end > len(data) or end < position + 2:
            return
        yield marker, position + 2, end
        position = end
        if marker == SCAN:
            if not scans:
                return
            behind = MARKER.search(data, position)
            if behind is None:
                return
            position = behind.start()
