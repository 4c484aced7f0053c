"""A part of the comparison: a question, tables that answer it, and pictures of these.

All figures are in tables, sequences of rows. A row is a frozen dataclass of texts, booleans and numbers, with None
where there is no number. The record, the CSV files, the page, the report and the plots are made from the tables, so
that they agree.

To add a part, write a folder like the existing ones, with a module that ends with its `Part`, and add a row to PARTS.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from smdae.comparing.contest import Contest
from smdae.comparing.contestants import Course

__all__ = ["Context", "Part", "Tables"]

Tables = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, eq=False)
class Context:
    """What a part of the comparison may measure.

    Attributes:
        contest: What the fits have in common.
        names: The objectives that are compared.
        courses: The finished fits: of all objectives and seeds, of one, or none, as the part needs.
        files: Image models read from files, by name.
        baselines: Names of BASELINES.
        quick: Whether the whole comparison is to take about a minute.
    """

    contest: Contest
    names: tuple[str, ...]
    courses: tuple[Course, ...] = ()
    files: Mapping[str, Any] = field(default_factory=dict)
    baselines: tuple[str, ...] = ()
    quick: bool = False

    @property
    def fitted(self) -> dict[str, Any]:
        """Return the patch model of the first fit of each objective that did not diverge, by objective."""
        return {course.objective: course.model for course in reversed(self.courses) if course.outcome != "diverged"}


@dataclass(frozen=True)
class Part:
    """A part of the comparison, a row of PARTS.

    Attributes:
        title: The title, a few words.
        explains: The question and how it is answered, in two sentences.
        equation: The theory behind it: the paper, and the number or name of the equation.
        rows: The class of the rows of each table.
        fits: The fits that it needs: none, one for reference, or all.
        measure: A generator that yields the share done, from 0 to 1, and returns the tables.
        pictures: What each picture shows, by its name.
        draw: Makes PNG files by these names; pictures with nothing to show are left out.
        summarise: Returns the findings as lines for the terminal, at most 80 columns wide.
        seconds: The time it takes on two cores, quick and in full, roughly, to forecast the progress.
    """

    title: str
    explains: str
    equation: str
    rows: Mapping[str, type]
    fits: Literal["none", "one", "all"]
    measure: Callable[[Context], Generator[float, None, Tables]]
    pictures: Mapping[str, str]
    draw: Callable[[Tables, Context], Mapping[str, bytes]]
    summarise: Callable[[Tables], Sequence[str]]
    seconds: tuple[float, float] = (5.0, 40.0)
