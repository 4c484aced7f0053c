"""Several processes that fit one model, each on its part of every batch: what they say to each other.

    batch     B examples, of which process r of N makes the rows from rB/N to (r+1)B/N
    gradient  grad mean_B J = sum_r sum_(rows of r) grad J / B: one all-reduce a step, the figures of the step with it
    figures   held-out images are shared out too, and what one process finds is told to all

so that all take the same step and decide alike, and the fit is that of one process, but for the rounding of sums. What
a clock decides is decided by the first process. On torch.distributed: gloo, or nccl between GPUs of their own; large
sums of processes on one machine by a `board`.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from smdae.errors import LostError
from smdae.fitting.board import Boards
from smdae.memory import is_out_of_memory
from smdae.processes import Place

__all__ = ["ALONE", "Group", "joined"]

T = TypeVar("T")
DOUBLED = (2, 4, 8)  # sizes of groups whose sums gloo makes faster by pairs of messages than by its ring
CPU = torch.device("cpu")
PATIENCE = timedelta(minutes=10)  # that one may wait for the others: the first validates and writes while they do


@dataclass(frozen=True)
class Group:
    """Processes that fit one model, and which of them this is.

    Attributes:
        rank: The number of this one, from 0.
        size: How many there are.
        device: Where tensors must be to be sent.
        boards: Of those on one machine, what sums go by where they can.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = CPU
    boards: Boards = field(default_factory=Boards, compare=False)

    def rows(self, n: int) -> slice:
        """The part of n examples that is this process's; none if there are fewer than processes before it."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def add(self, tensors: Sequence[Tensor], meanwhile: Callable[[], object] = lambda: None) -> None:
        """Replace tensors of one dtype by their sums over all processes, in one go, and do something meanwhile."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        parts = self._sum(flat, meanwhile).split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def each(self, function: Callable[[T], Sequence[float]], items: Sequence[T], width: int = 1) -> list[list[float]]:
        """What a function says of each item, `width` numbers; each process asks it of some, and all are told."""
        table = torch.zeros(len(items), width, dtype=torch.float64)
        for i in range(self.rank, len(items), self.size):
            table[i] = torch.tensor(function(items[i]), dtype=torch.float64)
        return self._sum(table).tolist()

    def heard(self, numbers: Sequence[float]) -> list[float]:
        """The numbers of the first process."""
        if self.size == 1:
            return list(numbers)
        return self._sum(torch.tensor(numbers, dtype=torch.float64) * (self.rank == 0)).tolist()

    def largest(self, number: int) -> int:
        """The largest of the numbers of all processes."""
        return int(max(max(row) for row in self.each(lambda _: [number], range(self.size))))

    def bytes_of(self, read: Callable[[], bytes]) -> bytes:
        """What the first process reads."""
        data = read() if self.rank == 0 else b""
        if self.size == 1:
            return data
        (length,) = self.heard([len(data)])
        sent = torch.zeros(int(length), dtype=torch.uint8)
        if data:
            sent = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        return self._sum(sent).numpy().tobytes()

    def follow(self, tensors: Iterable[Tensor]) -> None:
        """Give tensors the values that they have in the first process."""
        if self.size == 1:
            return
        for tensor in tensors:
            self.add([tensor.mul_(self.rank == 0)])

    def alike(self, tensors: Iterable[Tensor]) -> bool:
        """Whether all processes have the same, to the last bit."""
        if self.size == 1:
            return True
        code = 0
        for tensor in tensors:
            code = zlib.crc32(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes(), code)
        return len({tuple(row) for row in self.each(lambda _: [code], range(self.size))}) == 1

    def _sum(self, tensor: Tensor, meanwhile: Callable[[], object] = lambda: None) -> Tensor:
        """The sum over all processes, on the device of the tensor."""
        if self.size == 1:
            return tensor
        total = tensor.to(self.device)
        with _heard():
            if self.device.type == "cpu" and (board := self.boards.fit_for(self, total.nbytes)):
                return board.sum(total, meanwhile).to(tensor.device)
            if self.device.type == "cpu" and self.size in DOUBLED:
                return self._doubled(total, meanwhile).to(tensor.device)
            work = dist.all_reduce(total, async_op=True)
            meanwhile()
            work.wait()
            return total.to(tensor.device)

    def _doubled(self, total: Tensor, meanwhile: Callable[[], object]) -> Tensor:
        """The sum over all processes by pairs, then pairs of pairs, and so on.

        Each step is one message to and one from another process. Sums of two do not depend on their order, so that all
        have the same, to the last bit.
        """
        other = torch.empty_like(total)
        distance = 1
        while distance < self.size:
            peer = self.rank ^ distance
            messages: Any = dist.isend(total, peer), dist.irecv(other, peer)
            if distance == 1:
                meanwhile()
            for message in messages:
                message.wait()
            total += other
            distance *= 2
        return total


ALONE = Group()


@contextmanager
def _heard() -> Iterator[None]:
    """Within, a broken connection is a process that is lost."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise LostError("the connection to the other processes broke") from error


@contextmanager
def joined(store: Any, place: Place, device: torch.device, own: bool) -> Iterator[Group]:
    """The group of all processes that come here.

    Args:
        store: A store of torch.distributed that they share.
        place: Which of them this is.
        device: Where it computes.
        own: Whether no other process computes there.
    """
    nccl = device.type == "cuda" and own and dist.is_nccl_available()
    if nccl:
        torch.cuda.set_device(device)
    where = {"store": store, "rank": place.rank, "world_size": place.size, "timeout": PATIENCE}
    with _heard():
        dist.init_process_group("nccl" if nccl else "gloo", **where)
    yield Group(place.rank, place.size, device if nccl else CPU)
    dist.destroy_process_group()  # not after a failure: it would wait for those that are lost
