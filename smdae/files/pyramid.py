"""The smaller levels of a pyramid: by what they were made of the larger ones, and how they are made anew.

A level is made of the one before by taking one pixel of each block, or the mean of each block, rounded or cut off.
Which of these was used is found by trying them on a part of both levels. Where none gives the same numbers (a Gaussian
before every second pixel, say) means of blocks are the nearest to what such levels are for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

__all__ = ["MEAN", "Reduction", "factors", "reduction_of"]

NEAR = 1e-5  # relative difference of floats that are taken for the same


@dataclass(frozen=True)
class Reduction:
    """The rule by which blocks of a level become the pixels of the next.

    Attributes:
        offset: The place in a block of the pixel that is taken, the same along each axis that shrinks; None for means.
        is_cut: Whether means of integers are cut off, not rounded.
    """

    offset: int | None = None
    is_cut: bool = False

    def of(self, values: np.ndarray, steps: Sequence[int]) -> np.ndarray:
        """Return the pixels of the next level that a part of a level becomes, of the same type.

        It begins where a block does; blocks, of lengths `steps`, may be smaller at an end.
        """
        if self.offset is not None:
            lengths = zip(values.shape, steps, strict=True)
            # Of a smaller block at the end, whose pixel would be beyond it, the last one is taken.
            taken = [np.minimum(np.arange(0, n, step) + min(self.offset, step - 1), n - 1) for n, step in lengths]
            return values[np.ix_(*taken)]
        total: Any = values.astype(np.float32 if values.dtype.itemsize < 3 else np.float64)
        count = np.ones((1,) * values.ndim)
        for axis, step in enumerate(steps):
            if step > 1:
                total = np.add.reduceat(total, np.arange(0, values.shape[axis], step), axis)
                along = np.diff([*range(0, values.shape[axis], step), values.shape[axis]])
                count = count * along.reshape([-1 if k == axis else 1 for k in range(values.ndim)])
        mean: np.ndarray = total / count
        if values.dtype.kind in "iu":
            mean = np.floor(mean) if self.is_cut else np.rint(mean)
        return mean.astype(values.dtype)


MEAN = Reduction()


def factors(before: Sequence[int], after: Sequence[int]) -> tuple[int, ...] | None:
    """Return the sides of the blocks that reduce one shape to another; None if no blocks do."""
    steps = []
    for long, short in zip(before, after, strict=True):
        step = max(1, round(long / short)) if short else 0
        able = [s for s in (step, step + 1, step - 1) if s > 0 and short in (long // s, -(-long // s))]
        if not able:
            return None
        steps.append(able[0])
    return tuple(steps)


def reduction_of(pairs: Sequence[tuple[np.ndarray, np.ndarray]], steps: Sequence[int]) -> Reduction | None:
    """Return the rule by which a level was made, from pairs of parts before and after; None if it cannot be found."""
    pairs = [pair for pair in pairs if pair[0].size and (pair[0] != pair[0].flat[0]).any()]
    for reduction in _known(max(steps)) if pairs else ():
        if all(_same(reduction.of(before, steps), after) for before, after in pairs):
            return reduction
    return None


def blocks(shape: Sequence[int], grid: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Yield the slices of the blocks of shape `grid` that make up an array; blocks at the ends may be smaller."""
    lengths = zip(shape, grid, strict=True)
    yield from product(*([slice(k, min(k + step, n)) for k in range(0, n, step)] for n, step in lengths))


def _known(step: int) -> Iterator[Reduction]:
    yield from (Reduction(offset) for offset in range(step))
    yield from (MEAN, Reduction(is_cut=True))


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    cut = tuple(slice(0, min(pair)) for pair in zip(one.shape, other.shape, strict=True))
    one, other = one[cut], other[cut]
    if one.dtype.kind in "iu":
        return np.array_equal(one, other)
    return bool(np.allclose(one, other, rtol=NEAR, atol=0, equal_nan=True))
