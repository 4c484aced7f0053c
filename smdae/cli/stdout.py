"""What goes to stdout: results alone, as bytes, as JSON or as a line of text, which other programs may read."""

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from smdae.pipeline.messages import write_all

__all__ = ["document", "escaped", "guarded", "result", "stream", "text"]

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
