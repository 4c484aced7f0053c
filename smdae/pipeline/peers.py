"""The processes of one command, as one of them sees the others: by a store of torch.distributed that they share.

Each counts in the store, twice a second. A count that stands still is a process that died, or hangs, wherever it runs.
"""

import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from smdae.errors import InputError, LostError, UsageError
from smdae.processes import Place

if TYPE_CHECKING:
    import torch

    from smdae.fitting.distributed import Group

__all__ = ["LOOK", "QUIET", "VERDICT", "Peers", "arrived", "counting", "met"]

LOOK = 0.5  # seconds between two counts
QUIET = 8  # looks without a new count from a process that is dead, if something is wrong already
VERDICT = "verdict"  # by this name it is told how all ended
COMING = timedelta(seconds=90)  # until all have begun
TOLD = 5.0  # seconds of waiting for others before it is told of
ALONE = "to start one process alone, unset RANK and WORLD_SIZE"

Note = Callable[[str], object]


@dataclass(frozen=True)
class Peers:
    """The processes of a command.

    Attributes:
        place: Which of them this is.
        store: What they share; None if this is the only one.
        hosted: Whether the first of them holds the store, rather than what launched them.
        looks: Of each process, how many looks ago it last counted.
    """

    place: Place = field(default_factory=Place)
    store: Any = None
    hosted: bool = False
    looks: dict[int, int] = field(default_factory=dict)

    @property
    def first(self) -> bool:
        """Whether this is the one that speaks and writes."""
        return self.place.rank == 0

    @property
    def local(self) -> int | None:
        """The number of this one among those of this machine, None if it is the only one."""
        return self.place.local if self.place.size > 1 else None

    @property
    def others(self) -> list[int]:
        """The numbers of the others."""
        return [rank for rank in range(self.place.size) if rank != self.place.rank]

    def quiet(self, rank: int, looks: int = QUIET) -> bool:
        """Whether a process has not counted for so many looks."""
        return self.looks.get(rank, 0) >= looks

    def tell(self, name: str, value: Any) -> None:
        """Set a value by name in the store that all processes read."""
        with _reaching():
            self.store.set(name, json.dumps(value))

    def told(self, name: str) -> Any:
        """What was told by that name, None if nothing was."""
        with _reaching():
            return json.loads(self.store.get(name)) if self.store.check([name]) else None

    def tell_first(self, name: str, value: Any) -> None:
        """Tell all something, unless something was told by that name before."""
        with _reaching():
            self.store.compare_set(name, "", json.dumps(value))

    def told_by_all(self, name: str, value: Any) -> list[Any]:
        """What each process tells by that name, once all have."""
        self.tell(f"{name}/{self.place.rank}", value)
        return [self.awaited(f"{name}/{rank}") for rank in range(self.place.size)]

    def awaited(self, name: str, meanwhile: Callable[[], bool] = lambda: False) -> Any:
        """What is told by that name, once it is.

        Args:
            name: Of what is to be told.
            meanwhile: What to do until then, over and over; returns whether it did something.

        Raises:
            LostError: All is over.
        """
        while (found := self.told(name)) is None:
            if self.told(VERDICT) is not None:
                raise LostError("the other processes have ended")
            if not meanwhile():
                time.sleep(LOOK / 10)
        return found

    def count(self, name: str) -> int:
        """0 for the first that asks by that name, then 1, and so on."""
        with _reaching():
            return int(self.store.add(name, 1)) - 1

    def refuse(self, what: str) -> None:
        """Refuse what several processes cannot do together."""
        if self.place.size > 1:
            raise UsageError(f"{what} is for one process, and there are {self.place.size}", "start without torchrun")

    def agree_on(self, plan: Any) -> None:
        """Wait until all have planned; refuse if they have other plans."""
        if self.place.size > 1 and len(set(self.told_by_all("plan", zlib.crc32(repr(plan).encode())))) > 1:
            raise InputError("the processes do not see the same files", "give all of them the same folders")

    def group(self, device: "torch.device", own: bool) -> "AbstractContextManager[Group]":
        """All of them as a group that fits a model; `own` where no other process computes on the device."""
        from smdae.fitting.distributed import ALONE, joined

        if self.place.size == 1:
            return nullcontext(ALONE)
        self.told_by_all("joining", True)  # what follows cannot be interrupted
        return joined(self.store, self.place, device, own)


