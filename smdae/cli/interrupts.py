"""Signals that ask for a stop: Ctrl-C, SIGTERM, and SIGHUP, which is sent when a terminal or connection is closed.

Within `terminable` SIGTERM and SIGHUP raise exceptions, as Ctrl-C always does, so that half-written files are removed.
Within `stoppable` all three only set a flag, and a fit stops between two steps, when everything is consistent.

A command started by `nohup` ignores SIGHUP, and that is left so. After a SIGHUP the terminal is gone and writing to it
would fail, so the output is sent nowhere.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from smdae.cli import console

HANG_UP: int | None = getattr(signal, "SIGHUP", None)  # there is none on Windows
STOPS = tuple(number for number in (signal.SIGINT, signal.SIGTERM, HANG_UP) if number is not None)


class Terminated(BaseException):
    """The exception that is raised when SIGTERM or SIGHUP arrives.

    Attributes:
        code: The exit code for the signal, 128 and its number.
    """

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__(number)
        self.code = 128 + number


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise `Terminated` for as long as the context lasts.

    A handler that is set inside the context and not reset stays.
    """
    terminals = _terminals()

    def leave(number: int, frame: FrameType | None) -> None:
        _let_go(number, terminals)
        raise Terminated(number)

    before = {number: signal.signal(number, leave) for number in _stop_signals() if number != signal.SIGINT}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is leave:
                signal.signal(number, handler)


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise a stop as what it is where Python has made it the cause of a RuntimeError.

    Python 3.11 does so if a signal arrives while a class is made, as when modules are imported.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__cause__, KeyboardInterrupt | Terminated):
            raise error.__cause__ from None
        raise


class Stop:
    """A flag that is true once a stop was asked for, with the signal that did so."""

    signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def code(self) -> int:
        """Return the exit code for the signal, 128 and its number."""
        return 128 + (self.signal or 0)


@contextmanager
def stoppable(message: str) -> Iterator[Stop]:
    """Let Ctrl-C, SIGTERM and SIGHUP ask for a stop, for as long as the context lasts, and yield the flag of it.

    The first signal sets the flag and prints the message; a second one ends the process at once. SIGHUP does not count
    as a second one: a terminal that is closed may send it after a stop was asked for.
    """
    stop = Stop()
    terminals = _terminals()

    def ask(number: int, frame: FrameType | None) -> None:
        _let_go(number, terminals)
        if stop and number == HANG_UP:
            return
        if stop:
            os._exit(128 + number)
        stop.signal = number
        console.note(message)

    before = {number: signal.signal(number, ask) for number in _stop_signals()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_signals() -> list[int]:
    """Return the signals that ask for a stop: SIGINT, SIGTERM, and SIGHUP unless the process ignores it."""
    return [number for number in STOPS if number != HANG_UP or signal.getsignal(number) != signal.SIG_IGN]


def _terminals() -> list[int]:
    """Return the descriptors of stdout and stderr, as far as they are terminals."""
    return [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]


def _let_go(number: int, terminals: list[int]) -> None:
    """Send what is written to the terminals to nowhere, if the signal is SIGHUP: then they are gone."""
    if number == HANG_UP and terminals:
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for descriptor in terminals:
                os.dup2(nowhere, descriptor)
            os.close(nowhere)
