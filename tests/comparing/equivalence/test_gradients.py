"""How parallel gradients are: the statistics against brute force and chance, and what they say of the objectives."""

import dataclasses
import math
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Generator

from smdae.comparing.contest import Contest
from smdae.comparing.equivalence.estimators import AT_Q, estimators, pairings
from smdae.comparing.equivalence.gradients import Gradients, pooled
from smdae.comparing.equivalence.kernels import kernels_of
from smdae.comparing.estimator.spreads import Spread
from smdae.fitting.settings import check, for_rows
from smdae.objectives import OBJECTIVES, denoising, explicit
from tests.tiny import SETTINGS, gray

NAMES = tuple(OBJECTIVES)


def parallel(first, second):
    return pooled([(first, second)])[0]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def contest() -> Contest:
    """A contest whose every figure is float64."""
    made = Contest.of([gray(seed=seed) for seed in range(3)], 255.0, check(SETTINGS), 300)
    return dataclasses.replace(
        made, origin=made.origin.double(), patches=made.patches.double(), held_out=made.held_out.double()
    )


@pytest.fixture(scope="module")
def gathered(contest):
    sides = estimators(contest, NAMES)
    batches = Gradients(contest, {"start": contest.origin}, 24, 512)
    for k in range(24):
        batches.add(k, sides)
    return {side.name: batches.pair("start", side.name, side.name)[0] for side in sides}


def test_a_pair_is_of_the_batches_that_both_have(contest, gathered):
    dsm, dae = (side for side in estimators(contest, NAMES) if side.name in ("dsm", "dae"))
    batches = Gradients(contest, {"start": contest.origin}, 24, 512)
    for k in range(5):
        batches.add(k, [dsm, dae] if k < 3 else [dsm])
    for side, name in zip(batches.pair("start", "dsm", "dae"), ("dsm", "dae"), strict=True):
        torch.testing.assert_close(side, gathered[name][:3])
    assert len(batches.pair("start", "dsm", "dsm")[0]) == 5


def test_statistics_are_those_of_their_definition():
    a, b = 1 + normal(6, 9), 1 + normal(6, 9, seed=1)

    def by_hand(a, b):
        def between(x, y):
            return torch.stack([x[k] @ y[m] for k in range(len(x)) for m in range(len(x)) if k != m]).mean()

        d, square = a - b, a.mean(0).square().sum()
        trace = (d - d.mean(0)).square().sum() / (len(d) - 1)
        cosine = between(a, b) / (between(a, a) * between(b, b)).sqrt()
        difference = d.mean(0).norm() / a.mean(0).norm()
        excess = (d.mean(0).square().sum() - trace / len(d)) / between(a, a)
        return torch.stack([cosine, difference, excess]), (trace / len(d) / square).sqrt()

    found = parallel(a, b)
    expected, chance = by_hand(a, b)
    assert [found.cosine, found.difference, found.excess] == pytest.approx(expected.tolist(), rel=1e-9)
    assert found.noise == pytest.approx(chance.item(), rel=1e-9)

    rest = [[m for m in range(6) if m != k] for k in range(6)]
    left_out = torch.stack([by_hand(a[r], b[r])[0] for r in rest])
    jackknife = (5 / 6 * (left_out - left_out.mean(0)).square().sum(0)).sqrt()
    assert [found.cosine_error, found.difference_error, found.excess_error] == pytest.approx(
        jackknife.tolist(), rel=1e-9
    )


@pytest.mark.parametrize("turn", [0.0, 0.5], ids=["equal", "turned"])
def test_stated_errors_are_the_spread_over_repetitions(turn):
    first = normal(40)
    second = first + turn * normal(40, seed=1)
    runs = [
        parallel(first + normal(24, 40, seed=2 * run + 2), second + normal(24, 40, seed=2 * run + 3))
        for run in range(300)
    ]
    for figure in ("cosine", "difference", "excess"):
        values = torch.tensor([getattr(run, figure) for run in runs])
        stated = torch.tensor([getattr(run, f"{figure}_error") for run in runs])
        # Up to sqrt(2) too large where the two are equal, and 300 repetitions are uncertain by a few per cent.
        assert 0.85 < stated.square().mean().sqrt() / values.std() < 1.55, figure
    cosines = torch.tensor([run.cosine for run in runs])
    truth = torch.nn.functional.cosine_similarity(first, second, dim=0)
    assert abs(cosines.mean() - truth) < 4 * cosines.std() / math.sqrt(300)
    excess = torch.tensor([run.excess for run in runs])
    if turn == 0:
        assert abs(excess.mean()) < 4 * excess.std() / math.sqrt(300)
    else:
        assert excess.mean() > 5 * excess.std() / math.sqrt(300)


def test_several_thetas_are_compared_as_one_long_vector():
    a, b, c, d = (normal(12, 7, seed=seed) + seed for seed in range(4))
    joined = parallel(torch.cat([a, c], 1), torch.cat([b, d], 1))
    together, single = pooled([(a, b), (c, d)])
    assert dataclasses.astuple(together) == pytest.approx(dataclasses.astuple(joined), rel=1e-9)
    for found, alone in zip(single, (parallel(a, b), parallel(c, d)), strict=True):
        assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(alone), nan_ok=True)


