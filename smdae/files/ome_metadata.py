"""The metadata of an OME-Zarr, in files of JSON: its groups, levels and axes (NGFF 0.1 to 0.5).

All of it may be wrong, and raises InputError then, one line with the reason.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smdae.errors import InputError

ENDING = ".zarr"
OLD_AXES = "tczyx"
GROUP, ARRAY = "group", "array"
# The files that make a folder one of Zarr, and the kind of folder, which zarr.json says itself.
NODES = (("zarr.json", ""), (".zgroup", GROUP), (".zarray", ARRAY))
METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
MOST_JSON = 64 << 20  # bytes
DEEPEST = 4  # groups below the root: a plate has rows, columns and fields


def is_volume(path: Path | str) -> bool:
    """Return whether a path is a folder whose name ends in .zarr, or which is a Zarr group or array."""
    return os.path.isdir(path) and (Path(path).suffix.lower() == ENDING or _holds_zarr(Path(path)))


def may_be_replaced(folder: Path) -> bool:
    """Return whether a folder is a Zarr group or array, or empty; raise OSError if it cannot be read."""
    return _holds_zarr(folder) or not any(os.scandir(folder))


def _holds_zarr(folder: Path) -> bool:
    """Return whether a folder holds a file of Zarr."""
    return any(os.path.isfile(folder / name) for name, _ in NODES)


def groups(folder: Path, depth: int = DEEPEST) -> Iterator[Path]:
    """Yield the groups that may be images: a folder, and if it has no multiscales those in it, down to a few levels.

    Raises:
        InputError: The metadata of one cannot be read.
    """
    if kind_of(folder) != GROUP:
        return
    yield folder
    if depth and "multiscales" not in ome_attributes(folder):
        for entry in sorted(os.scandir(folder), key=lambda entry: (len(entry.name), entry.name)):
            if entry.is_dir() and entry.name != "labels":
                yield from groups(Path(entry.path), depth - 1)


def kind_of(folder: Path) -> str | None:
    """Return "group" or "array" for a folder of Zarr; None if it is neither; InputError if its metadata are damaged."""
    for name, kind in NODES:
        if (folder / name).is_file():
            return kind or str(_json(folder / name).get("node_type"))
    return None


def _attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of a group."""
    if (folder / "zarr.json").is_file():
        attributes = _json(folder / "zarr.json").get("attributes", {})
        if not isinstance(attributes, dict):
            raise InputError(f"the attributes in '{folder / 'zarr.json'}' are not a JSON object")
        return attributes
    return _json(folder / ".zattrs") if (folder / ".zattrs").is_file() else {}


def ome_attributes(group: Path) -> dict[str, Any]:
    """Return the OME-Zarr metadata of a group: its attributes, or in 0.5 those under `ome`; InputError if damaged."""
    attributes = _attributes(group)
    described = attributes.get("ome", attributes)
    if not isinstance(described, dict):
        raise InputError(f"the attribute 'ome' in '{group}' is not a JSON object")
    return described


def has_multiscales(folder: Path) -> bool:
    """Return whether a folder is a group that is an OME-Zarr image; InputError for metadata that is damaged."""
    return kind_of(folder) == GROUP and "multiscales" in ome_attributes(folder)


def _json(path: Path) -> dict[str, Any]:
    """Return the object that a file of metadata holds."""
    if path.stat().st_size > MOST_JSON:
        raise InputError(f"'{path}' has more than {MOST_JSON >> 20} MB, too much for metadata")
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise InputError(f"'{path.name}' in '{path.parent}' is not JSON") from None
    if not isinstance(value, dict):
        raise InputError(f"'{path.name}' in '{path.parent}' holds no JSON object")
    return value


def level_of(dataset: Any) -> str:
    """Return the folder of a level, relative to its group; InputError if `dataset` names no folder below the group."""
    path = dataset.get("path") if isinstance(dataset, dict) else None
    if not isinstance(path, str) or not path or Path(path).is_absolute() or ".." in Path(path).parts:
        raise InputError(f"its multiscales name no level: {dataset!s:.60}")
    return path


def axes_of(described: Any) -> tuple[str, int | None]:
    """Return a letter for each axis, as one text, and the number of the axis of channels; None if there is none.

    Raises:
        InputError: The metadata does not name the axes, or names some that are not supported.
    """
    listed = described if isinstance(described, list) else []
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in listed]
    names = [str(axis.get("name", "")) for axis in axes]
    if not axes or not all(names) or len({name[0].upper() for name in names}) < len(names):
        raise InputError(f"its axes are not a list of different names: {described!s:.60}")
    letters = "".join(name[0].upper() for name in names)
    if not letters.endswith("YX"):
        raise InputError(f"its axes are {letters}, and do not end with Y and X")
    kinds = [axis.get("type") for axis in axes]
    channels = [k for k, kind in enumerate(kinds) if kind == "channel" or (kind is None and letters[k] == "C")]
    return letters, channels[0] if channels else None
