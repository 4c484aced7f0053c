"""The index of a cache of decoded images, a file of JSON lines.

    first line   {"format": "smdae-cache", "version": 1, "strips": columns and overlap of the strips that images lie in,
                  "pixels": a file's name, "bytes": its length, "checks": base64}
    the others   {"path", "size", "mtime_ns": of a source; "channels", "white": what was made of it;
                  "runs": [[offset in bytes, images, height, width, depth], ...]}
    the last     {"digest": BLAKE2b of all lines before}

A source is as it was if its size and time of change are. The checks are CRC-32 of each block of the pixels, the last of
which may be a part of one. `white` is null for images as they are, and otherwise the value of white in float images
that were put on a scale where it is 1 together with others.

A digest detects damage, not forgery: names and numbers are checked as well. The file of pixels lies in the folder, and
all images lie in the file.
"""

import base64
import hashlib
import json
import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from smdae.files.block_reader import BLOCK, checked_on
from smdae.files.disk_store import OVERLAP, STRIP, numbers_of

FORMAT, VERSION, LAYOUT = "smdae-cache", 1, [STRIP, OVERLAP]
NAME = re.compile(r"pixels-[0-9a-f]{1,32}")  # of a file of pixels
DEPTHS = ("uint8", "uint16", "float32")
MAX_BYTES = 1 << 60  # of a file, and the most that any other number is
MAX_IMAGES = 1 << 24  # in a cache; what is known of each takes 100 bytes of memory
MAX_WHITE = 1e38


class ForgedError(ValueError):
    """An undamaged index with entries that no cache can hold."""


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

    def places(self, channels: int) -> range:
        """Return the offset of each image in the file of pixels, in bytes."""
        length = numbers_of(channels, self.height, self.width) * self.itemsize
        return range(self.offset, self.offset + self.images * length, length)

    def end(self, channels: int) -> int:
        """Return the offset at which the last image ends, in bytes."""
        return self.places(channels).stop


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
        checks: The CRC-32 of each block of them.
        entries: What is known of each source.
    """

    pixels: str
    size: int = 0
    checks: "array[int]" = field(default_factory=lambda: array("I"))
    entries: dict[Key, Entry] = field(default_factory=dict)

    def grow(self, data: bytes | memoryview) -> None:
        """Take note of bytes that were written after the others."""
        self.size = checked_on(self.checks, self.size, data)

    @property
    def mark(self) -> tuple[int, int]:
        """Return the size and the check of the unfinished last block, from which `back` restores this state."""
        return self.size, self.checks[-1] if self.size % BLOCK else 0

    def back(self, mark: tuple[int, int]) -> None:
        """Forget the bytes that came after a mark."""
        self.size = mark[0]
        del self.checks[-(-self.size // BLOCK) :]
        if self.size % BLOCK:
            self.checks[-1] = mark[1]

    def shorten(self, size: int) -> None:
        """Forget what lies beyond a number of bytes, and a block that is cut there."""
        if size < self.size:
            self.back((size // BLOCK * BLOCK, 0))
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

    def holding(self, block: int) -> Iterator[tuple[Key, Entry]]:
        """Yield the entries with bytes in a block."""
        for key, entry in self.entries.items():
            begin, end = block * BLOCK, (block + 1) * BLOCK
            if any(run.offset < end and begin < run.end(key.channels) for run in entry.runs):
                yield key, entry

    def to_lines(self) -> Iterator[bytes]:
        """Yield the lines of the index file, as bytes; the last is a digest of the others."""
        digest = hashlib.blake2b(digest_size=16)
        for line in self._lines():
            digest.update(line)
            yield line
        yield _line({"digest": digest.hexdigest()})

    def _lines(self) -> Iterator[bytes]:
        checks = base64.b64encode(np.array(self.checks, "<u4").tobytes()).decode()
        kind = {"format": FORMAT, "version": VERSION, "strips": LAYOUT}
        head = kind | {"pixels": self.pixels, "bytes": self.size, "checks": checks}
        yield _line(head)
        for key, entry in self.entries.items():
            yield _line(key._asdict() | entry._asdict())

    @classmethod
    def of_lines(cls, lines: Iterable[bytes]) -> "Index":
        """Return the index that the lines of a file hold.

        Raises:
            ForgedError: It is undamaged, and has entries that no cache can hold.
            ValueError: It is not an index, is damaged, or is of another version.
        """
        digest = hashlib.blake2b(digest_size=16)
        index: Index | None = None
        stored_digest, wrong = "", ""
        images = 0
        try:
            for line in lines:
                record = json.loads(line)
                if stored_digest:
                    raise ValueError("there is more after its end")
                if "digest" in record:
                    stored_digest = record["digest"]
                    continue
                digest.update(line)
                if wrong:
                    continue  # the digest will show whether it is damage or forgery
                if index is None:
                    if (record["format"], record["version"], record["strips"]) != (FORMAT, VERSION, LAYOUT):
                        raise ValueError("it is of another version")
                    index, wrong = cls._of_head(record)
                else:
                    key, entry, wrong = _entry(record, index.size)
                    index.entries[key] = entry
                    images += sum(run.images for run in entry.runs) if not wrong else 0
                    wrong = wrong or ("too many images" if images > MAX_IMAGES else "")
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError("it is damaged") from error
        if index is None or stored_digest != digest.hexdigest():
            raise ValueError("it is damaged")
        if wrong:
            raise ForgedError(f"it names {wrong}")
        return index

    @classmethod
    def _of_head(cls, record: dict[str, Any]) -> tuple["Index", str]:
        """Return an index without entries from its first line, and what is wrong with that, if anything is."""
        checks = np.frombuffer(base64.b64decode(record["checks"]), "<u4")
        index = cls(record["pixels"], record["bytes"], array("I", checks.tolist()))
        if not (isinstance(index.pixels, str) and NAME.fullmatch(index.pixels)):
            return index, "a file of pixels outside of its folder"
        if not _is_whole(index.size, 0) or len(index.checks) != -(-index.size // BLOCK):
            return index, "more or fewer checks than there are blocks"
        return index, ""


def _entry(record: dict[str, Any], size: int) -> tuple[Key, Entry, str]:
    """Return key and entry of a decoded line, and in words what is wrong with them in a file of `size` bytes, or ""."""
    key = Key(record["path"], record["channels"], record["white"])
    entry = Entry(record["size"], record["mtime_ns"], tuple(Run(*run) for run in record["runs"]))
    white_is_number = type(key.white) in (int, float) and 0 < key.white <= MAX_WHITE  # type: ignore[operator]
    if not isinstance(key.path, str) or "\0" in key.path or type(key.channels) is not int:
        return key, entry, "a source that has no name"
    if key.channels not in (1, 3) or not (key.white is None or white_is_number):
        return key, entry, "images of other kinds"
    if not _is_whole(entry.size, 0) or not _is_whole(entry.mtime_ns, -MAX_BYTES * 8):
        return key, entry, "a source of no size or time"
    for run in entry.runs:
        numbers = (run.offset, run.images, run.height, run.width)
        if run.depth not in DEPTHS or not all(map(_is_whole, numbers, (0, 1, 1, 1))):
            return key, entry, "images of no size"
        if run.offset % run.itemsize or run.end(key.channels) > size:
            return key, entry, "images that lie outside of its pixels"
    return key, entry, ""


def _is_whole(value: object, least: int) -> bool:
    return type(value) is int and least <= value <= 8 * MAX_BYTES


def _line(record: dict[str, object]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"
