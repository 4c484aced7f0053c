"""The index of a cache of decoded images, a file of JSON lines.

    first line   {"format": "smdae-cache", "version": 2, "strips": columns and overlap of the strips that images lie in,
                  "pixels": a file's name, "bytes": its length}
    the others   {"path", "size", "mtime_ns": of a source; "channels", "white": what was made of it;
                  "runs": [[offset in bytes, images, height, width, depth], ...]}

A source is as it was if its size and time of change are. `white` is null for images as they are, and otherwise the
value of white in float images that were put on a scale where it is 1 together with others.

An index may come from anywhere, so names and numbers are checked: the file of pixels lies in the folder, and all images
lie in the file.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from smdae.files.disk_store import OVERLAP, STRIP, numbers_of

KIND = {"format": "smdae-cache", "version": 2, "strips": [STRIP, OVERLAP]}
NAME = re.compile(r"pixels-[0-9a-f]{1,32}")  # of a file of pixels
DEPTHS = ("uint8", "uint16", "float32")
MAX_BYTES = 1 << 60  # of a file, and the most that any other number is
MAX_IMAGES = 1 << 24  # in a cache; what is known of each takes 100 bytes of memory
MAX_WHITE = 1e38


class ForgedError(ValueError):
    """An index with entries that no cache can hold."""


class Key(NamedTuple):
    """The file, the number of channels and the value of white, None for the file's own, that images were read with."""

    path: str
    channels: int
    white: float | None = None


class Run(NamedTuple):
    """Images of one size, one after the other in the file of pixels.

    All but uint8 are kept as float32: those of uint16 with 1 for white, floats as they are or as `Key.white` says.

    Attributes:
        offset: Where the first image begins, in bytes.
        images: The number of images.
        height: Rows of each.
        width: Columns of each.
        depth: The dtype that they had when they were decoded: uint8, uint16 or float32.
    """

    offset: int
    images: int
    height: int
    width: int
    depth: str

    @property
    def itemsize(self) -> int:
        """Return the number of bytes of a pixel value: 1 for uint8, else 4."""
        return 1 if self.depth == "uint8" else 4

    def end(self, channels: int) -> int:
        """Return the offset at which the last image ends, in bytes."""
        return self.offset + self.images * numbers_of(channels, self.height, self.width) * self.itemsize


class Entry(NamedTuple):
    """A source as it was when it was decoded, and where its images are."""

    size: int
    mtime_ns: int
    runs: tuple[Run, ...]


@dataclass
class Index:
    """The contents of a cache.

    Attributes:
        pixels: The name of the file of pixels.
        size: The number of its bytes that are good.
        entries: What is known of each source.
    """

    pixels: str
    size: int = 0
    entries: dict[Key, Entry] = field(default_factory=dict)

    def shorten(self, size: int) -> None:
        """Forget what lies beyond a number of bytes."""
        self.size = min(size, self.size)
        self.entries = {
            key: entry
            for key, entry in self.entries.items()
            if all(run.end(key.channels) <= self.size for run in entry.runs)
        }

    @property
    def live(self) -> int:
        """Return the number of bytes that entries use; images that several entries share count once."""
        runs = {(run.offset, run.end(key.channels)) for key, entry in self.entries.items() for run in entry.runs}
        return sum(end - begin for begin, end in runs)

    def to_lines(self) -> Iterator[bytes]:
        """Yield the lines of the index file, each ending with a newline: first its head, then a line for each entry."""
        yield _line(KIND | {"pixels": self.pixels, "bytes": self.size})
        for key, entry in self.entries.items():
            yield _line(key._asdict() | entry._asdict())

    @classmethod
    def of_lines(cls, lines: Iterable[bytes]) -> "Index":
        """Return the index that the lines of a file hold.

        Raises:
            ForgedError: It has entries that no cache can hold.
            ValueError: It is not an index, is damaged, or is of another version.
        """
        index: Index | None = None
        images = 0
        try:
            for record in map(json.loads, lines):
                if index is None:
                    if any(record[name] != value for name, value in KIND.items()):
                        raise ValueError("it is of another version")
                    index = cls._of_head(record)
                else:
                    key, entry = _entry(record, index.size)
                    index.entries[key] = entry
                    images += sum(run.images for run in entry.runs)
                    _refuse(images > MAX_IMAGES, "too many images")
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError("it is damaged") from error
        if index is None:
            raise ValueError("it is damaged")
        return index

    @classmethod
    def _of_head(cls, record: dict[str, Any]) -> "Index":
        """Return an index without entries from its first line."""
        name, size = record["pixels"], record["bytes"]
        _refuse(not (isinstance(name, str) and NAME.fullmatch(name)), "a file of pixels outside of its folder")
        _refuse(not _is_whole(size, 0), "a file of no length")
        return cls(name, size)


def _entry(record: dict[str, Any], size: int) -> tuple[Key, Entry]:
    """Return the key and the entry of a decoded line, where the file of pixels has `size` bytes."""
    key = Key(record["path"], record["channels"], record["white"])
    entry = Entry(record["size"], record["mtime_ns"], tuple(Run(*run) for run in record["runs"]))
    white_is_number = type(key.white) in (int, float) and 0 < key.white <= MAX_WHITE  # type: ignore[operator]
    is_named = isinstance(key.path, str) and "\0" not in key.path and type(key.channels) is int
    _refuse(not is_named, "a source that has no name")
    _refuse(key.channels not in (1, 3) or not (key.white is None or white_is_number), "images of other kinds")
    is_timed = _is_whole(entry.size, 0) and _is_whole(entry.mtime_ns, -MAX_BYTES * 8)
    _refuse(not is_timed, "a source of no size or time")
    for run in entry.runs:
        numbers = (run.offset, run.images, run.height, run.width)
        _refuse(run.depth not in DEPTHS or not all(map(_is_whole, numbers, (0, 1, 1, 1))), "images of no size")
        is_outside = run.offset % run.itemsize > 0 or run.end(key.channels) > size
        _refuse(is_outside, "images that lie outside of its pixels")
    return key, entry


def _refuse(is_wrong: bool, what: str) -> None:
    if is_wrong:
        raise ForgedError(f"it names {what}")


def _is_whole(value: object, least: int) -> bool:
    return type(value) is int and least <= value <= 8 * MAX_BYTES


def _line(record: dict[str, object]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"
