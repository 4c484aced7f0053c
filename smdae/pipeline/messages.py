"""Messages about pictures while they are denoised, and receivers of them.

The pipeline knows no terminal: its caller passes an object with these methods, or `SILENT`. While many pictures are
denoised at once, or in several processes, the messages about each are held until it is its turn.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from smdae.errors import SmdaeError

# The kind of a message (error, warning, note, detail, short or long) and its text. A note in two forms is two lines:
# the short one is for a terminal, the long one for all else.
Line = tuple[str, str]
Put = Callable[[bytes | memoryview], object]


class Messages(Protocol):
    """A receiver of messages; a module with these functions is one too."""

    def note(self, text: str, now: bool = False, short: str | None = None) -> None:
        """Say something worth knowing; with `now` at once, even where messages are being kept.

        A short form is said instead where there is only room for that.
        """

    def detail(self, text: str) -> None:
        """Say a detail: a message that is shown only to users who asked for details."""

    def warn(self, text: str) -> None:
        """Give a warning."""

    def failure(self, error: SmdaeError) -> None:
        """Say why a picture could not be denoised: the message, the parts and the hint of the error."""

    def is_verbose(self) -> bool:
        """Return whether details are shown."""

    def held(self) -> AbstractContextManager[list[Line]]:
        """Return a context that keeps this thread's messages in a list, for `say`, and yields the list."""

    def overheard(self) -> AbstractContextManager[list[Line]]:
        """Return a context that keeps this thread's messages in a list, yields it, and says them when it ends."""

    def say(self, lines: Sequence[Line]) -> None:
        """Say lines that `held` or `overheard` has kept."""


class _Silent:
    """A receiver that drops all messages."""

    def note(self, *_: Any, **__: Any) -> None:
        """Say nothing."""

    detail = warn = failure = say = note

    def is_verbose(self) -> bool:
        """Return False: details are not shown."""
        return False

    def held(self) -> AbstractContextManager[list[Line]]:
        """Keep no lines."""
        return nullcontext([])

    overheard = held


SILENT: Messages = _Silent()


def to_stdout(data: bytes | memoryview) -> None:
    """Write all of the bytes to stdout."""
    write_all(sys.stdout.buffer, data)


def write_all(file: Any, data: bytes | memoryview) -> None:
    """Write all of the bytes to an open file, even if a single write takes only a part, and flush it."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
    file.flush()
