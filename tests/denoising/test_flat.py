"""Grounds without noise in a noisy picture."""

import numpy as np
import pytest
import torch
from torch import Generator

from smdae import denoise
from smdae.denoising.flat import SIDE, flat_areas
from tests.estimation.pictures import scene

ENDS = (0.0, 1.0)


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=Generator().manual_seed(0))


def test_squares_of_alike_pixels_are_found_to_their_borders():
    y = noise(1, 3, 60, 70)
    y[:, :, 10:40, 20:50] = torch.tensor([0.2, 0.5, 0.7])[None, :, None, None]
    expected = torch.zeros(1, 1, 60, 70, dtype=torch.bool)
    expected[:, :, 10:40, 20:50] = True
    assert torch.equal(flat_areas(y, ENDS), expected)


@pytest.mark.parametrize("side", [SIDE - 1, SIDE])
def test_smaller_ones_are_left_to_chance(side):
    y = noise(1, 1, 50, 50)
    y[:, :, 7 : 7 + side, 9 : 9 + side] = 0.5
    found = flat_areas(y, ENDS)
    assert (found is None) == (side < SIDE)


def test_one_channel_that_differs_and_the_ends_of_the_range_are_no_flat_grounds():
    y = noise(1, 3, 40, 40)
    y[:, :2, :30] = 0.5
    assert flat_areas(y, ENDS) is None
    for end in ENDS:
        assert flat_areas(torch.full((1, 1, 40, 40), end), ENDS) is None
    assert flat_areas(noise(1, 1, 9, 90), ENDS) is None


@pytest.mark.parametrize("tile", [64, 1000])
def test_bars_stay_bit_for_bit_whatever_the_tiles(tile):
    clean = scene(220, 200)
    noisy = clean + 20 * np.random.default_rng(0).standard_normal(clean.shape)
    noisy = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    noisy[:50], noisy[-40:] = 128, 60
    result = denoise(noisy, "natural-gray-small", 20, tile=tile)
    assert np.array_equal(result[:50], noisy[:50])
    assert np.array_equal(result[-40:], noisy[-40:])
    between = slice(55, -45)
    assert np.mean((result[between] - clean[between]) ** 2) < 0.15 * 20**2
