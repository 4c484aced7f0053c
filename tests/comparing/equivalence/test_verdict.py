"""Intervals hold as often as they say, and verdicts follow from them."""

import math

import pytest
import torch
from scipy.stats import t as student_t
from torch import Generator

from smdae.comparing.equivalence.gradients import Parallel, pooled
from smdae.comparing.equivalence.verdict import ALL, LIMIT, evidence, judged, student


@pytest.mark.parametrize("freedom", [7, 15, 31, 127])
@pytest.mark.parametrize("probability", [0.975, 0.9995, 0.99983])
def test_quantiles_are_those_of_student(freedom, probability):
    assert student(probability, freedom) == pytest.approx(student_t.ppf(probability, freedom), rel=3e-3)


def found(excess: float, error: float, rounding: float = 1e-6) -> Parallel:
    return Parallel(1.0, 0.0, 0.0, 0.0, 0.0, excess, error, rounding)


EQUAL, APART, VAGUE = found(0.0, 1e-5), found(0.1, 1e-3), found(0.0, math.inf)


@pytest.mark.parametrize(
    ("excess", "error", "verdict"),
    [
        (0.0, 1e-5, "equivalent"),
        (0.0, 1e-2, "undecided"),
        (0.1, 1e-3, "different"),
        (0.0025, 1e-4, "undecided"),
        (-1e-4, 1e-5, "equivalent"),
        (math.nan, 0.1, "undecided"),
        (math.inf, 0.1, "undecided"),
    ],
)
def test_a_verdict_wants_the_whole_interval_on_one_side(excess, error, verdict):
    known = evidence(found(excess, error), 32)
    assert known.verdict == verdict
    assert 0 <= known.low <= known.high


def test_few_digits_are_no_evidence():
    assert evidence(found(0.0, 0.0, rounding=0.1), 32).verdict == "undecided"


def test_few_digits_tell_no_pair_apart():
    assert evidence(found(0.1, 1e-3, rounding=0.5), 32).verdict == "undecided"


@pytest.mark.parametrize(
    ("together", "start", "end", "at", "verdict"),
    [
        (EQUAL, EQUAL, EQUAL, ALL, "equivalent"),
        (EQUAL, EQUAL, APART, "end", "different"),  # the start's gradients are far larger
        (EQUAL, APART, EQUAL, "start", "different"),
        (EQUAL, found(0.01, 1e-4), APART, "end", "different"),  # where they differ most
        (EQUAL, EQUAL, VAGUE, ALL, "equivalent"),  # what is not known speaks for neither
        (VAGUE, EQUAL, APART, "end", "different"),
        (VAGUE, EQUAL, EQUAL, ALL, "undecided"),
        (APART, APART, EQUAL, ALL, "different"),
    ],
)
def test_a_pair_that_is_different_at_one_theta_is_different(together, start, end, at, verdict):
    where, known = judged(together, {"start": start, "end": end}, 32)
    assert (where, known.verdict) == (at, verdict)


def test_each_theta_asks_for_more():
    few, many = (judged(found(1e-4, 1e-4), dict.fromkeys(range(n), EQUAL), 32)[1] for n in (2, 3))
    assert many.high > few.high > evidence(found(1e-4, 1e-4), 32).high
    assert judged(found(1e-4, 1e-4), {"start": EQUAL}, 32)[1].high == evidence(found(1e-4, 1e-4), 32).high


def test_more_looks_ask_for_more():
    one, three = (evidence(found(1e-4, 1e-4), 32, looks) for looks in (1, 3))
    assert three.high > one.high


@pytest.mark.parametrize("truth", [0.0, 0.03, LIMIT, 0.08, 0.5])
@pytest.mark.parametrize("rank", [2, 200])
def test_intervals_hold_the_truth_and_verdicts_are_never_false(truth, rank):
    """Of 400 experiments of 32 batches none may miss by chance of 0.1 % more than twice; noise of low rank included."""
    chance = Generator().manual_seed(rank)
    size = 200
    first = torch.randn(size, generator=chance, dtype=torch.float64)
    turn = torch.randn(size, generator=chance, dtype=torch.float64)
    second = first + truth * turn / turn.norm() * first.norm()
    mixing = torch.randn(rank, size, generator=chance, dtype=torch.float64) / rank**0.5
    missed = 0
    for _ in range(400):
        a, b = (
            side + 0.1 * torch.randn(32, rank, generator=chance, dtype=torch.float64) @ mixing
            for side in (first, second)
        )
        known = evidence(pooled([(a, b)])[0], 32)
        missed += not known.low <= truth <= known.high
        if truth != LIMIT:
            assert known.verdict != ("different" if truth < LIMIT else "equivalent")
    assert missed <= 2
