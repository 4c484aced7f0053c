"""The parts of a volume that are read, denoised and written one by one, in bounded memory.

A part holds whole chunks, so that each is written once, and of every plane in it the same region, which is read with
a margin, `halo`, so wide that nothing beyond it can matter. A region of h x w pixels in d planes, of s bytes a sample,
takes

    (h + 2 halo) (w + 2 halo) (d s + 40)   bytes

with what work on one of its planes takes. Regions are as large as the room for that allows, and one chunk at least.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

ROOM = 512 << 20  # bytes that a part may take
WORK = 40  # bytes a pixel of a plane, while it is denoised


@dataclass(frozen=True)
class Slab:
    """A part of a volume.

    Attributes:
        lead: Its range along each axis before rows and columns.
        kept: Its rows and columns.
        padded: The same with their margin.
        inner: Its rows and columns within the padded ones.
    """

    lead: tuple[slice, ...]
    kept: tuple[slice, slice]
    padded: tuple[slice, slice]
    inner: tuple[slice, slice]

    @property
    def start(self) -> tuple[int, ...]:
        """Return the index at which it begins along every axis."""
        return tuple(axis.start for axis in (*self.lead, *self.kept))

    @property
    def stop(self) -> tuple[int, ...]:
        """Return the index before which it ends along every axis."""
        return tuple(axis.stop for axis in (*self.lead, *self.kept))


def slabs(
    shape: Sequence[int], grid: Sequence[int], itemsize: int, room: int, halo: int | None, multiple: int = 1
) -> list[Slab]:
    """Return the parts of a volume that are read, denoised and written one at a time, in turn.

    Args:
        shape: The shape of the volume, rows and columns last.
        grid: The shape of what is written at once: a chunk, or a shard of several.
        itemsize: The number of bytes of a sample.
        room: The number of bytes that one part may take.
        halo: The margin that a region needs; None where only whole planes will do.
        multiple: Padded regions start at multiples of this number.
    """
    deep = math.prod(min(*pair) for pair in zip(shape[:-2], grid[:-2], strict=True))
    side = _side(shape[-2:], grid[-2:], deep * itemsize + WORK, room, halo)
    leads = product(*(_parts(*pair) for pair in zip(shape[:-2], grid[:-2], strict=True)))
    planes = [*regions(shape[-2:], side, halo or 0, multiple)]
    return [Slab(lead, *plane) for lead in leads for plane in planes]


def regions(
    shape: Sequence[int], side: tuple[int, int], halo: int, multiple: int
) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice], tuple[slice, slice]]]:
    """Yield the regions of a plane: what is kept, the same with its margin, and the first within the second."""
    for rows, columns in product(_parts(shape[0], side[0]), _parts(shape[1], side[1])):
        padded = (_wider(rows, shape[0], halo, multiple), _wider(columns, shape[1], halo, multiple))
        inner = (_shifted(rows, padded[0].start), _shifted(columns, padded[1].start))
        yield (rows, columns), padded, inner


def _side(shape: Sequence[int], grid: Sequence[int], each: int, room: int, halo: int | None) -> tuple[int, int]:
    """Return the height and the width of a region, multiples of the grid's, of `each` bytes a pixel."""
    height, width = shape
    if halo is None or height * width * each <= room:
        return height, width

    def takes(rows: int, columns: int) -> int:
        return (min(rows + 2 * halo, height)) * (min(columns + 2 * halo, width)) * each

    rows, columns = grid
    while True:
        wider, taller = (rows, columns + grid[1]), (rows + grid[0], columns)
        # The shorter side grows first, if it can: a square has the least margin.
        steps = [taller, wider] if rows <= columns else [wider, taller]
        able = [
            step for step in steps if takes(*step) <= room and step[0] < height + grid[0] and step[1] < width + grid[1]
        ]
        if not able:
            return min(rows, height), min(columns, width)
        rows, columns = able[0]


def _parts(length: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def _wider(part: slice, length: int, halo: int, multiple: int) -> slice:
    low = max(0, part.start - halo)
    return slice(low - low % multiple, min(part.stop + halo, length))


def _shifted(part: slice, by: int) -> slice:
    return slice(part.start - by, part.stop - by)
