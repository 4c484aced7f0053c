"""A file that is read in many small pieces.

A map of the file would do the reading by itself, but what is touched of a map counts as memory of the process, up to
2 MB a touch, and a disk that fails is a signal that ends it. Pieces that are read take the memory that they have, and
a failure is an exception. A part that is small is held in memory.

If the disk is slow, all reads are announced before the first one, so that it can do them together.
"""

import os
from itertools import repeat
from pathlib import Path

import numpy as np

try:
    import resource
except ImportError:  # there is none on Windows
    resource = None  # type: ignore[assignment]

from smdae.errors import InputError

MAX_HELD = 512 << 20  # bytes: a part that is no larger is held in memory
READS_ANNOUNCED = 1000  # further reads that are announced after one had to wait for the disk


class Pieces:
    """The pieces of a part of a file, which is open for as long as the object lives.

    Args:
        path: The path of the file.
        size: The number of its bytes that are good.
        part: The range of bytes that will be read.

    Raises:
        OSError: The file cannot be opened or read.
    """

    def __init__(self, path: Path, size: int, part: slice) -> None:
        self._file = path.open("rb", buffering=0)
        self._path, self._size, self._base = path, size, part.start
        length = part.stop - part.start
        self._held = np.fromfile(path, np.uint8, length, offset=part.start) if length <= MAX_HELD else None
        self._announced, self._waits = 0, _waits()
        if hasattr(os, "posix_fadvise"):  # pieces far apart: what lies around them is of no use
            os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)

    @property
    def held(self) -> bool:
        """Return whether the part is held in memory."""
        return self._held is not None

    def read(self, starts: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Read the pieces of `length` bytes that begin at `starts`, (n,), counted from the beginning of the file.

        Returns:
            A uint8 array of one axis that holds all pieces, and the index in it of the first byte of each piece, (n,).
            Bytes beyond the end of the file have any value, or are missing.

        Raises:
            InputError: The file cannot be read, or has been cut off since it was opened.
        """
        if self._held is not None:
            return self._held, starts - self._base
        try:
            if self._announced and hasattr(os, "posix_fadvise"):
                for start in starts.tolist():
                    os.posix_fadvise(self._file.fileno(), start, length, os.POSIX_FADV_WILLNEED)
            pieces = [*map(os.pread, repeat(self._file.fileno()), repeat(length), starts.tolist())]
        except OSError as error:
            raise self._unreadable((error.strerror or "unreadable").lower()) from error
        waits, self._waits = self._waits, _waits()
        self._announced = READS_ANNOUNCED if self._waits > waits else max(0, self._announced - 1)
        data = bytearray().join(pieces)
        if len(data) < len(starts) * length:
            least = np.minimum(starts + length, self._size) - starts
            if any(len(piece) < some for piece, some in zip(pieces, least.tolist(), strict=True)):
                raise self._unreadable("it has become shorter")
            data = bytearray().join(piece.ljust(length) for piece in pieces)
        return np.frombuffer(data, np.uint8), np.arange(len(starts)) * length

    def _unreadable(self, reason: str) -> InputError:
        return InputError(f"cannot read '{self._path}': {reason}", "run the same command again to repair it")


def _waits() -> int:
    """Return how often this process has had something read from a disk, where that is known."""
    return 0 if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_inblock
