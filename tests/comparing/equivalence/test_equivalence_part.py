"""The theorem in figures: verdicts, flatness along a path, the law of chance, the exact form."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from smdae.comparing.contest import Contest, applicable
from smdae.comparing.contestants import fit
from smdae.comparing.equivalence.estimators import estimators, pairings
from smdae.comparing.equivalence.gradients import Gradients, pooled
from smdae.comparing.equivalence.kernels import SHOT, kernels_of
from smdae.comparing.equivalence.measure import EQUIVALENCE, PLACES, Found
from smdae.comparing.equivalence.path import Path, gaps
from smdae.comparing.part import Context
from smdae.fitting.given import level_for_rows
from smdae.fitting.settings import check, for_rows
from tests.measuring import contest, measured
from tests.tiny import gray


def context(names=None, fitted=True, **settings) -> Context:
    common = contest([gray(48, 48, seed=seed) for seed in range(3)], max_steps=60, lr=0.02, sigma=60.0, **settings)
    courses = ([*fit(common, "dsm")][-1],) if fitted else ()
    return Context(common, names or applicable(), courses, quick=True)


PAIRS = pairings(applicable(), kernels_of(context(fitted=False).contest))
ROUNDED = {("dsm", "dae"), ("dsm (grain)", "dae, C^-1 (grain)")}  # equal example by example, but for rounding
FRAMED = ("ssm", "ssm-vr", "fd-ssm")


@pytest.fixture(scope="module")
def tables():
    return measured(EQUIVALENCE, context())[1]


def test_every_pair_gets_the_verdict_of_theory(tables):
    expected = {"equal": "equivalent", "unequal": "different"}
    assert len(tables["verdicts"]) == len(PAIRS) == 12 + 4 + 4
    for row in tables["verdicts"]:
        assert row.verdict == expected[row.theory], row
        assert (row.high < 0.05) == (row.theory == "equal")
        assert row.at in ("all", "start", "end")


def test_more_is_drawn_of_pairs_that_are_undecided_alone(tables):
    """Where both sides are the same but for rounding the first look tells; where chance is large, more is averaged."""
    draws = {(row.first, row.second): row.draws for row in tables["verdicts"]}
    least = min(draws.values())
    assert {draws["ism-parzen (frames)", name] for name in ("ssm", "ssm-vr")} == {least}
    assert draws["dsm (grain)", "dsm as if white (grain)"] == least
    assert draws["ism-parzen", "dsm"] > least
    for pair, count in draws.items():
        rows = [row for row in tables["shrinking"] if (row.first, row.second) == pair]
        assert rows[-1].draws == count


def test_the_first_look_settles_no_pair_that_one_place_may_still_tell_apart():
    """Together they differ by less than 5 %, and of the end alone, whose gradients are small, nothing is known yet."""
    generator = torch.Generator().manual_seed(0)
    start, noise = 100 + torch.randn(8, 40, generator=generator), torch.randn(8, 40, generator=generator)
    together, single = pooled([(start, start.clone()), (0.1 * noise, 0.1 * noise.flip(0))])
    found = Found(together, {"start": single[0], "end": single[1]}, 8)
    assert found.judged[1].verdict == "equivalent"
    assert not found.is_settled
    assert replace(found, single={"start": single[0]}).is_settled
    assert replace(found, count=32).is_settled


def test_a_difference_that_one_place_alone_shows_is_seen():
    """That of all places together is not known to be more than 5 %."""
    common = contest([gray(48, 48, seed=seed) for seed in range(3)], max_steps=60, lr=0.02, sigma=8.0)
    here = Context(common, ("dsm", "ism"), ([*fit(common, "dsm")][-1],), quick=True)
    control = next(row for row in measured(EQUIVALENCE, here)[1]["verdicts"] if row.second == "ism")
    assert (control.at, control.verdict) == ("start", "different")
    assert control.low > 0.05


def rows_context(sigma):
    """The two modes of a density on a line, 0.5 wide and 4 apart, and a fit to a thousand rows of it."""
    chance = np.random.default_rng(0)
    rows = (chance.choice([-2, 2], 1000) + chance.normal(0, 0.5, 1000)).astype(np.float32)[None, :, None]
    level = level_for_rows(rows, 1.0)[1] if sigma is None else sigma
    settings = for_rows(check({"sigma": level, "hidden": 16, "max_steps": 60, "batch": 256, "lr": 0.02}))
    common = Contest.of([rows], 1.0, settings, 1000, held_out=200)
    return Context(common, ("dsm", "ism", "ism-parzen"), ([*fit(common, "dsm")][-1],), quick=True)


@pytest.mark.parametrize(("sigma", "control"), [(None, "different"), (5.0, "too close")])
def test_controls_of_rows_are_told_apart_where_sigma_is_large_enough_to_matter(sigma, control):
    """Where it is not, what theory has different is not called equivalent."""
    _, tables = measured(EQUIVALENCE, rows_context(sigma))
    found = {(row.first, row.second): row.verdict for row in tables["verdicts"]}
    assert found["dsm", "ism"] == found["dsm", "dsm at 2 sigma"] == control
    assert found["dsm (shot)", "dsm as if white (shot)"] == control
    assert found["ism-parzen", "dsm"] == "equivalent"
    page = " ".join(EQUIVALENCE.summarise(tables))
    assert ("a larger sigma tells them apart" in page) == (control == "too close")
    assert EQUIVALENCE.draw(tables, None)["verdicts"].startswith(b"\x89PNG")


def beyond_chance(rows, pair) -> float:
    """By how much J_a - J_b of a pair has moved that chance does not account for."""
    found = [row for row in rows if (row.first, row.second) == (pair.first, pair.second)]
    assert [row.t for row in found][:: len(found) - 1] == [0.0, 1.0]
    assert found[0].gap == found[0].error == 0
    return max(abs(row.gap) - 5 * row.error for row in found)


def test_differences_of_values_are_flat_for_equal_pairs_alone(tables):
    for pair in PAIRS:
        beyond = beyond_chance(tables["on_path"], pair)
        if pair.second == "fd-ssm":  # biased by its step
            assert beyond < 1e-3
        elif pair.equal:
            assert beyond < 1e-5, pair
        elif SHOT not in pair.first:  # their gradients differ, but hardly along the path of this fit: see below
            assert beyond > 1e-3, pair


def test_along_the_difference_of_their_gradients_values_of_controls_of_shot_noise_differ():
    here = context(fitted=False)
    sides = estimators(here.contest, here.names)
    start = here.contest.origin
    control = [estimator for estimator in sides if estimator.name in (f"dsm ({SHOT})", f"dsm as if white ({SHOT})")]
    batches = Gradients(here.contest, {"start": start}, 16, 2048)
    for k in range(16):
        batches.add(k, control)
    right, wrong = (side.mean(0) for side in batches.pair("start", *(estimator.name for estimator in control)))
    away, end = (wrong - right) / (wrong - right).norm(), copy.deepcopy(start)
    vector_to_parameters(parameters_to_vector(start.parameters()) + away, end.parameters())
    pairs = [pair for pair in PAIRS if SHOT in pair.first]
    assert len(pairs) == 4
    rows = [*gaps(here, Path(start, end), pairs, [estimator for estimator in sides if SHOT in estimator.name])]
    for pair in pairs:
        beyond = beyond_chance(rows, pair)
        assert beyond < 1e-5 if pair.equal else beyond > 1e-3, pair


def test_what_is_left_of_equal_gradients_is_chance(tables):
    for pair in PAIRS:
        rows = [row for row in tables["shrinking"] if (row.first, row.second) == (pair.first, pair.second)]
        first, last = rows[0], rows[-1]
        law = (first.draws / last.draws) ** 0.5
        if (pair.first, pair.second) in ROUNDED:  # nothing is left, whatever the number of draws
            assert last.difference < 1e-5
        elif pair.second in FRAMED:
            assert last.difference < (0.01 if pair.second == "fd-ssm" else 1e-5)
        elif pair.equal:
            assert 0.5 < last.difference / first.difference / law < 2
        else:
            assert last.difference > 2 * first.difference * law


def test_averaged_over_clean_patches_dsm_is_esm_to_the_last_digit(tables):
    assert len(tables["exact"]) == 8
    for row in tables["exact"]:
        assert row.gradient_deviation < 1e-9
        assert row.value_deviation < 1e-6
        assert row.constant >= 0
        assert 1 <= row.effective <= row.patches
    assert max(row.effective for row in tables["exact"]) > 1.5  # else there was nothing to average


def test_gradients_are_told_at_each_place(tables):
    assert {row.at for row in tables["gradients"]} == set(PLACES) - {"middle"}
    assert len(tables["gradients"]) == 2 * len(tables["verdicts"])


def test_without_a_fit_there_is_the_start_alone():
    _, tables = measured(EQUIVALENCE, context(("dsm", "dae", "esm-parzen"), fitted=False))
    assert {row.at for row in tables["gradients"]} == {"start"}
    assert not tables["on_path"]
    assert EQUIVALENCE.draw(tables, None)["verdicts"].startswith(b"\x89PNG")


def test_one_objective_alone_has_nothing_to_compare_with():
    _, tables = measured(EQUIVALENCE, context(("ism",), fitted=False))
    assert not tables["verdicts"]
    assert "no two objectives" in EQUIVALENCE.summarise(tables)[0]
    assert EQUIVALENCE.draw(tables, None) == {}


def test_pictures_and_page(tables):
    for data in EQUIVALENCE.draw(tables, None).values():
        assert data.startswith(b"\x89PNG")
    lines = EQUIVALENCE.summarise(tables)
    assert max(map(len, lines)) <= 80
    assert sum("equivalent" in line for line in lines) >= 10
