"""TIFF stacks: pages and channels in one file, read and written a page at a time, in the memory of one.

A stack is what `tiff_pages` finds of a file, and of each page the parts that `tiff_parts` tells. Each channel of a
series is a group, whose pictures share one noise; the result is written as `tiff_writing` does, like its source.

Facts this relies on:
- All directories are checked before the first page is decoded: it is cheap, and no one wants to hear of page 90 after
  an hour.
- tifffile's writer goes back in what it has written. What goes into a pipe is written to a temporary file first.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

import numpy as np

from smdae.errors import InputError, UsageError
from smdae.files import images, tiff_pages, tiff_writing, writing
from smdae.files.dressing import Origin
from smdae.files.marks import mark_tiff
from smdae.files.picture import Picture
from smdae.files.tiff_axes import ALL, Axes, Selection
from smdae.files.tiff_codec import NONE, is_lossless
from smdae.files.tiff_pages import Place
from smdae.files.tiff_parts import Part, is_looked_up, joined, looked_up, parted, parts_of
from smdae.files.tiff_tags import EXIF, GPS, LSM, STK, tags_of
from smdae.files.tiff_writing import MAX_BYTES, Run, Style

if TYPE_CHECKING:
    import tifffile

__all__ = ["Group", "Key", "Selection", "Stack", "count", "encoded", "opened", "rewritten", "style_for", "write"]

PIECE = 1 << 20  # bytes, that are copied at once
KEPT = 1 << 25  # bytes, that what the directories say may take
OF_A_PAGE = 1 << 13  # bytes that a directory takes, beside the values of its tags
LEVELS = 32  # pages that may be one picture in smaller and smaller sizes, each at most half of the one before
GROWTH = 1.3  # of what is compressed, where noise is not gone from all of it


class Key(NamedTuple):
    """A channel of a series, both counted from 0: the planes of one share one noise."""

    series: int
    channel: int


@dataclass(frozen=True, eq=False)
class Group:
    """The pictures of one channel of a series, decoded as they are asked for.

    Those are meant that are to be denoised.

    Attributes:
        key: Which it is.
    """

    key: Key
    _stack: "Stack"
    _numbers: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self._numbers)

    def page(self, number: int) -> Picture:
        """Decode one picture, counted from 0."""
        page, part = self._numbers[number]
        return self._stack.pictures(page)[part]


@dataclass(frozen=True, eq=False)
class Stack:
    """The pages of an open TIFF. `len` is their number.

    Attributes:
        axes: Those of each series, as they are shown.
        remarks: What there is to say of the file, a line each.
        groups: The channels of each series.
        runs: How its pages are written.
    """

    axes: list[Axes]
    remarks: list[str]
    _name: str
    _stream: BinaryIO
    _file: "tifffile.TiffFile"
    _places: list[Place]
    _selection: Selection
    groups: dict[Key, Group] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    _kinds: list[list[Part]] = field(default_factory=list)
    _kind_of: list[int] = field(default_factory=list)
    _nbytes: list[int] = field(default_factory=list)
    _kept: "_Kept" = field(default_factory=lambda: _Kept(KEPT))

    def __len__(self) -> int:
        return len(self._places)

    def parts(self, number: int) -> list[Part]:
        """Return the parts of a page, counted from 0."""
        return self._kinds[self._kind_of[number]]

    def keys(self, number: int) -> list[Key]:
        """Return the group of each part of a page."""
        parts = self.parts(number)
        place = self._places[number]
        count = 1 + max(part.channel for part in parts)
        return [Key(place.series, place.channel * count + part.channel) for part in parts]

    def is_selected(self, number: int) -> list[bool]:
        """Return which parts of a page are to be denoised."""
        chosen = self._selection
        on_page = chosen.pages is None or number + 1 in chosen.pages
        return [
            on_page and not part.is_kept and (chosen.channels is None or key.channel + 1 in chosen.channels)
            for key, part in zip(self.keys(number), self.parts(number), strict=True)
        ]

    def pictures(self, number: int) -> list[Picture]:
        """Decode the parts of one page, counted from 0; InputError, which names it, if it cannot be."""
        with images.decoding(_page_of(self._name, number)):
            page = self._page(number)
            samples = self._samples(page)
            return [parted(samples, part, page) for part in self.parts(number)]

    def chosen(self, number: int) -> list[tuple[Key, Picture]]:
        """Decode one page, and return those of its parts that are to be denoised, each with its group."""
        selected = self.is_selected(number)
        if not any(selected):
            return []
        parts = zip(self.keys(number), self.pictures(number), selected, strict=True)
        return [(key, picture) for key, picture, is_chosen in parts if is_chosen]

    def joined(self, number: int, pictures: Sequence[Picture]) -> np.ndarray:
        """Return the samples of a page whose parts are other pictures."""
        with images.decoding(_page_of(self._name, number)):
            return joined(self.parts(number), pictures, self._page(number))

    def page(self, number: int) -> "tifffile.TiffPage":
        """Return what tifffile tells of a page."""
        with images.decoding(_page_of(self._name, number)):
            return self._page(number)

    def close(self) -> None:
        """Close the file before its time: what is open is not replaced on Windows."""
        self._stream.close()

    def is_big(self, growth: int) -> bool:
        """Return whether a result whose samples are so many times as large is to be a BigTIFF."""
        if any(run.is_single for run in self.runs) and not self._file.is_bigtiff:
            return False
        return self._file.is_bigtiff or growth * self._nbytes[0] > MAX_BYTES

    def write_to(self, target: BinaryIO, pages: Iterable[Sequence[Picture]], style: Style) -> None:
        """Write a TIFF like this one.

        Args:
            target: Where to; it must be possible to go back in it.
            pages: The pictures of the parts of each page in turn.
            style: How it differs.
        """

        def samples() -> Iterator[np.ndarray]:
            for number, pictures in enumerate(pages):
                for picture in pictures:
                    images.refuse_infinite(picture)
                yield self.joined(number, pictures)
                # The next page is made while this frame waits: nothing of the last one should be held by then.
                del pictures, picture

        tiff_writing.written(target, self._stream, self.runs, self.page, samples(), style)
        if (words := style.words()) is not None:
            mark_tiff(target, words)

    def _page(self, number: int) -> "tifffile.TiffPage":
        return self._kept.page(number, lambda: tiff_pages.checked(self._file, self._places[number]))

    def _samples(self, page: "tifffile.TiffPage") -> np.ndarray:
        samples = tiff_pages.samples_in(page)
        return looked_up(samples, page) if is_looked_up(page) else samples


def count(source: Path | bytes) -> int:
    """Return the number of pictures in a TIFF, of which nothing is decoded; 1 for whatever is no stack.

    That includes what cannot be read at all: `images.read` says why. A pipe is not looked into. Of many it is enough
    to know that there are: a page of one bit, which is none, counts as two, and with more directories than one
    picture can have, those count that are not told to be thumbnails.
    """
    if isinstance(source, Path) and not os.path.isfile(source):
        return 1
    try:
        with _stream_of(source) as stream:
            if images.format_of(stream.read(images.HEAD), "") != "TIFF":
                return 1
            stream.seek(0)
            with tiff_pages.opened(stream) as file:
                if (count := tiff_pages.count(file)) > LEVELS:
                    return count
                found, axes, _ = tiff_pages.places(file)
                if len(found) > 1:
                    return len(found)
                page = tiff_pages.checked(file, found[0])
                parts = parts_of(page, axes[0].samples != "S")
                return max(len(parts), 2 if any(part.is_kept for part in parts) else 1)
    except Exception:
        return 1


@contextlib.contextmanager
def opened(source: Path | bytes, name: str, selection: Selection = ALL) -> Iterator[Stack]:
    """Open a TIFF of any number of pages and check them all, so that only damaged data is left to go wrong.

    Args:
        source: A file, or its bytes.
        name: What messages call it.
        selection: What the user tells of it.

    Raises:
        InputError: A page, which is named, is not supported or cut, or the file is no TIFF.
        UsageError: What the user tells contradicts the file.
    """
    with contextlib.ExitStack() as whole:
        with images.opening(name):
            stream = whole.enter_context(_stream_of(source))
            if images.format_of(stream.read(images.HEAD), name) != "TIFF":
                raise InputError(f"{name!r} is not a TIFF, and only TIFFs have pages")
            stream.seek(0)
        with images.decoding(repr(name)):
            file = whole.enter_context(tiff_pages.opened(stream))
            places, axes, remarks = tiff_pages.places(file, selection)
        stack = Stack(axes, remarks, name, stream, file, places, selection)
        _survey(stack)
        _refuse_beyond(stack)
        yield stack


def write(
    path: Path,
    stack: Stack,
    pages: Iterable[Sequence[Picture]],
    style: Style,
    *,
    overwrite: bool = False,
    origin: Origin | None = None,
) -> None:
    """Write a TIFF like a stack, whole or not at all; raises OutputError as `writing.whole` does."""
    with writing.whole_file(path, overwrite=overwrite, origin=origin) as target:
        stack.write_to(target, pages, style)
        stack.close()


def encoded(stack: Stack, pages: Iterable[Sequence[Picture]], style: Style) -> Iterator[bytes]:
    """Yield the bytes of a TIFF like a stack, piece by piece."""
    with tempfile.NamedTemporaryFile() as target:
        stack.write_to(cast(BinaryIO, target), pages, style)
        target.seek(0)
        while piece := target.read(PIECE):
            yield piece


def rewritten(source: Path | bytes, name: str, picture: Picture, after: str, strip: bool) -> tuple[bytes, list[str]]:
    """Return the bytes of a TIFF like one of a single picture, with another in it, and what there is to say of it.

    Args:
        source: A file, or its bytes.
        name: What messages call it.
        picture: The result.
        after: The name of the file that it goes to.
        strip: Whether words, dates and places are left out.
    """
    buffer = BytesIO()
    with opened(source, name) as stack:
        before = source.name if isinstance(source, Path) else after
        stack.write_to(buffer, [[picture]], style_for(stack, before, after, picture.depth, strip))
        return buffer.getvalue(), stack.remarks


def style_for(stack: Stack, before: str, after: str, depth: str | None, strip: bool) -> Style:
    """Return how a result differs from a stack.

    Args:
        stack: The source.
        before: The name of its file.
        after: The name of the file that the result goes to.
        depth: The type of the result's samples; None for that of the source.
        strip: Whether words, dates and places are left out.
    """
    page = stack.page(0)
    own = page.dtype.name if page.dtype is not None else ""
    growth = 1 if depth in (None, own) else 4
    axes = None
    if len(stack.axes) == 1 and stack.axes[0].leading:
        axes = stack.axes[0].told, (*stack.axes[0].shape, *page.shape)
    return Style(None if depth == own else depth, strip, axes, (before, after), stack.is_big(growth))


def _survey(stack: Stack) -> None:
    """Check all pages, and find out what is on them and how they lie."""
    kinds: dict[int, int] = {}
    numbers: dict[Key, list[tuple[int, int]]] = {}
    selected: dict[Key, list[int]] = {}
    lossy: set[str] = set()
    left_out: set[str] = set()
    total = 0
    is_bits = is_coloured = False
    run = _Run()
    for number, place in enumerate(stack._places):
        with images.decoding(_page_of(stack._name, number)):
            page = stack._page(number)
            kind = hash((page.hash, stack.axes[place.series].samples, is_looked_up(page)))
            if kind not in kinds:
                kinds[kind] = len(stack._kinds)
                split = stack.axes[place.series].samples != "S" or stack._selection.channels is not None
                stack._kinds.append(_parts(page, split))
                if not is_lossless(stack._stream, page):
                    lossy.add(tiff_pages.name_of(page.compression))
            stack._kind_of.append(kinds[kind])
            codes = run.take(number, place, page)
            if LSM in codes:
                left_out.add("LSM")
            if codes.intersection(STK):
                left_out.add("MetaMorph")
        is_coloured |= is_looked_up(page)
        total += _bound(stack, page)
        parts = zip(stack.parts(number), stack.keys(number), stack.is_selected(number), strict=True)
        for k, (part, key, chosen) in enumerate(parts):
            if not part.is_kept:
                if chosen:
                    selected.setdefault(key, []).append(len(numbers.get(key, ())))
                numbers.setdefault(key, []).append((number, k))
            is_bits |= part.is_kept and page.dtype is not None and page.dtype.name == "bool"
    stack.runs.extend(run.runs)
    stack._nbytes.append(total)
    for key, found in sorted(numbers.items()):
        stack.groups[key] = Group(key, stack, [found[n] for n in selected.get(key, [])])
    if lossy:
        stack.remarks.append(f"its compression, {', '.join(sorted(lossy))}, loses detail: the result has Deflate")
    if left_out:
        stack.remarks.append(f"what only {' and '.join(sorted(left_out))} files say is left out of the result")
    if is_bits:
        stack.remarks.append("pages of black and white alone are left as they are")
    if is_coloured:
        stack.remarks.append("its colours are looked up in a table: the result has the colours themselves")


def _parts(page: "tifffile.TiffPage", split: bool) -> list[Part]:
    """Return the parts of a page, whose colours may be looked up."""
    if is_looked_up(page):
        return [Part(depth, (0, 1, 2)) for depth in range(page.imagedepth)]
    return parts_of(page, split)


def _bound(stack: Stack, page: "tifffile.TiffPage") -> int:
    """Return how many bytes a page takes in a file that is like its own, at most."""
    beside = sum(tag.valuebytecount for tag in page.tags)
    if page.compression != NONE and is_lossless(stack._stream, page):
        return int(GROWTH * sum(page.databytecounts)) + beside
    return page.nbytes * (3 if is_looked_up(page) else 1) + beside


class _Kept:
    """Pages that are asked for again: all to begin with, until they take too much memory; and the last one."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._pages: dict[int, tifffile.TiffPage] = {}
        self._last: tuple[int, tifffile.TiffPage] | None = None

    def page(self, number: int, read: "Callable[[], tifffile.TiffPage]") -> "tifffile.TiffPage":
        """Return the page of a number, which is read if it is not at hand."""
        if number in self._pages:
            return self._pages[number]
        if self._last is None or self._last[0] != number:
            page = read()
            self._room -= OF_A_PAGE + sum(tag.valuebytecount for tag in page.tags)
            if self._room >= 0:
                self._pages[number] = page
            self._last = number, page
        return self._last[1]


