"""Temporary files for what has to be there as a whole before it can be passed on."""

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from smdae.errors import OutputError


@contextmanager
def scratch() -> Iterator[BinaryIO]:
    """Yield a temporary file, open for reading and writing at any place; remove it when the `with` block ends.

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


class Descriptor(io.FileIO):
    """An open file in which one can go to and fro; `put` writes the next bytes, all of them, or raises an error."""

    def __init__(self, put: Callable[[memoryview], object], descriptor: int) -> None:
        super().__init__(descriptor, "r+", closefd=False)
        self._put, self.name = put, ""  # tifffile takes a number for no name

    def write(self, data: Any) -> int:
        """Write all of the data, and return how many bytes that is."""
        view = memoryview(data).cast("B")
        self._put(view)
        return len(view)

    def fileno(self) -> int:
        """Raise UnsupportedOperation, lest numpy write past `put`."""
        raise io.UnsupportedOperation("fileno")
