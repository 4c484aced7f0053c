"""The processes that torchrun started for one command, connected by a key-value store of torch.distributed.

Each process has a heartbeat: it increases a count in the store twice a second. A process whose count stands still has
died or hangs, on whatever machine it runs.
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

HEARTBEAT = 0.5  # seconds between two counts
MAX_MISSED = 8  # heartbeats without a new count, after which a process is taken for dead if something is wrong already
VERDICT = "verdict"  # the name under which it is stored how all ended
START_TIMEOUT = timedelta(seconds=90)  # until all have begun
REPORT_AFTER = 5.0  # seconds of waiting for other processes before that is reported
ALONE = "to start one process alone, unset RANK and WORLD_SIZE"

Note = Callable[[str], object]


@dataclass(frozen=True)
class Peers:
    """The processes that work together on one command.

    Attributes:
        place: The rank of this process, and the number of all.
        store: The store of torch.distributed that they share; None if this is the only process.
        hosted: Whether the first process holds the store, rather than the launcher.
        missed: For each other process, the number of heartbeats since its count last changed.
    """

    place: Place = field(default_factory=Place)
    store: Any = None
    hosted: bool = False
    missed: dict[int, int] = field(default_factory=dict)

    @property
    def first(self) -> bool:
        """Return whether this is the first process, which prints and writes for all."""
        return self.place.rank == 0

    @property
    def local(self) -> int | None:
        """Return the number of this process among those on this machine; None if there is only one process in all."""
        return self.place.local if self.place.size > 1 else None

    @property
    def others(self) -> list[int]:
        """Return the ranks of the other processes."""
        return [rank for rank in range(self.place.size) if rank != self.place.rank]

    def is_silent(self, rank: int, beats: int = MAX_MISSED) -> bool:
        """Return whether the count of a process has not changed for that many heartbeats."""
        return self.missed.get(rank, 0) >= beats

    def write(self, name: str, value: Any) -> None:
        """Store a value as JSON under a name, where all processes can read it; LostError if the store is gone."""
        with _reaching():
            self.store.set(name, json.dumps(value))

    def read(self, name: str) -> Any:
        """Return the value stored under a name, None if there is none; LostError if the store is gone."""
        with _reaching():
            return json.loads(self.store.get(name)) if self.store.check([name]) else None

    def write_first(self, name: str, value: Any) -> None:
        """Store a value under a name, unless there is one already; LostError if the store is gone."""
        with _reaching():
            self.store.compare_set(name, "", json.dumps(value))

    def all_gather(self, name: str, value: Any) -> list[Any]:
        """Store this process's value under a name, wait for those of all others, and return all in order of rank."""
        self.write(f"{name}/{self.place.rank}", value)
        return [self.wait_for(f"{name}/{rank}") for rank in range(self.place.size)]

    def wait_for(self, name: str, meanwhile: Callable[[], bool] = lambda: False) -> Any:
        """Wait until there is a value under a name, and return it.

        Args:
            name: The name in the store.
            meanwhile: Called again and again until then; returns whether it did some work.

        Raises:
            LostError: The other processes have ended, or cannot be reached.
        """
        while (found := self.read(name)) is None:
            if self.read(VERDICT) is not None:
                raise LostError("the other processes have ended", "start all processes again; fit --resume goes on")
            if not meanwhile():
                time.sleep(HEARTBEAT / 10)
        return found

    def next_number(self, name: str) -> int:
        """Return 0 for the first call with this name by any process, 1 for the next, and so on.

        Raises:
            LostError: The store is gone.
        """
        with _reaching():
            return int(self.store.add(name, 1)) - 1

    def refuse(self, what: str) -> None:
        """Raise UsageError for what several processes cannot do together; do nothing if there is only one."""
        if self.place.size > 1:
            raise UsageError(f"{what} is for one process, and there are {self.place.size}", "start without torchrun")

    def agree_on(self, plan: Any) -> None:
        """Wait for the plans of all processes, and raise InputError unless they are the same; do nothing alone."""
        if self.place.size > 1 and len(set(self.all_gather("plan", zlib.crc32(repr(plan).encode())))) > 1:
            raise InputError("the processes do not see the same files", "give all of them the same folders")

    def group(self, device: "torch.device", own: bool) -> "AbstractContextManager[Group]":
        """Return a context that yields all processes as a group that fits one model.

        `own` says that no other process computes on the device.

        Raises:
            LostError: A process is gone; raised as the context begins.
        """
        from smdae.fitting.distributed import ALONE, joined

        if self.place.size == 1:
            return nullcontext(ALONE)
        self.all_gather("joining", True)  # what follows cannot be interrupted
        return joined(self.store, self.place, device, own)


