"""Sums over processes of one machine, by memory that they share.

Each process writes its numbers in its own row, says so by counting up, and once all have done so adds the rows up in
their order, so that all have the same sum to the last bit:

    sum = x_0 + x_1 + ... + x_(N-1)

There are two such tables, used in turn: who writes in one has seen all counts of the other, so that nobody reads there
any more. A message through the system has to wake the one that it is for, which takes a good part of the time of a step
of a small model.

The memory is a file without a name, which is gone with the processes, however they end. As long as it lives a process
holds a lock on a byte of it, so that the others can tell.

A count must not be seen by another processor before the numbers that were written earlier: so it is on x86, and only
there boards are used.
"""

import errno
import mmap
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from smdae.errors import LostError

try:
    import fcntl
except ImportError:  # there is none on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["Board", "Boards"]

LEAST = 1 << 14  # bytes, for which a board is worth its making
LINE = 64  # bytes, that no two processes write into at once
SPINS = 2000  # looks at the others without a rest: a few milliseconds
NAP = 5e-5  # seconds between later ones
ALIVE = 0.5  # seconds after which, again and again, those that are waited for are asked whether they live


class Talk(Protocol):
    """What processes can say to each other without a board: see `Group`."""

    @property
    def rank(self) -> int: ...
    @property
    def size(self) -> int: ...
    def bytes_of(self, read: Callable[[], bytes]) -> bytes: ...
    def each(self, function: Callable[[int], Sequence[float]], items: Sequence[int]) -> list[list[float]]: ...


def _length(size: int, room: int) -> int:
    """Bytes of a board for so many processes with rows of so many bytes: a mark, counts, and two tables."""
    return (1 + size) * LINE + 2 * size * room


def _created(size: int, room: int) -> int | None:
    """A new file for a board, that has no name in any folder; None if there is no room for it."""
    file = os.memfd_create("smdae-board")
    try:
        os.posix_fallocate(file, 0, _length(size, room))
        os.pwrite(file, os.urandom(LINE), 0)
    except OSError:
        os.close(file)
        return None
    return file


def _opened(path: str, mark: bytes) -> int | None:
    """A file that another process has open, if it begins with that mark: on another machine it is not there."""
    with suppress(OSError):
        file = os.open(path, os.O_RDWR)
        if os.pread(file, LINE, 0) == mark:
            return file
        os.close(file)
    return None


class Board:
    """One process's view of a board.

    Args:
        file: The memory, which it closes in the end; the only one by which this process has it open, as to close
            another would undo the lock.
        rank: Which of the processes this is.
        size: How many there are.
        room: Bytes of a row.
    """

    def __init__(self, file: int, rank: int, size: int, room: int) -> None:
        self.file, self.rank, self.size, self.room, self.turn = file, rank, size, room, 0
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, rank)
        memory = mmap.mmap(file, _length(size, room))
        self._counts = np.frombuffer(memory, np.int64, size * LINE // 8, LINE).reshape(size, -1)[:, 0]
        self._tables = torch.frombuffer(memory, dtype=torch.uint8, offset=(1 + size) * LINE).view(2, size, room)

    def __del__(self) -> None:
        os.close(self.file)

    @classmethod
    def of(cls, group: Talk, room: int) -> Self | None:
        """A board for a group, all of which come here at once; None if they are on several machines."""
        file: int | None = None

        def made() -> bytes:
            nonlocal file
            file = _created(group.size, room)
            return b"" if file is None else os.pread(file, LINE, 0) + f"/proc/{os.getpid()}/fd/{file}".encode()

        told = group.bytes_of(made)
        if group.rank and told:
            file = _opened(told[LINE:].decode(), told[:LINE])
        board = None if file is None else cls(file, group.rank, group.size, room)
        there = group.each(lambda _: [board is not None], range(group.size))
        return board if all(row[0] for row in there) else None

    def sum(self, x: Tensor, meanwhile: Callable[[], object]) -> Tensor:
        """The sum of all processes' x, with its shape; no larger than a row. Something is done while others write.

        Raises:
            LostError: A process that is waited for is no more.
        """
        self.turn += 1
        table = self._tables[self.turn % 2, :, : x.nbytes].view(x.dtype)
        table[self.rank] = x.flatten()
        self._counts[self.rank] = self.turn
        meanwhile()
        self._wait()
        total = table[0].clone()
        for row in table[1:]:
            total += row
        return total.view_as(x)

    def _wait(self) -> None:
        """Until all have written."""
        asked, looks = time.monotonic(), 0
        while (self._counts < self.turn).any():
            looks += 1
            if looks < SPINS:
                continue
            time.sleep(NAP)
            if time.monotonic() - asked > ALIVE:
                asked = time.monotonic()
                for other in np.flatnonzero(self._counts < self.turn).tolist():
                    if not self._lives(other):
                        raise LostError(f"process {other} of {self.size} died")

    def _lives(self, other: int) -> bool:
        """Whether another process still has its lock."""
        try:
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, other)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return True
            raise
        fcntl.lockf(self.file, fcntl.LOCK_UN, 1, other)
        return False


class Boards:
    """The board that a group has now, a larger one once a sum wants it."""

    def __init__(self) -> None:
        self.now: Board | None = None
        self.on = hasattr(os, "memfd_create") and platform.machine().lower() in ("x86_64", "amd64")

    def fit_for(self, group: Talk, wanted: int) -> Board | None:
        """A board with rows of so many bytes; none if that has to go by messages."""
        room = self.now.room if self.now else 0
        if self.on and wanted > room and wanted >= LEAST:
            self.now = Board.of(group, -(-max(wanted, 2 * room) // LINE) * LINE)
            self.on = self.now is not None
        return self.now if self.now and wanted <= self.now.room else None
