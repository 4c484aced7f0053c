"""The end of a command of several processes: all leave with the same exit code, and one prints the message.

Each process tells the others how it ended: done, failed, stopped by a signal, or without the others, which it lost. If
the first process is done, so is the command, for that process writes. Otherwise a failure counts before a loss, and a
loss before a signal, as a launcher that sees one process die sends signals to the rest.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import typer

from smdae.cli import console
from smdae.cli.failures import as_smdae_error
from smdae.cli.interrupts import STOPS, Terminated
from smdae.errors import DivergedError, LostError, SmdaeError
from smdae.pipeline.peers import HEARTBEAT, MAX_MISSED, VERDICT, Peers, connect, heartbeat, wait_for_all
from smdae.processes import Place

MAX_MISSED_ALONE = 24  # heartbeats without a new count, after which a process is lost though nothing else is wrong
GRACE = 10  # heartbeats that the work has to end after another has; then as many again after a signal


@dataclass(frozen=True)
class End:
    """The end of a process.

    Attributes:
        kind: The kind of end: done, failed, lost or stopped.
    """

    kind: str
    code: int
    message: str = ""
    hint: str | None = None

    @property
    def is_common(self) -> bool:
        """Return whether all processes come to such an end at once, without word from each other: done, or diverged."""
        return self.kind == "done" or self.code == DivergedError.code

    @classmethod
    def of(cls, error: BaseException) -> "End":
        """Return the end for the exception that ended the work; raise it again if it is neither error nor signal."""
        if isinstance(error, LostError):
            return cls("lost", error.code, error.message, error.hint)
        if isinstance(error, (KeyboardInterrupt, typer.Abort)):
            return cls("stopped", 130)
        if isinstance(error, Terminated):
            return cls("stopped", error.code)
        if isinstance(error, BrokenPipeError):
            return cls("failed", 141)
        if isinstance(error, Exception):
            failure = as_smdae_error(error)
            return cls("failed", failure.code, failure.message, failure.hint)
        raise error

    def error(self) -> BaseException:
        """Return an exception that stands for this end, where another process has raised it."""
        if self.kind == "stopped":
            return KeyboardInterrupt() if self.code == 130 else Terminated(self.code - 128)
        if self.code == 141:
            return BrokenPipeError()
        error = SmdaeError(self.message, self.hint)
        error.code = self.code
        return error


def decided(ends: Mapping[int, End], silent: list[int], size: int, hurried: bool = False) -> End | None:
    """Return how a command of several processes ended; None if that is not known yet.

    Args:
        ends: The ends of the processes that have ended, by rank.
        silent: The ranks of those that have not ended and have no heartbeat.
        size: The number of all processes.
        hurried: Whether to decide without waiting for processes that still have a heartbeat.
    """
    if 0 in ends and ends[0].kind == "done":
        return ends[0]
    for kind in ("failed", "lost", "stopped"):
        if kind == "lost" and silent:
            return End("lost", LostError.code, f"process {silent[0]} of {size} died")
        of_kind = [end for _, end in sorted(ends.items()) if end.kind == kind]
        if of_kind and (kind == "failed" or hurried or len(ends) == size):
            return of_kind[0]
    return None


@contextmanager
def on_loss(rescue: Callable[[], str | None]) -> Iterator[None]:
    """Have `rescue` called if this context ends with an exception, and a process was lost or failed.

    Only the process that reports the loss calls it, before it reports; it returns a hint for the message, or None.
    """
    try:
        yield
    except BaseException as error:
        error.rescue = rescue  # type: ignore[attr-defined]
        raise


@dataclass
class Share:
    """The share of one process in a command.

    Attributes:
        peers: All processes of the command.
        code: The exit code of this process's work; after the work, that of the whole command.
    """

    peers: Peers
    code: int = 0


@contextmanager
def together(place: Place) -> Iterator[Share]:
    """Yield this process's share of a command; when it is done, wait until all have agreed how the command ended.

    Only the first process prints messages; if it is lost, the next one reports that. A process that is alone has
    nobody to agree with.

    Raises:
        BaseException: The work failed or was stopped, in this process or another.
    """
    if place.size == 1:
        yield Share(Peers())
        return
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # before torch is loaded, which would log each loss
    peers = connect(place, os.environ, _note)
    guard, share = _Guard(peers), Share(peers)
    raised: BaseException | None = None
    all_are_here = False
    console.let_print(place.rank == 0)
    with heartbeat(peers, guard.check):
        try:
            wait_for_all(peers, _note)
            all_are_here = guard.on = True
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere) if place.rank else nullcontext():
                yield share
            ours = End("done", share.code)
        except BaseException as error:
            ours, raised = End.of(error), error
            if ours.kind in ("stopped", "lost") and not all_are_here:
                raise  # there is nobody to agree with
        guard.on = False
        for number in STOPS:  # a launcher that sees one process end sends them to the rest
            signal.signal(number, signal.SIG_IGN)
        end, teller = settled(peers, ours, getattr(raised, "rescue", None))
        _leave(peers)
    console.let_print(teller == place.rank)
    if end.kind != "done":
        raise raised if raised and end == ours else end.error()
    share.code = end.code


def _note(text: str) -> None:
    console.note(text, now=True)


def settled(peers: Peers, ours: End, rescue: Callable[[], str | None] | None = None) -> tuple[End, int]:
    """Wait until all processes agree how the command ended; return that, and the rank of the process that reports it.

    A process other than the first that failed by itself does not wait: the first one reports its end.

    Args:
        peers: The processes.
        ours: How the work of this one ended.
        rescue: What is called if this one reports a loss: it returns a hint for the message, or None.
    """
    rank, size, begun = peers.place.rank, peers.place.size, time.monotonic()
    verdict: dict[str, Any] | None = None
    since = 0.0  # the heartbeat up to which nothing could be decided
    try:
        peers.write(f"end/{rank}", asdict(ours))
        if ours.kind == "failed" and rank and not ours.is_common:
            return ours, 0  # the first reports it
        while not (verdict := peers.read(VERDICT)):
            beats = (time.monotonic() - begun) / HEARTBEAT
            ends = _ends(peers) | {rank: ours}
            silent = [other for other in peers.others if other not in ends and peers.is_silent(other)]
            end = decided(ends, silent, size, beats > 3 * MAX_MISSED)
            since = since if end else beats
            if end and beats - since >= rank:  # processes of lower rank decide first
                peers.write_first(VERDICT, {"teller": rank, "end": asdict(end)})
            else:
                time.sleep(HEARTBEAT / 5)
        end, teller = End(**verdict["end"]), int(verdict["teller"])
    except LostError:  # the store is gone, and with it the process that held it
        gone, teller = (f"process 0 of {size}", 1) if peers.hosted else ("the launcher", 0)
        end = ours if ours.kind == "done" else End("lost", LostError.code, f"{gone} died")
    if teller == rank and rescue and ours.kind != "failed" and end.kind in ("lost", "failed"):
        end = replace(end, hint=rescue() or end.hint)
    return end, teller


def _ends(peers: Peers) -> dict[int, End]:
    """Return the ends of the other processes that have ended, by rank."""
    stored = {rank: peers.read(f"end/{rank}") for rank in peers.others}
    return {rank: End(**end) for rank, end in stored.items() if end}


def _leave(peers: Peers) -> None:
    """Leave the other processes: the one that holds their store waits until all others have left."""
    with suppress(LostError):
        peers.write(f"left/{peers.place.rank}", True)
        for rank in peers.others if peers.hosted and peers.first else ():
            while not (peers.read(f"left/{rank}") or peers.is_silent(rank)):
                time.sleep(HEARTBEAT / 10)


class _Guard:
    """A guard that ends this process if its work waits in vain for another, which has ended or is lost."""

    def __init__(self, peers: Peers) -> None:
        self.peers, self.on, self.bad_beats = peers, False, 0

    def check(self) -> None:
        """Check the other processes, and end this one if need be; called at each heartbeat."""
        if not self.on:
            return
        ends: dict[int, End] = {}
        over = False
        with suppress(LostError):
            ends, over = _ends(self.peers), self.peers.read(VERDICT) is not None
        lost = any(rank not in ends and self.peers.is_silent(rank, MAX_MISSED_ALONE) for rank in self.peers.others)
        is_bad = over or lost or not all(end.is_common for end in ends.values())
        self.bad_beats = self.bad_beats + 1 if is_bad else 0
        if self.bad_beats >= GRACE * (1 if over else 2):  # work that waits inside a library does not get the signal
            end, teller = settled(self.peers, End("lost", LostError.code))
            if teller == self.peers.place.rank:
                console.failure(SmdaeError(end.message, end.hint))
            os._exit(end.code)
        elif self.bad_beats == GRACE:
            os.kill(os.getpid(), signal.SIGTERM)
