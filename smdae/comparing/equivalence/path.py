"""The straight path of thetas from the start to the end of a fit, and J_a - J_b along it.

theta(t) = (1 - t) start + t end
gap(t)   = (J_a - J_b)(theta(t)) - (J_a - J_b)(theta(0)): zero but for chance where J_a - J_b is free of theta
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from smdae.comparing.contestants import REFERENCES
from smdae.comparing.equivalence.estimators import SLICED, Estimator, Pairing
from smdae.comparing.part import Context
from smdae.fitting.draws import among

THETAS = 9  # on the path
DRAWS, QUICK_DRAWS = 16_384, 8192  # examples that J is measured by
SEED_OFFSET = 1 << 20  # added to the seed for these draws


@dataclass(frozen=True)
class OnPath:
    """J_first - J_second at a place of the path, scaled, less its value at the start."""

    first: str  # of the two estimators
    second: str
    theory: str  # equal or unequal
    t: float  # where on the path, 0 the start, 1 the end
    value: float  # J_first, scaled
    gap: float  # (J_first - J_second)(t) - (J_first - J_second)(0), scaled
    error: float  # standard error of the gap


class Path:
    """The path theta(t) = (1 - t) theta_start + t theta_end, as models; it is constant if there is no end."""

    def __init__(self, start: Any, end: Any | None) -> None:
        self.start, self.end = start, end

    @property
    def leads(self) -> bool:
        """Return whether the path has an end; without one it is the start alone."""
        return self.end is not None

    def __call__(self, t: float) -> Any:
        """Return the model at t, from 0 to 1; the start if there is no end."""
        model = copy.deepcopy(self.start)
        if self.end is not None:
            with torch.no_grad():
                for here, there in zip(model.parameters(), self.end.parameters(), strict=True):
                    here.lerp_(there, t)
        return model


def path_of(context: Context) -> Path:
    """Return the path to the end of the reference fit; without an end if no fit ended well."""
    sound = {course.objective: course.model for course in reversed(context.courses) if course.outcome == "done"}
    return Path(context.contest.origin, next((sound[name] for name in REFERENCES if name in sound), None))


@torch.no_grad()
def gaps(context: Context, path: Path, pairs: Sequence[Pairing], estimators: Sequence[Estimator]) -> Iterator[OnPath]:
    """Yield J_first - J_second of every pair along the path, at the same examples for all thetas and for both sides."""
    contest = context.contest
    clean, _ = among(contest.patches)(QUICK_DRAWS if context.quick else DRAWS, contest.generator(SEED_OFFSET))
    at = [i / (THETAS - 1) for i in range(THETAS)]
    thetas = [path(t) for t in at]
    values: dict[str, Tensor] = {}
    for estimator in estimators:
        shown = estimator.show(clean, contest.generator(SEED_OFFSET + 1))
        losses = torch.stack([estimator.losses(theta, shown) for theta in thetas]).double()  # (THETAS, n)
        if estimator.name in SLICED:  # the mean over a frame is what belongs to one x~
            losses = losses.unflatten(1, (-1, contest.dim)).mean(2)
        values[estimator.name] = losses
    for pair in pairs:
        first, second = values[pair.first], values[pair.second]
        changes = (first - second) - (first[0] - second[0])
        for t, value, change in zip(at, first, changes, strict=True):
            error = change.std() / len(change) ** 0.5
            yield OnPath(
                pair.first, pair.second, pair.theory, t, *(x.item() for x in (value.mean(), change.mean(), error))
            )
