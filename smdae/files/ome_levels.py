"""The smaller levels of an OME-Zarr image, made anew of a first level that has changed, chunk by chunk.

A chunk of a level and the part of the level before that it is made of are in memory at a time.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smdae.files import ome_zarr
from smdae.files.pyramid import MEAN, Reduction, blocks, factors, reduction_of
from smdae.files.zarr_chunks import any_within, chunks_there, fill_of, grid_of
from smdae.files.zarr_images import Image, array_of

if TYPE_CHECKING:
    import zarr

__all__ = ["rebuilt"]

TRIED = 128  # pixels a side of the parts on which it is found how a level was made
PLACES = (0.5, 0.3, 0.7)  # where they are along the axes before rows and columns


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

    The nearest pixels are taken where it is not smaller by whole numbers.
    """
    may_leave_out = np.array_equal(fill_of(before), fill_of(after), equal_nan=before.dtype.kind == "f")
    for part in blocks(after.shape, grid_of(after)):
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
