"""Batches drawn ahead: the next one while the gradients of this one are on their way between processes.

The state's generator is moved on only once a step is taken, so that the state is whole whenever one is not.
"""

from torch import Generator

from smdae.fitting.distributed import Group
from smdae.fitting.draws import Batch
from smdae.fitting.examples import Examples
from smdae.fitting.state import State

__all__ = ["Ahead"]


class Ahead:
    """Draws batches for a state, of which a group has its parts.

    Args:
        state: Whose generator is the source of chance.
        examples: What to draw from.
        group: Processes each of which has its part; one alone draws nothing ahead.
    """

    def __init__(self, state: State, examples: Examples, group: Group) -> None:
        self.state, self.examples, self.group = state, examples, group
        self.generator = Generator(state.generator.device)
        self.next: tuple[int, Batch] | None = None

    def batch(self, progress: float) -> Batch:
        """The batch of the step to be taken; `progress` is the part of the fit that is done, from 0 to 1."""
        if self.group.size == 1:
            return self._drawn(self.state.generator, progress)
        if self.next is None or self.next[0] != self.examples.stage(progress):
            self.generator.set_state(self.state.generator.get_state())
            self.draw(progress)
        assert self.next is not None
        (_, batch), self.next = self.next, None
        self.after = self.generator.get_state()
        return batch

    def draw(self, progress: float) -> None:
        """Draw the batch of the step after that."""
        self.next = self.examples.stage(progress), self._drawn(self.generator, progress)

    def taken(self) -> None:
        """The step with the batch was taken."""
        if self.group.size > 1:
            self.state.generator.set_state(self.after)

    def _drawn(self, generator: Generator, progress: float) -> Batch:
        return self.examples.draw(self.state.settings.batch, generator, progress, self.group)
