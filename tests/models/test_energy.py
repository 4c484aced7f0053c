"""The paper's energy: every closed form against automatic differentiation in float64."""

import math

import pytest
import torch
from torch import Generator

from smdae import divergence
from smdae.densities import GaussianMixture
from smdae.models import EnergyModel
from smdae.objectives import denoising
from tests.conftest import random_energy

VARIANTS = {
    "literal": {"sigma": 0.7},
    "noise units": {"sigma": 1.0, "level": 0.3},
    "free mean": {"sigma": 1.0, "level": 0.3, "free_means": 1},
    "free means of colours": {"sigma": 0.8, "level": 2.0, "free_means": 3},
}
LEVELS = {"own": None, "other": 0.45, "each": torch.tensor([0.4, 0.7, 1.5], dtype=torch.float64)}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def model(request) -> EnergyModel:
    return random_energy(12, 20, **request.param)


@pytest.fixture(params=LEVELS.values(), ids=LEVELS.keys())
def sigma(request):
    return request.param


@pytest.fixture
def x():
    return torch.randn(3, 12, generator=Generator().manual_seed(1), dtype=torch.float64)


def jacobian(model, x, sigma):
    """d psi_i / dx_j, with shape (B, d, d), row by row."""
    rows = []
    for i in range(len(x)):
        level = sigma[i : i + 1] if isinstance(sigma, torch.Tensor) else sigma
        rows.append(torch.autograd.functional.jacobian(lambda v, s=level: model.score(v[None], s)[0], x[i]))
    return torch.stack(rows)


def square(model, sigma):
    level = model.level if sigma is None else sigma
    return level[:, None] ** 2 if isinstance(level, torch.Tensor) else level**2


def test_score_is_minus_the_gradient_of_the_energy(model, x, sigma):
    point = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model.energy(point, sigma).sum(), point)
    torch.testing.assert_close(model.score(x, sigma), -gradient, rtol=0, atol=1e-10)


def test_divergence_and_diagonal_are_those_of_the_jacobian(model, x, sigma):
    diagonal = jacobian(model, x, sigma).diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(model.divergence(x, sigma), diagonal.sum(1), rtol=0, atol=1e-10)
    torch.testing.assert_close(model.score_and_diagonal(x, sigma)[1], diagonal, rtol=0, atol=1e-10)
    psi, trace = model.score_and_divergence(x, sigma)
    torch.testing.assert_close(psi, model.score(x, sigma), rtol=0, atol=1e-12)
    torch.testing.assert_close(trace, diagonal.sum(1), rtol=0, atol=1e-10)


def test_jacobian_is_symmetric(model, x, sigma):
    bend = jacobian(model, x, sigma)
    torch.testing.assert_close(bend, bend.mT, rtol=0, atol=1e-10)


def test_reconstruction_is_the_tweedie_step(model, x, sigma):
    expected = x + square(model, sigma) * model.score(x, sigma)
    torch.testing.assert_close(model.reconstruct(x, sigma), expected, rtol=0, atol=1e-10)


def test_posterior_variance_is_second_order_tweedie(model, x, sigma):
    s2 = square(model, sigma)
    expected = s2 * (1 + s2 * jacobian(model, x, sigma).diagonal(dim1=1, dim2=2))
    torch.testing.assert_close(model.posterior_variance(x, sigma), expected, rtol=0, atol=1e-10)
    assert (model.posterior_variance(x, sigma) >= 0).all()


def test_literal_formula():
    model = random_energy(3, 2, sigma=0.5)
    x = torch.tensor([[0.1, -0.2, 0.3]], dtype=torch.float64)
    W, b, c = (p.detach() for p in (model.W, model.b, model.c))
    by_hand = c @ x[0] - x[0] @ x[0] / 2 + sum(math.log1p(math.exp(W[j] @ x[0] + b[j])) for j in range(2))
    assert model.energy(x).item() == pytest.approx(-by_hand.item() / 0.25, abs=1e-12)


def test_parameters_have_the_shapes_of_the_contract():
    model = EnergyModel(6, 4, 0.5)
    assert {name: tuple(p.shape) for name, p in model.named_parameters()} == {"W": (4, 6), "b": (4,), "c": (6,)}


def test_noise_units_scale_with_the_level(model, x):
    torch.testing.assert_close(model.score(3 * x, 3 * model.level), model.score(x, model.level) / 3)


def test_free_means_do_not_move_and_do_not_matter(x):
    model = random_energy(12, 20, sigma=1.0, level=0.3, free_means=3)
    shift = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64).repeat_interleave(4)
    torch.testing.assert_close(model.score(x + shift), model.score(x), rtol=0, atol=1e-10)
    assert model.score(x).unflatten(1, (3, 4)).mean(2).abs().max() < 1e-12


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
def test_closed_divergence_is_the_one_by_forward_mode(variant, x):
    model = random_energy(12, 20, **variant)
    torch.testing.assert_close(divergence.exact(model.score, x, chunk=5)[1], model.divergence(x), rtol=0, atol=1e-10)


