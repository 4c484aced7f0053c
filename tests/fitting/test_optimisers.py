"""Muon: matrices that are nearly orthogonal, one pace for all directions, and the steps that its formula tells."""

import pytest
import torch
from torch import Generator, nn

from smdae.errors import UsageError
from smdae.fitting.optimisers import BETAS, EDGE_RATE, MOMENTUM, OPTIMISERS, Muon, orthogonal
from smdae.fitting.settings import check
from tests.conftest import random_network


def matrices(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(3, 4, 30), (2, 30, 4), (1, 8, 8)])
def test_singular_values_become_about_one_and_vectors_stay(shape):
    m = matrices(*shape)
    U, S, V = torch.linalg.svd(m, full_matrices=False)
    o = orthogonal(m)
    assert o.shape == m.shape
    turned = U.mT @ o @ V.mT  # diagonal, if the singular vectors are those of m
    values = turned.diagonal(dim1=1, dim2=2)
    assert (turned - torch.diag_embed(values)).abs().max() < 1e-6
    seen = S / m.flatten(1).norm(dim=1)[:, None] > 0.05
    assert values[seen].min() > 0.6
    assert values.max() < 1.3


def test_the_scale_of_the_gradient_does_not_matter():
    m = matrices(2, 5, 9)
    torch.testing.assert_close(orthogonal(1000 * m), orthogonal(m), rtol=1e-6, atol=1e-6)


def test_matrices_of_one_shape_move_as_each_would_alone():
    m = matrices(3, 4, 7)
    torch.testing.assert_close(orthogonal(m)[1:2], orthogonal(m[1:2]))


def test_two_steps_of_a_kernel_are_those_of_the_formula():
    kernel = nn.Parameter(matrices(6, 2, 1, 1))
    start, lr = kernel.detach().clone(), 0.1
    optimiser = Muon([kernel], [], lr)
    average, expected = torch.zeros(6, 2, dtype=torch.float64), start.reshape(6, 2)
    for seed in (1, 2):
        g = torch.randn(6, 2, generator=Generator().manual_seed(seed), dtype=torch.float64)
        kernel.grad = g.reshape(6, 2, 1, 1).clone()
        optimiser.step()
        average = MOMENTUM * average + (1 - MOMENTUM) * g
        ahead = MOMENTUM * average + (1 - MOMENTUM) * g
        expected = expected - lr * 3**0.5 * orthogonal(ahead[None])[0]  # rows / columns = 3
        torch.testing.assert_close(kernel.detach().reshape(6, 2), expected)


def test_edges_go_by_adam_at_a_tenth_of_the_rate():
    ours, theirs = (nn.Parameter(matrices(4, 3)) for _ in range(2))
    muon = Muon([], [ours], 0.1)
    adam = torch.optim.Adam([theirs], lr=EDGE_RATE * 0.1, betas=BETAS)
    for seed in range(4):
        for parameter in (ours, theirs):
            parameter.grad = torch.randn(4, 3, generator=Generator().manual_seed(seed), dtype=torch.float64)
        muon.step()
        adam.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)


def test_a_parameter_without_a_gradient_stays():
    kernel, edge = nn.Parameter(matrices(4, 3)), nn.Parameter(matrices(2, 2))
    before = kernel.detach().clone(), edge.detach().clone()
    Muon([kernel], [edge], 0.1).step()
    assert torch.equal(kernel, before[0])
    assert torch.equal(edge, before[1])


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_parameter_of_a_network_is_moved_by_each_optimiser(name):
    model = random_network().requires_grad_(True)
    before = [p.detach().clone() for p in model.parameters()]
    optimiser = OPTIMISERS[name](model, 0.01, 0.0)
    x = torch.rand(2, 1, 16, 16, dtype=torch.float64)
    (model.reconstruct(x, 0.1) - 0.5).square().mean().backward()
    optimiser.step()
    assert all(not torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(before)


def test_muon_is_for_networks():
    with pytest.raises(UsageError, match="muon"):
        check({"optimiser": "muon"})
