"""TIFF stacks: pages and channels in one file, read and written a page at a time, in the memory of one.

A stack is what `tiff_pages` finds in a file, with what `tiff_survey` says about its pages before any is decoded.
Each channel of a series is a group, whose pictures share one noise; the result is written like its source.
tifffile's writer goes back in what it has written. What goes into a pipe is written to a temporary file first.
"""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from smdae.errors import InputError
from smdae.files import images, tiff_pages, tiff_writing, writing
from smdae.files.dressing import Origin
from smdae.files.marks import mark_tiff
from smdae.files.picture import Picture
from smdae.files.scratch import scratch
from smdae.files.tiff_axes import ALL, Axes, Selection
from smdae.files.tiff_pages import Pages
from smdae.files.tiff_parts import is_looked_up, joined, looked_up, parted, parts_of
from smdae.files.tiff_survey import Key, Survey, page_called, surveyed
from smdae.files.tiff_tags import DESCRIPTION, renamed, tags_of
from smdae.files.tiff_writing import MAX_BYTES, Style

if TYPE_CHECKING:
    import tifffile

PIECE = 1 << 20  # bytes, that are copied at once
MAX_KEPT = 1 << 25  # bytes, that what the directories say may take
LEVELS = 32  # pages that may be one picture in smaller and smaller sizes, each at most half of the one before


@dataclass(frozen=True, eq=False)
class Group:
    """The pictures of one channel of a series that are to be denoised, decoded as they are asked for."""

    key: Key
    _stack: "Stack"
    _numbers: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self._numbers)

    def page(self, number: int) -> Picture:
        """Decode one picture, counted from 0, and return it; InputError if it is damaged."""
        return self._stack.picture(*self._numbers[number])


@dataclass(frozen=True, eq=False)
class Stack:
    """The pages of an open TIFF. `len` is their number.

    Attributes:
        survey: What is on its pages, and what of that is to be denoised.
    """

    axes: list[Axes]
    remarks: list[str]
    survey: Survey
    _name: str
    _stream: BinaryIO
    _file: "tifffile.TiffFile"
    _pages: Pages

    def __len__(self) -> int:
        return len(self._pages)

    @cached_property
    def groups(self) -> dict[Key, Group]:
        """Return the pictures of each channel of each series that are to be denoised, by series and channel."""
        return {key: Group(key, self, numbers) for key, numbers in self.survey.channels.items()}

    def pictures(self, number: int) -> list[Picture]:
        """Return the pictures of a page, counted from 0, one for each part; InputError, which names it, if damaged."""
        with images.decoding(page_called(self._name, number)):
            page = self._pages.page(number)
            samples = self._samples(page)
            return [parted(samples, part, page) for part in self.survey.parts(number)]

    def picture(self, number: int, part: int) -> Picture:
        """Return the picture of one part of a page, both counted from 0, as `pictures` does for all of its parts."""
        with images.decoding(page_called(self._name, number)):
            page = self._pages.page(number)
            return parted(self._samples(page), self.survey.parts(number)[part], page)

    def chosen(self, number: int) -> list[tuple[Key, Picture]]:
        """Decode a page, and return the pictures of its parts that are to be denoised, each with its group."""
        selected = self.survey.is_selected(number)
        if not any(selected):
            return []
        parts = zip(self.survey.keys(number), self.pictures(number), selected, strict=True)
        return [(key, picture) for key, picture, is_chosen in parts if is_chosen]

    def joined(self, number: int, pictures: Sequence[Picture]) -> np.ndarray:
        """Return a page's samples with these pictures as its parts; errors are those of `tiff_parts.joined`."""
        with images.decoding(page_called(self._name, number)):
            return joined(self.survey.parts(number), pictures, self._pages.page(number))

    def page(self, number: int) -> "tifffile.TiffPage":
        """Return a page, from 0, as tifffile has it, checked and not yet decoded; InputError if it is damaged."""
        with images.decoding(page_called(self._name, number)):
            return self._pages.page(number)

    def close(self) -> None:
        """Close the file before its time: what is open is not replaced on Windows."""
        self._stream.close()

    def is_big(self, growth: int) -> bool:
        """Return whether a result whose samples are `growth` times as large must be a BigTIFF."""
        if any(run.is_single for run in self.survey.runs) and not self._file.is_bigtiff:
            return False
        return self._file.is_bigtiff or growth * self.survey.nbytes > MAX_BYTES

    def is_renamed(self, before: str, after: str) -> bool:
        """Return whether the file says its own name, and a copy must say another; InputError if page 0 is damaged."""
        own = (tag.value for tag in tags_of(self.page(0)) if tag.code == DESCRIPTION)
        return any(renamed(value, before, after) != value for value in own)

    def write_to(self, target: BinaryIO, pages: Iterable[Sequence[Picture]], style: Style) -> None:
        """Write a TIFF like this one; if `style.is_unchanged()`, this file byte for byte.

        Args:
            target: The file to write to, in which it must be possible to go back.
            pages: The pictures of the parts of each page in turn. SmdaeError if one is not finite, as this one's are.
            style: How the result differs from this one. InputError if a page is damaged, OutputError over 4 GB.
        """

        def samples() -> Iterator[np.ndarray]:
            for number, pictures in enumerate(pages):
                for picture in pictures:
                    images.refuse_infinite(picture)
                yield self.joined(number, pictures)
                # The next page is made while this frame waits: nothing of the last one should be held by then.
                del pictures, picture

        tiff_writing.written(target, self._stream, self.survey.runs, self.page, samples(), style)
        if style.is_unchanged():
            target.seek(0)
            target.truncate()
            self._stream.seek(0)
            shutil.copyfileobj(self._stream, target, PIECE)
            return
        if (words := style.words()) is not None:
            mark_tiff(target, words)

    def _samples(self, page: "tifffile.TiffPage") -> np.ndarray:
        samples = tiff_pages.samples_in(page)
        return looked_up(samples, page) if is_looked_up(page) else samples


