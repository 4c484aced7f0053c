"""Divergences of fields whose Jacobian is known."""

import torch
from torch import Generator

from smdae import divergence


def field(x):
    """A curved field on images, (B, C, H, W), not a gradient."""
    return torch.sin(x) * x.flip(-1) + x.square().mean((1, 2, 3), keepdim=True)


def points(*shape):
    return torch.randn(*shape, generator=Generator().manual_seed(0), dtype=torch.float64)


def jacobian_diagonal(x):
    bends = [torch.autograd.functional.jacobian(lambda v: field(v[None])[0], p).reshape(p.numel(), -1) for p in x]
    return torch.stack([b.diagonal() for b in bends]).reshape(x.shape)


def test_exact_divergence_of_an_image_field_in_any_chunks():
    x = points(3, 2, 3, 4)
    expected = jacobian_diagonal(x)
    for chunk in (1, 7, 24, 100):
        value, entries = divergence.diagonal(field, x, chunk)
        torch.testing.assert_close(value, field(x))
        torch.testing.assert_close(entries, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(divergence.exact(field, x)[1], expected.flatten(1).sum(1))


def test_hutchinson_over_all_corners_is_exact_and_is_unbiased():
    x = points(2, 1, 1, 3)
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
    probes = corners.reshape(8, 1, 1, 1, 3).expand(8, 2, 1, 1, 3)
    value, estimate = divergence.hutchinson(field, x, probes)
    torch.testing.assert_close(value, field(x))
    torch.testing.assert_close(estimate, jacobian_diagonal(x).flatten(1).sum(1), rtol=0, atol=1e-12)


def test_finite_difference_has_an_error_of_second_order():
    x = points(4, 5)
    probes = divergence.probes(x, 6, Generator().manual_seed(1))

    def curve(z):
        return torch.sin(2 * z) + z.flip(1) ** 3

    _, exact = divergence.hutchinson(curve, x, probes)
    errors = [(divergence.finite_difference(curve, x, probes, step) - exact).abs().max() for step in (0.1, 0.05)]
    assert 3.8 < errors[0] / errors[1] < 4.2


def test_gradients_flow_to_parameters_through_forward_mode():
    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    x = points(4, 3)
    _, trace = divergence.exact(lambda z: torch.tanh(weight * z), x)
    (slope,) = torch.autograd.grad(trace.sum(), weight)
    t = torch.tanh(weight.detach() * x)
    expected = ((1 - t**2) - 2 * weight.detach() * x * t * (1 - t**2)).sum()
    torch.testing.assert_close(slope, expected)


def test_probes_are_signs_and_come_from_the_generator():
    x = points(4, 3)
    first, second = (divergence.probes(x, 5, Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (5, 4, 3)
    assert set(first.unique().tolist()) == {-1.0, 1.0}


def test_model_without_a_closed_form_gets_the_exact_divergence():
    class Curved:
        def score(self, x, sigma=None):
            return field(x)

    x = points(2, 1, 2, 3)
    psi, trace = divergence.score_and_divergence(Curved(), x)
    torch.testing.assert_close(psi, field(x))
    torch.testing.assert_close(trace, jacobian_diagonal(x).flatten(1).sum(1))


def test_model_with_divergence_alone_is_asked_for_it():
    class Linear:
        def score(self, x, sigma=None):
            return -3 * x

        def divergence(self, x):
            return x.new_full((len(x),), -3.0 * x.shape[1])

    x = points(2, 5)
    assert divergence.score_and_divergence(Linear(), x)[1].tolist() == [-15.0, -15.0]
