"""A file that is read in many small pieces, each block of it checked before the first of its bytes is used.

A map of the file would do the reading by itself, but what is touched of a map counts as memory of the process, up to
2 MB a touch, and a disk that fails is a signal that ends it. Pieces that are read take the memory that they have, and
a failure is an exception. A file that is small is kept once it was read.

Every block of 64 KB has a CRC-32. To check all of a large file at the start would take minutes; blocks are checked as
they come, each once: nothing is used that was not as it was written, and a run pays for no more than it uses.

If the disk is slow, all reads are announced before the first one, so that it can do them together.
"""

import os
import zlib
from array import array
from collections.abc import Callable, Sequence
from itertools import repeat
from pathlib import Path

import numpy as np

try:
    import resource
except ImportError:  # there is none on Windows
    resource = None  # type: ignore[assignment]

from smdae.errors import InputError

BLOCK = 1 << 16
MAX_KEPT = 512 << 20  # bytes: what is no larger stays in memory
READS_ANNOUNCED = 1000  # further reads that are announced after one had to wait for the disk


def checked_on(checks: "array[int]", size: int, data: bytes | memoryview) -> int:
    """Add bytes to the checks of a file of `size` bytes, whose last block may be a part of one; return the new size."""
    rest = memoryview(data).cast("B")
    while rest:
        part, rest = rest[: BLOCK - size % BLOCK], rest[BLOCK - size % BLOCK :]
        if size % BLOCK:
            checks[-1] = zlib.crc32(part, checks[-1])
        else:
            checks.append(zlib.crc32(part))
        size += len(part)
    return size


class Blocks:
    """A part of a file, which is open for as long as the object lives.

    Args:
        path: The path of the file.
        size: The number of its bytes that have checks.
        checks: The CRC-32 of each block, the last of which may be shorter.
        part: The range of bytes that will be read.
        repair: Called with the number of a damaged block; writes it again, or raises an error for the user.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(
        self, path: Path, size: int, checks: Sequence[int], part: slice, repair: Callable[[int], None]
    ) -> None:
        self._file = path.open("rb", buffering=0)
        self._path, self._size, self._repair = path, size, repair
        self._checks = np.array(checks, np.uint32)
        self._sound = np.zeros(len(self._checks), bool)
        self._base = part.start // BLOCK * BLOCK
        length = -(-part.stop // BLOCK) * BLOCK - self._base
        self._kept = np.empty(length, np.uint8) if length <= MAX_KEPT else None  # takes memory as it is filled
        self._announced, self._waits = 0, _waits()
        if hasattr(os, "posix_fadvise"):  # pieces far apart: what lies around them is of no use
            os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)

    @property
    def kept(self) -> bool:
        """Return whether what was read stays in memory."""
        return self._kept is not None

    def read(self, starts: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an array with `length` bytes from each start, (n,), and where in it those of each start begin, (n,).

        Bytes beyond the end of the file have any value.

        Raises:
            InputError: The file cannot be read, or has been cut off since it was opened.
        """
        ends = np.minimum(starts + length, self._size)
        self._check(starts // BLOCK, (ends - 1) // BLOCK)
        if self._kept is not None:
            return self._kept, starts - self._base
        if self._announced:
            self._announce(starts, ends - starts)
        pieces = self._pieces(starts, length)
        data = bytearray().join(pieces)
        if len(data) < len(starts) * length:
            if any(len(piece) < least for piece, least in zip(pieces, (ends - starts).tolist(), strict=True)):
                raise self._unreadable("it has become shorter")
            data = bytearray().join(piece.ljust(length) for piece in pieces)
        waits, self._waits = self._waits, _waits()
        self._announced = READS_ANNOUNCED if self._waits > waits else max(0, self._announced - 1)
        return np.frombuffer(data, np.uint8), np.arange(len(starts)) * length

    def _pieces(self, starts: np.ndarray, length: int) -> list[bytes]:
        try:
            return [*map(os.pread, repeat(self._file.fileno()), repeat(length), starts.tolist())]
        except OSError as error:
            raise self._unreadable((error.strerror or "unreadable").lower()) from error

    def _unreadable(self, reason: str) -> InputError:
        return InputError(f"cannot read '{self._path}': {reason}", "run the same command again to repair it")

    def _check(self, first: np.ndarray, last: np.ndarray) -> None:
        """Make sure of the blocks from first to last, both with shape (n,)."""
        if self._sound[first].all() and self._sound[last].all() and (last - first).max() <= 1:
            return
        touched = np.concatenate([np.minimum(first + k, last) for k in range(int((last - first).max()) + 1)])
        blocks = np.unique(touched[~self._sound[touched]])
        if not blocks.size:
            return
        self._announce(blocks * BLOCK, np.full(len(blocks), BLOCK))
        for block in blocks.tolist():
            data = self._block(block)
            if zlib.crc32(data) != self._checks[block]:
                self._repair(block)
                data = self._block(block)
                if zlib.crc32(data) != self._checks[block]:
                    raise InputError(
                        f"'{self._path}' is damaged and could not be repaired", "remove it, and run the command again"
                    )
            if self._kept is not None:
                begin = block * BLOCK - self._base
                self._kept[begin : begin + len(data)] = np.frombuffer(data, np.uint8)
            self._sound[block] = True

    def _block(self, block: int) -> bytes:
        return self._pieces(np.array([block * BLOCK]), min(BLOCK, self._size - block * BLOCK))[0]

    def _announce(self, starts: np.ndarray, lengths: np.ndarray) -> None:
        """Ask the system to read pieces before they are waited for one by one."""
        if hasattr(os, "posix_fadvise"):
            for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
                os.posix_fadvise(self._file.fileno(), start, length, os.POSIX_FADV_WILLNEED)


def _waits() -> int:
    """Return how often this process has had something read from a disk, where that is known."""
    return 0 if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_inblock
