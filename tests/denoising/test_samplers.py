"""Samplers against densities whose posterior is known, and what all of them owe: K scores, the seed, the tiling."""

import math

import numpy as np
import pytest
import torch
from torch import Generator

from smdae.denoising import SAMPLERS, SamplerSettings, denoise, sample
from smdae.denoising.samplers import checked_steps, sigma_schedule
from smdae.denoising.task import Task
from smdae.errors import DivergedError, UsageError
from tests.conftest import random_network
from tests.tiny import colour, gray

SIGMA = 0.1


class Normal:
    """Independent normal pixels of mean 1/2 and the given variances, at every level."""

    noise_range = (1e-3, 1.0)
    channels = 1

    def __init__(self, variance=0.02):
        self.variance = torch.as_tensor(variance, dtype=torch.float64)
        self.scores = 0

    def score(self, x, sigma):
        self.scores += 1
        return (0.5 - x) / (self.variance + sigma**2)


class Energetic(Normal):
    """The same, with its energy."""

    def energy(self, x, sigma):
        return ((x - 0.5).square() / (2 * (self.variance + sigma**2))).flatten(1).sum(1)


def noisy(*shape, seed=0):
    generator = Generator().manual_seed(seed)
    return 0.5 + 0.17 * torch.randn(shape, generator=generator, dtype=torch.float64)


def walked(model, y, name, count=None, size=None, seed=0):
    count, size = checked_steps(name, count, size)
    return [*sample(model, y, SIGMA, name, SamplerSettings(count, size, Generator().manual_seed(seed)))]


@pytest.mark.parametrize(
    ("name", "count"), [(n, k) for n, row in SAMPLERS.items() for k in (1, 2, 7) if k <= row.max_steps]
)
def test_k_steps_take_k_scores_and_yield_k_estimates(name, count):
    for kind in (Normal, Energetic):
        model = kind()
        path = walked(model, noisy(1, 1, 5, 5), name, count)
        assert model.scores == len(path)
        assert len(path) == count or (name == "coarse-to-fine" and len(path) < count)


def test_tweedie_is_the_posterior_mean():
    model, y = Normal(), noisy(1, 1, 4, 4)
    gain = 0.02 / (0.02 + SIGMA**2)
    torch.testing.assert_close(walked(model, y, "tweedie")[-1], 0.5 + gain * (y - 0.5))


def test_ascent_comes_to_the_mode_of_the_posterior():
    y = noisy(1, 1, 4, 4)
    for model in (Normal(), Energetic()):
        model.noise_range = (1e-4, 1.0)
        end = walked(model, y, "ascent", 400)[-1]
        s = sigma_schedule(model, SIGMA, 2)[-1]
        gain = (0.02 + s**2) / (0.02 + s**2 + SIGMA**2)
        torch.testing.assert_close(end, 0.5 + gain * (y - 0.5), rtol=0, atol=0.03)


def test_with_an_energy_ascent_never_lowers_the_posterior():
    model, y = Energetic(1e-3), noisy(3, 1, 4, 4)
    model.noise_range = (0.05, 0.05)  # one level, so that the posterior stays the same

    def posterior(x):
        return -model.energy(x, SIGMA) - (y - x).square().flatten(1).sum(1) / (2 * SIGMA**2)

    path = [y, *walked(model, y, "ascent", 8, 30.0)]
    values = torch.stack([posterior(x) for x in path])
    assert (values.diff(dim=0) >= -1e-9).all()
    assert (values[-1] > values[0]).all()


def test_the_flow_keeps_ranks_and_comes_to_the_width_of_the_clean_density():
    model, y = Normal(), noisy(1, 1, 6, 6)
    exact = 0.5 + math.sqrt(0.02 / (0.02 + SIGMA**2)) * (y - 0.5)
    errors = [(walked(model, y, "ode", count)[-1] - exact).abs().max().item() for count in (10, 40, 160)]
    assert errors[0] / errors[1] > 6  # of second order: 16, but for the first and last steps
    assert errors[2] < 1e-4


@pytest.mark.parametrize("size", [0.0, 0.1])
def test_langevin_samples_the_posterior(size):
    variance = torch.tensor([0.02, 0.002], dtype=torch.float64).repeat_interleave(20_000)[None, None, None]
    model = Normal(variance)
    y = torch.full_like(variance, 0.62)
    sample = walked(model, y, "langevin", 300, size)[-1]
    spread = variance * SIGMA**2 / (variance + SIGMA**2)
    mean = 0.5 + variance / (variance + SIGMA**2) * 0.12
    for part in (slice(0, 20_000), slice(20_000, None)):
        found, m, v = (t[..., part].flatten() for t in (sample, mean, spread))
        assert found.mean().item() == pytest.approx(m[0].item(), abs=5 * math.sqrt(v[0] / 20_000) + 2e-3)
        assert found.var().item() == pytest.approx(v[0].item(), rel=0.1)


