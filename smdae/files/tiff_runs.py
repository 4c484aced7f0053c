"""Runs of pages of a TIFF that lie one behind the other with the same tags, so that they are written so again.

tifffile and ImageJ write the samples of such pages in one piece, which other programs map into memory. The first page
may have tags of its own; each of the rest has what the second has. The planes that ImageJ writes behind a single
directory are a run as well.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smdae.files.tiff_pages import Place
from smdae.files.tiff_parts import is_looked_up
from smdae.files.tiff_tags import EXIF, GPS, STK, Tag, tags_of

if TYPE_CHECKING:
    import tifffile

__all__ = ["Run", "Runs"]


@dataclass(frozen=True)
class Run:
    """Pages that are written by one call: one, or some that lie one behind the other.

    Attributes:
        first: The number of the first page.
        count: How many there are.
        is_single: Whether they lie behind a single directory.
        alone: The codes of the tags that the first page alone has.
    """

    first: int
    count: int = 1
    is_single: bool = False
    alone: frozenset[int] = frozenset()


class Runs:
    """A search for the runs of a file, which is given its pages one by one.

    Attributes:
        found: The runs so far.
    """

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
