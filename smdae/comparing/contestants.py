"""The fits of a comparison: theta after up to K steps of each objective, and its figures on the way.

The time of a contestant is that of its steps, with the making of its examples and without its evaluation. It is
evaluated often at first, when much changes, and then at equal distances.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from smdae.comparing.contest import Contest
from smdae.comparing.evaluation import Value, judged, psnr
from smdae.errors import DegenerateError, DivergedError
from smdae.fitting.degeneration import refuse_degenerate
from smdae.fitting.loop import learning_rate, step
from smdae.fitting.state import State
from smdae.models import EnergyModel

REPORT_SECONDS = 0.25
NEAR_BEST_DB = 0.3  # dB below the best PSNR of all fits that count as near it
# Where the fit of one objective will do, it is that of the first of these which takes part.
REFERENCES = ("dsm", "dae", "esm-parzen", "ism-parzen", "esm")


@dataclass(frozen=True)
class Point:
    """The figures of a fit after some of its steps."""

    step: int  # steps done
    seconds: float  # time spent in them
    values: Mapping[str, Value]  # held-out J under every objective, raw, and the Fisher divergence to q_sigma
    psnr: float | None  # of held-out crops in dB; None without crops, and for a score of the clean density


@dataclass(frozen=True, eq=False)
class Course:
    """A fit at one moment: its model, its figures so far and how it ended. Later moments are objects of their own."""

    objective: str  # the name of the objective that is fitted
    seed: int  # the number of the fit, from 0
    model: EnergyModel  # the model with averaged weights, which all moments of a fit share
    step: int = 0  # steps done
    points: tuple[Point, ...] = ()  # the figures after some of these steps; the first are those of the start
    outcome: Literal["done", "degenerated", "diverged"] | None = None  # how it ended; None while it runs
    reason: str | None = None  # why it failed, in one line; None if it did not

    @property
    def denoises(self) -> bool:
        """Return whether the fit ended well with a model that removes noise from images."""
        return bool(self.points) and self.points[-1].psnr is not None and self.outcome == "done"


def measured_steps(steps: int) -> list[int]:
    """Return the steps after which a fit is measured: 5 early ones, then 7 at even distances."""
    early = np.geomspace(min(10, steps), max(1, steps / 10), 5)
    late = np.linspace(steps / 10, steps, 7)
    return sorted({math.ceil(mark) for mark in (*early, *late)})


def fit(contest: Contest, name: str, judges: Sequence[str] = (), seed: int = 0) -> Iterator[Course]:
    """Fit the objective `name`, from the start and with the batches of the fit number `seed`, from 0.

    The fit is judged by its own objective and by the objectives `judges`.

    Yields:
        The `Course` of the fit so far, a few times a second and at each step where it is judged; the last one is
        complete. If the fit diverges or degenerates, nothing is raised: the last `Course` has that as its outcome.
    """
    settings, examples = contest.settings, contest.examples(name)
    steps = int(settings.limits[0])
    state = State.start(contest.model(seed), settings, contest.generator_of_fit(seed))
    average: Any = state.average
    judges = tuple(dict.fromkeys((name, *judges)))

    def judge(count: int, seconds: float) -> Point:
        values = judged(contest, average, judges)
        quality = None if examples.implicit else psnr(contest, average)
        if not all(math.isfinite(figure) for figure in (values[name].mean, quality or 0.0)):
            raise DivergedError("the fit diverged: its held-out figures are NaN or infinite", "try a lower --lr")
        return Point(count, seconds, values, quality)

    course = Course(name, seed, average)
    stops = set(measured_steps(steps))
    recent: list[Tensor] = []
    count, seconds = 0, 0.0
    try:
        course = replace(course, points=(judge(0, 0.0),))
        yield course
        begun = time.perf_counter()
        for count in range(1, steps + 1):
            lr = learning_rate(count - 1, steps, settings.warmup, settings.lr)
            recent.append(step(state, examples.draw(settings.batch, state.generator), examples, lr))
            if count not in stops and time.perf_counter() - begun < REPORT_SECONDS:
                continue
            mean, weighted = torch.stack(recent).mean(0).tolist()
            refuse_degenerate(examples, mean, weighted, state.model)
            seconds += time.perf_counter() - begun
            course = replace(course, step=count)
            if count in stops:
                course = replace(course, points=(*course.points, judge(count, seconds)))
            yield course
            recent, begun = [], time.perf_counter()
    except DivergedError as error:
        ending: Any = "degenerated" if isinstance(error, DegenerateError) else "diverged"
        yield replace(course, step=count, outcome=ending, reason=error.message)
        return
    yield replace(course, outcome="done")


def near_best_point(course: Course, courses: Sequence[Course]) -> Point | None:
    """Return the first point of a fit within 0.3 dB of the best final PSNR of all fits; None if there is none."""
    best = max((c.points[-1].psnr or 0.0 for c in courses if c.denoises), default=None)
    if best is None or not course.denoises:
        return None
    return next((point for point in course.points if (point.psnr or 0.0) >= best - NEAR_BEST_DB), None)
