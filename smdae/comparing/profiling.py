"""The cost of a call: its time, measured in turns with other calls, and its peak memory."""

import math
import statistics
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode  # the base of torch's own counters
from torch.utils._pytree import tree_leaves

MIN_ROUNDS = 3  # times that a call is timed


def seconds(
    runs: Mapping[Any, Callable[[], object]],
    rounds: int,
    device: torch.device | str = "cpu",
    longest: float = math.inf,
) -> dict[Any, float]:
    """Return the median time of each call, in seconds, by its name.

    All calls are made in turn, so that disturbances affect all: once untimed, then `rounds` times. One that took
    `longest` seconds in total is timed three times only.
    """
    taken: dict[Any, list[float]] = {name: [] for name in runs}
    for count in range(rounds + 1):
        for name, run in runs.items():
            if len(taken[name]) >= MIN_ROUNDS and sum(taken[name]) > longest:
                continue
            _wait(device)
            begun = time.perf_counter()
            run()
            _wait(device)
            if count:
                taken[name].append(time.perf_counter() - begun)
    return {name: statistics.median(values) for name, values in taken.items()}


def peak_bytes(run: Callable[[], object], device: torch.device | str = "cpu") -> int:
    """Return the largest number of bytes that a call holds at once, beyond those allocated before it.

    On CUDA the allocator counts them. Elsewhere every tensor that an operation makes, forward or backward, is counted
    until its storage is freed. This leaves out what operations allocate and free inside themselves. In forward-mode
    derivatives it is a few per cent too much, as torch runs them in other steps while they are watched.
    """
    if torch.device(device).type == "cuda":
        _wait(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        _wait(device)
        return torch.cuda.max_memory_allocated(device) - before
    with _Counter() as counter:
        run()
    return int(counter.peak)


def _wait(device: torch.device | str) -> None:
    """Wait until a CUDA device has finished."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _storages(values: Any) -> dict[int, Any]:
    """Return the storages of tensors by address; zero tensors of autograd, which have no storage, are skipped."""
    tensors = (v for v in tree_leaves(values) if isinstance(v, Tensor) and not v._is_zerotensor())
    return {storage._cdata: storage for storage in (tensor.untyped_storage() for tensor in tensors)}


class _Counter(TorchDispatchMode):
    """A counter of the bytes of storages that are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._sizes: dict[int, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to skip it torch would first load its compiler, for seconds

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = _storages((args, kwargs))
        made = operation(*args, **(kwargs or {}))
        for key, storage in _storages(made).items():
            if key not in self._sizes and key not in given:  # neither a view nor changed in place
                self._sizes[key] = storage.nbytes()
                self._now += storage.nbytes()
                weakref.finalize(storage, self._freed, key)
        self.peak = max(self.peak, self._now)
        return made

    def _freed(self, key: int) -> None:
        self._now -= self._sizes.pop(key)
