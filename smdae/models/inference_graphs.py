"""Passes of a network on CUDA, recorded as a CUDA graph for each image size and replayed.

A pass over a megapixel is sixty small kernels, and launching them takes longer than running them. For a folder the CPU
has to decode and encode meanwhile, and each launch waits for its turn in Python. A CUDA graph is launched at once.
"""

from collections import Counter
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import Tensor

MIN_PASSES = 3  # over images of a size, before one is recorded
MAX_GRAPHS = 4  # sizes that are recorded, as each keeps its memory
WARMUP_PASSES = 2  # on another stream, before a recording


@dataclass(frozen=True, eq=False)
class _Recording:
    """A graph, and the tensors that it reads and writes."""

    graph: Any
    x: Tensor
    sigma: Tensor
    score: Tensor


class InferenceGraphs:
    """The graphs of one network; safe to use from many threads. A deep copy, for another network, starts empty."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.times: Counter[Any] = Counter()
        self.recordings: dict[Any, _Recording | None] = {}

    def __deepcopy__(self, memo: Any) -> "InferenceGraphs":
        return InferenceGraphs()

    def score(self, model: Any, x: Tensor, sigma: float) -> Tensor | None:
        """Return `model.score(x, sigma)` by a CUDA graph; None if none is recorded for images of this size.

        One is recorded once images of a size have come often enough, for a few sizes at most.
        """
        key = (x.shape, x.dtype, model.products, model.white)
        with self.lock:
            self.times[key] += 1
            if key not in self.recordings and self.times[key] > MIN_PASSES and len(self.recordings) < MAX_GRAPHS:
                self.recordings[key] = _recorded(model, x, sigma)
            if recording := self.recordings.get(key):
                recording.x.copy_(x)
                recording.sigma.fill_(sigma)
                recording.graph.replay()
                return recording.score.clone()
        return None


def _recorded(model: Any, x: Tensor, sigma: float) -> _Recording | None:
    """Record a pass; return None if that fails, for example for lack of memory."""
    x, level = x.clone(), x.new_full((1,), sigma)
    graph = torch.cuda.CUDAGraph()
    try:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARMUP_PASSES):
                model.score(x, level)  # with a tensor of levels, so that no graph is used
        torch.cuda.current_stream().wait_stream(aside)
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # so that other threads may go on
            score = model.score(x, level)
    except RuntimeError:
        return None
    return _Recording(graph, x, level, score)
