"""The folder of a cache: what lies in it, whether it may be used, who may add to it, and damage that is made good."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

try:
    import fcntl
except ImportError:  # there is none on Windows
    fcntl = None  # type: ignore[assignment]

from smdae.errors import InputError, OutputError, UsageError
from smdae.files.cache_index import Entry, Index, Key
from smdae.files.writing import refusals, refuse_making, whole
from smdae.fitting.stored import in_strips

__all__ = [
    "INDEX",
    "LOCK",
    "PIXELS",
    "Decode",
    "Say",
    "fresh",
    "is_as_it_was",
    "is_up_to_date",
    "load",
    "locked",
    "refuse",
    "repair",
    "save",
]

INDEX, LOCK, PIXELS = "index.jsonl", "lock", "pixels-"

# The images of a source with so many channels, on the scale of `Key.white`, and the depth that they had.
Decode = Callable[[Path, int, float | None], Iterator[tuple[np.ndarray, str]]]
Say = Callable[[str], None]


def fresh() -> Index:
    """An index of nothing."""
    return Index(f"{PIXELS}{secrets.token_hex(4)}")


def refuse(folder: Path) -> None:
    """The planning check.

    Raises:
        UsageError: This system has no locks.
        OutputError: The folder is none, holds other files, or could not be made.
    """
    if fcntl is None:
        raise UsageError("--cache needs locks of files, which this system has not")
    if not os.path.lexists(folder):
        refuse_making(folder, folder)
    elif not folder.is_dir():
        raise OutputError(f"cannot use '{folder}' as a cache: it is not a folder")
    else:
        with refusals(folder):
            names = os.listdir(folder)
        if any(name not in (INDEX, LOCK) and not name.startswith((PIXELS, f".{INDEX}")) for name in names):
            raise OutputError(
                f"cannot use '{folder}' as a cache: it holds other files", "name an empty folder, or a new one"
            )


def locked(folder: Path, note: Say) -> int:
    """The lock of a folder, open; whoever has to wait for it is told."""
    path = folder / LOCK
    told = False
    while True:
        with refusals(path):
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:
                    note(f"another process is filling the cache '{folder}': waiting for it")
                    told = True
                fcntl.flock(lock, fcntl.LOCK_EX)
            # Whoever held it may have taken it away when nothing came of his cache.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), os.stat(path)):
                    return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)


def load(folder: Path, warn: Say) -> Index | None:
    """What the folder holds; None if that is nothing, or damaged."""
    try:
        with (folder / INDEX).open("rb") as lines:
            index = Index.of_lines(lines)
        size = (folder / index.pixels).stat().st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"cannot read '{folder / INDEX}': {(error.strerror or 'unreadable').lower()}") from error
    except ValueError as error:
        warn(f"the cache '{folder}' is made anew: its index cannot be used, {error}")
        return None
    if size < index.size:
        warn(f"the cache '{folder}' was cut off: what is missing is decoded anew")
        index.shorten(size)
    return index


def is_as_it_was(entry: Entry, status: os.stat_result) -> bool:
    return (entry.size, entry.mtime_ns) == (status.st_size, status.st_mtime_ns)


def is_up_to_date(key: Key, entry: Entry) -> bool:
    try:
        return is_as_it_was(entry, os.stat(key.path))
    except (OSError, ValueError):
        return False


def repair(path: Path, decode: Decode, warn: Say, block: int) -> None:
    """Decode anew what lies in a block of pixels that is not what it was, and write it where it lay."""
    index = load(path.parent, lambda _: None)
    if index is None or index.pixels != path.name:
        raise InputError(f"the cache '{path.parent}' is damaged, or was made anew meanwhile", "run the command again")
    for key, entry in index.holding(block):
        if not is_up_to_date(key, entry):
            continue
        warn(f"the cache '{path.parent}' was damaged: '{key.path}' is decoded anew")
        with refusals(path):
            file = os.open(path, os.O_WRONLY)
        try:
            places = [place for run in entry.runs for place in run.places(key.channels)]
            for (pixels, _), at in zip(decode(Path(key.path), key.channels, key.white), places, strict=True):
                for strip in in_strips(pixels):
                    with refusals(path):
                        at += os.pwrite(file, strip.tobytes(), at)
        finally:
            os.close(file)


def save(folder: Path, index: Index) -> None:
    """Write the index, whole or not at all."""
    with whole(folder / INDEX, overwrite=True) as put:
        lines = bytearray()
        for line in index.to_lines():
            lines += line
            if len(lines) > 1 << 20:
                put(lines)
                lines.clear()
        put(lines)
