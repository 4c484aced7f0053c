"""What a user sees: messages, tables and progress bars on stderr. Stdout is for results (`stdout`).

Text from outside, such as file names, is never interpreted as markup. Progress is drawn only on a terminal that takes
escape codes. Of several processes only one prints. How much is printed, and whether a log file gets all messages with
the time, is set once by `speak`.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from smdae.cli.stdout import escaped
from smdae.errors import SmdaeError
from smdae.pipeline.messages import Line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

HELD: ContextVar[list[Line] | None] = ContextVar("held", default=None)  # messages that wait for their turn


@dataclass(frozen=True)
class _Voice:
    """The messages that this process prints, and how.

    Attributes:
        kinds: The kinds of messages that go to stderr.
        log: The file to which messages of all kinds are appended; None for none.
        is_plain: Whether to write no escape codes, of colours and progress bars, whatever the environment says.
        is_printing: Whether this process is the one of several that prints.
    """

    kinds: tuple[str, ...] = ("error", "warning", "note")
    log: Path | None = None
    is_plain: bool = False
    is_printing: bool = True


USUAL = _Voice()
VOICE: ContextVar[_Voice] = ContextVar("voice", default=USUAL)


@contextmanager
def of_command(plain: bool) -> Iterator[None]:
    """Begin with the usual messages, and undo at the end of the context what `speak` and `let_print` have set in it."""
    token = VOICE.set(replace(USUAL, is_plain=plain))
    try:
        yield
    finally:
        VOICE.reset(token)


def let_print(is_printing: bool) -> None:
    """Set whether this process is the one of several that prints, until the end of the command."""
    VOICE.set(replace(VOICE.get(), is_printing=is_printing))


def speak(quiet: bool = False, verbose: bool = False, log: Path | None = None) -> None:
    """Set which messages go to stderr until the end of the command.

    Args:
        quiet: Whether only errors do, and no progress is drawn.
        verbose: Whether details do too.
        log: A file to which all messages are appended with the time, whether or not they go to stderr; None for none.
    """
    more = ("detail",) if verbose else ()
    kinds = ("error",) if quiet else (*USUAL.kinds, *more)
    VOICE.set(replace(VOICE.get(), kinds=kinds, log=log))


def takes_codes(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal that may get escape codes, for colours and for progress bars."""
    is_plain = VOICE.get().is_plain or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return not is_plain and stream is not None and stream.isatty()


def console() -> "Console":
    """Return a rich console that writes to stderr, with escape codes only where `takes_codes` is true for it."""
    from rich.console import Console

    coded = takes_codes(sys.stderr)
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True, force_terminal=None if coded else False)


def _printable(text: str) -> str:
    """Return a text with escapes for control characters, as in file names, and for those stderr cannot encode."""
    streams = (sys.stderr, sys.__stderr__)  # while a progress bar is drawn, the first is a stand-in without encoding
    encoding = next((stream.encoding for stream in streams if stream is not None and stream.encoding), "ascii")
    return escaped(text).encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def held() -> Iterator[list[Line]]:
    """Keep this thread's messages in a list as long as the context lasts, and yield the list; `say` says them."""
    lines: list[Line] = []
    token = HELD.set(lines)
    try:
        yield lines
    finally:
        HELD.reset(token)


@contextmanager
def overheard() -> Iterator[list[Line]]:
    """Keep this thread's messages in a list as long as the context lasts, yield the list, and say them at the end.

    Inside `held` they are not said at the end, but added to its list.
    """
    lines: list[Line] = []
    try:
        with held() as lines:
            yield lines
    finally:
        for line in lines:
            _line(*line)


def is_verbose() -> bool:
    """Return whether details go to stderr."""
    return "detail" in VOICE.get().kinds


def say(lines: Sequence[Line]) -> None:
    """Say messages that were held, at once; where messages are held they are not held again."""
    for line in lines:
        _print(line)


def _line(kind: str, text: str) -> None:
    lines = HELD.get()
    if lines is None:
        _print((kind, text))
    else:
        lines.append((kind, text))


def _print(line: Line) -> None:
    voice = VOICE.get()
    if not voice.is_printing:
        return
    kind, text = line
    # The reader of stderr may be gone; the work goes on, and the exit code reports the outcome.
    with suppress(OSError):
        if kind in voice.kinds or ("note" in voice.kinds and kind == _form()):
            print(_printable(text), file=sys.stderr, flush=True)
    if voice.log is not None and kind != "short":
        stamp = datetime.now().astimezone().isoformat(timespec="seconds")
        # Opened for each line, so that runs that share a log do not write into each other's lines.
        with suppress(OSError), voice.log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{stamp} {escaped(text)}\n")


def _form() -> str:
    """Return the kind of the lines to show of notes that have two forms."""
    return "short" if sys.stderr is not None and sys.stderr.isatty() and not is_verbose() else "long"


def note(text: str, now: bool = False, short: str | None = None) -> None:
    """Say something worth knowing, with `smdae:` before it; with `now` at once, even where messages are held.

    On a terminal its short form is said instead, if there is one and details were not asked for.
    """
    forms = [("note", text)] if short is None else [("short", short), ("long", text)]
    for kind, words in forms:
        line = (kind, f"smdae: {words}")
        if now:
            _print(line)
        else:
            _line(*line)


def detail(text: str) -> None:
    """Say a detail, which goes to stderr only if details were asked for."""
    _line("detail", f"smdae: {text}")


def warn(text: str) -> None:
    """Print a warning on stderr, with `smdae: warning:` before it; where messages are held, keep it."""
    _line("warning", f"smdae: warning: {text}")


def failure(error: SmdaeError) -> None:
    """Print an error on stderr: its message in a line, a line for each of its parts, and its hint; do not raise it."""
    _line("error", f"smdae: error: {error.message}")
    for part in error.parts:
        _line("error", f"  {part}")
    if error.hint:
        _line("error", f"hint: {error.hint}")


def number(value: float, unit: str = "") -> str:
    """Return a figure for a table, with two decimals and its unit."""
    return f"{value:.2f} {unit}".strip()


def table(rows: Sequence[tuple[str, str]]) -> None:
    """Print names and values on stderr as a table, a row for each pair."""
    if not VOICE.get().is_printing:
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(Text(name), Text(_printable(value)))
    console().print(grid)


class _HiddenBar:
    """A progress bar that is not drawn, so that the library that draws them need not be loaded."""

    def add_task(self, *_: Any, **__: Any) -> Any:
        return 0

    def update(self, *_: Any, **__: Any) -> None:
        return


@contextmanager
def progress(
    *columns: Any, width: int = 40, left: bool = False, beside: bool = False
) -> Iterator["Progress | _HiddenBar"]:
    """Show a progress bar on stderr for as long as the context lasts, and yield it.

    Nothing is drawn unless stderr is a terminal.

    Args:
        columns: The columns that follow the bar.
        beside: Whether results go to stdout meanwhile; if that is a terminal, nothing is drawn.
        width: The width of the bar, in characters.
        left: Whether tasks give the time that is left in their field `left`.
    """
    is_wanted = VOICE.get().is_printing and "note" in VOICE.get().kinds
    if not (is_wanted and takes_codes(sys.stderr)) or (beside and sys.stdout is not None and sys.stdout.isatty()):
        yield _HiddenBar()
        return
    from rich.progress import BarColumn, Progress, TextColumn

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(width),
        *([TextColumn("{task.fields[left]}")] if left else []),
        *columns,
        console=console(),
        transient=True,
    )
    with bar:
        yield bar
