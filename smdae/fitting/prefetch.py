"""Read the next batch from disk in a thread, while the gradients of this one are computed.

Which patches come next is known from a copy of the generator. If others are drawn after all, those that were read are
dropped; only time is lost.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

import torch
from torch import Generator, Tensor

__all__ = ["Prefetch", "copy_of"]


def copy_of(generator: Generator) -> Generator:
    """Return a copy of a generator, which will draw the same numbers."""
    other = Generator(generator.device)
    other.set_state(generator.get_state())
    return other


class Prefetch:
    """One tensor that is read ahead in a thread, and the key of the request for it."""

    _key: Tensor | None = None
    _read: Future[Tensor]

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, "prefetch")

    def start(self, key: Tensor, read: Callable[[], Tensor]) -> None:
        """Call `read` in the thread; `take` with an equal key returns its result."""
        self._key, self._read = key, self._thread.submit(read)

    def take(self, key: Tensor) -> Tensor | None:
        """Return the tensor read for this key, once; None if another was read. Errors of the thread are raised here."""
        started, self._key = self._key, None
        if started is None or not torch.equal(started, key):
            return None
        return self._read.result()
