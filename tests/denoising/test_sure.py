"""Stein's estimate against the truth, where D is linear and all is known, and against implicit score matching."""

import math

import pytest
import torch
from torch import Generator

from smdae import objectives
from smdae.denoising import sure
from smdae.denoising.sure import Risk
from smdae.divergence import probes
from tests.conftest import random_network

SIGMA, D = 0.3, 40


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def linear():
    """A symmetric D(y) = A y, and a clean x."""
    half = draw(D, D) / D**0.5
    return 0.3 * (half + half.T) + 0.4 * torch.eye(D, dtype=torch.float64), draw(D, seed=1)


def estimates(n):
    """The estimate and the true error of each of n noisy versions of x."""
    matrix, clean = linear()
    noisy = clean + SIGMA * draw(n, D, seed=2)
    v = probes(noisy, 1, Generator().manual_seed(3))[0]
    found = []
    for y, probe in zip(noisy, v, strict=True):
        change = sure.jacobian_product(lambda z: matrix @ z, y, probe, SIGMA)
        found.append(sure.estimate(matrix @ y - y, probe, change, SIGMA))
    return found, (noisy @ matrix - clean).square().mean(1)


def test_the_estimate_is_without_bias_and_errs_as_it_says():
    found, truth = estimates(20_000)
    off = torch.tensor([one.mse for one in found]) - truth
    spread = off.std().item()
    assert abs(off.mean()) < 4 * spread / len(found) ** 0.5
    told = math.sqrt(sum(one.error**2 for one in found) / len(found))
    assert 0.97 < told / spread < 1.1  # the probe's part is an upper bound: what J has on its diagonal does not vary


def test_the_change_is_the_derivative():
    model = random_network()
    y, v = draw(1, 1, 12, 9), probes(draw(1, 1, 12, 9), 1, Generator().manual_seed(0))[0]

    def denoise(z):
        return z + SIGMA**2 * model.score(z, SIGMA)

    expected = torch.func.jvp(denoise, (y,), (v,))[1]
    found = sure.jacobian_product(denoise, y, v, SIGMA)
    assert (found - expected).norm() < 0.05 * expected.norm()  # kinks within the step


def test_of_a_score_it_is_the_implicit_objective():
    model = random_network(activation="silu")
    y = draw(1, 1, 16, 16)
    v = probes(y, 1, Generator().manual_seed(0))
    d = y.numel()

    def denoise(z):
        return z + SIGMA**2 * model.score(z, SIGMA)

    found = sure.estimate(denoise(y) - y, v[0], sure.jacobian_product(denoise, y, v[0], SIGMA), SIGMA)
    expected = SIGMA**2 + 2 * SIGMA**4 / d * objectives.implicit(model, y, SIGMA, probes=v).item()
    assert found.mse == pytest.approx(expected, abs=1e-5)


def test_without_a_model_it_is_the_noise():
    y = draw(1, 1, 50, 50)
    found = sure.estimate(torch.zeros_like(y), torch.ones_like(y), torch.ones_like(y), SIGMA)
    assert found.mse == pytest.approx(SIGMA**2)


def test_a_part_that_is_probed_stands_for_all_at_a_price():
    residual, probe = draw(100), torch.ones(25, dtype=torch.float64)
    part = sure.estimate(residual, probe, 0.5 * probe, SIGMA)
    whole = sure.estimate(residual, torch.ones(100), 0.5 * torch.ones(100), SIGMA)
    assert part.mse == pytest.approx(whole.mse)
    assert part.error > whole.error


def test_psnr_and_its_error():
    one = Risk(0.01, 0.001, 0.1)
    assert one.psnr() == pytest.approx(20)
    assert one.psnr(255.0) == pytest.approx(20 + 20 * math.log10(255))
    assert one.psnr_error == pytest.approx(10 * math.log10(0.011 / 0.010), rel=0.06)
    assert math.isfinite(Risk(-0.01, 0.001, 0.1).psnr())
    both = sure.mean([one, Risk(0.03, 0.001, 0.1)])
    assert (both.mse, both.error) == (pytest.approx(0.02), pytest.approx(0.001 / 2**0.5))
