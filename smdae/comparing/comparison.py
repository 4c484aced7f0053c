"""The whole comparison: the fits that the parts need, then the parts, one after the other.

It is a generator of findings, and shows and writes nothing itself. Fits and parts that an earlier run has finished are
not run again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from smdae.comparing import contestants
from smdae.comparing.contest import Contest
from smdae.comparing.contestants import REFERENCES, Course
from smdae.comparing.part import Context, Tables
from smdae.comparing.parts import PARTS
from smdae.comparing.record import finite
from smdae.objectives import OBJECTIVES

RATE = 3e10  # operations per second, roughly, to forecast the progress


@dataclass(frozen=True)
class Plan:
    """The objectives, parts, files and baselines of a comparison."""

    names: tuple[str, ...]  # objectives to fit with
    seeds: int = 1  # number of fits of each objective
    parts: tuple[str, ...] = tuple(PARTS)  # names of PARTS
    files: Mapping[str, Any] = field(default_factory=dict)  # image models read from files, by name
    baselines: tuple[str, ...] = ()  # names of BASELINES
    quick: bool = False  # whether the whole comparison is to take about a minute

    @property
    def fits(self) -> list[tuple[str, int]]:
        """Return the objective and the seed of each fit that the parts need; empty if they need none."""
        return max((self._wanted(part) for part in self.parts), key=len, default=[])

    def _wanted(self, part: str) -> list[tuple[str, int]]:
        reference = next((name for name in REFERENCES if name in self.names), self.names[0])
        every = [(name, seed) for seed in range(self.seeds) for name in self.names]
        return {"all": every, "one": [(reference, 0)], "none": []}[PARTS[part].fits]

    def of(self, part: str) -> dict[str, Any]:
        """Return the settings by name that the figures of a part depend on, besides the contest."""
        row, fits = PARTS[part], self._wanted(part)
        return {
            "objectives": list(self.names),
            "fits": [list(fit) for fit in fits],
            "files": list(self.files) if row.fits == "all" else [],
            "baselines": list(self.baselines) if row.fits == "all" else [],
            "quick": self.quick,
        }


@dataclass(frozen=True, eq=False)
class Finished:
    """A part that is finished."""

    name: str  # its name in PARTS
    tables: Tables  # its tables, with None for values that are not finite
    pictures: Mapping[str, bytes]  # PNG files by name


@dataclass(frozen=True, eq=False)
class Found:
    """The progress of a comparison, and the fit or the part that has just finished."""

    share: float  # the share of the work that is done, 0 to 1, roughly
    stage: str  # what is being done, in a word or two
    course: Course | None = None  # the fit that has finished, or None
    part: Finished | None = None  # the part that has finished, or None


def run(contest: Contest, plan: Plan, courses: Sequence[Course] = (), parts: Sequence[str] = ()) -> Iterator[Found]:
    """Fit every objective and measure every part, except the fits `courses` and the parts that are finished already.

    Yields:
        A `Found` a few times a second, with the progress, and one for each fit and each part when it is finished.
    """
    steps = int(contest.settings.limits[0])
    finished = {(course.objective, course.seed): course for course in courses}
    work = {fit: steps * contest.settings.batch * _effort(contest, fit[0]) / RATE for fit in plan.fits}
    todo = {fit: seconds for fit, seconds in work.items() if fit not in finished}
    remaining = {part: PARTS[part].seconds[0 if plan.quick else 1] for part in plan.parts if part not in parts}
    total, before = sum(todo.values()) + sum(remaining.values()) or 1.0, 0.0

    for count, (name, seed) in enumerate(todo):
        stage = f"fit {count + 1}/{len(todo)}, {name}"
        for course in contestants.fit(contest, name, plan.names, seed):
            share = (before + todo[name, seed] * course.step / steps) / total
            yield Found(share, stage)
        finished[name, seed] = course
        before += todo[name, seed]
        yield Found(before / total, stage, course=course)

    fits = tuple(finished[fit] for fit in plan.fits)
    everything = Context(contest, plan.names, fits, plan.files, plan.baselines, plan.quick)
    for part, seconds in remaining.items():
        measuring = PARTS[part].measure(everything)
        try:
            while True:
                yield Found((before + seconds * next(measuring)) / total, part)
        except StopIteration as end:
            before += seconds
            tables = finite(end.value)
            pictures = PARTS[part].draw(tables, everything)
            yield Found(min(1.0, before / total), part, part=Finished(part, tables, pictures))


def _effort(contest: Contest, name: str) -> float:
    """Return the work for one example of an objective, in operations at the rate of a matrix product."""
    objective, d = OBJECTIVES[name], contest.dim
    work = 32.0 * d * contest.settings.hidden * (3 if "probes" in objective.needs else 1)
    if "target_score" in objective.needs:
        parzen = objective.samples == "parzen"
        work += 4 * len(contest.patches) * d if parzen else 20 * contest.settings.components * d**2
    return work