class _Run:
    """Finds out which pages lie one behind the other and say the same, so that they are written so again."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self._end = -1
        self._kind = 0
        self._first: frozenset = frozenset()
        self._rest: frozenset | None = None

    def take(self, number: int, place: Place, page: "tifffile.TiffPage") -> set[int]:
        """Take the next page, and return the codes of its tags."""
        if place.plane:
            last = self.runs[-1]
            stk = bool(page.tags.get(STK[0]) or page.tags.get(STK[1]))
            self.runs[-1] = Run(last.first, last.count + 1, not stk, last.alone)
            return set()
        tags = frozenset(tags_of(page))
        codes = {tag.code for tag in tags}
        lies = page.is_final and not page.is_tiled and not is_looked_up(page) and page.imagedepth == 1
        same = self._rest == tags if self._rest is not None else tags <= self._first
        follows = lies and page.dataoffsets[0] == self._end and page.hash == self._kind
        if follows and same and not codes & {EXIF, GPS}:
            last = self.runs[-1]
            if self._rest is None:
                self._rest = tags
            alone = frozenset(tag.code for tag in self._first - self._rest)
            self.runs[-1] = Run(last.first, last.count + 1, False, alone)
        else:
            self.runs.append(Run(number))
            self._first, self._rest = tags, None
        self._kind = page.hash
        self._end = page.dataoffsets[0] + page.nbytes if lies else -1
        return codes


def _refuse_beyond(stack: Stack) -> None:
    """Raise UsageError for pages or channels that the user names and the file has not."""
    chosen = stack._selection
    if chosen.pages is not None and max(chosen.pages) > len(stack):
        raise UsageError(f"--pages {max(chosen.pages)}: '{stack._name}' has {len(stack)}")
    channels = 1 + max((key.channel for key in stack.groups), default=0)
    if chosen.channels is not None and max(chosen.channels) > channels:
        raise UsageError(f"--channel {max(chosen.channels)}: '{stack._name}' has {channels}")


def _stream_of(source: Path | bytes) -> BinaryIO:
    return source.open("rb") if isinstance(source, Path) else BytesIO(source)


def _page_of(name: str, number: int) -> str:
    return f"page {number + 1} of {name!r}"
