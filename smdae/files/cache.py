"""A folder in which images are kept as they were decoded, for corpora larger than memory.

    index.jsonl        what there is, see `cache_index`; replaced in one step
    pixels-*           the images one after the other, in strips (see `stored`), only ever added to
    lock               held by the one process that adds

Images are decoded one by one, each source once, and again when its size or time of change is another. The index is
written after the pixels have reached the disk, now and then on the way and at the end: whenever a process is killed,
the index that is there tells of pixels that are there, and the next process goes on behind them. Two processes that
want the same images wait for each other: the second finds what the first has made. Where nothing is missing, nothing is
locked or written, and a folder that cannot be written will do.

What changed or vanished leaves a hole. When there are more holes than images, the file is begun anew.
"""

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

try:
    import fcntl
except ImportError:  # there is none on Windows
    fcntl = None  # type: ignore[assignment]

from smdae.errors import InputError, OutputError, UsageError
from smdae.files.cache_index import Entry, Index, Key, Run
from smdae.files.images import opening
from smdae.files.writing import refusals, refuse_making, whole
from smdae.fitting.blocks import Blocks
from smdae.fitting.stored import Stored, in_strips, numbers_of

__all__ = ["Cache"]

INDEX, LOCK, PIXELS = "index.jsonl", "lock", "pixels-"
APART = 1 << 30  # bytes from one index to the next

# The images of a source with so many channels, on the scale of `Key.white`, and the depth that they had.
Decode = Callable[[Path, int, float | None], Iterator[tuple[np.ndarray, str]]]
Say = Callable[[str], None]


