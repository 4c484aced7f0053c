"""What is said of pictures while they are denoised, and who hears it.

The pipeline knows no terminal: whoever calls it gives it something with these methods, or `SILENT`. Of many pictures
that are under way at once, or in several processes, lines are kept until it is the turn of theirs.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from smdae.errors import SmdaeError

__all__ = ["SILENT", "Line", "Messages", "Put", "to_stdout"]

Line = tuple[str, str]  # its kind (error, warning, note or detail) and its text
Put = Callable[[bytes | memoryview], object]


class Messages(Protocol):
    """Whoever hears what is said; a module with these functions is one too."""

    def note(self, text: str, now: bool = False) -> None:
        """Say something worth knowing; `now` even where lines are kept."""

    def detail(self, text: str) -> None:
        """Say something for those who want to know more."""

    def warn(self, text: str) -> None:
        """Say something to beware of."""

    def failure(self, error: SmdaeError) -> None:
        """Say why a picture could not be denoised."""

    def is_verbose(self) -> bool:
        """Return whether details are heard."""

    def held(self) -> AbstractContextManager[list[Line]]:
        """Within, in this thread, keep lines in the list, for `say`."""

    def overheard(self) -> AbstractContextManager[list[Line]]:
        """Within, in this thread, keep lines in the list, and say them afterwards."""

    def say(self, lines: Sequence[Line]) -> None:
        """Say lines that were kept."""


class _Silent:
    """Hears nothing."""

    def note(self, text: str, now: bool = False) -> None:
        """Say nothing."""

    def detail(self, text: str) -> None:
        """Say nothing."""

    def warn(self, text: str) -> None:
        """Say nothing."""

    def failure(self, error: SmdaeError) -> None:
        """Say nothing."""

    def is_verbose(self) -> bool:
        """Return that details are not heard."""
        return False

    def held(self) -> AbstractContextManager[list[Line]]:
        """Keep no lines."""
        return nullcontext([])

    def overheard(self) -> AbstractContextManager[list[Line]]:
        """Keep no lines."""
        return nullcontext([])

    def say(self, lines: Sequence[Line]) -> None:
        """Say nothing."""


SILENT: Messages = _Silent()


def to_stdout(data: bytes | memoryview) -> None:
    """Write all bytes to stdout: where it is not buffered, a write may take but a part."""
    rest = memoryview(data)
    while rest:
        rest = rest[sys.stdout.buffer.write(rest) :]
    sys.stdout.buffer.flush()
