"""The smaller levels of an OME-Zarr image, made anew of a first level that has changed, chunk by chunk.

A chunk of a level and the part of the level before that it is made of are in memory at a time.

A level is made of the one before by taking one pixel of each block, or the mean of each block, rounded or cut off.
Which of these was used is found by trying them on a part of both levels. Where none gives the same numbers (a Gaussian
before every second pixel, say) means of blocks are the nearest to what such levels are for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smdae.files import ome_zarr
from smdae.files.zarr_chunks import any_within, chunks_there, fill_of, grid_of
from smdae.files.zarr_images import Image, array_of

if TYPE_CHECKING:
    import zarr

TRIED = 128  # pixels a side of the parts on which it is found how a level was made
PLACES = (0.5, 0.3, 0.7)  # where they are along the axes before rows and columns
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
        """Return what a part of a level is reduced to in the next, smaller level: a pixel of its type for each block.

        Blocks have the length `steps` along each axis. The part begins where a block does; at its end blocks may be
        smaller.
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


def _blocks(shape: Sequence[int], grid: Sequence[int]) -> Iterator[tuple[slice, ...]]:
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


def rebuilt(image: Image, group: Path, name: str) -> str | None:
    """Write all levels but the first to the group of a result, and say in words what was done; None if there are none.

    Raises:
        InputError: A level of the source is damaged.
        MemoryLimitError: Memory ran out.
    """
    ways: list[Reduction | None] = []
    for above, level in zip(image.levels, image.levels[1:], strict=False):
        with ome_zarr.reading(name):
            before, after = (array_of(image.group / path) for path in (above, level))
            steps = factors(before.shape, after.shape) if len(before.shape) == len(after.shape) else None
            way = None if steps is None else reduction_of([*_pairs(before, after, steps)], steps)
        ways.append(way)
        made = array_of(group / above)
        there = chunks_there(made, group / above)
        _write(made, there, array_of(group / level, "r+"), steps, way or MEAN)
    if not ways:
        return None
    levels = "smaller level is" if len(ways) == 1 else f"{len(ways)} smaller levels are"
    if None in ways:
        return f"its {levels} computed again as means of blocks: how they were made before could not be found"
    one_pixel = all(way is not None and way.offset is not None for way in ways)
    return f"its {levels} made anew as before, by {'one pixel' if one_pixel else 'the mean'} of each block"


def _pairs(
    before: "zarr.Array[Any]", after: "zarr.Array[Any]", steps: Sequence[int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield parts of a level, each after the part of the level before that it was made of."""
    for place in PLACES:
        own = []
        for axis, length in enumerate(after.shape):
            side = TRIED if axis >= len(after.shape) - 2 else 1
            start = min(int(place * length), max(0, length - side))
            own.append(slice(start, min(start + side, length)))
        yield np.asarray(before[_above(own, steps, before.shape)]), np.asarray(after[tuple(own)])


def _above(part: Sequence[slice], steps: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    """Return the part of a level that a part of the next is made of."""
    each = zip(part, steps, shape, strict=True)
    return tuple(slice(own.start * step, min(own.stop * step, n)) for own, step, n in each)


def _write(
    before: "zarr.Array[Any]",
    there: np.ndarray,
    after: "zarr.Array[Any]",
    steps: Sequence[int] | None,
    reduction: Reduction,
) -> None:
    """Write a level, made of the one before, of which some chunks are there; where none is, none is written.

    If the sides are not smaller by whole numbers, the nearest pixels are taken.
    """
    may_leave_out = np.array_equal(fill_of(before), fill_of(after), equal_nan=before.dtype.kind == "f")
    for part in _blocks(after.shape, grid_of(after)):
        each = zip(part, before.shape, after.shape, strict=True)
        if steps is not None:
            above = _above(part, steps, before.shape)
        else:
            places = [((np.arange(own.start, own.stop) + 0.5) * n / m).astype(int) for own, n, m in each]
            above = tuple(slice(int(place[0]), int(place[-1]) + 1) for place in places)
        if may_leave_out and not any_within(there, grid_of(before), above):
            continue
        values = np.asarray(before[above])
        if steps is not None:
            after[part] = reduction.of(values, steps)
        else:
            after[part] = values[np.ix_(*(place - place[0] for place in places))]
