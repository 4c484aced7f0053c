"""Ctrl-C and SIGTERM ask for a stop.

Within `terminable` SIGTERM is an exception, as Ctrl-C always is: what is half done is cleared away on the way out.
Within `stoppable` both only set a flag, and a fit stops between two steps, when all is whole.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from smdae.cli import console

__all__ = ["Stop", "Terminated", "stoppable", "terminable"]


class Terminated(BaseException):
    """SIGTERM came."""


@contextmanager
def terminable() -> Iterator[None]:
    """Within, SIGTERM raises `Terminated`, unless something else is asked for on the way, which stays."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is leave:
            signal.signal(signal.SIGTERM, before)


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
