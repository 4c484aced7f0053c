"""A survey of all pages of a TIFF stack by its directories, before the first page is decoded.

A survey says which parts each page has and which channel each part belongs to, which of them are to be denoised, how
the pages lie in the file, and how large a file like it can become. A page that is cut or not supported stops it: it is
cheap, and no one wants to hear of page 90 after an hour.

tifffile and ImageJ write the samples of pages with the same tags in one piece, which other programs map into memory.
Such a run is written so again: the first page may have tags of its own; each of the rest has what the second has. The
planes that ImageJ writes behind a single directory are a run as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from smdae.errors import UsageError
from smdae.files import images, tiff_pages
from smdae.files.tiff_axes import Axes, Selection
from smdae.files.tiff_codec import FAX, NONE, is_lossless
from smdae.files.tiff_pages import Place
from smdae.files.tiff_parts import Part, is_looked_up, parts_of
from smdae.files.tiff_tags import EXIF, GPS, LSM, STK, Tag, tags_of

if TYPE_CHECKING:
    import tifffile

BITS_STAY = "pages of black and white alone are left as they are"
GROWTH = 1.3  # of what is compressed, where noise is not gone from all of it


class Key(NamedTuple):
    """A channel of a series, both counted from 0: the planes of one share one noise."""

    series: int
    channel: int


@dataclass(frozen=True)
class Run:
    """Pages that are written by one call: one, or some that lie one behind the other.

    Attributes:
        is_single: Whether they lie behind a single directory.
        alone: The codes of the tags that the first page alone has.
    """

    first: int
    count: int = 1
    is_single: bool = False
    alone: frozenset[int] = frozenset()


class _Runs:
    """A search for the runs of a file, which is given its pages one by one."""

    def __init__(self) -> None:
        self.found: list[Run] = []
        self._end = -1
        self._kind = 0
        self._first: frozenset[Tag] = frozenset()
        self._rest: frozenset[Tag] | None = None

    def take(self, number: int, place: Place, page: "tifffile.TiffPage") -> set[int]:
        """Take the next page, and return the codes of its tags; InputError for a page that is cut."""
        if place.plane:
            last = self.found[-1]
            stk = bool(page.tags.get(STK[0]) or page.tags.get(STK[1]))
            self.found[-1] = Run(last.first, last.count + 1, not stk, last.alone)
            return set()
        tags = frozenset(tags_of(page))
        codes = {tag.code for tag in tags}
        lies = page.is_final and not page.is_tiled and not is_looked_up(page) and page.imagedepth == 1
        same = self._rest == tags if self._rest is not None else tags <= self._first
        follows = lies and page.dataoffsets[0] == self._end and page.hash == self._kind
        if follows and same and not codes & {EXIF, GPS}:
            last = self.found[-1]
            if self._rest is None:
                self._rest = tags
            alone = frozenset(tag.code for tag in self._first - self._rest)
            self.found[-1] = Run(last.first, last.count + 1, False, alone)
        else:
            self.found.append(Run(number))
            self._first, self._rest = tags, None
        self._kind = page.hash
        self._end = page.dataoffsets[0] + page.nbytes if lies else -1
        return codes


@dataclass(frozen=True, eq=False)
class Survey:
    """The contents of the pages of a stack, and how they lie in the file.

    Attributes:
        kinds: The parts of each kind of page.
        kind_of: The number of the kind of each page.
        runs: How the pages are written.
        channels: For each channel of a series, the page and part of each picture that is to be denoised.
        nbytes: The largest number of bytes that the pages take in a file like their own.
    """

    places: Sequence[Place]
    selection: Selection
    kinds: list[list[Part]]
    kind_of: list[int]
    runs: list[Run]
    channels: dict[Key, list[tuple[int, int]]]
    nbytes: int
    remarks: list[str]

    def parts(self, number: int) -> list[Part]:
        """Return the parts of a page, counted from 0."""
        return self.kinds[self.kind_of[number]]

    def keys(self, number: int) -> list[Key]:
        """Return the channel that each part of a page belongs to."""
        return _keys(self.parts(number), self.places[number])

    def is_selected(self, number: int) -> list[bool]:
        """Return which parts of a page are to be denoised."""
        return _is_selected(number, self.parts(number), self.keys(number), self.selection)


def surveyed(
    stream: BinaryIO,
    name: str,
    places: Sequence[Place],
    axes: Sequence[Axes],
    selection: Selection,
    page_at: "Callable[[int], tifffile.TiffPage]",
) -> Survey:
    """Check all pages, and return what is on them and how they lie.

    Raises:
        InputError: A page, which is named, is not supported or cut.
        UsageError: The user names pages or channels that the file has not.
        MemoryLimitError: A page takes more memory than there is.
    """
    number_of: dict[int, int] = {}
    kinds: list[list[Part]] = []
    kind_of: list[int] = []
    channels: dict[Key, list[tuple[int, int]]] = {}
    changes = _Changes()
    total = 0
    runs = _Runs()
    for number, place in enumerate(places):
        with images.decoding(page_called(name, number)):
            page = page_at(number)
            kind = hash((page.hash, axes[place.series].samples, is_looked_up(page)))
            if kind not in number_of:
                number_of[kind] = len(kinds)
                kinds.append(_parts(page, axes[place.series].samples != "S" or selection.channels is not None))
                changes.take_compression(stream, page)
            kind_of.append(number_of[kind])
            changes.take_tags(runs.take(number, place, page))
        changes.is_coloured |= is_looked_up(page)
        total += _bound(stream, page)
        parts = kinds[kind_of[number]]
        keys = _keys(parts, place)
        chosen = _is_selected(number, parts, keys, selection)
        for k, part in enumerate(parts):
            if not part.is_kept:
                channels.setdefault(keys[k], []).extend([(number, k)] if chosen[k] else [])
            changes.has_bits |= part.is_kept and page.dtype is not None and page.dtype.name == "bool"
    _refuse_beyond(name, len(places), channels, selection)
    return Survey(
        places, selection, kinds, kind_of, runs.found, dict(sorted(channels.items())), total, changes.remarks()
    )


@dataclass(eq=False)
class _Changes:
    """The differences of a result from its file besides the noise, collected page by page, for `remarks`."""

    lossy: set[str] = field(default_factory=set)
    unwritten: set[str] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)
    has_bits: bool = False
    is_coloured: bool = False

    def take_compression(self, stream: BinaryIO, page: "tifffile.TiffPage") -> None:
        """Note the compression of a page if the result cannot have it."""
        if not is_lossless(stream, page):
            self.lossy.add(tiff_pages.name_of(page.compression))
        elif page.compression in FAX:
            self.unwritten.add(tiff_pages.name_of(page.compression))

    def take_tags(self, codes: set[int]) -> None:
        """Note the makers whose own tags are among those of a page."""
        if LSM in codes:
            self.left_out.add("LSM")
        if codes.intersection(STK):
            self.left_out.add("MetaMorph")

    def remarks(self) -> list[str]:
        """Return what there is to say of them, a line each."""
        remarks = []
        if self.lossy:
            remarks.append(f"its compression, {', '.join(sorted(self.lossy))}, loses detail: the result has Deflate")
        if self.unwritten:
            names = ", ".join(sorted(self.unwritten))
            remarks.append(f"its compression, {names}, is only read: the result has Deflate")
        if self.left_out:
            remarks.append(f"what only {' and '.join(sorted(self.left_out))} files say is left out of the result")
        if self.has_bits:
            remarks.append(BITS_STAY)
        if self.is_coloured:
            remarks.append("its colours are looked up in a table: the result has the colours themselves")
        return remarks


def page_called(name: str, number: int) -> str:
    """Return the name of a page in messages; its number counts from 0."""
    return f"page {number + 1} of {name!r}"


def _parts(page: "tifffile.TiffPage", split: bool) -> list[Part]:
    """Return the parts of a page, whose colours may be looked up."""
    if is_looked_up(page):
        return [Part(depth, (0, 1, 2)) for depth in range(page.imagedepth)]
    return parts_of(page, split)


def _keys(parts: Sequence[Part], place: Place) -> list[Key]:
    """Return the channel that each part of a page belongs to."""
    count = 1 + max(part.channel for part in parts)
    return [Key(place.series, place.channel * count + part.channel) for part in parts]


def _is_selected(number: int, parts: Sequence[Part], keys: Sequence[Key], selection: Selection) -> list[bool]:
    """Return which parts of a page are to be denoised."""
    on_page = selection.pages is None or number + 1 in selection.pages
    return [
        on_page and not part.is_kept and (selection.channels is None or key.channel + 1 in selection.channels)
        for key, part in zip(keys, parts, strict=True)
    ]


def _bound(stream: BinaryIO, page: "tifffile.TiffPage") -> int:
    """Return how many bytes a page takes in a file that is like its own, at most."""
    beside = sum(tag.valuebytecount for tag in page.tags)
    if page.compression != NONE and is_lossless(stream, page):
        return int(GROWTH * sum(page.databytecounts)) + beside
    return page.nbytes * (3 if is_looked_up(page) else 1) + beside


def _refuse_beyond(name: str, pages: int, found: dict[Key, list[tuple[int, int]]], selection: Selection) -> None:
    """Raise UsageError for pages or channels that the user names and the file has not."""
    if selection.pages is not None and max(selection.pages) > pages:
        raise UsageError(f"--pages {max(selection.pages)}: '{name}' has {pages} page{'s' * (pages != 1)}")
    channels = 1 + max((key.channel for key in found), default=0)
    if selection.channels is not None and max(selection.channels) > channels:
        raise UsageError(f"--channel {max(selection.channels)}: '{name}' has {channels} channel{'s' * (channels != 1)}")