def count(source: Path | bytes) -> int:
    """Return the number of pictures in a TIFF, without decoding any; 1 for all other files.

    A file that cannot be read and a pipe, which is not looked into, count as 1 too. A number above 1 may be wrong: a
    page of 1-bit pixels, which is not denoised, counts as two, and of a file with very many directories all count that
    are not marked as thumbnails.
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
    """Open a TIFF of any number of pages, check them all, so that only damaged data can fail later, and yield it.

    Raises:
        InputError: A page, which is named, is not supported or cut, or the file is no TIFF.
        UsageError: What the user says contradicts the file.
        MemoryLimitError: A page takes more memory than there is.
    """
    with contextlib.ExitStack() as whole:
        with images.opening(name):
            stream = whole.enter_context(_stream_of(source))
            if images.format_of(stream.read(images.HEAD), name) != "TIFF":
                raise InputError(f"{name!r} is not a TIFF, and {selection.option or '--pages'} is for TIFFs")
            stream.seek(0)
        with images.decoding(repr(name)):
            file = whole.enter_context(tiff_pages.opened(stream))
            places, axes, remarks = tiff_pages.places(file, selection)
        pages = Pages(file, places, MAX_KEPT)
        survey = surveyed(stream, name, places, axes, selection, pages.page)
        yield Stack(axes, remarks + survey.remarks, survey, name, stream, file, pages)


def write(
    path: Path,
    stack: Stack,
    pages: Iterable[Sequence[Picture]],
    style: Style,
    *,
    overwrite: bool = False,
    origin: Origin | None = None,
) -> None:
    """Write a TIFF like a stack, whole or not at all, and close the stack once all is written; not on an error.

    Arguments and errors are those of `Stack.write_to` and of `writing.whole_file`.
    """
    with writing.whole_file(path, overwrite=overwrite, origin=origin) as target:
        stack.write_to(target, pages, style)
        stack.close()


def encoded(stack: Stack, pages: Iterable[Sequence[Picture]], style: Style) -> Iterator[bytes]:
    """Yield the bytes of a TIFF like a stack, piece by piece; errors are those of `Stack.write_to`."""
    with scratch() as target:
        stack.write_to(target, pages, style)
        target.seek(0)
        while piece := target.read(PIECE):
            yield piece


def rewritten(source: Path | bytes, name: str, picture: Picture, after: str, strip: bool) -> tuple[bytes, list[str]]:
    """Return the bytes of a TIFF like that of `source`, which has one picture, with `picture` in it, and remarks.

    `after` is the name of the file for the bytes. With `strip` words, dates and places are left out. Remarks are for
    the user, a line each. Errors are those of `opened` and `Stack.write_to`.
    """
    buffer = BytesIO()
    with opened(source, name) as stack:
        before = source.name if isinstance(source, Path) else after
        stack.write_to(buffer, [[picture]], style_for(stack, before, after, picture.depth, strip))
        return buffer.getvalue(), stack.remarks


def style_for(stack: Stack, before: str, after: str, depth: str | None, strip: bool) -> Style:
    """Return how a result differs from its stack, given the names of both files and the type of the result's samples.

    None stands for the type of the stack's; with `strip` words, dates and places are left out.
    """
    page = stack.page(0)
    own = page.dtype.name if page.dtype is not None else ""
    growth = 1 if depth in (None, own) else 4
    axes = None
    if len(stack.axes) == 1 and stack.axes[0].leading:
        axes = stack.axes[0].text, (*stack.axes[0].shape, *page.shape)
    return Style(None if depth == own else depth, strip, axes, (before, after), stack.is_big(growth))


def _stream_of(source: Path | bytes) -> BinaryIO:
    return source.open("rb") if isinstance(source, Path) else BytesIO(source)
