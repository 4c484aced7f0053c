"""Noise that is coarser than the pixels: its means, its search, and taking it out at a fraction of the size."""

import numpy as np
import pytest
import torch
from torch import Generator

from smdae import Noise, denoise
from smdae.curves import Affine
from smdae.denoising.coarse import Coarse, enlarged, means, of_means, of_pixels
from smdae.denoising.noise_search import estimate_noise, find_noise
from smdae.errors import UsageError
from smdae.estimation.scale import UNIT, scale_of
from tests.estimation.pictures import GRAIN, sampled, scene

NETWORK = "natural-gray-small"


def psnr(result, clean):
    return 10 * np.log10(255**2 / np.mean((result.astype(float) - clean) ** 2))


def large_scene(side=2, height=360, width=400):
    """A clean picture without fine details, and noise of `side` times the grain, sigma 12."""
    clean = enlarged(
        torch.from_numpy(scene(height // side, width // side).astype(np.float32))[None, None], side, (height, width)
    )
    return clean[0, 0].numpy()


def coarse_noise(side, sigma=12.0):
    """White noise under a Gaussian filter whose standard deviation is `side` pixels."""
    lags = np.arange(8 * side)
    rho = np.exp(-(lags**2) / (4 * side**2))
    grain = tuple(map(tuple, np.outer(rho, rho).tolist()))
    return Noise((Affine(read=sigma),), 255.0, grain=grain, coarseness=side)


@pytest.mark.parametrize("side", [2, 4])
@pytest.mark.parametrize("grain", [GRAIN, ((1.0,),)])
def test_the_noise_of_the_means_is_that_of_the_means_of_a_sample(side, grain):
    noise = of_pixels(Noise((Affine(read=0.1),), grain=grain), side)
    told = of_means(noise)
    x = torch.zeros(1, 1, 1024, 1024, dtype=torch.float64)
    h = means(noise.sample(x, Generator().manual_seed(0)), side)[0, 0]
    assert h.std().item() == pytest.approx(told.sigma, rel=0.03)
    for dy, dx in ((0, 1), (1, 0), (1, 1), (0, 2)):
        measured = (h[dy:, dx:] * h[: h.shape[0] - dy, : h.shape[1] - dx]).mean() / h.var()
        rho = told.grain[dy][dx] if max(dy, dx) < len(told.grain) else 0.0
        assert measured.item() == pytest.approx(rho, abs=0.03)


@pytest.mark.parametrize("side", [2, 4])
def test_the_means_of_noise_made_for_pixels_have_the_level_that_it_was_made_of(side):
    noise = Noise((Affine(gain=0.01, read=0.05),), grain=GRAIN)
    assert of_means(of_pixels(noise, side)).sigma == pytest.approx(noise.sigma, rel=1e-9)
    assert of_means(noise) is noise


@pytest.mark.parametrize(("side", "grain"), [(3, GRAIN), (0, GRAIN), (2, ((1.0,),)), (1.5, GRAIN)])
def test_an_impossible_coarseness_is_refused(side, grain):
    with pytest.raises(UsageError, match="coarseness"):
        Noise((Affine(read=1.0),), grain=grain, coarseness=side)


def test_a_profile_keeps_the_coarseness():
    noise = coarse_noise(4)
    assert Noise.from_yaml(noise.to_yaml()) == noise


@pytest.mark.parametrize("side", [2, 4])
@pytest.mark.parametrize("size", [(32, 32), (33, 35), (3, 5)])
def test_smooth_pictures_are_enlarged_as_they_were(side, size):
    rows, columns = torch.meshgrid(*(torch.arange(float(n)) for n in size), indexing="ij")
    y = (0.01 * rows + 0.02 * columns)[None, None]
    h = means(y, side)
    large = enlarged(h, side, size)
    assert large.shape == y.shape
    inner = slice(2 * side, -3 * side)
    assert torch.allclose(large[..., inner, inner], y[..., inner, inner], atol=1e-6)


class Shrinking:
    """A model that takes a tenth of each pixel away."""

    channels, noise_range, halo, shift_multiple, bytes_per_pixel = 1, (0.01, 1.0), 3, 2, 16

    def score(self, x, sigma):
        return -0.1 * x / sigma**2


def test_what_is_finer_than_the_squares_stays():
    y = torch.rand(1, 1, 20, 23, generator=Generator().manual_seed(1))
    model = Coarse(Shrinking(), 0.1, 2)
    assert torch.allclose(y - model.reconstruct(y), enlarged(0.1 * means(y, 2), 2, y.shape[-2:]), atol=1e-6)
    assert (model.halo, model.shift_multiple) == (12, 4)


@pytest.mark.parametrize("side", [2, 4])
def test_coarse_noise_is_found_and_taken_out(side):
    clean = large_scene(side, 180 * side, 200 * side)
    noisy = sampled(coarse_noise(side), clean)
    found = estimate_noise(noisy)
    assert found.coarseness == side
    assert found.sigma == pytest.approx(12, rel=0.25)
    assert psnr(denoise(noisy, NETWORK), clean) > psnr(noisy, clean) + 4


def test_noise_that_is_told_to_be_grain_may_be_coarse():
    noisy = sampled(coarse_noise(2), large_scene())
    assert find_noise(noisy, scale_of(noisy), kind="grain").noise.coarseness == 2
    assert find_noise(noisy, scale_of(noisy), kind="white").noise.coarseness == 1


def test_coarse_noise_in_a_part_that_does_not_count_is_not_looked_at():
    noisy = sampled(coarse_noise(2), large_scene())
    valid = np.zeros(noisy.shape, bool)
    valid[:, :200] = True
    noisy[:, 200:] = 0
    assert find_noise(noisy / np.float32(255), UNIT, valid).noise.coarseness == 2


def test_a_picture_without_fine_details_and_noise_is_left_alone():
    clean = np.rint(large_scene().clip(0, 255)).astype(np.uint8)
    assert np.array_equal(denoise(clean, NETWORK), clean)


def test_the_result_does_not_depend_on_tiles():
    noise = coarse_noise(2)
    noisy = sampled(noise, large_scene(2, 203, 230))
    whole, cut = (denoise(noisy, NETWORK, noise=noise, tile=side) for side in (1000, 64))
    assert np.abs(whole.astype(int) - cut).max() <= 1


@pytest.mark.parametrize("side", [16, 24, 31, 33, 100])
def test_small_pictures_of_grain_are_looked_at_among_the_pixels_alone(side):
    noisy = sampled(coarse_noise(2), scene(side, side + 5))
    assert find_noise(noisy, scale_of(noisy), kind="grain").noise.coarseness == 1
    assert denoise(noisy, NETWORK).shape == noisy.shape