def test_coarse_to_fine_noise_keeps_the_level_that_the_model_is_told():
    """Where D(x) is the clean image itself, all that is left of x at each step is noise of just that level."""
    told = []

    class Known(Normal):
        def score(self, x, sigma):
            told.append(sigma)
            return (0.5 - x) / sigma**2

    y = 0.5 + SIGMA * torch.randn(1, 1, 200, 200, generator=Generator().manual_seed(3), dtype=torch.float64)
    path = walked(Known(), y, "coarse-to-fine", 8, 0.5)
    assert len(path) >= 4
    for x, level in zip(path[:-1], told[1:], strict=True):
        assert (x - 0.5).std().item() == pytest.approx(level, rel=0.015)


def test_what_draws_noise_follows_the_seed_and_what_does_not_draws_none():
    model, y = random_network(levels=(0.01, 0.2)), noisy(1, 1, 8, 8)
    for name, row in SAMPLERS.items():
        first, again, other = (walked(model, y, name, seed=seed)[-1] for seed in (0, 0, 1))
        assert torch.equal(first, again)
        assert torch.equal(first, other) != row.is_random


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_result_is_independent_of_the_tiling(name):
    model = random_network(levels=(0.01, 0.2)).float()
    image = gray(150, 170).astype(np.float32) / 255
    count = min(3, SAMPLERS[name].max_steps)
    whole, cut = (denoise(image, model, SIGMA, sampler=name, steps=count, tile=side) for side in (1000, 64))
    np.testing.assert_allclose(cut, whole, atol=2e-5)


def test_channels_of_their_own_levels_are_walked_each_at_its_own():
    image = colour(24, 32) / np.float32(255)
    for channels in (1, 3):
        model = random_network(channels, levels=(0.01, 0.2)).float()
        result = denoise(image, model, (0.1, 0.0, 0.05), sampler="ode", steps=4)
        assert np.array_equal(result[..., 1], image[..., 1])
        alone = denoise(image if channels == 3 else image[..., 2], model, 0.05, sampler="ode", steps=4)
        np.testing.assert_allclose(result[..., 2], alone[..., 2] if channels == 3 else alone, atol=1e-6)


def test_channels_whose_path_ends_early_wait_for_the_others():
    image = colour(24, 32) / np.float32(255)
    model = random_network(levels=(0.01, 0.2)).float()
    result = denoise(image, model, (0.02, 0.15, 0.0), sampler="coarse-to-fine", seed=4)
    alone = denoise(image[..., 0], model, 0.02, sampler="coarse-to-fine", seed=4)
    np.testing.assert_allclose(result[..., 0], alone, atol=1e-6)
    task = Task.of(image, model, (0.02, 0.15, 0.0), sampler="coarse-to-fine", seed=4)
    y = task.noisy((slice(None), slice(None)), torch.device("cpu"))
    counts = [len([*task.estimates(y, model)])]
    for level in (0.02, 0.15):
        one = Task.of(image[..., 1], model, level, sampler="coarse-to-fine")
        counts.append(len([*one.estimates(y[:, 1:2], model)]))
    assert counts[0] == max(counts[1:]) > min(counts[1:])


def test_samples_of_channels_share_no_noise():
    flat, model = np.full((24, 24, 3), 0.5, np.float32), random_network(levels=(0.01, 0.2)).float()
    first, second = (denoise(flat, model, (0.1, 0.1001, 0.1002), sampler="langevin", seed=k) for k in (0, 1))
    apart = np.abs(first[..., 1] - second[..., 0]).mean()
    assert apart > 0.1 * np.abs(first[..., 1] - second[..., 1]).mean() > 0


def test_a_path_that_leaves_for_infinity_is_stopped():
    with pytest.raises(DivergedError, match=r"'ascent' diverged at step \d+ of 500"):
        walked(Normal(1e-9), noisy(1, 1, 4, 4), "ascent", 500, 50.0)


@pytest.mark.parametrize(
    ("name", "count", "size", "said"),
    [
        ("nope", None, None, "there are tweedie, ascent"),
        ("ode", 0, None, "takes from 1 to 1000 steps, not 0"),
        ("ode", 10_000, None, "not 10000"),
        ("tweedie", 2, None, "takes one step, not 2"),
        ("ode", None, 0.5, "takes no step size"),
        ("ascent", None, 0.0, "from 1e-06 up"),
        ("ascent", None, math.nan, "from 1e-06 up"),
        ("coarse-to-fine", None, 2.0, "from 1e-06 up to 1"),
    ],
)
def test_steps_and_sizes_that_cannot_be_are_refused(name, count, size, said):
    with pytest.raises(UsageError, match=said):
        checked_steps(name, count, size)


def test_a_model_of_one_level_takes_what_it_can():
    model = random_network(levels=(0.1, 0.1)).float()
    with pytest.raises(UsageError, match="'ode' needs a model of many levels") as caught:
        Task.of(gray(), model, sampler="ode")
    assert caught.value.hint == "this model takes tweedie, ascent"
    assert denoise(gray(), model, sampler="ascent", steps=2).shape == gray().shape
