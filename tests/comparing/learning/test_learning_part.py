"""The courses of fits as tables: what is in them is what judges say, and ends are those of the courses."""

import io
import math

import pytest
import torch
from PIL import Image

from smdae.comparing.contest import Contest
from smdae.comparing.contestants import Course, Point, fit
from smdae.comparing.drawing import DPI
from smdae.comparing.evaluation import FISHER, Value, judged, psnr, scale
from smdae.comparing.learning.measure import LEARNING, NEAR_BEST_DB
from smdae.comparing.part import Context
from smdae.densities import Gaussian
from smdae.fitting.settings import check
from tests.measuring import contest, measured
from tests.tiny import SETTINGS

NAMES = ("ism", "dsm", "esm-parzen")


@pytest.fixture(scope="module")
def context() -> Context:
    common = contest(max_steps=40)
    courses = tuple([*fit(common, name, NAMES)][-1] for name in NAMES)
    return Context(common, NAMES, courses, quick=True)


@pytest.fixture(scope="module")
def found(context):
    return measured(LEARNING, context)[1]


def test_values_are_those_of_the_models(context, found):
    last = {(row.objective, row.judged_by): row for row in found["values"]}
    assert {judge for _, judge in last} == {*NAMES, FISHER}
    for course in context.courses:
        for judge, value in judged(context.contest, course.model, NAMES).items():
            row = last[course.objective, judge]
            assert (row.value, row.error, row.step) == (value.mean, value.error, 40)
            assert row.scaled == pytest.approx(value.mean * scale(context.contest, judge))


def test_objectives_that_are_one_judge_alike(found):
    """J_ESMq_sigma is the Fisher divergence, on the same examples; `dsm` has more by a constant."""
    last = {(row.objective, row.judged_by): row for row in found["values"]}
    apart = [last[name, "dsm"].scaled - last[name, FISHER].scaled for name in NAMES]
    error = max(math.hypot(last[name, "dsm"].error, last[name, FISHER].error) for name in NAMES)
    for other in apart[1:]:
        assert other == pytest.approx(apart[0], abs=4 * error * last["dsm", "dsm"].scaled / last["dsm", "dsm"].value)


def test_quality_is_that_of_held_out_crops(context, found):
    quality = {row.objective: row.psnr for row in found["quality"] if row.step == 40}
    assert quality["ism"] is None  # the score of clean patches knows no noise
    for course in context.courses[1:]:
        assert quality[course.objective] == pytest.approx(psnr(context.contest, course.model))
    assert [row.name for row in found["baselines"]] == ["noisy", "linear filter"]
    assert found["baselines"][0].psnr == pytest.approx(context.contest.crops.psnr())


def drawn(objective: str, *qualities: float | None, seed: int = 0, outcome: str = "done") -> Course:
    """A course that has these PSNR after 0, 10, 20 steps and so on, two seconds each."""
    points = [Point(10 * k, 2.0 * k, {objective: Value(1.0, 0.1)}, psnr) for k, psnr in enumerate(qualities)]
    return Course(objective, seed, None, 10 * (len(qualities) - 1), tuple(points), outcome, None)


def test_ends_and_when_each_came_near_the_best(context):
    courses = (
        drawn("dsm", 20.0, 24.0, 25.0 - NEAR_BEST_DB, 25.0),
        drawn("dsm", 20.0, 23.0, 24.0, 26.0, seed=1),
        drawn("ssm", 20.0, 21.0, 22.0, 23.0),
        drawn("ism", None, None),
        drawn("dae", 20.0, 30.0, outcome="diverged"),
    )
    tables = measured(LEARNING, Context(context.contest, ("dsm", "ssm", "ism", "dae"), courses, quick=True))[1]
    dsm, ssm, ism, dae = tables["ends"]
    assert (dsm.fits, dsm.steps, dsm.seconds, dsm.psnr) == (2, 30, 6.0, 25.5)
    assert dsm.psnr_deviation == pytest.approx(0.5**0.5)
    assert (ssm.near_best_step, ism.near_best_step) == (None, None)
    assert (ism.psnr, dae.psnr, dae.outcome) == (None, None, "diverged")
    text = "\n".join(LEARNING.summarise(tables))
    assert "25.50 +- 0.71" in text
    assert "diverged" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_the_first_fit_tells_when_it_came_near(context):
    courses = (drawn("dsm", 20.0, 24.0, 26.0 - NEAR_BEST_DB, 25.0, 26.0), drawn("ssm", 20.0, 21.0, 22.0))
    tables = measured(LEARNING, Context(context.contest, ("dsm", "ssm"), courses, quick=True))[1]
    assert [(end.near_best_step, end.near_best_seconds) for end in tables["ends"]] == [(20, 4.0), (None, None)]


def test_a_slow_fit_is_told_apart_from_a_score_of_clean_patches(context):
    fast, slow, clean = drawn("dsm", 20.0, 26.0), drawn("ssm", 20.0, 21.0), drawn("ism", None, None)

    def told(*courses):
        names = tuple(course.objective for course in courses)
        tables = measured(LEARNING, Context(context.contest, names, courses, quick=True))[1]
        return " ".join("\n".join(LEARNING.summarise(tables)).partition("\n\nEach model")[0].split())

    both = told(fast, slow)
    assert "ssm 21.00 not yet not yet" in both
    assert "not yet where a fit ended farther from it." in both
    assert "clean patches" not in both
    assert "- where the score is of clean patches" in told(fast, clean)
    assert "not yet" not in told(fast, clean)
    assert told(fast).endswith(f"Near best: within {NEAR_BEST_DB:g} dB of the best.")


def test_of_a_density_there_is_no_quality_to_tell():
    common = Contest.of_density(Gaussian(torch.zeros(3), torch.eye(3)), check({**SETTINGS, "max_steps": 5}), 200)
    course = [*fit(common, "dsm", ("dsm",))][-1]
    tables = measured(LEARNING, Context(common, ("dsm",), (course,), quick=True))[1]
    assert tables["baselines"] == []
    text = "\n".join(LEARNING.summarise(tables))
    assert "PSNR" not in text
    assert "done" in text
    drawn = LEARNING.draw(tables, Context(common, ("dsm",), (course,)))
    assert set(drawn) == {"curves", "matrix"}
    with Image.open(io.BytesIO(drawn["curves"])) as curves:
        assert curves.width == 10 * DPI  # two panels of the Fisher divergence, and none of the PSNR