def test_equivalent_gradients_agree_within_their_errors_and_controls_do_not(contest, gathered):
    for pair in pairings(NAMES, kernels_of(contest)):
        found = parallel(gathered[pair.first], gathered[pair.second])
        if not pair.equal:
            assert found.excess > 10 * found.excess_error
            assert found.cosine < 1 - 10 * found.cosine_error
        elif {pair.first, pair.second} == {"dsm", "dae"}:
            assert found.difference < found.rounding < 1e-12
        elif pair.second == "dae, C^-1 (grain)":  # C times C^-1 is rounded too
            assert found.difference < 1e-12
        elif pair.second in ("ssm", "ssm-vr"):  # along a whole frame the mean over v is exact
            assert found.difference < 1e-10
        elif pair.second == "fd-ssm":  # its differences have a bias
            assert 1e-10 < found.difference < 0.01
        else:
            assert abs(found.excess) < 4 * found.excess_error
            assert abs(found.cosine - 1) < 4 * found.cosine_error + 1e-5
            assert found.difference < 1.5 * found.noise


def test_implicit_gradients_are_noisier_than_explicit_ones(gathered):
    figures = {name: Spread.of(gathered[name], 512).variance for name in ("esm-parzen", "dsm", "ism-parzen")}
    assert figures["esm-parzen"] < figures["dsm"] < figures["ism-parzen"]


def test_dsm_over_all_the_patches_a_noisy_one_may_come_from_is_esm(contest):
    """sum_i p(i | x~) grad J_DSM(x~, x_i) = grad J_ESM(x~), to the last digit."""
    model, patches, sigma = contest.model(), contest.patches, contest.sigma
    noisy = patches[:1] + sigma * contest.origin.centre(normal(1, contest.dim))
    weights = (-(noisy - patches).square().sum(1) / (2 * sigma**2)).softmax(0)
    over_all = (weights * denoising(model, noisy.expand_as(patches), patches, sigma)).sum()
    target = contest.examples("esm-parzen").parzen.score(noisy)
    parameters = list(model.parameters())
    left = torch.autograd.grad(over_all, parameters)
    right = torch.autograd.grad(explicit(model, noisy, target).sum(), parameters)
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * b.abs().max().item())


WIDER = ("dsm", "dsm at 2 sigma", False)
UNDER_GRAIN = [
    ("dsm (grain)", "ism-parzen (grain)", True),
    ("dsm (grain)", "dsm as if white (grain)", False),
]
UNDER_SHOT = [
    ("dsm (shot)", "ism-parzen (shot)", True),
    ("dsm (shot)", "dsm as if white (shot)", False),
]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("ism",), []),
        (("dsm",), [WIDER]),
        (("ism-parzen", "dae"), [("ism-parzen", "dae", True)]),
        (("esm", "ism"), [("esm", AT_Q, True)]),
        (("ssm",), [("ism-parzen (frames)", "ssm", True)]),
        (("dsm", "ism-parzen"), [("ism-parzen", "dsm", True), WIDER, *UNDER_GRAIN, *UNDER_SHOT]),
        (
            ("dsm", "ism-parzen", "dae", "esm-parzen"),
            [
                *[(a, b, True) for a, b in combinations(("esm-parzen", "ism-parzen", "dsm", "dae"), 2)],
                WIDER,
                *UNDER_GRAIN,
                ("dsm (grain)", "esm-parzen (grain)", True),
                ("dsm (grain)", "dae, C^-1 (grain)", True),
                *UNDER_SHOT,
                ("dsm (shot)", "esm-parzen (shot)", True),
                ("dsm (shot)", "dae (shot)", False),
            ],
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_pairs_are_of_what_is_there(contest, names, expected):
    pairs = pairings(names, kernels_of(contest))
    assert sorted((pair.first, pair.second, pair.equal) for pair in pairs) == sorted(expected)
    made = [estimator.name for estimator in estimators(contest, names)]
    assert sorted(made) == sorted({side for a, b, _ in expected for side in (a, b)})


def test_the_grain_has_an_inverse_that_magnifies_no_chance_at_any_size_of_patches():
    """The target of `dsm` has at most a few times the variance of that of white noise of the same level."""
    for size in (2, 4, 12, 20):
        made = Contest.of([gray(64, 64)], 255.0, check(SETTINGS | {"patch_size": size}), 50)
        grain = kernels_of(made)["grain"]
        R = grain.correlation
        assert R[0, 1] == R[0, size] == pytest.approx(0.5, abs=0.01)  # neighbours in a row, in a column
        assert torch.linalg.inv(R).diagonal().mean() < 3
        assert grain.sigma == pytest.approx(made.sigma)


def test_shot_noise_has_the_level_of_the_contest_on_average(contest):
    shot = kernels_of(contest)["shot"]
    sd = shot.sd(contest.patches)
    assert sd.square().mean().sqrt().item() == pytest.approx(contest.sigma, rel=1e-5)
    assert sd.max() > 1.5 * sd.min() > 0


def test_shot_noise_differs_from_white_where_patches_are_flat_and_one_pixel_is_dark():
    """With the least of all values for its black, the noise of nearly all pixels would be of one level."""
    dark = gray(64, 64)
    dark[:4] = 0
    made = Contest.of([0.5 + 0.02 * (dark - 0.5)], 255.0, check(SETTINGS), 50)
    made.patches[0, 0] = -0.9
    sd = kernels_of(made)["shot"].sd(made.patches)
    assert sd.std() > 0.2 * sd.mean()


def test_rows_of_numbers_have_the_grain_of_their_columns():
    rows = np.random.default_rng(0).normal(0.5, 0.1, (1, 200, 3)).astype(np.float32)
    made = Contest.of([rows], 1.0, for_rows(check({"hidden": 4})), 100)
    R = kernels_of(made)["grain"].correlation
    torch.testing.assert_close(R, torch.tensor([[1, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 1]], dtype=R.dtype))
