"""The posterior covariance: against closed forms, dense Jacobians, and its independence of tiling."""

import numpy as np
import pytest
import torch

from smdae.denoising.task import Task
from smdae.denoising.uncertainty import variance
from smdae.models import Patchwise
from tests.conftest import random_energy, random_network
from tests.denoising.test_samplers import Normal
from tests.models.test_experts import experts
from tests.tiny import colour, gray

SIGMA = 0.1


def task(image, model, sigma=SIGMA):
    return Task.of(image, model, sigma)


def picture(*shape, seed=0):
    return (0.5 + 0.2 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def test_of_a_normal_density_it_is_that_of_the_posterior():
    found = variance(task(picture(20, 30), Normal(0.02)))
    assert found.shape == (20, 30)
    np.testing.assert_allclose(found, 0.02 * SIGMA**2 / (0.02 + SIGMA**2), rtol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_probes_agree_with_the_dense_jacobian(channels):
    # A network whose reach is shorter than the spacing of probes, so that these are exact.
    torch.manual_seed(0)
    kernel = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False).requires_grad_(False)

    class Smoothing:
        noise_range = (0.01, 1.0)
        halo, shift_multiple, bytes_per_pixel = 1, 1, 16

        def score(self, x, sigma):
            return (torch.tanh(kernel(x)) - x) / sigma**2

    model = Smoothing()
    model.channels = channels
    image = picture(10, 11) if channels == 1 else picture(10, 11, 3)
    y = torch.from_numpy(np.atleast_3d(image).transpose(2, 0, 1).copy())[None]
    jacobian = torch.autograd.functional.jacobian(lambda x: torch.tanh(kernel(x)), y).reshape(y.numel(), -1)
    expected = SIGMA**2 * jacobian.diagonal().reshape(y.shape[1:]).permute(1, 2, 0).numpy().reshape(image.shape)
    np.testing.assert_allclose(variance(task(image, model)), np.maximum(expected, 0), atol=1e-5 + 0.02 * SIGMA**2)


def test_energies_have_it_in_closed_form():
    image = picture(9, 12)
    model = experts(levels=(0.05, 0.3)).float()
    y = torch.from_numpy(image)[None, None]
    expected = model.posterior_variance(y, SIGMA)[0, 0].clamp(min=0).numpy()
    np.testing.assert_allclose(variance(task(image, model)), expected, rtol=1e-4, atol=1e-7)
    lifted = Patchwise(random_energy(16, 6, sigma=SIGMA), 1, 4).float()
    jacobian = torch.autograd.functional.jacobian(lambda x: lifted.reconstruct(x, SIGMA), y).reshape(108, 108)
    expected = SIGMA**2 * jacobian.diagonal().reshape(9, 12).clamp(min=0).numpy()
    np.testing.assert_allclose(variance(task(image, lifted)), expected, rtol=1e-3, atol=1e-6)


def test_it_is_independent_of_the_tiling(monkeypatch):
    from smdae.denoising import uncertainty

    model = random_network(levels=(0.01, 0.2)).float()
    of = task(gray(150, 170), model, 25)
    whole = variance(of)
    monkeypatch.setattr(uncertainty, "side_for", lambda model, where: 64)
    np.testing.assert_allclose(variance(of), whole, atol=1e-6)
    assert whole.min() >= 0


def test_channels_have_their_own_levels():
    image = colour(16, 20)
    found = variance(task(image, random_network(levels=(0.01, 0.2)).float(), (20, 0, 30)))
    assert found.shape == image.shape
    assert found[..., 1].max() == 0
    alone = variance(task(image[..., 2], random_network(levels=(0.01, 0.2)).float(), 30))
    np.testing.assert_allclose(found[..., 2], alone, atol=1e-7)
