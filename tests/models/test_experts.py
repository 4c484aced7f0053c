"""The convolutional product of experts: closed forms against autograd and a dense Jacobian, at every border."""

import math

import pytest
import torch
from torch import Generator
from torch.func import jacrev

from smdae import divergence
from smdae.models.experts import Experts
from smdae.models.potentials import POTENTIALS, Shape, potential
from smdae.models.windows import overlap_add, windows

SHAPES = [(1, 1), (1, 5), (2, 3), (4, 4), (7, 9)]


def experts(channels=1, filters=6, size=4, levels=(0.1, 0.1), potential="student", seed=0):
    model = Experts(channels, filters, size, levels, potential).double()
    generator = Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 3)
    return model.requires_grad_(False)


def images(*shape, seed=1):
    return 0.3 * torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", POTENTIALS)
@pytest.mark.parametrize("order", range(3))
def test_each_order_is_the_derivative_of_the_one_below(name, order):
    a = torch.linspace(-6, 6, 41, dtype=torch.float64).requires_grad_()
    for shape in POTENTIALS[name]:
        (slope,) = torch.autograd.grad((shape.of(a, order) + 0 * a).sum(), a)
        torch.testing.assert_close(slope, shape.of(a, order + 1), rtol=1e-9, atol=1e-12)


def test_a_weighed_sum_of_shapes_passes_gradcheck_twice():
    shapes: tuple[Shape, ...] = POTENTIALS["student"][:2] + POTENTIALS["softplus"]
    a = images(3, 2, 5).requires_grad_()
    for images_of in (1, 2):
        weights = images(3, 4, images_of, 1, seed=2).requires_grad_()
        for order in (0, 1):
            of = lambda a, w, order=order: potential(a, w, shapes, order)  # noqa: E731
            assert torch.autograd.gradcheck(of, (a, weights))
            assert torch.autograd.gradgradcheck(of, (a, weights))


def test_the_sum_of_windows_is_the_adjoint_of_cutting_them():
    x = images(2, 3, 5, 7)
    cut = windows(x, 4)
    assert cut.shape == (48, 2 * 8 * 10)
    columns = torch.randn(cut.shape, generator=Generator().manual_seed(0), dtype=torch.float64)
    left, right = (cut * columns).sum(), (x * overlap_add(columns, x.shape, 4)).sum()
    assert left.item() == pytest.approx(right.item(), rel=1e-12)
    assert torch.autograd.gradcheck(lambda x: windows(x, 3), (images(1, 2, 3, 4).requires_grad_(),))


@pytest.mark.parametrize("side", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("potential", POTENTIALS)
def test_score_divergence_and_diagonal_are_those_of_the_energy(side, channels, potential):
    model = experts(channels, potential=potential, levels=(0.05, 0.3))
    x, sigma = images(2, channels, *side), torch.tensor([0.07, 0.2], dtype=torch.float64)
    y = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model.energy(y, sigma).sum(), y)
    psi, entries = model.score_and_diagonal(x, sigma)
    torch.testing.assert_close(psi, -slope, rtol=1e-9, atol=1e-9)
    jacobian = jacrev(lambda one: model.score(one[None], sigma[1])[0])(x[1]).reshape(x[1].numel(), -1)
    torch.testing.assert_close(jacobian, jacobian.T, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(entries[1].flatten(), jacobian.diagonal(), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(model.divergence(x, sigma)[1], jacobian.trace(), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(model.score(x, sigma), psi)


def test_brightness_is_free_also_at_the_border():
    model = experts()
    x = images(1, 1, 5, 6)
    torch.testing.assert_close(model.score(x + 0.7), model.score(x), rtol=1e-9, atol=1e-9)
    assert model.score(torch.full((1, 1, 3, 3), 0.4, dtype=torch.float64)).shape == (1, 1, 3, 3)


def test_a_gradient_of_the_closed_forms_reaches_every_parameter():
    model = experts(levels=(0.1, 0.2)).requires_grad_()
    psi, trace = model.score_and_divergence(images(2, 1, 6, 6), 0.12)
    (psi.square().sum() / 2 + trace.sum()).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_forward_mode_gives_the_jacobian_and_its_gradient():
    model = experts().requires_grad_()
    x = images(1, 1, 4, 5)
    psi, entries = divergence.diagonal(model.score, x)
    torch.testing.assert_close(entries, model.score_and_diagonal(x)[1], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(psi, model.score(x))
    probes = divergence.probes(x, 2, Generator().manual_seed(0))
    gradients = [
        torch.autograd.grad(bend.sum(), model.W)[0]
        for bend in (
            divergence.hutchinson(model.score, x, probes)[1],
            divergence.finite_difference(model.score, x, probes, 1e-5),
        )
    ]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)


def test_far_pixels_have_no_influence_and_shifts_commute():
    model = experts(size=3)
    x = images(1, 1, 12, 12)
    y = x.clone()
    y[..., 0, 0] += 1
    change = (model.score(y) - model.score(x)).abs()
    assert change[..., model.halo + 1 :, :].max() == 0
    assert change[..., : model.halo + 1, : model.halo + 1].max() > 0
    inner = slice(3, -3)
    torch.testing.assert_close(model.score(x)[..., inner, inner], model.score(x[..., 1:, 1:])[..., 2:-3, 2:-3])


def test_at_the_start_it_shrinks_what_is_as_small_as_noise():
    for filters in (5, 15, 40):
        model = Experts(1, filters, 4, (0.1, 0.1)).double()
        model.initialise(Generator().manual_seed(0))
        noise = 0.01 * images(1, 1, 24, 24)
        share = (noise + 0.01 * model.score(noise)).std() / noise.std()
        assert share < (0.4 if filters >= 15 else 1)


def test_settings_build_it_again_and_bad_ones_are_refused():
    model = experts(3, 7, 4, (0.1, 0.4), "pairs")
    again = Experts(**model.settings())
    again.load_state_dict(model.state_dict())
    assert again.settings() == model.settings()
    assert math.isclose(again.noise_range[1], 0.4)
    assert again.level is None
    for bad in ({"filters": 0}, {"size": 1}, {"levels": (0.2, 0.1)}, {"potential": "none"}):
        with pytest.raises(ValueError, match=r"experts need|levels go|unknown potential"):
            Experts(**(model.settings() | bad))