@contextmanager
def _reaching() -> Iterator[None]:
    """Within, a store that cannot be reached is a loss: of the first process, which may hold it, or of the launcher."""
    try:
        yield
    except RuntimeError as error:
        raise LostError("the other processes cannot be reached any more") from error


def met(place: Place, environ: Mapping[str, str], note: Note) -> Peers:
    """The processes that were started together, at the address in the environment; a wait for them is noted.

    Raises:
        UsageError: There is no address.
        LostError: Nobody is there.
    """
    import torch.distributed as dist

    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not environ.get(name)]
    if missing or not dist.is_available():
        what = f"{missing[0]} is not set" if missing else "this torch has no torch.distributed"
        raise UsageError(f"there are to be {place.size} processes, but {what}", "start with torchrun, or unset RANK")
    hosted = environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        host, port = environ["MASTER_ADDR"], int(environ["MASTER_PORT"])
    except ValueError:
        raise UsageError(f"MASTER_PORT {environ['MASTER_PORT']!r:.40} is not a number", ALONE) from None
    if place.rank or not hosted:
        _await_host(place, host, port, note)
    with _reaching():
        if hosted:  # nothing here waits, so that what is waited for can be told, and interrupted
            store: Any = dist.TCPStore(host, port, place.size, place.rank == 0, COMING, wait_for_workers=False)
            store = dist.PrefixStore("default_pg", store)
        else:
            store, *_ = next(iter(dist.rendezvous("env://", place.rank, place.size, timeout=COMING)))
    return Peers(place, store, hosted)


def _await_host(place: Place, host: str, port: int, note: Note) -> None:
    """Wait until the process that holds the store listens.

    Raises:
        LostError: It does not come.
    """
    import socket  # which most commands need not load

    wait = _Wait(place, f"nobody answers yet at {host!s:.60}, port {port}", note)
    while True:
        try:
            socket.create_connection((host, port), LOOK).close()
            return
        except (OSError, OverflowError):
            wait.more(f"the first of {place.size} processes did not come")


@contextmanager
def counting(peers: Peers, watch: Callable[[], object]) -> Iterator[None]:
    """Count up in a thread within the context, by which others see that this process lives, and watch their counts."""
    over = Event()
    counts: dict[int, bytes] = {}

    def look() -> None:
        own = 0
        while not over.wait(LOOK if own else 0):
            own += 1
            try:
                peers.tell(f"count/{peers.place.rank}", own)
                for rank in peers.others:
                    now = peers.told(f"count/{rank}")
                    peers.looks[rank] = 0 if now != counts.get(rank) else peers.looks.get(rank, 0) + 1
                    counts[rank] = now
            except LostError:
                for rank in peers.others:
                    peers.looks[rank] = peers.looks.get(rank, 0) + 1
            watch()

    thread = Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def arrived(peers: Peers, note: Note) -> None:
    """Wait until all have begun; a long wait is noted.

    Raises:
        LostError: One does not come.
    """
    size = peers.place.size
    wait = _Wait(peers.place, f"waiting for the other processes, {size} in all", note)
    while missing := [rank for rank in peers.others if peers.told(f"count/{rank}") is None]:
        wait.more(f"process {missing[0]} of {size} did not come")


class _Wait:
    """A wait for other processes that is told of, and has an end.

    What a launcher has told may be left over in the environment of a command that is started alone, for which nobody
    ever comes.
    """

    def __init__(self, place: Place, what: str, note: Note) -> None:
        self.what = f"{what}, as RANK={place.rank} and WORLD_SIZE={place.size} in the environment say; {ALONE}"
        self.note, self.begun, self.told = note, time.monotonic(), False

    def more(self, failure: str) -> None:
        """Wait a moment longer.

        Raises:
            LostError: It was too long.
        """
        waited = time.monotonic() - self.begun
        if waited > COMING.total_seconds():
            raise LostError(failure, ALONE)
        if waited > TOLD and not self.told:
            self.note(self.what)
            self.told = True
        time.sleep(LOOK / 10)
