"""All that a person sees: lines, tables and progress on stderr. Stdout is for results.

Text of the user's, file names above all, is never taken for markup. Progress is drawn on a terminal only.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from smdae.errors import SmdaeError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

__all__ = ["console", "failure", "note", "number", "progress", "result", "stream", "table", "warn"]


def console() -> "Console":
    """The terminal behind stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def _printable(text: str) -> str:
    """Without control characters, which a file name may hold, and without what the terminal cannot encode."""
    clean = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    encoding = sys.stderr.encoding or "ascii"
    return clean.encode(encoding, "backslashreplace").decode(encoding)


def _line(text: str) -> None:
    # Nobody may be listening any more; the work goes on and the exit code tells.
    with suppress(OSError):
        print(_printable(text), file=sys.stderr, flush=True)


def note(text: str) -> None:
    """Something worth knowing."""
    _line(f"smdae: {text}")


def warn(text: str) -> None:
    """Something to beware of."""
    _line(f"smdae: warning: {text}")


def failure(error: SmdaeError) -> None:
    """Why the command stops, in one line, and what to do."""
    _line(f"smdae: error: {error.message}")
    if error.hint:
        _line(f"hint: {error.hint}")


def result(value: Any) -> None:
    """One JSON object on a line of stdout."""
    print(json.dumps(value), flush=True)


def stream(data: bytes) -> None:
    """Bytes on stdout, all of them: where it is not buffered, a write may take but a part."""
    rest = memoryview(data)
    while rest:
        rest = rest[sys.stdout.buffer.write(rest) :]
    sys.stdout.buffer.flush()


def number(value: float, unit: str = "") -> str:
    """A figure for a table: two decimals and its unit."""
    return f"{value:.2f} {unit}".strip()


def table(rows: Sequence[tuple[str, str]]) -> None:
    """Names and values, one below the other."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(Text(name), Text(_printable(value)))
    console().print(grid)


@contextmanager
def progress(*columns: Any) -> Iterator["Progress"]:
    """A progress bar on stderr, gone when done; invisible unless stderr is a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn

    screen = console()
    shown = screen.is_terminal and os.environ.get("TERM") != "dumb"
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        console=screen,
        transient=True,
        disable=not shown,
    )
    with bar:
        yield bar
