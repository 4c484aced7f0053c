"""The network that is a gradient: of its energy, symmetric, homogeneous, and able to be fitted."""

import pytest
import torch
from torch import Generator

from smdae import divergence, objectives
from smdae.models import GradientUNet
from tests.conftest import TINY_NETWORK


def network(channels=1, seed=0):
    model = GradientUNet(channels, **TINY_NETWORK).double()
    generator = Generator().manual_seed(seed)
    model.initialise(generator)
    with torch.no_grad():
        model.inner.head.weight.uniform_(-0.3, 0.3, generator=generator)
    return model


def images(*shape, seed=1):
    return 0.3 * torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_score_is_the_gradient_of_the_energy_and_its_jacobian_symmetric(channels):
    model, x = network(channels).requires_grad_(False), images(2, channels, 6, 5)
    sigma = torch.tensor([0.12, 0.17], dtype=torch.float64)
    y = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model.energy(y, sigma).sum(), y)
    torch.testing.assert_close(model.score(x, sigma), -slope)
    jacobian = torch.autograd.functional.jacobian(lambda one: model.score(one, 0.12), x[:1])
    jacobian = jacobian.reshape(x[0].numel(), -1)
    torch.testing.assert_close(jacobian, jacobian.T, rtol=1e-8, atol=1e-8)


def test_it_is_jointly_homogeneous():
    model, x = network().requires_grad_(False), images(1, 1, 8, 8)
    torch.testing.assert_close(model.reconstruct(3 * x, 0.3), 3 * model.reconstruct(x, 0.1))
    torch.testing.assert_close(model.energy(3 * x, 0.3), model.energy(x, 0.1))


def test_scores_without_gradients_are_the_same():
    model, x = network(), images(1, 1, 8, 8)
    expected = model.score(x, 0.15).detach()
    with torch.no_grad():
        torch.testing.assert_close(model.score(x, 0.15), expected)
    with torch.inference_mode():
        torch.testing.assert_close(model.score(x, 0.15), expected)


def test_losses_reach_every_kernel_by_every_way_to_the_divergence():
    model, x = network(), images(2, 1, 8, 8)
    probes = divergence.probes(x, 1, Generator().manual_seed(0))
    clean = images(2, 1, 8, 8, seed=2)
    losses = {
        "dsm": objectives.denoising(model, x, clean, 0.15),
        "ism": objectives.implicit(model, x, 0.15, probes),
        "by differences": objectives.implicit(model, x, 0.15, probes, step=1e-4),
    }
    gradients = {}
    for name, loss in losses.items():
        model.zero_grad()
        loss.sum().backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())
        gradients[name] = model.inner.stem.weight.grad.clone()
    torch.testing.assert_close(gradients["ism"], gradients["by differences"], rtol=1e-3, atol=1e-3)


def test_a_fresh_one_can_move():
    model = GradientUNet(1, **TINY_NETWORK)
    model.initialise(Generator().manual_seed(0))
    x = images(2, 1, 8, 8).float()
    objectives.denoising(model, x, images(2, 1, 8, 8, seed=2).float(), 0.15).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_what_it_cannot_be_is_refused():
    for bad, said in (({"activation": "relu"}, "smooth"), ({"clips": True}, "clipped")):
        with pytest.raises(ValueError, match=said):
            GradientUNet(1, **TINY_NETWORK, **bad)
    model = network()
    GradientUNet(**model.settings()).load_state_dict(model.state_dict())
