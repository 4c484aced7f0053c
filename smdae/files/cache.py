"""A folder in which images are kept as they were decoded, for corpora larger than memory.

    index.jsonl        what there is, see `cache_index`; replaced in one step
    pixels-*           the images one after the other, in strips (see `disk_store`), only ever added to
    lock               held by the one process that adds

Images are decoded one by one, each source once, and again when its size or time of change is another. The index is
written after the pixels have reached the disk, now and then on the way and at the end: whenever a process is killed,
the existing index lists pixels that exist, and the next process continues behind them. Two processes that
want the same images wait for each other: the second finds what the first has made. Where nothing is missing, nothing is
locked or written, and a folder that cannot be written will do.

What changed or vanished leaves a hole. When there are more holes than images, the file is begun anew.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from smdae.errors import InputError, OutputError
from smdae.files.cache_folder import (
    INDEX,
    LOCK,
    PIXELS,
    Say,
    fresh,
    is_as_it_was,
    is_up_to_date,
    load,
    locked,
    opened,
    refuse,
    save,
)
from smdae.files.cache_index import Entry, Index, Key, Run
from smdae.files.disk_store import Stored, in_strips, numbers_of
from smdae.files.images import opening
from smdae.files.piece_reader import Pieces
from smdae.files.refusals import refusals

BYTES_BETWEEN_INDICES = 1 << 30  # bytes from one index to the next
# The images of a source with so many channels, on the scale of `Key.white`, and the depth that they had.
Decode = Callable[[Path, int, float | None], Iterator[tuple[np.ndarray, str]]]


class Cache:
    """A cache that is looked up, and filled where it lacks something. Within `with` it is filled; the index is last.

    Args:
        folder: It is made when there is something to keep.
        decode: Reads a source.
        note: Called with what the user may want to know.
        warn: Called with what is wrong with the cache.

    Raises:
        UsageError: This system has no locks.
        OutputError: It is not a folder, holds other files, or cannot be made.
    """

    def __init__(self, folder: Path, decode: Decode, *, note: Say, warn: Say) -> None:
        refuse(folder)
        self._folder, self._decode, self._note = folder, decode, note
        self._index = load(folder, warn) or fresh()
        self._lock = self._file = -1
        self._before: Index | None = None  # what there was
        self._made = self._is_published = False  # whether the folder was made here, and an index written to it
        self._noted = 0  # bytes listed by the last index

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
        """Return the name of the file of pixels, another if the cache was made anew, so that old runs are void."""
        return self._index.pixels

    def runs(self, file: Path, channels: int, white: float | None = None) -> tuple[Run, ...]:
        """Return where the cache holds the images of a source, () if it has none; decode and add them first if missing.

        Raises:
            InputError: It cannot be read.
            OutputError: The cache cannot be written.
            MemoryLimitError: It takes more memory than there is.
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
        mark, runs = self._index.size, list[Run]()
        try:
            for pixels, depth in chain([first], images):
                self._add(runs, pixels, depth, channels)
        except InputError:
            self._index.size = mark
            raise
        self._index.entries[key] = Entry(status.st_size, status.st_mtime_ns, tuple(runs))
        if self._index.size - self._noted >= BYTES_BETWEEN_INDICES:
            self._publish()
        return tuple(runs)

    def stored(self, runs: Iterable[Run], channels: int) -> Stored:
        """Return the images of some runs, all uint8 or all float32; InputError if they cannot be read."""
        table = np.array([(run.offset, run.images, run.height, run.width, run.itemsize) for run in runs], np.int64)
        offsets, counts, heights, widths, sizes = table.T
        length = numbers_of(channels, heights, widths)
        part = slice(int(offsets.min()), int((offsets + counts * length * sizes).max()))
        which = np.arange(len(table)).repeat(counts)
        number = np.arange(len(which)) - (counts.cumsum() - counts)[which]
        path = self._folder / self._index.pixels
        with opening(str(path)):
            pieces = Pieces(path, self._index.size, part)
        return Stored(
            pieces,
            np.dtype(np.uint8 if sizes[0] == 1 else np.float32),
            (offsets // sizes)[which] + number * length[which],
            heights[which],
            widths[which],
            channels,
        )

    def _known(self, key: Key, status: os.stat_result) -> tuple[Run, ...] | None:
        entry = self._index.entries.get(key)
        return entry.runs if entry and is_as_it_was(entry, status) else None

    def _begin(self) -> None:
        """Take the lock, see what others have made meanwhile, and make ready to add to it."""
        self._made = not os.path.exists(self._folder)
        with refusals(self._folder):
            self._folder.mkdir(exist_ok=True)
        try:
            self._lock = locked(self._folder, self._note)
        except OutputError:
            self._undo()
            raise
        index = load(self._folder, lambda _: None)
        if index is not None:
            index.entries = {key: entry for key, entry in index.entries.items() if is_up_to_date(key, entry)}
            if 2 * index.live < index.size:
                index = None
        if index is not None:
            self._before = replace(index, entries=dict(index.entries))
        self._index = index or (fresh() if self._index.entries else self._index)
        self._noted = self._index.size
        path = self._folder / self._index.pixels
        self._file = opened(path, os.O_RDWR | os.O_CREAT)

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
        self._index.size = at

    def _publish(self) -> None:
        """Write the index of all that there is, and remove files that killed processes left."""
        with refusals(self._folder / self._index.pixels):
            os.ftruncate(self._file, self._index.size)
            os.fsync(self._file)
        save(self._folder, self._index)
        self._is_published, self._noted = True, self._index.size
        for path in self._folder.iterdir():  # what others have left when they were killed, or what was begun anew
            if (path.name.startswith(PIXELS) and path.name != self._index.pixels) or path.name.startswith(f".{INDEX}."):
                with suppress(OSError):
                    path.unlink()

    def _undo(self) -> None:
        """Leave the folder as it was."""
        with suppress(OSError, OutputError):
            if self._before is not None:
                os.ftruncate(self._file, self._before.size)
                if self._is_published:
                    save(self._folder, self._before)
                return
            (self._folder / self._index.pixels).unlink(missing_ok=True)
            if self._is_published or not (self._folder / INDEX).exists():
                for name in (INDEX, LOCK):
                    (self._folder / name).unlink(missing_ok=True)
            if self._made:
                self._folder.rmdir()
