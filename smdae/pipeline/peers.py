"""The processes that torchrun started for one command, connected by torch.distributed.

A key-value store holds what all may read. Besides, each process has a connection to the first one. If a process dies,
its connection breaks, and whoever waits for a message from it gets an error at once.
"""

import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
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

PAUSE = 0.05  # seconds between two looks into the store
START_TIMEOUT = timedelta(seconds=90)  # until all have begun
SEND_TIMEOUT = timedelta(seconds=5)  # after which whoever takes no message hangs
FOREVER = timedelta(days=1000)  # for which a process may work without a message
REPORT_AFTER = 5.0  # seconds of waiting for other processes before that is reported
ALONE = "to start one process alone, unset RANK and WORLD_SIZE"


@dataclass(frozen=True)
class Peers:
    """The processes that work together on one command.

    Attributes:
        place: The rank of this process, and the number of all.
        store: The store of torch.distributed that they share; None if this is the only process.
        channel: Their connections, a process group of torch.distributed; None if this is the only process.
        ended: Set when the others no longer work, for one of them has died, failed or been stopped.
    """

    place: Place = field(default_factory=Place)
    store: Any = None
    channel: Any = None
    ended: Event = field(default_factory=Event)

    @property
    def first(self) -> bool:
        """Return whether this is the first process, which prints and writes for all."""
        return self.place.rank == 0

    @property
    def local(self) -> int | None:
        """Return the number of this process among those on this machine; None if there is only one process in all."""
        return self.place.local if self.place.size > 1 else None

    def write(self, name: str, value: Any) -> None:
        """Store a value as JSON under a name, where all processes can read it; LostError if the store is gone."""
        with _reaching():
            self.store.set(name, json.dumps(value))

    def read(self, name: str) -> Any:
        """Return the value stored under a name, None if there is none; LostError if the store is gone."""
        with _reaching():
            return json.loads(self.store.get(name)) if self.store.check([name]) else None

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
            if self.ended.is_set():
                raise LostError("the other processes have ended", "start all processes again; fit --resume goes on")
            if not meanwhile():
                time.sleep(PAUSE)
        return found

    def next_number(self, name: str) -> int:
        """Return 0 for the first call with this name by any process, 1 for the next, and so on.

        Raises:
            LostError: The store is gone.
        """
        with _reaching():
            return int(self.store.add(name, 1)) - 1

    def send(self, rank: int, value: Any) -> None:
        """Send a value, as JSON, to the process of a rank; LostError if that has died or hangs."""
        import torch

        data = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        with _reaching():
            for part in (torch.tensor([len(data)]), data):
                self.channel.send([part], rank, 0).wait(SEND_TIMEOUT)

    def receive(self, rank: int) -> Any:
        """Wait for a value from the process of a rank, and return it; LostError if that has died."""
        import torch

        length = torch.zeros(1, dtype=torch.int64)
        with _reaching():
            self.channel.recv([length], rank, 0).wait(FOREVER)
            data = torch.zeros(int(length), dtype=torch.uint8)
            self.channel.recv([data], rank, 0).wait(FOREVER)
        return json.loads(data.numpy().tobytes())

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
    """Raise LostError if a process, or the store, cannot be reached within the context."""
    try:
        yield
    except RuntimeError as error:
        raise LostError(
            "the other processes cannot be reached any more", "start all processes again; fit --resume goes on"
        ) from error


def connect(place: Place, environ: Mapping[str, str], note: Callable[[str], object]) -> Peers:
    """Return the processes that were started together, connected at the address in the environment; report a long wait.

    Raises:
        UsageError: The environment has no usable address.
        LostError: Not all of them come in time. The environment may still hold the variables of an earlier launch; then
            a command started alone waits for processes that never come.
    """
    import torch.distributed as dist

    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not environ.get(name)]
    if missing or not dist.is_available():
        what = f"{missing[0]} is not set" if missing else "this torch has no torch.distributed"
        raise UsageError(f"there are to be {place.size} processes, but {what}", "start with torchrun, or unset RANK")
    if not environ["MASTER_PORT"].isdecimal():
        raise UsageError(f"MASTER_PORT {environ['MASTER_PORT']!r:.40} is not a number", ALONE)
    connected: Future[Peers] = Future()

    def meet() -> None:
        try:
            found = dist.rendezvous("env://", place.rank, place.size, timeout=START_TIMEOUT)  # type: ignore[attr-defined]
            store, *_ = next(iter(found))
            at = (dist.PrefixStore("channel", store), place.rank, place.size, START_TIMEOUT)  # type: ignore[attr-defined]
            connected.set_result(Peers(place, store, dist.ProcessGroupGloo(*at)))
        except Exception as error:
            connected.set_exception(error)

    Thread(target=meet, daemon=True).start()  # so that this one can be interrupted
    try:
        try:
            return connected.result(REPORT_AFTER)
        except TimeoutError:
            where = f"RANK={place.rank} and WORLD_SIZE={place.size} in the environment"
            note(f"waiting for the other processes, {place.size} in all, as {where} say; {ALONE}")
            return connected.result()
    except (RuntimeError, ValueError) as error:
        raise LostError(f"the other processes did not come, {place.size} in all", ALONE) from error
