"""Work that is begun before it is asked for, in a thread beside the one that computes.

Chance that comes from a generator can be foretold: a copy of the generator tells what will be drawn next. What was made
for it is taken if it is what is then asked for, and forgotten if it is not; nothing else depends on it.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

import torch
from torch import Generator, Tensor

__all__ = ["Foretold", "copy_of"]


def copy_of(generator: Generator) -> Generator:
    """Another generator that will draw the same."""
    other = Generator(generator.device)
    other.set_state(generator.get_state())
    return other


class Foretold:
    """One thing that may be asked for next."""

    _asked: Tensor | None = None
    _made: Future[Tensor]

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, "ahead")

    def begin(self, asked: Tensor, make: Callable[[], Tensor]) -> None:
        """Begin to make what belongs to `asked`."""
        self._asked, self._made = asked, self._thread.submit(make)

    def take(self, asked: Tensor) -> Tensor | None:
        """What belongs to `asked`, if it was begun; once. An error that was met on the way comes out here."""
        foretold, self._asked = self._asked, None
        if foretold is None or not torch.equal(foretold, asked):
            return None
        return self._made.result()
