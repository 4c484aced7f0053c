"""Steps of a fit on CUDA, recorded once as a CUDA graph and replayed.

A step of these models is hundreds of small kernels, each of which takes longer to launch than to run. A CUDA graph
holds them all, with the drawing of the batch, and is launched at once. A replay draws the numbers that the generator
would have given next, so it gives the same result as an ordinary step.

The learning rate and the weight of the parameters in their average, which change from step to step, are in tensors that
are written before each replay. The first steps are not recorded, so that everything that is allocated once exists. When
the patches grow, a new graph is recorded.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from smdae.fitting.examples import Examples
from smdae.fitting.state import State

WARMUP_STEPS = 3  # before a step is recorded
MAX_PENDING = 4  # replays launched and not yet done, so that measured times are those of the device

Step = Callable[..., Tensor]


class StepGraph:
    """Steps of a fit, each a replay of one CUDA graph of `loop.step`, which changes the state in place."""

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
        """Return the steps of a fit; None if they cannot be recorded: on a CPU, or towards the score of a density."""
        able = examples.density is None and examples.parzen is None
        return cls(state, examples, step) if able and state.parameters[0].is_cuda else None

    def __call__(self, lr: float, share: float, progress: float) -> tuple[Tensor, int]:
        """Take one step; return the figures of `step`, and the number of examples."""
        stage = self.examples.stage(progress)
        if stage != self.stage:
            self.stage, self.taken, self.graph = stage, 0, None
        self.taken += 1
        self.lr.fill_(lr)
        self.share.fill_(share)
        if self.taken > WARMUP_STEPS and self.graph is None and self.can_record:
            self._record(progress)
        if self.graph is None:
            return self._ordinary(progress), self.count
        self.graph.replay()
        self.state.record["step"] += 1
        self._wait()
        assert self.figures is not None
        return self.figures.clone(), self.count

    def _ordinary(self, progress: float) -> Tensor:
        batch = self.examples.draw(self.state.settings.batch, self.state.generator, progress)
        self.count = len(batch.x)
        return self.step(self.state, batch, self.examples, self.lr, self.share)

    def _record(self, progress: float) -> None:
        """Record a step without taking it; if that fails, all further steps are ordinary ones."""
        torch.cuda.synchronize()
        generator, before = self.state.generator, self.state.record["step"]
        before_recording = generator.get_state()
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(generator)
        try:
            with torch.cuda.graph(graph):
                self.figures = self._ordinary(progress)
            self.graph = graph
        except RuntimeError:  # something in the step waits for the device, which a graph cannot
            self.can_record = False
            generator.set_state(before_recording)
        self.state.record["step"] = before

    def _wait(self) -> None:
        """Wait until at most MAX_PENDING replays are under way."""
        done = torch.cuda.Event()
        done.record()
        self.pending.append(done)
        if len(self.pending) > MAX_PENDING:
            self.pending.popleft().synchronize()
