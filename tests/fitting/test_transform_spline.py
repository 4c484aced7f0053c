"""The transform of shot noise, learnt from the picture: what the spline is, what is gained, and what is never lost."""

import math

import numpy as np
import pytest
import torch
from torch import Generator

from smdae import load
from smdae.denoising.denoise import run_task
from smdae.denoising.stabilised import Whitening, transforms
from smdae.denoising.task import Task
from smdae.fitting.spline import Spline
from smdae.fitting.transform_spline import View, learn, learnt_for
from smdae.noise import Noise
from tests.estimation.pictures import scene

PEAK, READ = 25.0, 0.01  # photons at white, read noise
TRUE = Noise.poisson_gaussian(1 / PEAK, READ)
FAINT = Noise.poisson_gaussian(0.75 / PEAK, READ)  # three quarters of it


def spline(generator, channels=1):
    rises = torch.randn(channels, 127, dtype=torch.float64, generator=generator).exp()
    heights = torch.cat([torch.zeros(channels, 1, dtype=torch.float64), rises.cumsum(1)], 1)
    return Spline(torch.full((channels,), -0.2).double(), torch.full((channels,), 0.01).double(), heights)


def clean():
    """A smooth picture below white, (192, 192)."""
    return (0.6 * scene(192, 192) / 255).astype(np.float32)


def shot(x):
    """The picture with photon and read noise, as floats."""
    chance = np.random.default_rng(0)
    counts = chance.poisson(PEAK * x) / PEAK
    return (counts + READ * chance.standard_normal(x.shape)).astype(np.float32)


def psnr(result, x):
    return -10 * math.log10(np.mean(np.square(result - x)))


def denoised(task, whitened=None):
    return run_task(Task.for_noise(task.prepared, task.loaded, task.noise, whitened=whitened))


def test_a_spline_increases_and_its_inverse_undoes_it_inside_and_beyond(generator):
    s = spline(generator, channels=2)
    u = torch.linspace(-0.5, 1.5, 4001, dtype=torch.float64)[None, None, None].expand(3, 2, 1, -1)
    z = s.apply(u)
    assert (z.diff(dim=3) > 0).all()
    assert (s.invert(z) - u).abs().max() < 1e-9
    assert (s.apply(s.invert(z)) - z).abs().max() < 1e-9


def test_a_spline_of_equal_rises_is_a_line(generator):
    s = Spline(torch.tensor([0.5]), torch.tensor([0.1]), torch.arange(5.0)[None])
    u = torch.tensor([[[[0.0, 0.5, 0.57, 2.0]]]])
    torch.testing.assert_close(s.apply(u), (u - 0.5) / 0.1)


def test_a_wrong_start_is_mended():
    x = clean()
    task = Task.of(shot(x), load("natural-gray-small"), noise=FAINT)
    start = run_task(task)
    seen = []
    whitened, share = learnt_for(task, start, lambda *told: seen.append(told), steps=120)
    assert seen == [(step, 120) for step in range(1, 121)]
    assert share > 0
    assert psnr(denoised(task, whitened), x) > psnr(start, x) + 3


def test_from_the_oracle_nothing_is_lost():
    x = clean()
    task = Task.of(shot(x), load("natural-gray-small"), noise=TRUE)
    start = run_task(task)
    whitened, _ = learnt_for(task, start, steps=60)
    assert psnr(denoised(task, whitened), x) > psnr(start, x) - 0.02


def view(y):
    y = torch.from_numpy(y)[None, None]
    return View(y, y, torch.ones_like(y), torch.ones_like(y, dtype=torch.bool), torch.ones_like(y) > 0, None)


def start_of(noise):
    return Whitening(*transforms(noise.curves, 0.0, 1.0, None))


def test_the_same_seed_learns_the_same_and_the_model_stays_as_it_is():
    model, y = load("natural-gray-small"), shot(clean()[:96, :96])
    before = [tensor.clone() for tensor in model.state_dict().values()]
    ends = []
    for _ in range(2):
        *_, end = learn(model, view(y), start_of(FAINT), Generator().manual_seed(3), 30)
        ends.append(end)
    first, second = ends
    assert first.gain == second.gain > 0
    assert torch.equal(first.whitening.each[0].forward, second.whitening.each[0].forward)
    assert first.whitening.level == second.whitening.level
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))


def test_what_is_learnt_still_increases():
    start = start_of(FAINT)
    *_, end = learn(load("natural-gray-small"), view(shot(clean()[:96, :96])), start, Generator().manual_seed(3), 30)
    (f,) = end.whitening.each
    assert end.whitening is not start
    assert (f.forward.diff() > 0).all()


@pytest.mark.parametrize("side", [3, 8], ids=["smaller than the grid", "one block"])
def test_a_picture_too_small_to_hold_anything_out_keeps_the_start(side):
    start = start_of(TRUE)
    *_, end = learn(
        load("natural-gray-small"), view(shot(clean()[:side, :side])), start, Generator().manual_seed(0), 10
    )
    assert end.whitening is start
    assert end.gain == 0


def test_a_constant_picture_keeps_the_start():
    start = start_of(TRUE)
    y = np.full((64, 64), 0.3, np.float32)
    *_, end = learn(load("natural-gray-small"), view(y), start, Generator().manual_seed(0), 5)
    assert end.whitening is start
