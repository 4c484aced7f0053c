"""A part of the comparison: a question, tables that answer it, and pictures of these.

All figures are in tables, sequences of rows; a row is a frozen dataclass of texts, truths and numbers, None where there
is no number. The record, the CSV files, the page, the report and the plots are made from the tables, so that all agree.

To add a part, write a folder like those there are, with a module that ends with its `Part`, and a row of PARTS.
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
    """All that a part of the comparison may measure.

    Attributes:
        contest: The common ground.
        names: The objectives that are compared.
        courses: The fits that are over: of all objectives and seeds, of one, or none, as the part asks.
        files: Image models read from files, by name.
        baselines: Names of BASELINES.
        quick: Whether to measure no more than what a minute for everything allows.
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
        title: A few words.
        explains: What is asked and how it is answered, two sentences.
        equation: What it is founded on: the paper, and the number or the name of the equation.
        rows: The class of the rows of each table.
        fits: Which fits it wants: none, one of them for a reference, or all.
        measure: A generator that yields the share done, from 0 to 1, and returns the tables.
        pictures: What each picture shows, by its name.
        draw: Makes PNG files by these names; what there is nothing to show of is left out.
        tell: Lines for the terminal, 80 columns at most.
        seconds: What it takes, about, quick and in full, on two cores: a forecast for the bar.
    """

    title: str
    explains: str
    equation: str
    rows: Mapping[str, type]
    fits: Literal["none", "one", "all"]
    measure: Callable[[Context], Generator[float, None, Tables]]
    pictures: Mapping[str, str]
    draw: Callable[[Tables, Context], Mapping[str, bytes]]
    tell: Callable[[Tables], Sequence[str]]
    seconds: tuple[float, float] = (5.0, 40.0)
