"""Lifting a patch model: equal to averaging the patches one by one."""

import pytest
import torch
from torch import Generator

from smdae.models import Patchwise
from tests.conftest import random_energy


def picture(channels: int, height: int, width: int) -> torch.Tensor:
    generator = Generator().manual_seed(0)
    return torch.rand(2, channels, height, width, generator=generator, dtype=torch.float64)


def model(channels: int = 2, size: int = 3, **more) -> Patchwise:
    patch = random_energy(channels * size**2, 15, sigma=1.0, level=0.3, free_means=channels)
    return Patchwise(patch, channels, size, **more)


def one_by_one(lifted: Patchwise, x: torch.Tensor, starts) -> torch.Tensor:
    total, count = torch.zeros_like(x), torch.zeros_like(x)
    P = lifted.size
    for row in starts[0]:
        for column in starts[1]:
            patch = x[:, :, row : row + P, column : column + P]
            total[:, :, row : row + P, column : column + P] += lifted.patch.reconstruct(patch.flatten(1)).view_as(patch)
            count[:, :, row : row + P, column : column + P] += 1
    return total / count


def test_image_is_the_mean_of_all_overlapping_patches():
    lifted, x = model(), picture(2, 7, 9)
    expected = one_by_one(lifted, x, (range(5), range(7)))
    torch.testing.assert_close(lifted.reconstruct(x), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(lifted.score(x), (expected - x) / 0.3**2, rtol=0, atol=1e-10)


def test_stride_that_comes_out_even_takes_every_other_patch():
    lifted, x = model(stride=2), picture(2, 7, 9)
    torch.testing.assert_close(
        lifted.reconstruct(x), one_by_one(lifted, x, (range(0, 5, 2), range(0, 7, 2))), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("tile", [1, 6, 7, 13, 1000])
def test_tile_does_not_change_the_result(tile):
    x = picture(2, 8, 9)
    torch.testing.assert_close(model(tile=tile).score(x), model(tile=100_000).score(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (9, 1), (3, 3), (4, 5), (11, 13)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_any_size_and_stride_covers_every_pixel(size, stride):
    x = picture(2, *size)
    assert model(stride=stride).score(x).shape == x.shape
    assert model(stride=stride).score(x).isfinite().all()


def test_patches_go_straight_to_the_patch_model():
    lifted = model()
    x = picture(2, 3, 3)
    torch.testing.assert_close(lifted.score(x.flatten(1)), lifted.patch.score(x.flatten(1)))
    torch.testing.assert_close(lifted.score(x).flatten(1), lifted.patch.score(x.flatten(1)), rtol=0, atol=1e-12)


def test_refuses_other_channels_and_strides():
    with pytest.raises(ValueError, match=r"shape \(B, 2, H, W\)"):
        model().score(picture(3, 5, 5))
    with pytest.raises(ValueError, match="stride"):
        model(stride=4)
