"""Temporary files for what has to be there as a whole before it can be passed on."""

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from smdae.errors import OutputError

__all__ = ["Descriptor", "scratch"]


@contextmanager
def scratch() -> Iterator[BinaryIO]:
    """Yield a temporary file, open for writing, to and fro; it is gone when the context ends.

    Raises:
        OutputError: There is no folder for it, or no room in that.
    """
    try:
        place = tempfile.gettempdir()
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  closed below
    except OSError as error:
        raise _refusal("make a temporary file", error) from error

    def put(data: memoryview) -> None:
        try:
            while data:
                data = data[os.write(file.fileno(), data) :]
        except OSError as error:
            raise _refusal(f"write a temporary file in '{place}'", error) from error

    with file:
        yield cast(BinaryIO, Descriptor(put, file.fileno()))


def _refusal(what: str, error: OSError) -> OutputError:
    reason = (error.strerror or "there is no folder for it").lower()
    return OutputError(f"cannot {what}: {reason}", "set TMPDIR to a folder with room")


class Descriptor(io.RawIOBase):
    """An open file in which one can go to and fro, and that says in one line what stops the writing.

    Args:
        put: Writes the next bytes, all of them, or raises an error of one line.
        descriptor: The descriptor of the file.
    """

    def __init__(self, put: Callable[[memoryview], object], descriptor: int) -> None:
        self._put, self._number = put, descriptor

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, and return how many bytes."""
        data = os.read(self._number, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seekable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any) -> int:
        """Write all of the data, and return how many bytes that is."""
        view = memoryview(data).cast("B")
        self._put(view)
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, and return its offset."""
        return os.lseek(self._number, offset, whence)

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return os.lseek(self._number, 0, os.SEEK_CUR)

    def truncate(self, size: int | None = None) -> int:
        """Cut the file off, and return its length."""
        length = self.tell() if size is None else size
        os.ftruncate(self._number, length)
        return length
