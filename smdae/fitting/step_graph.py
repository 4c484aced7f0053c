"""Steps of a fit on CUDA, recorded once as a graph and replayed.

A step of these models is hundreds of small products and sums, each of which takes the processor longer to ask for than
the accelerator to do. A CUDA graph holds them all, the draw of the batch too, and is asked for at once: a replay draws
the numbers that the generator would have given next, and goes from there as a step that is asked for one by one.

What changes from step to step without being drawn, the learning rate and how much of the parameters the average takes,
lies in tensors that are written before each replay. The first steps are not recorded, so that all that is made
only once is there. When patches have grown, steps are recorded anew.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from smdae.fitting.examples import Examples
from smdae.fitting.state import State

__all__ = ["StepGraph"]

WARMUP_STEPS = 3  # before one is recorded
MAX_PENDING = 4  # replays that may be asked for before the first of them is done, so that times are times

Step = Callable[..., Tensor]


class StepGraph:
    """Steps by replays of a graph.

    Args:
        state: Of the fit; changed in place.
        examples: What batches are drawn from.
        step: One step, as `loop.step` is.
    """

    def __init__(self, state: State, examples: Examples, step: Step) -> None:
        self.state, self.examples, self.step = state, examples, step
        device = state.parameters[0].device
        self.lr, self.share = torch.zeros((), device=device), torch.zeros((), device=device)
        self.stage, self.taken = -1, 0
        self.graph: Any = None
        self.can_record = True
        self.figures: Tensor | None = None
        self.count = 0
        self.pending: deque[torch.cuda.Event] = deque()

    @classmethod
    def of(cls, state: State, examples: Examples, step: Step) -> "StepGraph | None":
        """Return the steps of a fit; None where they cannot be recorded: on a CPU, or towards a density's score."""
        able = examples.density is None and examples.parzen is None
        return cls(state, examples, step) if able and state.parameters[0].is_cuda else None

    def __call__(self, lr: float, share: float, progress: float) -> tuple[Tensor, int]:
        """Take one step; return what `step` returns, and how many examples it had."""
        stage = self.examples.stage(progress)
        if stage != self.stage:
            self.stage, self.taken, self.graph = stage, 0, None
        self.taken += 1
        self.lr.fill_(lr)
        self.share.fill_(share)
        if self.taken > WARMUP_STEPS and self.graph is None and self.can_record:
            self._record(progress)
        if self.graph is None:
            return self._one(progress), self.count
        self.graph.replay()
        self.state.record["step"] += 1
        self._wait()
        assert self.figures is not None
        return self.figures.clone(), self.count

    def _one(self, progress: float) -> Tensor:
        batch = self.examples.draw(self.state.settings.batch, self.state.generator, progress)
        self.count = len(batch.x)
        return self.step(self.state, batch, self.examples, self.lr, self.share)

    def _record(self, progress: float) -> None:
        """Record a step without taking it; if that fails, steps are taken one by one from then on."""
        torch.cuda.synchronize()
        generator, before = self.state.generator, self.state.record["step"]
        chance = generator.get_state()
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(generator)
        try:
            with torch.cuda.graph(graph):
                self.figures = self._one(progress)
            self.graph = graph
        except RuntimeError:  # something in it waits for the accelerator
            self.can_record = False
            generator.set_state(chance)
        self.state.record["step"] = before

    def _wait(self) -> None:
        """Wait until at most MAX_PENDING replays are under way."""
        done = torch.cuda.Event()
        done.record()
        self.pending.append(done)
        if len(self.pending) > MAX_PENDING:
            self.pending.popleft().synchronize()
