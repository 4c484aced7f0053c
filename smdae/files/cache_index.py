"""What a cache of decoded images holds, as a file of JSON lines.

    first line   {"format": "smdae-cache", "version": 1, "strips": columns and overlap of the strips that images lie in,
                  "pixels": a file's name, "bytes": its length, "checks": base64}
    the others   {"path", "size", "mtime_ns": of a source; "channels", "white": what was made of it;
                  "runs": [[offset in bytes, images, height, width, depth], ...]}
    the last     {"digest": BLAKE2b of all lines before}

A source is as it was if its size and time of change are. The checks are CRC-32 of each block of the pixels, the last of
which may be a part of one. `white` is null for images as they are, and otherwise the value of white in float images
that were put on a scale where it is 1 together with others.
"""

import base64
import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from smdae.fitting.blocks import BLOCK, checked_on
from smdae.fitting.stored import OVERLAP, STRIP, numbers_of

__all__ = ["Entry", "Index", "Key", "Run"]

FORMAT, VERSION, LAYOUT = "smdae-cache", 1, [STRIP, OVERLAP]


class Key(NamedTuple):
    """A source, and what is made of it."""

    path: str
    channels: int
    white: float | None = None


class Run(NamedTuple):
    """Images of one size, one after the other. All but uint8 are kept as float32, those of uint16 with 1 for white."""

    offset: int
    images: int
    height: int
    width: int
    depth: str

    @property
    def itemsize(self) -> int:
        """Bytes of a number."""
        return 1 if self.depth == "uint8" else 4

    def places(self, channels: int) -> range:
        """Where each image begins, in bytes."""
        length = numbers_of(channels, self.height, self.width) * self.itemsize
        return range(self.offset, self.offset + self.images * length, length)

    def end(self, channels: int) -> int:
        """Where the last ends."""
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
        pixels: Name of the file of pixels.
        size: How many bytes of it are good.
        checks: CRC-32 of each block of them.
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
        """Where it stands, to go back to."""
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
        """Bytes that entries lie in."""
        runs = {(run.offset, run.end(key.channels)) for key, entry in self.entries.items() for run in entry.runs}
        return sum(end - begin for begin, end in runs)

    def holding(self, block: int) -> Iterator[tuple[Key, Entry]]:
        """The entries with bytes in a block."""
        for key, entry in self.entries.items():
            begin, end = block * BLOCK, (block + 1) * BLOCK
            if any(run.offset < end and begin < run.end(key.channels) for run in entry.runs):
                yield key, entry

    def to_lines(self) -> Iterator[bytes]:
        """The lines of the file."""
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
        """The index that a file holds.

        Raises:
            ValueError: It is none, is not whole, or is of another version.
        """
        digest = hashlib.blake2b(digest_size=16)
        index, told = None, ""
        try:
            for line in lines:
                record = json.loads(line)
                if told:
                    raise ValueError("there is more after its end")
                if "digest" in record:
                    told = record["digest"]
                    continue
                digest.update(line)
                if index is None:
                    if (record["format"], record["version"], record["strips"]) != (FORMAT, VERSION, LAYOUT):
                        raise ValueError("it is of another version")
                    checks = np.frombuffer(base64.b64decode(record["checks"]), "<u4")
                    index = cls(record["pixels"], record["bytes"], array("I", checks.tolist()))
                else:
                    runs = tuple(Run(*run) for run in record["runs"])
                    key = Key(record["path"], record["channels"], record["white"])
                    index.entries[key] = Entry(record["size"], record["mtime_ns"], runs)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError("it is damaged") from error
        if index is None or told != digest.hexdigest() or len(index.checks) != -(-index.size // BLOCK):
            raise ValueError("it is damaged")
        return index


def _line(record: dict[str, object]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"
