"""All that a person sees: lines, tables and progress on stderr. Stdout is for results.

Text of the user's, file names above all, is never taken for markup. Progress is drawn on a terminal only. Of several
processes one is heard.
"""

import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from smdae.errors import SmdaeError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

__all__ = [
    "HEARD",
    "console",
    "failure",
    "guarded",
    "held",
    "note",
    "number",
    "progress",
    "result",
    "say",
    "stream",
    "table",
    "warn",
]

# Where results go while stdout is guarded.
RESULTS: ContextVar[io.RawIOBase | None] = ContextVar("results", default=None)
# Whether this process is the one of several that is heard.
HEARD: ContextVar[bool] = ContextVar("heard", default=True)
# Lines that wait for their turn.
HELD: ContextVar[list[str] | None] = ContextVar("held", default=None)


def console() -> "Console":
    """The terminal behind stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def _printable(text: str) -> str:
    """Without control characters, which a file name may hold, and without what the terminal cannot encode."""
    clean = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    encoding = sys.stderr.encoding or "ascii"
    return clean.encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def held() -> Iterator[list[str]]:
    """Within, in this thread, lines are kept in the list for whoever says them in their turn."""
    lines: list[str] = []
    token = HELD.set(lines)
    try:
        yield lines
    finally:
        HELD.reset(token)


def say(lines: Sequence[str]) -> None:
    """Print lines that were held."""
    for line in lines:
        _print(line)


def _line(text: str) -> None:
    lines = HELD.get()
    if lines is None:
        _print(text)
    else:
        lines.append(text)


def _print(text: str) -> None:
    if not HEARD.get():
        return
    # Nobody may be listening any more; the work goes on and the exit code tells.
    with suppress(OSError):
        print(_printable(text), file=sys.stderr, flush=True)


def note(text: str, now: bool = False) -> None:
    """Something worth knowing; `now` even where lines are held."""
    (_print if now else _line)(f"smdae: {text}")


def warn(text: str) -> None:
    """Something to beware of."""
    _line(f"smdae: warning: {text}")


def failure(error: SmdaeError) -> None:
    """Why the command stops, in one line, the failures that it is made of, if there are, and what to do."""
    _line(f"smdae: error: {error.message}")
    for part in error.parts:
        _line(f"  {part}")
    if error.hint:
        _line(f"hint: {error.hint}")


def result(value: Any) -> None:
    """One JSON object on a line of stdout."""
    stream(json.dumps(value).encode() + b"\n")


def stream(data: bytes | memoryview) -> None:
    """Bytes on stdout, all of them: where it is not buffered, a write may take but a part."""
    out = RESULTS.get() or sys.stdout.buffer
    rest = memoryview(data)
    while rest:
        rest = rest[out.write(rest) :]
    out.flush()


@contextmanager
def guarded() -> Iterator[None]:
    """Within, only `result` and `stream` reach stdout; whatever else is printed there, by whom ever, goes to stderr.

    A line that some library prints would break an image or JSON that another program reads.
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


def number(value: float, unit: str = "") -> str:
    """A figure for a table: two decimals and its unit."""
    return f"{value:.2f} {unit}".strip()


def table(rows: Sequence[tuple[str, str]]) -> None:
    """Names and values, one below the other."""
    if not HEARD.get():
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(Text(name), Text(_printable(value)))
    console().print(grid)


class _Unseen:
    """A bar that nobody sees; the library that draws them need not be loaded."""

    def add_task(self, *_: Any, **__: Any) -> Any:
        return 0

    def update(self, *_: Any, **__: Any) -> None:
        return


@contextmanager
def progress(*columns: Any) -> Iterator["Progress | _Unseen"]:
    """A progress bar on stderr, gone when done; invisible unless stderr is a terminal."""
    seen = HEARD.get() and getattr(sys.stderr, "isatty", bool)() and os.environ.get("TERM") != "dumb"
    if not seen:
        yield _Unseen()
        return
    from rich.progress import BarColumn, Progress, TextColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        console=console(),
        transient=True,
    )
    with bar:
        yield bar
