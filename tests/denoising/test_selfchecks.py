"""The self-checks: what an exact posterior mean passes, and what they find."""

import pytest
import torch
from torch import Generator

from smdae import load
from smdae.denoising.selfchecks import selfchecks
from tests.denoising.test_samplers import SIGMA, Normal
from tests.models.test_experts import experts


def noisy(side=64, variance=0.02, seed=0):
    generator = Generator().manual_seed(seed)
    shape = (1, 1, side, side)
    clean = 0.5 + variance**0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)
    return clean + SIGMA * torch.randn(shape, generator=generator, dtype=torch.float64)


def test_an_exact_posterior_mean_passes_all_three():
    found = selfchecks(Normal(0.02), noisy(256), SIGMA, Generator().manual_seed(0))
    exact = 0.02 / (0.02 + SIGMA**2)
    assert found.trace == pytest.approx(exact, rel=1e-6)
    assert found.residual == pytest.approx(exact, abs=0.01)
    assert found.asymmetry < 1e-6


def test_a_wrong_level_sets_trace_and_residual_apart():
    found = selfchecks(Normal(0.02), noisy(256), 1.3 * SIGMA, Generator().manual_seed(0))
    assert abs(found.trace - found.residual) > 0.05


def test_an_energy_is_symmetric_and_a_field_that_turns_is_not():
    x = noisy(16)
    assert selfchecks(experts(levels=(0.05, 0.3)), x, SIGMA, Generator().manual_seed(0)).asymmetry < 0.01

    class Turning:
        def score(self, x, sigma):
            return (torch.roll(x, 1, 3) - x) / sigma**2

    # J shifts by a pixel and J' shifts back: as orthogonal as two matrices can be.
    found = selfchecks(Turning(), x, SIGMA, Generator().manual_seed(0))
    assert found.asymmetry == pytest.approx(2**0.5, abs=0.2)


def test_the_bundled_network_is_near_a_posterior_mean():
    from skimage import data

    clean = torch.from_numpy(data.camera()[None, None, 100:356, 100:356]).float() / 255
    y = clean + SIGMA * torch.randn(clean.shape, generator=Generator().manual_seed(0))
    model = load("natural-gray-small")
    found = selfchecks(model, y, SIGMA, Generator().manual_seed(1))
    true = (y + SIGMA**2 * model.score(y, SIGMA) - clean).square().mean().item() / SIGMA**2
    assert found.trace == pytest.approx(true, rel=0.25)
    assert found.residual == pytest.approx(true, rel=0.25)
    assert 0 < found.asymmetry < 0.8
