"""The images of a Zarr: what each is, where it lies, and whether it can be read.

An image is a group with `multiscales`, the first of which counts; the root may be one, or hold several, as those of
bioformats2raw and plates do. What is in a group `labels` are numbers of things, and no picture.

An array that belongs to no such group is an image of one level, with the axes that its dimensions are called, else the
last of TCZYX.
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smdae.errors import InputError
from smdae.files.ome_metadata import (
    ARRAY,
    OLD_AXES,
    axes_of,
    groups,
    has_multiscales,
    kind_of,
    level_of,
    ome_attributes,
)
from smdae.files.picture import SAMPLES
from smdae.files.zarr_chunks import any_within, chunks_there, grid_of, refuse_sparse

if TYPE_CHECKING:
    import zarr

LEAST_AXES, MOST_AXES = 2, 5
ALONE = ("",)  # levels of an array that is an image by itself, which is that folder
MOST_COLOURS = 4  # along a last axis that is not one of columns
MOST_PLANES = 1 << 20
MOST_BLOSC = 9
MOST_NAMED = 3  # arrays, in a message


@dataclass(frozen=True, eq=False)
class Image:
    """An image of a volume.

    Attributes:
        place: Its group, below the volume's folder.
        axes: A capital letter for each; rows and columns are the last.
        levels: The folders of its arrays below the group, the largest first.
        channel_axis: The number of the axis of channels; None if there is none.
        array: The first level.
    """

    place: Path
    axes: str
    levels: tuple[str, ...]
    channel_axis: int | None
    array: "zarr.Array[Any]"
    root: Path

    @property
    def group(self) -> Path:
        """Return the path of the folder of its group, `place` below the folder of the volume."""
        return self.root / self.place

    @property
    def is_ome(self) -> bool:
        """Return whether OME metadata say what it is."""
        return self.levels != ALONE

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the first level, the one of full resolution."""
        return tuple(self.array.shape)

    @property
    def channels(self) -> int:
        """Return how many channels there are."""
        return 1 if self.channel_axis is None else self.shape[self.channel_axis]

    @property
    def count(self) -> int:
        """Return the number of planes (H, W) of all channels together."""
        return math.prod(self.shape[:-2])

    def planes(self, channel: int) -> list[tuple[int, ...]]:
        """Return where each plane of a channel lies along the axes before rows and columns, in the order of the file.

        Channels are counted from 0.
        """
        axes = [range(length) for length in self.shape[:-2]]
        if self.channel_axis is not None:
            axes[self.channel_axis] = range(channel, channel + 1)
        return [*product(*axes)]

    def written(self, planes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Return the planes of `planes` for which a chunk is stored, in their order; all of `planes` if none has one.

        A plane is named by its indices along all axes but rows and columns.
        """
        grid = grid_of(self.array)
        there = np.asarray(self.there.any((-2, -1)))
        some = [plane for plane in planes if there[tuple(k // n for k, n in zip(plane, grid, strict=False))]]
        return some or list(planes)

    def channel(self, plane: Sequence[int]) -> int:
        """Return the channel of a plane, counted from 0."""
        return 0 if self.channel_axis is None else plane[self.channel_axis]

    @cached_property
    def there(self) -> np.ndarray:
        """Return a bool array with the shape of the grid of chunks of the first level: True for chunks that exist."""
        return chunks_there(self.array, self.group / self.levels[0])

    def is_missing(self, start: Sequence[int], stop: Sequence[int]) -> bool:
        """Return whether no chunk is there of a part."""
        return not any_within(self.there, grid_of(self.array), [*map(slice, start, stop)])

    def missing(self, start: Sequence[int], stop: Sequence[int]) -> Iterator[tuple[slice, ...]]:
        """Yield the slices, relative to `start`, of chunks without a file in a part that consists of whole chunks."""
        grid = grid_of(self.array)
        cells = tuple(slice(low // n, -(-high // n)) for low, high, n in zip(start, stop, grid, strict=True))
        for place in np.argwhere(~self.there[cells]).tolist():
            yield tuple(slice(k * n, (k + 1) * n) for k, n in zip(place, grid, strict=True))


def array_of(folder: Path, mode: str = "r") -> "zarr.Array[Any]":
    """Return the open array of a folder."""
    import zarr

    return zarr.open_array(str(folder), mode=mode, config={"write_empty_chunks": False})


def images_of(root: Path) -> tuple[list[Image], list[str]]:
    """Return the images of a volume, and what there is to say of it, a line each.

    Raises:
        InputError: The folder is not a Zarr, holds no image, or its metadata is damaged or not supported.
    """
    found: list[Image] = []
    remarks: list[str] = []
    if kind_of(root) is None:
        raise InputError("it is a folder without Zarr metadata", "name the folder that has .zgroup or zarr.json in it")
    if kind_of(root) == ARRAY:
        return [_plain(root)], remarks
    for group in groups(root):
        described = ome_attributes(group)
        multiscales = described.get("multiscales")
        if multiscales is None:
            continue
        if "image-label" in described:
            raise InputError("it holds labels, numbers that stand for objects, not a picture")
        if not isinstance(multiscales, list) or not multiscales or not isinstance(multiscales[0], dict):
            raise InputError("its multiscales are not a list of objects")
        if len(multiscales) > 1:
            remarks.append("it has several multiscales: only the first is denoised")
        found.append(_image(root, group, multiscales[0]))
    if not found:
        arrays = [str(root / name) for name in sorted(os.listdir(root)) if kind_of(root / name) == ARRAY]
        raise InputError(
            "it is Zarr without OME metadata: no group of it has multiscales",
            f"name an array in it: {', '.join(arrays[:MOST_NAMED])}" if arrays else "smdae reads OME-Zarr",
        )
    return found, remarks


def _plain(root: Path) -> Image:
    """Return the image that an array without OME metadata is, checked."""
    place = Path(os.path.realpath(root))
    owner = next((group for group in place.parents if has_multiscales(group)), None)
    if owner is not None:
        raise InputError("it is a part of an OME-Zarr", f"name the whole: {owner}")
    array = array_of(root)
    count = len(array.shape)
    if not LEAST_AXES <= count <= MOST_AXES:
        raise InputError(f"it is a Zarr array of {count} {'axis' if count == 1 else 'axes'}", "smdae reads 2 to 5")
    if count > LEAST_AXES and array.shape[-1] <= MOST_COLOURS:
        raise InputError(
            f"its last axis has {array.shape[-1]} values, and the columns must be there",
            "write it with the axes C, Y, X, or as .npy",
        )
    letters = "".join(str(name)[:1].upper() for name in _dimensions(array))
    usual = OLD_AXES.upper()
    is_known = len(letters) == len(set(letters)) == count and set(letters) <= set(usual) and letters.endswith("YX")
    axes = letters if is_known else usual[-count:]
    _check(array, root, "")
    return Image(Path(), axes, ALONE, axes.index("C") if "C" in axes else None, array, root)


def _dimensions(array: "zarr.Array[Any]") -> list[Any]:
    """Return what the axes of an array are called: in Zarr 3 by its own metadata, in Zarr 2 by xarray's."""
    names = array.metadata.dimension_names if array.metadata.zarr_format == 3 else array.attrs.get("_ARRAY_DIMENSIONS")
    return [*names] if isinstance(names, list | tuple) else []


def _image(root: Path, group: Path, described: dict[str, Any]) -> Image:
    """Return an image, checked."""
    datasets = described.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        raise InputError("its multiscales name no datasets")
    levels = tuple(level_of(dataset) for dataset in datasets)
    for level in levels:
        if kind_of(group / level) != ARRAY:
            raise InputError(f"its level '{level}' is missing")
    array = array_of(group / levels[0])
    axes, channel = axes_of(described.get("axes", list(OLD_AXES)))
    if not LEAST_AXES <= len(array.shape) <= MOST_AXES:
        raise InputError(
            f"it has {len(array.shape)} axes, and an OME-Zarr has {LEAST_AXES} to {MOST_AXES}",
            "write the others as images of their own",
        )
    size = " x ".join(map(str, array.shape))
    if len(axes) != len(array.shape):
        raise InputError(f"its axes are {axes}, and level '{levels[0]}' is {size}")
    _check(array, group / levels[0], f" of level '{levels[0]}'")
    for level in levels[1:]:  # which are made anew, chunk by chunk
        refuse_sparse(array_of(group / level), group / level, f" of level '{level}'", may_be_empty=True)
    return Image(group.relative_to(root), axes, levels, channel, array, root)


def _check(array: "zarr.Array[Any]", folder: Path, of: str) -> None:
    """Raise InputError for an array that holds no picture; `of` says in messages which it is."""
    if 0 in array.shape:
        raise InputError(f"it has no pixels: the shape{of} is {' x '.join(map(str, array.shape))}")
    if array.dtype.name not in SAMPLES:
        raise InputError(f"its samples are {array.dtype.name}", f"smdae reads {', '.join(SAMPLES)}")
    _refuse_codecs(array, of)
    refuse_sparse(array, folder, of)
    if math.prod(array.shape[:-2]) > MOST_PLANES:
        raise InputError(f"it has {math.prod(array.shape[:-2]):,} planes, and smdae reads {MOST_PLANES:,}")


def _refuse_codecs(array: "zarr.Array[Any]", of: str) -> None:
    """Raise InputError for a level of Blosc that there is not, of which the library itself would print a line."""
    from numcodecs import Blosc

    levels = [codec.clevel for codec in array.compressors if isinstance(codec, Blosc)]
    if not all(isinstance(level, int) and 0 <= level <= MOST_BLOSC for level in levels):
        raise InputError(f"the level of compression{of} is {levels[0]!r:.20}, and Blosc has 0 to {MOST_BLOSC}")
