"""Are two expected gradients equal? Never known for sure; what is known is an interval.

The relative difference |E a - E b| / |E a| is the root of `excess` (see gradients.py), whose interval is that of
Student's t over the batches: excess +- t error. A pair is

    equivalent   if the interval of all thetas together lies below 5 %
    different    if it lies above, or if that of a single theta does
    undecided    else, which is not a pass
    too close    if it lies below 5 % and theory has the two different, as where sigma is too small to matter: a control
                 that shows nothing, which is not a pass either

Gradients that are equal are so at every theta, so one is enough to tell a pair apart: where a fit begins far away from
its end, the gradients of its start, and what they have in common, are almost all of a sum over thetas.

Intervals hold with a confidence of 99.9 % for all thetas and looks together: data may be looked at a few times, and
more drawn while a pair is undecided, for which each look at each theta gets its part of the 0.1 % (Bonferroni).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from smdae.comparing.equivalence.gradients import Parallel

LIMIT = 0.05
CONFIDENCE = 0.999
ALL = "all"  # thetas together
TOO_CLOSE = "too close"

Verdict = Literal["equivalent", "different", "undecided"]


@dataclass(frozen=True)
class Evidence:
    """The interval of a relative difference of two gradients, and the verdict."""

    low: float  # the interval that holds it with a probability of 99.9 %, however often one has looked
    high: float
    verdict: Verdict  # equivalent, different or undecided


def student(probability: float, freedom: int) -> float:
    """Return the quantile of Student's t at a probability, 0 to 1, by Hill's expansion (1970) about the normal one.

    From 7 degrees of freedom on its relative error is below 0.12 % for probabilities from 0.0005 to 0.9995.
    """
    z = NormalDist().inv_cdf(probability)
    n, square = freedom, z * z
    terms = (
        (square + 1) / 4,
        ((5 * square + 16) * square + 3) / 96,
        (((3 * square + 19) * square + 17) * square - 15) / 384,
        ((((79 * square + 776) * square + 1482) * square - 1920) * square - 945) / 92160,
    )
    return float(z * (1 + sum(term / n ** (i + 1) for i, term in enumerate(terms))))


def evidence(found: Parallel, batches: int, looks: int = 1) -> Evidence:
    """Return the interval of a relative difference that was measured on K = `batches`, and the verdict.

    The confidence of 99.9 % holds for `looks` such verdicts together.
    """
    t = student(1 - (1 - CONFIDENCE) / (2 * looks), batches - 1)
    half_width = t * found.excess_error
    if not math.isfinite(found.excess + half_width):
        return Evidence(0.0, math.inf, "undecided")
    low, high = (math.sqrt(max(0.0, found.excess + side * half_width)) for side in (-1, 1))
    high = max(high, found.rounding)  # fewer digits are no evidence
    different = low > max(LIMIT, found.rounding)
    return Evidence(low, high, "equivalent" if high < LIMIT else "different" if different else "undecided")


def judged(together: Parallel, single: Mapping[str, Parallel], batches: int, looks: int = 1) -> tuple[str, Evidence]:
    """Return the name of the theta at which two gradients differ most clearly, or "all", and the evidence there.

    `together` compares the gradients at all thetas joined to one vector, `single` those at each theta, by its name.
    `batches` and `looks` are as for `evidence`.
    """
    if len(single) > 1:
        looks *= 1 + len(single)
    whole = evidence(together, batches, looks)
    apart = [(at, evidence(found, batches, looks)) for at, found in single.items()]
    apart = [(at, known) for at, known in apart if known.verdict == "different"]
    if whole.verdict == "different" or not apart:
        return ALL, whole
    return max(apart, key=lambda one: one[1].low)
