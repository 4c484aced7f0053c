"""A network adapted to one image: what is gained, what is never lost, and who cannot be adapted."""

import numpy as np
import pytest
import torch
from skimage import data
from torch import Generator

from smdae import load
from smdae.denoising.denoise import denoise
from smdae.denoising.task import Task
from smdae.errors import UsageError
from smdae.fitting.adaptation import _gain, adapted, adapting
from tests.conftest import random_energy

SIGMA = 25 / 255
BRICK = data.brick()[:352, :352].astype(np.float32) / 255


def noisy(clean):
    return torch.from_numpy(
        clean + np.float32(SIGMA) * np.random.default_rng(0).standard_normal(clean.shape, np.float32)
    )


def last(model, y, steps, safe=None):
    safe = torch.ones_like(y, dtype=torch.bool) if safe is None else safe
    *_, end = adapting(model, y, torch.tensor([SIGMA]), safe, Generator().manual_seed(0), steps)
    return end


def test_a_texture_is_learnt_and_the_model_given_stays_as_it_is():
    model = load("natural-gray-small")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    y = noisy(BRICK)
    end = last(model, y[None, None], 200)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    first, then = (np.square(denoise(y.numpy(), net, SIGMA) - BRICK).mean() for net in (model, end.model))
    assert end.gain > 0.1
    assert 10 * np.log10(first / then) > 0.1


def test_without_a_gain_that_is_sure_the_model_is_the_one_given():
    flat = np.full((96, 96), 0.5, np.float32)
    model = load("natural-gray-small")
    end = last(model, noisy(flat)[None, None], 20)
    assert (end.gain, end.step, end.steps) == (0.0, 20, 20)
    assert end.model is model


def test_an_image_too_small_to_hold_anything_out_is_left_alone():
    model = load("natural-gray-small")
    end = last(model, noisy(BRICK[:8, :8])[None, None], 20)
    assert end.model is model


def test_where_noise_may_be_cut_off_nothing_is_learnt():
    y = noisy(BRICK)[None, None]
    assert last(load("natural-gray-small"), y, 20, torch.zeros_like(y, dtype=torch.bool)).gain == 0


def test_a_gain_is_beyond_two_standard_errors():
    judged = torch.ones(1, 1, 64, 96, dtype=torch.bool)
    before = torch.full(judged.shape, 0.02)
    off = torch.zeros_like(before)
    off[:, :, :32, :32], off[:, :, 32:, :32] = -0.004, 0.004  # as much gained as lost
    assert _gain(before, before + off, judged, torch.tensor([0.1])) == (0, 0)
    after = before - 0.005
    assert _gain(before, after, judged, torch.tensor([0.1]))[0] == pytest.approx(10 * np.log10(2), rel=1e-3)


def test_the_error_of_a_gain_is_that_of_estimates_of_noise_drawn_again():
    """Of Stein's estimate with a known error: before is sigma^2 + 0.02 - noise, after is less by 0.005."""
    sigma, judged = 0.3, torch.ones(1, 1, 320, 320, dtype=torch.bool)
    generator, found = Generator().manual_seed(0), []
    for _ in range(60):
        e = sigma * torch.randn(judged.shape, generator=generator)
        before = e.square() + 0.02
        found.append(_gain(before, before - 0.005, judged, torch.tensor([sigma])))
    gains, errors = np.array(found).T
    assert gains.mean() == pytest.approx(10 * np.log10(0.02 / 0.015), rel=0.05)
    assert np.median(errors) == pytest.approx(gains.std(), rel=0.4)


def test_the_gain_of_an_error_near_0_is_not_known():
    judged = torch.ones(1, 1, 320, 320, dtype=torch.bool)
    noise = 0.3 * torch.randn(judged.shape, generator=Generator().manual_seed(0))
    before = noise.square() + 0.005
    gain, error = _gain(before, before - 0.0045, judged, torch.tensor([0.3]))
    assert gain > 5
    assert error > 1
    _, more = _gain(before, before - 0.002, judged, torch.tensor([0.3]), level_error=0.02)
    assert more > _gain(before, before - 0.002, judged, torch.tensor([0.3]))[1] > 0


def test_only_networks_can_be_adapted():
    from smdae.models import Patchwise

    image = noisy(BRICK[:40, :40]).numpy()
    model = Patchwise(random_energy(25, 4, sigma=SIGMA).float(), 1, 5)
    with pytest.raises(UsageError, match="--adapt is for networks"):
        adapted(Task.of(image, model, SIGMA), image)


def test_a_stored_picture_in_colour_is_adapted_to():
    colour = np.clip(np.rint(255 * noisy(data.astronaut()[:96, :96].astype(np.float32) / 255).numpy()), 0, 255)
    image = colour.astype(np.uint8)
    for name in ("natural-gray-small", "natural-color-small"):
        task = Task.of(image, load(name), 25)
        seen = []
        model, gain, _ = adapted(
            task, denoise(image, task.loaded, 25), lambda *told, seen=seen: seen.append(told), steps=10
        )
        assert seen == [(step, 10) for step in range(1, 11)]
        assert (model is task.loaded) == (gain == 0)
