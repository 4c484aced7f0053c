"""What a result says of the model that made it: a line in the file, where its format has a place for words.

    PNG     a chunk `tEXt` with the keyword `smdae`, before the end
    JPEG    a comment, behind the segments of applications

Both are left out when a picture is read, so that a result says only what was done last. Pictures in other formats have
none: TIFFs and WebPs keep words in EXIF, which is the picture's own.
"""

import struct
import zlib

__all__ = ["KEYWORD", "OPENING", "marked"]

KEYWORD = b"smdae\0"
OPENING = b"smdae: "  # of a comment
END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))  # of a PNG
COMMENT = b"\xff\xfe"


def marked(data: bytes, format: str, words: str) -> bytes:
    """Return a file with words in it; the same bytes in formats without a place for them.

    Args:
        data: The whole file, as it was encoded here.
        format: A name in `formats.FORMATS`.
        words: ASCII, fewer than 65,000 letters.
    """
    text = words.encode("ascii", "replace")
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
    return data
