"""Correlated noise, taken out by a model of white noise."""

import numpy as np
import pytest
import torch
from torch import Generator

from smdae import Noise, denoise
from smdae.curves import Affine
from smdae.denoising.correlated import Correlated, told_level
from smdae.files.model_file import load
from tests.estimation.pictures import GRAIN, in_colour, sampled, scene


def psnr(result, clean):
    return 10 * np.log10(255**2 / np.mean((result.astype(float) - clean) ** 2))


@pytest.fixture(scope="module")
def grain():
    return Noise((Affine(read=15.0),), 255.0, grain=GRAIN)


def test_grain_goes_and_white_noise_of_the_same_level_would_leave_it(grain):
    noisy = sampled(grain, scene())
    told, found = denoise(noisy, noise=grain), denoise(noisy)
    as_white = denoise(noisy, sigma=15, noise="white")
    assert psnr(told, scene()) > psnr(as_white, scene()) + 3
    assert psnr(found, scene()) > psnr(told, scene()) - 0.5


def test_grain_in_colour_with_channels_that_share_it():
    shared = ((1.0, 0.6, 0.6), (0.6, 1.0, 0.6), (0.6, 0.6, 1.0))
    noise = Noise((Affine(read=12.0),), 255.0, grain=GRAIN, channels=shared)
    noisy = sampled(noise, in_colour())
    assert psnr(denoise(noisy), in_colour()) > psnr(noisy, in_colour()) + 6


def test_channels_that_share_noise_are_told_more():
    assert told_level(Noise.gaussian(1.0), 2.0) == 2.0
    same = ((1.0, 1.0, 1.0),) * 3
    assert told_level(Noise((Affine(read=1.0),), channels=same), 2.0) == pytest.approx(2 * 3**0.5)


def test_the_result_does_not_depend_on_tiles(grain):
    noisy = sampled(grain, scene(200, 230))
    whole, cut = (denoise(noisy, noise=grain, tile=side) for side in (1000, 64))
    assert np.abs(whole.astype(int) - cut).max() <= 1


def test_texture_is_kept_where_it_is_stronger_than_noise():
    model = load("natural-gray")
    noise = Noise((Affine(read=6 / 255),), grain=GRAIN)
    made = Correlated.of(model, noise, 6 / 255, 1)
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    stripes = 0.5 + 0.2 * torch.sin(2.8 * columns + 2.5 * rows)
    y = stripes + noise.sigma * noise.correlate(torch.randn(1, 1, 128, 128, generator=Generator().manual_seed(0)))
    with torch.inference_mode():
        fine, coarse = made.estimates(y)
        result = made.reconstruct(y)
    error = [(one - stripes).square().mean().item() for one in (result, fine, coarse)]
    assert error[0] < 1.1 * error[1]
    assert error[0] < 0.5 * error[2]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2), (17, 31)])
def test_pictures_of_any_size(grain, shape):
    noisy = np.full(shape, 100, np.uint8)
    assert denoise(noisy, noise=grain).shape == shape
