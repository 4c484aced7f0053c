"""Files packed by gzip: unpacked to a temporary file, and packed again.

A kilobyte can stand for a megabyte of zeros, and a small file for a full disk: as of pictures, what is unpacked is
bounded by the size of the file.
"""

import contextlib
import gzip
import os
import tempfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from smdae.errors import InputError

ENDING = ".gz"
SIGNATURE = b"\x1f\x8b"
HEAD = 4096  # bytes of a packed file, from which its first bytes can be unpacked
WINDOW = 31  # for zlib: the largest window, in the format of gzip
PIECE = 1 << 22  # bytes unpacked at once
FREE = 5 << 29  # bytes that any file may unpack to
MAX_EXPANSION = 50  # times the bytes of a larger one; gzip reaches a thousand


def is_packed(head: bytes) -> bool:
    """Return whether a file with these first bytes is packed by gzip."""
    return head.startswith(SIGNATURE)


def begun(head: bytes, count: int) -> bytes:
    """Return `count` bytes or fewer unpacked from `head`, the first bytes of a gzip file; any other `head` as it is."""
    if is_packed(head):
        with contextlib.suppress(zlib.error):
            return zlib.decompressobj(WINDOW).decompress(head, count)
    return head


def unpacked(file: BinaryIO) -> BinaryIO:
    """Return a temporary file, open for reading at its beginning, with the unpacked content of a gzip file.

    Raises:
        InputError: There is no room on disk, or the content is larger than FREE and than MAX_EXPANSION times the file.
        OSError, EOFError, zlib.error: The file is damaged.
    """
    most = max(FREE, MAX_EXPANSION * file.seek(0, os.SEEK_END))
    file.seek(0)
    with tempfile.TemporaryFile() as whole:
        with gzip.open(file) as source:
            while piece := source.read(PIECE):
                if whole.tell() + len(piece) > most:
                    times = f"{MAX_EXPANSION} times its size and {FREE / 2**30:g} GB"
                    raise InputError(f"it unpacks to more than {times}", "unpack it first, if that is meant: gunzip")
                try:
                    whole.write(piece)
                    whole.flush()
                except OSError as error:
                    place = tempfile.gettempdir()
                    raise InputError(
                        f"there is no room to unpack it in '{place}'", "set TMPDIR to a folder with more room"
                    ) from error
        return os.fdopen(os.dup(whole.fileno()), "rb")  # astropy takes no file that may be written


def packed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a file packed by gzip, with neither its name nor a time in the header."""
    packer = zlib.compressobj(wbits=WINDOW)
    for piece in pieces:
        if some := packer.compress(piece):
            yield some
    yield packer.flush()
