"""Correlated noise, taken out by a model of white noise."""

import numpy as np
import pytest
import torch
from torch import Generator

from smdae import Noise, denoise
from smdae.curves import Affine
from smdae.denoising.correlated import Correlated, white_level
from tests.estimation.pictures import GRAIN, in_colour, sampled, scene
from tests.white_network import of_white_noise

SMALL = of_white_noise("natural-gray-small")


def psnr(result, clean):
    return 10 * np.log10(255**2 / np.mean((result.astype(float) - clean) ** 2))


@pytest.fixture(scope="module")
def grain():
    return Noise((Affine(read=15.0),), 255.0, grain=GRAIN)


def test_grain_goes_and_white_noise_of_the_same_level_would_leave_it(grain):
    noisy = sampled(grain, scene())
    told, found = denoise(noisy, SMALL, noise=grain), denoise(noisy, SMALL)
    as_white = denoise(noisy, SMALL, sigma=15, noise="white")
    assert psnr(told, scene()) > psnr(as_white, scene()) + 3
    assert psnr(found, scene()) > psnr(told, scene()) - 0.5


def test_grain_in_colour_with_channels_that_share_it():
    shared = ((1.0, 0.6, 0.6), (0.6, 1.0, 0.6), (0.6, 0.6, 1.0))
    noise = Noise((Affine(read=12.0),), 255.0, grain=GRAIN, channels=shared)
    noisy = sampled(noise, in_colour())
    assert psnr(denoise(noisy, "natural-color-small"), in_colour()) > psnr(noisy, in_colour()) + 6


def test_channels_that_share_noise_are_told_more():
    assert white_level(Noise.gaussian(1.0), 2.0) == 2.0
    same = ((1.0, 1.0, 1.0),) * 3
    assert white_level(Noise((Affine(read=1.0),), channels=same), 2.0) == pytest.approx(2 * 3**0.5)


def test_the_result_does_not_depend_on_tiles(grain):
    noisy = sampled(grain, scene(200, 230))
    whole, cut = (denoise(noisy, SMALL, noise=grain, tile=side) for side in (1000, 64))
    assert np.abs(whole.astype(int) - cut).max() <= 1


class Flattening:
    """A model that finds no noise at the first level, and nothing but noise at the second."""

    channels, noise_range, halo, shift_multiple, bytes_per_pixel = 1, (0.01, 1.0), 0, 1, 16

    def score(self, x, sigma):
        return torch.zeros_like(x) if sigma == 0.1 else (0.5 - x) / sigma**2


def test_what_noise_cannot_make_of_the_difference_is_kept_and_no_more():
    y = 0.5 + 0.1 * torch.randn(1, 1, 40, 80, generator=Generator().manual_seed(0))
    y[..., 40:] += torch.tensor([2.0, -2.0]).repeat(20)
    result = Correlated(Flattening(), 0.1, 0.1**2).reconstruct(y)  # between y itself and 1/2
    assert (result[..., :34] - 0.5).square().mean() < 0.1 * (y[..., :34] - 0.5).square().mean()
    torch.testing.assert_close(result[..., 48:], y[..., 48:], atol=0.03, rtol=0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2), (17, 31)])
def test_pictures_of_any_size(grain, shape):
    noisy = np.full(shape, 100, np.uint8)
    assert denoise(noisy, SMALL, noise=grain).shape == shape