@contextmanager
def _reaching() -> Iterator[None]:
    """Raise LostError if the store cannot be reached within the context: the process that holds it is gone."""
    try:
        yield
    except RuntimeError as error:
        raise LostError(
            "the other processes cannot be reached any more", "start all processes again; fit --resume goes on"
        ) from error


def connect(place: Place, environ: Mapping[str, str], note: Note) -> Peers:
    """Return the processes that were started together, connected at the address in the environment; report a long wait.

    Raises:
        UsageError: The environment has no usable address.
        LostError: Nothing answers there.
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
        if hosted:  # without waiting here: `wait_for_all` reports what it waits for, and can be interrupted
            at = (host, port, place.size, place.rank == 0, START_TIMEOUT)
            store: Any = dist.TCPStore(*at, wait_for_workers=False)  # type: ignore[attr-defined]
            store = dist.PrefixStore("default_pg", store)  # type: ignore[attr-defined]
        else:
            found = dist.rendezvous("env://", place.rank, place.size, timeout=START_TIMEOUT)  # type: ignore[attr-defined]
            store, *_ = next(iter(found))
    return Peers(place, store, hosted)


def _await_host(place: Place, host: str, port: int, note: Note) -> None:
    """Wait until the process that holds the store accepts connections; LostError if it does not do so in time."""
    import socket  # which most commands need not load

    wait = _Wait(place, f"nobody answers yet at {host!s:.60}, port {port}", note)
    while True:
        try:
            socket.create_connection((host, port), HEARTBEAT).close()
            return
        except (OSError, OverflowError):
            wait.more(f"the first of {place.size} processes did not come")


@contextmanager
def heartbeat(peers: Peers, watch: Callable[[], object]) -> Iterator[None]:
    """Count up in a thread while the context lasts, and watch the counts of the other processes.

    `watch` is called after each heartbeat.
    """
    over = Event()
    counts: dict[int, bytes] = {}

    def beat() -> None:
        own = 0
        while not over.wait(HEARTBEAT if own else 0):
            own += 1
            try:
                peers.write(f"count/{peers.place.rank}", own)
                for rank in peers.others:
                    now = peers.read(f"count/{rank}")
                    peers.missed[rank] = 0 if now != counts.get(rank) else peers.missed.get(rank, 0) + 1
                    counts[rank] = now
            except LostError:
                for rank in peers.others:
                    peers.missed[rank] = peers.missed.get(rank, 0) + 1
            watch()

    thread = Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def wait_for_all(peers: Peers, note: Note) -> None:
    """Wait until all processes have begun; report a long wait; LostError if one of them does not begin in time."""
    size = peers.place.size
    wait = _Wait(peers.place, f"waiting for the other processes, {size} in all", note)
    while missing := [rank for rank in peers.others if peers.read(f"count/{rank}") is None]:
        wait.more(f"process {missing[0]} of {size} did not come")


class _Wait:
    """A wait for other processes that is reported if it gets long, and given up in the end.

    The environment may still hold the variables of an earlier launch; then a command started alone waits for processes
    that never come.
    """

    def __init__(self, place: Place, what: str, note: Note) -> None:
        self.what = f"{what}, as RANK={place.rank} and WORLD_SIZE={place.size} in the environment say; {ALONE}"
        self.note, self.begun, self.is_reported = note, time.monotonic(), False

    def more(self, failure: str) -> None:
        """Wait a moment longer; LostError if the wait has been too long; `failure` is the message."""
        waited = time.monotonic() - self.begun
        if waited > START_TIMEOUT.total_seconds():
            raise LostError(failure, ALONE)
        if waited > REPORT_AFTER and not self.is_reported:
            self.note(self.what)
            self.is_reported = True
        time.sleep(HEARTBEAT / 10)
