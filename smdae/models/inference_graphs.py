"""Passes of a network on CUDA, recorded once for each size of its images and replayed.

A pass over a megapixel is sixty small products and sums, and to ask for them takes the processor longer than the
accelerator takes to do them; in a folder it has to decode and encode meanwhile, and each of the sixty waits for its
turn in Python. A CUDA graph is asked for at once.
"""

from collections import Counter
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import Tensor

__all__ = ["InferenceGraphs"]

OFTEN = 3  # passes over images of a size before one is recorded
MAX_GRAPHS = 4  # sizes that are: each keeps the memory that it takes
WARM = 2  # passes on the side that a recording wants before it


@dataclass(frozen=True, eq=False)
class _Recording:
    """A graph, and the tensors that it reads and writes."""

    graph: Any
    x: Tensor
    sigma: Tensor
    score: Tensor


class InferenceGraphs:
    """The graphs of one network; it may be called from many threads. A copy of it, as of another network, has none."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.times: Counter[Any] = Counter()
        self.recordings: dict[Any, _Recording | None] = {}

    def __deepcopy__(self, memo: Any) -> "InferenceGraphs":
        return InferenceGraphs()

    def score(self, model: Any, x: Tensor, sigma: float) -> Tensor | None:
        """Return `model.score(x, sigma)` by a CUDA graph; None for images of a size that has not occurred before."""
        key = (x.shape, x.dtype, model.products, model.white)
        with self.lock:
            self.times[key] += 1
            if key not in self.recordings and self.times[key] > OFTEN and len(self.recordings) < MAX_GRAPHS:
                self.recordings[key] = _recorded(model, x, sigma)
            if recording := self.recordings.get(key):
                recording.x.copy_(x)
                recording.sigma.fill_(sigma)
                recording.graph.replay()
                return recording.score.clone()
        return None


def _recorded(model: Any, x: Tensor, sigma: float) -> _Recording | None:
    """Return a recording of a pass; None where there can be none, for want of memory, say."""
    x, level = x.clone(), x.new_full((1,), sigma)
    graph = torch.cuda.CUDAGraph()
    try:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM):
                model.score(x, level)  # of a tensor of levels, so that every layer is asked for by itself
        torch.cuda.current_stream().wait_stream(aside)
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may go on meanwhile
            score = model.score(x, level)
    except RuntimeError:
        return None
    return _Recording(graph, x, level, score)
