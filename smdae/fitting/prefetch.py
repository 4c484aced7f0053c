"""Reading the next batch in a thread, while the gradients of this one are computed.

What will be drawn next is known: a copy of the generator draws it. If something else is asked for after all, what was
read is forgotten; nothing depends on it but time.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

import torch
from torch import Generator, Tensor

__all__ = ["Prefetch", "copy_of"]


def copy_of(generator: Generator) -> Generator:
    """Return another generator that will draw the same."""
    other = Generator(generator.device)
    other.set_state(generator.get_state())
    return other


class Prefetch:
    """One tensor read ahead in a thread, with the key that it will be asked for by."""

    _key: Tensor | None = None
    _read: Future[Tensor]

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, "prefetch")

    def start(self, key: Tensor, read: Callable[[], Tensor]) -> None:
        """Call `read` in the thread, for the next `take` with an equal key."""
        self._key, self._read = key, self._thread.submit(read)

    def take(self, key: Tensor) -> Tensor | None:
        """Return what was read for this key, once, or None. An error of the thread is raised here."""
        started, self._key = self._key, None
        if started is None or not torch.equal(started, key):
            return None
        return self._read.result()
