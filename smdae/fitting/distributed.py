"""Several processes that fit one model, each on its part of every batch, by torch.distributed.

    batch     B examples, of which process r of N makes the rows from rB/N to (r+1)B/N
    gradient  grad mean_B J = sum_r sum_(rows of r) grad J / B: one all-reduce a step, the figures of the step with it
    figures   held-out images are shared out too, and each process gets all the results

So all processes take the same steps and make the same decisions, and the fit is that of one process up to the rounding
of sums. Decisions that depend on the clock are made by the first process. The backend is gloo, or nccl if each process
has its own GPU.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from smdae.errors import LostError
from smdae.memory import is_out_of_memory
from smdae.processes import Place

T = TypeVar("T")
CPU = torch.device("cpu")
TIMEOUT = timedelta(minutes=10)  # of a collective operation: others wait while the first process validates and writes


@dataclass(frozen=True)
class Group:
    """The processes that fit one model.

    All methods but `rows` are collective: every process calls them, in the same order. They raise LostError if a
    process is gone.
    """

    rank: int = 0  # the number of this process, from 0
    size: int = 1  # the number of processes
    device: torch.device = CPU  # where tensors must be to be sent

    def rows(self, n: int) -> slice:
        """Return this process's slice of n examples; it may be empty if n is less than `size`."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def all_reduce_(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one dtype by their sums over all processes, in one message."""
        if self.size == 1:
            return
        flat = self._sum(torch.cat([tensor.flatten() for tensor in tensors]))
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def map(self, function: Callable[[T], Sequence[float]], items: Sequence[T], width: int = 1) -> list[list[float]]:
        """Return `width` numbers of a function for each item, in order; the processes share the work."""
        table = torch.zeros(len(items), width, dtype=torch.float64)
        for i in range(self.rank, len(items), self.size):
            table[i] = torch.tensor(function(items[i]), dtype=torch.float64)
        return self._sum(table).tolist()

    def mean(self, function: Callable[[T], float], items: Sequence[T]) -> float:
        """Return the mean of a function's number over all items; the processes share the work."""
        return sum(value for (value,) in self.map(lambda item: [function(item)], items)) / len(items)

    def broadcast(self, numbers: Sequence[float]) -> list[float]:
        """Return the numbers that the first process passes, as floats, or as they are if it is the only one."""
        if self.size == 1:
            return list(numbers)
        sent = torch.tensor(numbers, dtype=torch.float64)
        self.broadcast_([sent])
        return sent.tolist()

    def broadcast_bytes(self, read: Callable[[], bytes]) -> bytes:
        """Return the bytes that `read` returns in the first process; the others do not call it.

        What `read` raises is raised in the first process alone.
        """
        data = read() if self.rank == 0 else b""
        if self.size == 1:
            return data
        (length,) = self.broadcast([len(data)])
        sent = torch.zeros(int(length), dtype=torch.uint8)
        if data:
            sent = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        self.broadcast_([sent])
        return sent.numpy().tobytes()

    def broadcast_(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors, in place, by those of the first process."""
        if self.size == 1:
            return
        for tensor in tensors:
            sent = tensor.detach().to(self.device).contiguous()
            with _lost_if_broken():
                dist.broadcast(sent, 0)
            tensor.detach().copy_(sent)

    def largest(self, number: int) -> int:
        """Return the largest of the numbers that all processes pass."""
        return int(max(max(row) for row in self.map(lambda _: [number], range(self.size))))

    def all_equal(self, tensors: Iterable[Tensor]) -> bool:
        """Return whether all processes have the same tensors, to the last bit."""
        if self.size == 1:
            return True
        checksum = 0
        for tensor in tensors:
            checksum = zlib.crc32(
                tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes(), checksum
            )
        return len({tuple(row) for row in self.map(lambda _: [checksum], range(self.size))}) == 1

    def _sum(self, tensor: Tensor) -> Tensor:
        """Return the sum over all processes, on the device of the tensor, which may be overwritten."""
        if self.size == 1:
            return tensor
        total = tensor.to(self.device)
        with _lost_if_broken():
            dist.all_reduce(total)
            return total.to(tensor.device)


ALONE = Group()


@contextmanager
def _lost_if_broken() -> Iterator[None]:
    """Raise LostError if a connection breaks or times out within the context."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise LostError(
            "the connection to the other processes broke", "start all processes again; fit --resume goes on"
        ) from error


@contextmanager
def joined(store: Any, place: Place, device: torch.device, own: bool) -> Iterator[Group]:
    """Join the group of all processes that share a store, yield it, and leave it at the end of the context.

    Processes that wait for this one get an error then. `own` says whether no other process computes on the device. It
    raises LostError if a process is gone, or does not come.
    """
    nccl = device.type == "cuda" and own and dist.is_nccl_available()
    if nccl:
        torch.cuda.set_device(device)
    where = {"store": store, "rank": place.rank, "world_size": place.size, "timeout": TIMEOUT}
    with _lost_if_broken():
        dist.init_process_group("nccl" if nccl else "gloo", **where)
    failed = True
    try:
        yield Group(place.rank, place.size, device if nccl else CPU)
        failed = False
    finally:
        if not (failed and nccl):  # which would wait for lost processes
            dist.destroy_process_group()
