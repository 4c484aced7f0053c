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

Tables = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, eq=False)
class Context:
    """What a part of the comparison may measure."""

    contest: Contest  # what the fits have in common
    names: tuple[str, ...]  # the objectives that are compared
    courses: tuple[Course, ...] = ()  # the finished fits: of all objectives and seeds, of one, or none
    files: Mapping[str, Any] = field(default_factory=dict)  # image models read from files, by name
    baselines: tuple[str, ...] = ()  # names of BASELINES
    quick: bool = False  # whether the whole comparison is to take about a minute

    @property
    def fitted(self) -> dict[str, Any]:
        """Return the patch model of the first fit of each objective that did not diverge, by objective."""
        return {course.objective: course.model for course in reversed(self.courses) if course.outcome != "diverged"}


@dataclass(frozen=True)
class Part:
    """A part of the comparison, a row of PARTS."""

    title: str  # a few words
    explains: str  # the question and how it is answered, in two sentences
    equation: str  # the theory behind it: the paper, and the number or name of the equation
    rows: Mapping[str, type]  # the class of the rows of each table
    fits: Literal["none", "one", "all"]  # the fits that it needs: none, one for reference, or all
    measure: Callable[[Context], Generator[float, None, Tables]]  # yields the share done, 0 to 1; returns the tables
    pictures: Mapping[str, str]  # what each picture shows, by its name
    draw: Callable[[Tables, Context], Mapping[str, bytes]]  # PNG files by these names, without empty ones
    summarise: Callable[[Tables], Sequence[str]]  # the findings as lines of at most 80 columns
    seconds: tuple[float, float] = (5.0, 40.0)  # on two cores, quick and in full, roughly, to forecast the progress
