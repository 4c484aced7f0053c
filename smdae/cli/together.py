"""The end of a command of several processes: all leave with the same exit code, and one prints the message.

Each process tells the first one how it ended: done, failed, stopped by a signal, or without the others, which it lost.
If the first process is done or failed, so is the command, for that process writes. Otherwise a failure counts before a
death, and a death before a signal, as a launcher that sees one process die sends signals to the rest. The first process
decides, and tells all others.
"""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from dataclasses import asdict, dataclass, field, replace
from threading import Condition, Thread

import typer

from smdae.cli import console
from smdae.cli.failures import as_smdae_error
from smdae.cli.interrupts import STOPS, Terminated
from smdae.errors import DivergedError, LostError, SmdaeError
from smdae.pipeline.peers import Peers, connect
from smdae.processes import Place

GRACE = 5.0  # seconds that the work has to end after that of another has; then as many again after a signal
MAX_SILENCE = 60.0  # seconds after which the first process is taken for dead, if it does not answer to a bad end
KINDS = ("failed", "died", "stopped", "lost", "done")  # of ends, those first that count before others


@dataclass(frozen=True)
class End:
    """The end of a process.

    Attributes:
        kind: The kind of end, one of KINDS.
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

    @classmethod
    def by_death(cls, rank: int, size: int) -> "End":
        """Return the end of a process that told no other how it ended."""
        return cls("died", LostError.code, f"process {rank} of {size} died")

    def error(self) -> BaseException:
        """Return an exception that stands for this end, where another process has raised it."""
        if self.kind == "stopped":
            return KeyboardInterrupt() if self.code == 130 else Terminated(self.code - 128)
        if self.code == 141:
            return BrokenPipeError()
        error = SmdaeError(self.message, self.hint)
        error.code = self.code
        return error


def decided(ends: Iterable[End]) -> End:
    """Return how a command of several processes ended, with the ends as they came; see above for the order."""
    return min(ends, key=lambda end: KINDS.index(end.kind))


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
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # before torch is loaded, which would log each loss
    others = _Others(connect(place, os.environ, lambda text: console.note(text, now=True)))
    share = Share(others.peers)
    raised: BaseException | None = None
    console.let_print(place.rank == 0)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere) if place.rank else nullcontext():
            yield share
        ours = End("done", share.code)
    except BaseException as error:
        ours, raised = End.of(error), error
    for number in STOPS:  # a launcher that sees one process end sends them to the rest
        signal.signal(number, signal.SIG_IGN)
    end = others.settle(ours)
    is_teller = others.is_teller(end)
    rescue = getattr(raised, "rescue", None)
    if is_teller and rescue and ours.kind != "failed" and end.kind in ("failed", "died", "lost"):
        end = replace(end, hint=rescue() or end.hint)
    console.let_print(is_teller)
    if end.kind != "done":
        raise raised if raised and end == ours else end.error()
    share.code = end.code


@dataclass
class _Others:
    """The ends of other processes, as this one hears of them: the first from each, all others from the first.

    Attributes:
        ends: The ends of the other processes, by rank; in other processes than the first, that of the command, by 0.
        over: Whether the work of this process has ended.
    """

    peers: Peers
    ends: dict[int, End] = field(default_factory=dict)
    over: bool = False
    changed: Condition = field(default_factory=Condition)

    def __post_init__(self) -> None:
        self.heard = range(1, self.peers.place.size) if self.peers.first else range(1)
        for rank in self.heard:
            Thread(target=self._hear, args=(rank,), daemon=True).start()

    def settle(self, ours: End) -> End:
        """Tell how the work of this process ended, wait until it is known how the command did, and return that."""
        with self.changed:
            self.over = True
            self.changed.notify_all()
        if not self.peers.first:
            self._send(0, ours)
            self._wait(lambda: bool(self.ends), None if ours.is_common else MAX_SILENCE)
            return self.ends.get(0) or End.by_death(0, self.peers.place.size)
        end = ours
        if ours.kind not in ("done", "failed"):
            self._wait(self._are_all_heard, GRACE)
            silent = [rank for rank in self.heard if rank not in self.ends and ours.kind == "lost"]
            dead = [End.by_death(rank, self.peers.place.size) for rank in silent]  # or they hang
            end = decided([*self.ends.values(), ours, *dead])
        for rank in self.heard:
            self._send(rank, end)
        self._wait(self._are_all_heard, 3 * GRACE)  # this process may hold the store, which others use
        return end

    def _send(self, rank: int, end: End) -> None:
        with suppress(LostError):
            self.peers.send(rank, asdict(end))

    def _are_all_heard(self) -> bool:
        return len(self.ends) == len(self.heard)

    def _wait(self, until: Callable[[], bool], seconds: float | None) -> bool:
        """Wait until a condition holds, at most for that time; return whether it does."""
        with self.changed:
            return self.changed.wait_for(until, seconds)

    def _hear(self, rank: int) -> None:
        """Wait for the end of another process; end this one if its work then waits in vain."""
        try:
            end = End(**self.peers.receive(rank))
        except LostError:
            end = End.by_death(rank, self.peers.place.size)
        with self.changed:
            self.ends[rank] = end
            self.changed.notify_all()
            if end.is_common or self.peers.ended.is_set():
                return
            self.peers.ended.set()
        if self._wait(lambda: self.over, GRACE):
            return
        os.kill(os.getpid(), signal.SIGTERM)
        if self._wait(lambda: self.over, GRACE):  # work that waits inside a library does not get the signal
            return
        end = self.settle(End("lost", LostError.code))
        if self.is_teller(end) and end.message:
            console.failure(SmdaeError(end.message, end.hint))
        os._exit(end.code)

    def is_teller(self, end: End) -> bool:
        """Return whether this process prints the message of such an end: the first, or the next if that has died."""
        return self.peers.place.rank == (1 if end == End.by_death(0, self.peers.place.size) else 0)
