"""What goes to stdout: results alone, as bytes, as JSON or as a line of text, which other programs may read.

The caller may have closed a standard stream, as `smdae ... >&-` and some schedulers of jobs do. The next file that is
opened gets its number: what a library prints would then be written into a picture. And Python prints to stdout what is
meant for a stderr that is not there.
"""

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from smdae.pipeline.messages import write_all

STDOUT, STDERR = 1, 2

# Where results go while stdout is guarded.
RESULTS: ContextVar[io.RawIOBase | None] = ContextVar("results", default=None)


def escaped(text: str) -> str:
    """Return a text with escapes for characters that cannot be printed, such as control characters."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def text(line: str) -> None:
    """Print one line of text on stdout."""
    stream(escaped(line).encode(errors="backslashreplace") + b"\n")


def document(text: str) -> int:
    """Print a text of several lines on stdout as it is, in UTF-8, and return the exit code 0."""
    stream(text.encode())
    return 0


def result(value: Any) -> None:
    """Print a value as JSON on one line of stdout."""
    stream(json.dumps(value).encode() + b"\n")


def stream(data: bytes | memoryview) -> None:
    """Write all of the bytes to stdout, or where results go while it is guarded."""
    write_all(RESULTS.get() or sys.stdout.buffer, data)


@contextmanager
def guarded() -> Iterator[None]:
    """Let only `result` and `stream` reach stdout for as long as the context lasts; all other output goes to stderr.

    A line that some library prints would spoil the image or the JSON that another program reads. Where `sys.stdout` is
    not the stdout of the process, as in a test or a notebook, nothing is changed.
    """
    try:
        mine = sys.stdout.fileno() == 1
    except (AttributeError, OSError, ValueError):
        mine = False
    if not mine:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    token = RESULTS.set(os.fdopen(kept, "wb", buffering=0))
    try:
        yield
    finally:
        with suppress(OSError):
            sys.stdout.flush()
        os.dup2(kept, 1)
        out = RESULTS.get()
        RESULTS.reset(token)
        if out:
            out.close()


def fill_closed() -> None:
    """Let each standard stream that is closed lead nowhere: stderr loses what is written, stdout refuses it."""
    # The number of a closed one is the lowest that is free, as those before it are open by then.
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # What was asked for on stdout is not lost without a word: writing to it is an error.
            os.open(os.devnull, os.O_WRONLY if number == STDERR else os.O_RDONLY)
    if sys.stdout is None:
        sys.stdout = os.fdopen(STDOUT, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(STDERR, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def settle() -> None:
    """Write what is left for stderr, or drop it: the interpreter would end with an exit code of its own."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), STDERR)