class Cache:
    """A cache that is looked up, and filled where it lacks something. Within `with` it is filled; the index is last.

    Args:
        folder: It is made when there is something to keep.
        decode: Reads a source.
        note: Told what the user may want to know.
        warn: Told what is wrong with the cache.

    Raises:
        UsageError: This system has no locks.
        OutputError: The folder is none, holds other files, or could not be made.
    """

    def __init__(self, folder: Path, decode: Decode, *, note: Say, warn: Say) -> None:
        _refuse(folder)
        self._folder, self._decode, self._note, self._warn = folder, decode, note, warn
        self._index = _load(folder, warn) or _fresh()
        self._lock = self._file = -1
        self._before: Index | None = None  # what there was
        self._made = self._told = False  # whether the folder was made here, and an index written
        self._noted = 0  # bytes that the last index told of

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._lock < 0:
            return
        try:
            if isinstance(error, OutputError):
                self._undo()
            else:
                self._publish()
        except OutputError:
            self._undo()
            raise
        finally:
            for file in (self._file, self._lock):
                if file >= 0:
                    os.close(file)
            self._lock = self._file = -1

    @property
    def generation(self) -> str:
        """When this becomes another, which it may while something is added, all runs from before are of no use."""
        return self._index.pixels

    def runs(self, file: Path, channels: int, white: float | None = None) -> tuple[Run, ...]:
        """Where the images of a source are; they are decoded unless they are there.

        Raises:
            InputError: It cannot be read.
            OutputError: The cache cannot be written.
        """
        key = Key(os.path.abspath(file), channels, white)
        with opening(str(file)):
            status = os.stat(file)
        if (found := self._known(key, status)) is not None:
            return found
        images = self._decode(file, channels, white)
        first = next(images, None)  # what cannot be read is found out before anybody waits or anything is written
        if first is None:
            return ()
        if self._lock < 0:
            self._begin()
            if (found := self._known(key, status)) is not None:
                return found
        mark, runs = self._index.mark, list[Run]()
        try:
            for pixels, depth in chain([first], images):
                self._add(runs, pixels, depth, channels)
        except InputError:
            self._index.back(mark)
            raise
        self._index.entries[key] = Entry(status.st_size, status.st_mtime_ns, tuple(runs))
        if self._index.size - self._noted >= APART:
            self._publish()
        return tuple(runs)

    def stored(self, runs: Iterable[Run], channels: int) -> Stored:
        """The images of some runs, all uint8 or all float32.

        Raises:
            InputError: They cannot be read.
        """
        table = np.array([(run.offset, run.images, run.height, run.width, run.itemsize) for run in runs], np.int64)
        offsets, counts, heights, widths, sizes = table.T
        length = numbers_of(channels, heights, widths)
        part = slice(int(offsets.min()), int((offsets + counts * length * sizes).max()))
        which = np.arange(len(table)).repeat(counts)
        number = np.arange(len(which)) - (counts.cumsum() - counts)[which]
        path = self._folder / self._index.pixels
        repair = partial(_repair, path, self._decode, self._warn)
        with opening(str(path)):
            blocks = Blocks(path, self._index.size, self._index.checks, part, repair)
        return Stored(
            blocks,
            np.dtype(np.uint8 if sizes[0] == 1 else np.float32),
            (offsets // sizes)[which] + number * length[which],
            heights[which],
            widths[which],
            channels,
        )

    def _known(self, key: Key, status: os.stat_result) -> tuple[Run, ...] | None:
        entry = self._index.entries.get(key)
        return entry.runs if entry and _is_as_it_was(entry, status) else None

    def _begin(self) -> None:
        """Take the lock, see what others have made meanwhile, and make ready to add to it."""
        self._made = not self._folder.exists()
        with refusals(self._folder):
            self._folder.mkdir(exist_ok=True)
        try:
            self._lock = self._locked()
        except OutputError:
            self._undo()
            raise
        index = _load(self._folder, lambda _: None)
        if index is not None:
            index.entries = {key: entry for key, entry in index.entries.items() if _is_up_to_date(key, entry)}
            if 2 * index.live < index.size:
                index = None
        if index is not None:
            self._before = replace(index, checks=index.checks[:], entries=dict(index.entries))
        self._index = index or (_fresh() if self._index.entries else self._index)
        self._noted = self._index.size
        path = self._folder / self._index.pixels
        with refusals(path):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)

    def _locked(self) -> int:
        """The lock, open."""
        path = self._folder / LOCK
        told = False
        while True:
            with refusals(path):
                lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if not told:
                        self._note(f"another process is filling the cache '{self._folder}': waiting for it")
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

    def _add(self, runs: list[Run], pixels: np.ndarray, depth: str, channels: int) -> None:
        """Put an image behind the others and take note of it in the runs."""
        if pixels.itemsize > 1:
            self._put(bytes(-self._index.size % pixels.itemsize))
        height, width = pixels.shape[:2]
        run = Run(self._index.size, 1, height, width, depth)
        for strip in in_strips(pixels):
            self._put(strip.tobytes())
        last = runs[-1] if runs else None
        if last and last[2:] == run[2:] and last.end(channels) == run.offset:
            runs[-1] = last._replace(images=last.images + 1)
        else:
            runs.append(run)

    def _put(self, data: bytes) -> None:
        rest, at = memoryview(data), self._index.size
        with refusals(self._folder / self._index.pixels):
            while rest:
                done = os.pwrite(self._file, rest, at)
                rest, at = rest[done:], at + done
        self._index.grow(data)

    def _publish(self) -> None:
        """Tell the disk of all that there is."""
        with refusals(self._folder / self._index.pixels):
            os.ftruncate(self._file, self._index.size)
            os.fsync(self._file)
        self._write(self._index)
        self._told, self._noted = True, self._index.size
        for path in self._folder.iterdir():  # what others have left when they were killed, or what was begun anew
            if (path.name.startswith(PIXELS) and path.name != self._index.pixels) or path.suffix == ".part":
                with suppress(OSError):
                    path.unlink()

    def _write(self, index: Index) -> None:
        with whole(self._folder / INDEX, overwrite=True) as put:
            lines = bytearray()
            for line in index.to_lines():
                lines += line
                if len(lines) > 1 << 20:
                    put(lines)
                    lines.clear()
            put(lines)

    def _undo(self) -> None:
        """Leave the folder as it was."""
        with suppress(OSError, OutputError):
            if self._before is not None:
                os.ftruncate(self._file, self._before.size)
                if self._told:
                    self._write(self._before)
                return
            (self._folder / self._index.pixels).unlink(missing_ok=True)
            if self._told or not (self._folder / INDEX).exists():
                for name in (INDEX, LOCK):
                    (self._folder / name).unlink(missing_ok=True)
            if self._made:
                self._folder.rmdir()


def _fresh() -> Index:
    return Index(f"{PIXELS}{secrets.token_hex(4)}")


def _refuse(folder: Path) -> None:
    """The planning check."""
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


def _load(folder: Path, warn: Say) -> Index | None:
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


def _is_as_it_was(entry: Entry, status: os.stat_result) -> bool:
    return (entry.size, entry.mtime_ns) == (status.st_size, status.st_mtime_ns)


def _is_up_to_date(key: Key, entry: Entry) -> bool:
    try:
        return _is_as_it_was(entry, os.stat(key.path))
    except (OSError, ValueError):
        return False


def _repair(path: Path, decode: Decode, warn: Say, block: int) -> None:
    """Decode anew what lies in a block of pixels that is not what it was, and write it where it lay."""
    index = _load(path.parent, lambda _: None)
    if index is None or index.pixels != path.name:
        raise InputError(f"the cache '{path.parent}' is damaged, or was made anew meanwhile", "run the command again")
    for key, entry in index.holding(block):
        if not _is_up_to_date(key, entry):
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
