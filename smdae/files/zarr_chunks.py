"""The chunks of a Zarr array that are there, by the names of its files.

What was never written is left out: a chunk without a file holds the array's fill value, however many there are. To ask
zarr for each takes milliseconds, so that a volume of nothing takes hours.
"""

import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smdae.errors import InputError
from smdae.files.ome_metadata import METADATA

if TYPE_CHECKING:
    import zarr

FREE_CHUNKS = 1 << 16  # that may be missing: what is empty is left out
SPARSEST = 64  # chunks of more, of which one must be there: a few numbers could promise any number of them
KEY = re.compile(r"(?:c[./])?\d+(?:[./]\d+)*")
NUMBER = re.compile(r"\d+")


def grid_of(array: "zarr.Array[Any]") -> tuple[int, ...]:
    """Return the shape of what is written at once: a shard where there are such, else a chunk."""
    return tuple(array.shards or array.chunks)


def fill_of(array: "zarr.Array[Any]") -> np.ndarray:
    """Return the value of all pixels in chunks that are not there, with shape (): zero where the metadata name none."""
    return np.asarray(0 if array.fill_value is None else array.fill_value, array.dtype)


def chunks_there(array: "zarr.Array[Any]", folder: Path) -> np.ndarray:
    """Return which chunks have a file in the folder of an array: True or False for each, by its place in the grid."""
    there = np.zeros(_counts(array), bool)
    for name in _names(folder, array.ndim):
        place = tuple(map(int, NUMBER.findall(name))) if KEY.fullmatch(name) else ()
        if len(place) == there.ndim and all(k < n for k, n in zip(place, there.shape, strict=True)):
            there[place] = True
    return there


def any_within(there: np.ndarray, grid: Sequence[int], part: Sequence[slice]) -> bool:
    """Return whether a chunk that is there, as by `chunks_there`, overlaps a part, a range along each axis."""
    cells = (slice(own.start // n, -(-own.stop // n)) for own, n in zip(part, grid, strict=True))
    return bool(there[tuple(cells)].any())


def refuse_sparse(array: "zarr.Array[Any]", folder: Path, of: str, may_be_empty: bool = False) -> None:
    """Raise InputError for an array with next to none of very many chunks, or with none.

    Args:
        array: The array.
        folder: Its folder.
        of: Which it is, in messages.
        may_be_empty: Whether an array of few chunks may have none.
    """
    promised = math.prod(_counts(array))
    least = max(0 if may_be_empty else 1, (promised - FREE_CHUNKS) // SPARSEST)
    found = sum(1 for _ in zip(range(least), _names(folder, array.ndim), strict=False))
    if found < least:
        there = (
            f"only {found:,} of the {promised:,} chunks{of} are there" if found else f"none of the chunks{of} is there"
        )
        raise InputError(there)


def _counts(array: "zarr.Array[Any]") -> tuple[int, ...]:
    """Return the number of chunks along each axis."""
    return tuple(-(-length // n) for length, n in zip(array.shape, grid_of(array), strict=True))


def _names(folder: Path | str, depth: int) -> Iterator[str]:
    """Yield the names of files that may be chunks, with the folders they are in; a broken link is no file."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in METADATA:
                continue
            if entry.is_file():
                yield entry.name
            elif depth and entry.is_dir():
                yield from (f"{entry.name}/{name}" for name in _names(entry.path, depth - 1))
