"""The axes of a TIFF: what each means, and which planes belong together.

    Y, X    a plane
    S       samples of a pixel: colours, or data where the file does not call them colours
    C       channels, each with noise of its own
    T, Z    and every other letter: planes of a stack, which share one noise

The axes are those in the file (OME-XML, ImageJ, tifffile's JSON and others, read by tifffile) or those that the user
gives: `TCYX`, or `TC3YX` where the pages are counted in one row and every third is of the same channel.
"""

import math
import re
from dataclasses import dataclass

from smdae.errors import UsageError

LETTERS = re.compile(r"(?:[A-Z][0-9]{0,7})+")
AXIS = re.compile(r"([A-Z])([0-9]*)")
MAX_NUMBER = 10**6  # of a number in a list


@dataclass(frozen=True)
class Axes:
    """The axes of one series of pages.

    Attributes:
        leading: A letter for each axis along which pages follow each other.
        shape: The number of pages along each.
        samples: The letter of the samples of a pixel.
        text: All letters, as they are shown to the user.
    """

    leading: str
    shape: tuple[int, ...]
    samples: str = "S"
    text: str = "YX"

    @property
    def channels(self) -> int:
        """Return how many channels the pages have, not counting samples."""
        return self.shape[self.leading.index("C")] if "C" in self.leading else 1

    def channel(self, position: int) -> int:
        """Return the channel of a page, from 0; `position` is its number among the pages of the series, from 0."""
        if "C" not in self.leading:
            return 0
        k = self.leading.index("C")
        return position // math.prod(self.shape[k + 1 :]) % self.shape[k]


@dataclass(frozen=True)
class Selection:
    """The pages and channels of a stack that a user selects, and its axes.

    Attributes:
        axes: Letters, as `axes_named` takes them; None for those of the file.
        channels: The numbers of the channels to denoise, counted from 1; None for all.
        pages: The numbers of the pages to denoise, counted from 1; None for all.
    """

    axes: str | None = None
    channels: frozenset[int] | None = None
    pages: frozenset[int] | None = None

    @property
    def some(self) -> bool:
        """Return whether the user gives axes, channels or pages."""
        return self.axes is not None or self.channels is not None or self.pages is not None

    @property
    def option(self) -> str:
        """Return the name of the first option that was given, such as --axes; empty if none was."""
        asked = {"--axes": self.axes, "--channel": self.channels, "--pages": self.pages}
        return next((name for name, given in asked.items() if given is not None), "")


ALL = Selection()


def of_series(letters: str, shape: tuple[int, ...], page: str, page_shape: tuple[int, ...], pages: int) -> Axes | None:
    """Return the axes of a series from its letters and shape and those of a page; None where they contradict."""
    lead = len(letters) - len(page)
    if lead < 0 or shape[lead:] != page_shape or math.prod(shape[:lead]) != pages:
        return None
    own = letters[lead:]
    if any((letter in "YX") != (mine in "YX") for letter, mine in zip(own, page, strict=True)):
        return None
    return Axes(letters[:lead], shape[:lead], own[page.index("S")] if "S" in page else "S", letters)


def axes_named(text: str, page: str, page_shape: tuple[int, ...], shapes: tuple[tuple[int, ...], ...]) -> Axes:
    """Return the axes of a series as the user gives them.

    Args:
        text: Letters, each with its number where pages are counted in one row: TZCYX, TC3YX.
        page: The letters of one page by itself.
        page_shape: Its shape.
        shapes: The shapes along which its pages may follow each other: that of the file, and all in one row.

    Raises:
        UsageError: They contradict the shape of the file.
    """
    parts = [(letter, int(number) if number else None) for letter, number in AXIS.findall(text)]
    letters = "".join(letter for letter, _ in parts)
    lead = len(letters) - len(page)
    own = letters[max(lead, 0) :]
    size = " x ".join(map(str, (*shapes[0], *page_shape)))
    wrong = UsageError(
        f"--axes {text} contradicts the file, whose axes are {size} long", f"a page of it is {' x '.join(page)}"
    )
    if lead < 0 or any((letter in "YX") != (mine in "YX") for letter, mine in zip(own, page, strict=True)):
        raise wrong
    if any(number not in (None, length) for (_, number), length in zip(parts[lead:], page_shape, strict=True)):
        raise wrong
    samples = own[page.index("S")] if "S" in page else "S"
    numbers = [number for _, number in parts[:lead]]
    for shape in shapes:
        if len(shape) == lead and all(n in (None, length) for n, length in zip(numbers, shape, strict=True)):
            return Axes(letters[:lead], shape, samples, letters)
    count = math.prod(shapes[0])
    known = math.prod(number for number in numbers if number is not None)
    if numbers.count(None) == 1 and known and count % known == 0:
        numbers = [count // known if number is None else number for number in numbers]
    if None in numbers or math.prod(number or 0 for number in numbers) != count:
        raise wrong
    return Axes(letters[:lead], tuple(number or 0 for number in numbers), samples, letters)


def checked(text: str) -> str:
    """Return axes in capital letters; raise UsageError for other letters."""
    letters = "".join(letter for letter, _ in AXIS.findall(text.upper()))
    if not LETTERS.fullmatch(text.upper()) or len(set(letters)) < len(letters) or not {"Y", "X"} <= set(letters):
        raise UsageError(
            f"--axes '{text:.40}' are not axes", "write a letter for each, such as TZCYX, or TC3YX for pages in one row"
        )
    return text.upper()


def numbers_in(text: str, option: str) -> frozenset[int]:
    """Return the numbers of a list such as 1,3-5, counted from 1; raise UsageError for anything else."""
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,8})(?:-([0-9]{1,8}))?\s*", part)
        low = int(match[1]) if match else 0
        high = int(match[2] or match[1]) if match else 0
        if not 1 <= low <= high <= MAX_NUMBER:
            raise UsageError(f"{option} '{text:.40}' is not a list of numbers from 1 on", "write 2, or 1,3-5")
        found.update(range(low, high + 1))
    return frozenset(found)