def patches(n: int, generator: Generator) -> torch.Tensor:
    """Smooth patches of 8 x 8 with edges, (n, 64)."""
    at = torch.linspace(-1, 1, 8)
    angle = 6.28 * torch.rand(n, 1, 1, generator=generator)
    offset = torch.rand(n, 1, 1, generator=generator) - 0.5
    line = torch.cos(angle) * at[:, None] + torch.sin(angle) * at[None] + offset
    contrast = torch.rand(n, 1, 1, generator=generator)
    return (0.5 + contrast * 0.3 * torch.tanh(4 * line)).flatten(1)


def test_start_has_no_dead_and_no_saturated_units(generator):
    model = EnergyModel(64, 128, 1.0, level=0.1, free_means=1)
    clean = patches(4000, generator)
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=generator)
    model.initialise(noisy, generator)
    _, h = model._encode(noisy, model._gain(None))
    assert (h.max(0).values > 0.5).all()  # each unit answers to something
    assert (h.min(0).values < 0.5).all()  # and not to everything
    start = (model.reconstruct(noisy) - clean).square().mean()
    assert start < (noisy - clean).square().mean()


def test_start_is_the_same_for_the_same_generator():
    models = []
    for _ in range(2):
        generator = Generator().manual_seed(4)
        clean = patches(500, generator)
        model = EnergyModel(64, 32, 1.0, level=0.1, free_means=1)
        model.initialise(clean + 0.1 * torch.randn(clean.shape, generator=generator), generator)
        models.append(model)
    assert torch.equal(models[0].W, models[1].W)
    assert torch.equal(models[0].b, models[1].b)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
def test_refuses_a_level_that_is_none(sigma):
    with pytest.raises(ValueError, match="positive number"):
        EnergyModel(4, 3, sigma)
    with pytest.raises(ValueError, match="positive number"):
        EnergyModel(4, 3, 1.0, level=sigma)


def test_refuses_groups_that_do_not_divide():
    with pytest.raises(ValueError, match="7 coordinates are not 3 equal groups"):
        EnergyModel(7, 3, 1.0, free_means=3)


def mixture(dim: int) -> GaussianMixture:
    """Three narrow Gaussians some way apart."""
    means = 1.5 * torch.randn(3, dim, generator=Generator().manual_seed(dim))
    return GaussianMixture(torch.tensor([0.2, 0.3, 0.5]), means, 0.05 * torch.eye(dim).expand(3, dim, dim))


@pytest.mark.parametrize("dim", [1, 2, 3, 8])
@pytest.mark.parametrize("level", [0.1, 0.4])
def test_many_units_in_few_dimensions_start_no_steeper_than_the_identity(dim, level):
    generator = Generator().manual_seed(0)
    clean = mixture(dim).sample(3000, generator)
    noisy = clean + level * torch.randn(clean.shape, generator=generator)
    model = EnergyModel(dim, 256, 1.0, level)
    model.initialise(noisy, generator)
    x = noisy.requires_grad_()
    slope = sum(torch.autograd.grad(model.reconstruct(x)[:, i].sum(), x)[0][:, i].mean().item() for i in range(dim))
    assert 0.1 < slope / dim < 1.1
    assert len(model.b.unique()) > 200  # no two alike
    torch.testing.assert_close(model.reconstruct(noisy).mean(0), noisy.mean(0), atol=0.02, rtol=0)


def test_a_start_on_patches_has_steps_as_high_as_the_noise(generator):
    model = EnergyModel(64, 128, 1.0, level=0.1, free_means=1)
    model.initialise(patches(4000, generator) + 0.1 * torch.randn(4000, 64, generator=generator), generator)
    torch.testing.assert_close(model.W.norm(dim=1), torch.ones(128))


@pytest.mark.parametrize(("dim", "worst"), [(1, 0.1), (2, 0.1), (3, 0.15)])
def test_a_short_fit_in_few_dimensions_comes_near_the_score(dim, worst):
    """The Fisher divergence to q_sigma, in sigma^2 a dimension, of which a score of 0 has more."""
    sigma, generator = 0.3, Generator().manual_seed(1)
    clean = mixture(dim).sample(5000, generator)
    smooth = mixture(dim).smoothed(sigma)
    model = EnergyModel(dim, 128, 1.0, sigma)
    model.initialise(clean + sigma * torch.randn(clean.shape, generator=generator), generator)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(300):
        x = clean[torch.randint(5000, (256,), generator=generator)]
        noisy = x + sigma * torch.randn(x.shape, generator=generator)
        optimiser.zero_grad()
        denoising(model, noisy, x, sigma).mean().backward()
        optimiser.step()
    x = smooth.sample(4000, generator)
    divergence = (sigma**2 * (model.score(x) - smooth.score(x)).square()).mean().item()
    assert divergence < worst < (sigma**2 * smooth.score(x).square()).mean().item() / 2


def test_a_start_of_means_alone_is_one():
    model = EnergyModel(3, 5, 1.0, 0.1, free_means=3)
    model.initialise(torch.randn(50, 3, generator=Generator().manual_seed(0)))
    assert all(parameter.isfinite().all() for parameter in model.parameters())
