"""The progress of a batch: a line on a terminal with the picture's name, its number, per cent and the time left.

With N pictures, of which n are done, and shares s_k of the steps of those under way, the progress f is

    f = (n + sum_k s_k) / N,   time left = elapsed (1 - f) / f.

All columns but the bar have a fixed width, so that the line does not move and fits into 80 columns.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, get_ident
from typing import Any

from smdae.pipeline.places import Job

NAME = 24  # columns for the name of a picture
BAR = 16  # columns for the bar
EARLY = 0.02, 2.0  # share and seconds before which the time left is not shown
MAX_SECONDS = 100 * 3600 - 1


class BatchProgress:
    """The progress of a batch, counted from any thread and drawn on a bar."""

    def __init__(self, bar: Any, total: int) -> None:
        self.bar, self.total = bar, total
        self.begun = time.monotonic()
        self.lock = Lock()
        self.shares: dict[int, float] = {}  # by thread, of the pictures under way
        self.done = self.reports = 0
        self.share = 0.0
        self.name = ""
        self.task = bar.add_task(self._text(), total=1.0, left=_clock(None))

    @contextmanager
    def shown(self, job: Job) -> Iterator[None]:
        """Show on the bar that the work on a picture begins, and when the context ends, that it is done."""
        with self.lock:
            self.name = "stdin" if str(job.source) == "-" else job.source.name
            self.shares[get_ident()] = 0.0
            self._draw()
        try:
            yield
        finally:
            with self.lock:
                self.shares.pop(get_ident(), None)
                self.done += 1
                self._draw()

    def step(self, done: int, of: int) -> None:
        """Show how many of its steps the picture of this thread has done."""
        with self.lock:
            thread = get_ident()
            self.shares[thread] = max(self.shares.get(thread, 0.0), min(1.0, done / max(1, of)))
            self._draw()

    def reported(self) -> None:
        """Count one more picture as reported, by whichever process it was done, and show at least that many as done."""
        with self.lock:
            self.reports += 1
            self.done = max(self.done, self.reports)
            self._draw()

    def _draw(self) -> None:
        self.share = max(self.share, min(1.0, (self.done + sum(self.shares.values())) / self.total))
        elapsed = time.monotonic() - self.begun
        is_early = self.share < EARLY[0] or elapsed < EARLY[1]
        left = None if is_early else elapsed * (1 - self.share) / self.share
        self.bar.update(self.task, description=self._text(), completed=self.share, left=_clock(left))

    def _text(self) -> str:
        from rich.cells import set_cell_size

        number = min(self.done + 1, self.total)
        digits = len(str(self.total))
        name = "".join(c if c.isprintable() else "?" for c in self.name)
        return f"{set_cell_size(name, NAME)} {number:{digits}d} of {self.total} {100 * self.share:3.0f} %"


def _clock(seconds: float | None) -> str:
    """Return the time that is left as h:mm:ss, always with the same number of characters; None for unknown."""
    if seconds is None:
        return "-:--:-- left".rjust(13)
    whole = min(MAX_SECONDS, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d} left".rjust(13)
