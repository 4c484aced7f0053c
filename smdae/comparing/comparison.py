"""The whole comparison, in the order in which a person would ask.

    fits         every contestant from the same start for the same number of steps
    matrix       every fitted model under every objective
    gradients    how parallel they are at the start and at the end of one fit, and how noisy

A generator of what has been found so far. It shows nothing and writes nothing: whoever drives it does.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from smdae.comparing import contestants, evaluation, gradients
from smdae.comparing.contest import Contest
from smdae.comparing.contestants import Course
from smdae.comparing.evaluation import Entry
from smdae.comparing.gradients import Parallel
from smdae.objectives import OBJECTIVES

__all__ = ["Findings", "Noise", "Pair", "compare", "effort"]

END_OF = ("dsm", "dae", "esm-parzen", "ism-parzen", "esm")  # whose end the gradients are taken at: the first there is


@dataclass(frozen=True)
class Noise:
    """The noise of an objective's mini-batch gradient.

    Attributes:
        at: "start" or "end".
        objective: Its name.
        deviation: Standard deviation of the gradient of one batch, over the norm of its expectation at the start.
        norm: Norm of its expectation here, over that at the start.
    """

    at: str
    objective: str
    deviation: float
    norm: float


@dataclass(frozen=True)
class Pair:
    """Two gradients at one theta.

    Attributes:
        at: "start" or "end".
        first, second: The objectives.
        equivalent: Whether theory has them equal; if not, the pair is there to show what unequal looks like.
        parallel: How parallel they are.
    """

    at: str
    first: str
    second: str
    equivalent: bool
    parallel: Parallel


@dataclass(frozen=True, eq=False)
class Findings:
    """What has been found so far.

    Attributes:
        share: How much of the work is done, 0 to 1, roughly.
        stage: What is being done, in a word or two.
        courses: The fits that are over, in order.
        noisy, wiener: PSNR in dB of the held-out crops as they are, and after the linear filter.
        matrix: J of each model under each objective.
        end_of: The fit whose end the gradients are taken at, None if none can serve.
        noise: Of the mini-batch gradients.
        pairs: Of gradients.
    """

    share: float
    stage: str
    noisy: float
    wiener: float
    courses: tuple[Course, ...] = ()
    matrix: tuple[Entry, ...] = ()
    end_of: str | None = None
    noise: tuple[Noise, ...] = ()
    pairs: tuple[Pair, ...] = ()


def effort(contest: Contest, name: str) -> float:
    """Work for one example of an objective, in arithmetic at the rate of a matrix product: a rough forecast of time."""
    objective, d = OBJECTIVES[name], contest.dim
    work = 32.0 * d * contest.settings.hidden
    if "target_score" in objective.needs:
        parzen = objective.samples == "parzen"
        work += 4 * len(contest.patches) * d if parzen else 20 * contest.settings.components * d**2
    return work


def compare(contest: Contest, names: Sequence[str], draws: int = gradients.DRAWS) -> Iterator[Findings]:
    """Fit, judge and measure.

    Args:
        contest: What the contestants have in common.
        names: The objectives.
        draws: Examples in each of the batches that gradients are measured by.

    Yields:
        What has been found so far, a few times a second; the last is all of it.
    """
    steps = int(contest.settings.limits[0])
    fitting = {name: steps * contest.settings.batch * effort(contest, name) for name in names}
    measuring = gradients.BATCHES * draws * sum(effort(contest, name) for name in names)
    total = sum(fitting.values()) + measuring
    with torch.no_grad():
        wiener = evaluation.psnr(contest, contest.wiener())
    found = Findings(0.0, "", contest.crops.psnr(), wiener)

    before = 0.0
    for number, name in enumerate(names):
        found = replace(found, share=before / total, stage=f"{number + 1}/{len(names)} {name}")
        yield found
        for course in contestants.fit(contest, name):
            yield replace(found, share=(before + fitting[name] * course.step / steps) / total)
        before += fitting[name]
        found = replace(found, courses=(*found.courses, course))

    found = replace(found, share=before / total, stage="judging")
    models = {course.objective: course.model for course in found.courses if course.outcome != "diverged"}
    for entry in evaluation.matrix(contest, models):
        found = replace(found, matrix=(*found.matrix, entry))
        yield found

    sound = [course.objective for course in found.courses if course.denoises]
    end_of = next((name for name in END_OF if name in sound), None)
    places = {"start": contest.origin} | ({"end": models[end_of]} if end_of else {})
    found = replace(found, end_of=end_of, stage="gradients")
    for done, batches in enumerate(gradients.gather(contest, names, places, draws)):  # noqa: B007  the last is all
        share = (before + measuring * min(1.0, (done + 1) / gradients.BATCHES)) / total
        yield replace(found, share=share)
    yield replace(
        found,
        share=1.0,
        noise=tuple(_noise(batches, names, places, draws, contest.settings.batch)),
        pairs=tuple(
            Pair(at, a, b, same, gradients.parallel(torch.stack([*batches[at, a]]), torch.stack([*batches[at, b]])))
            for at in places
            for a, b, same in gradients.pairs(names)
        ),
    )


def _noise(
    batches: gradients.Gradients, names: Sequence[str], places: Iterable[str], draws: int, batch: int
) -> Iterator[Noise]:
    for name in names:
        figures = {at: gradients.noise(torch.stack([*batches[at, name]]), draws, batch) for at in places}
        unit = figures["start"][1] or math.nan  # nothing to learn, as of one flat colour: no unit either
        for at, (deviation, norm) in figures.items():
            yield Noise(at, name, deviation / unit, norm / unit)
