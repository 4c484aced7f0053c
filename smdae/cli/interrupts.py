"""Ctrl-C and SIGTERM asked for a stop: between two steps, when all is whole."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from smdae.cli import console

__all__ = ["Stop", "stoppable"]


class Stop:
    """Whether a stop was asked for, and by which signal."""

    signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def code(self) -> int:
        """The exit code that tells of the signal."""
        return 128 + (self.signal or 0)


@contextmanager
def stoppable(message: str) -> Iterator[Stop]:
    """Within, the first Ctrl-C or SIGTERM sets the flag and prints the message; a second one leaves at once."""
    stop = Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop:
            os._exit(128 + number)
        stop.signal = number
        console.note(message)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
