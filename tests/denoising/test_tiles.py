"""Tiles: together they are the image, and the result is that of the whole."""

import numpy as np
import pytest
import torch
from torch import Generator

from smdae.denoising import denoise
from smdae.denoising.self_ensemble import SelfEnsemble
from smdae.denoising.tiles import SMALLEST, side_for, tiles
from smdae.errors import MemoryLimitError, UsageError
from smdae.models import EnergyModel, Patchwise
from tests.conftest import random_network

LEVEL = 0.1


def noisy(height: int, width: int, channels: int = 1) -> np.ndarray:
    generator = np.random.default_rng(0)
    waves = np.sin(np.add.outer(np.arange(height) / 9, np.arange(width) / 5))
    image = 0.5 + 0.3 * waves[:, :, None] + LEVEL * generator.standard_normal((height, width, channels))
    return image.astype(np.float32)[:, :, 0] if channels == 1 else image.astype(np.float32)


@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("halo", [0, 5, 40])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (64, 64), (65, 130), (200, 7)])
def test_tiles_cover_each_pixel_once_and_see_their_margin(height, width, halo, multiple):
    covered = np.zeros((height, width), int)
    place = np.arange(height * width).reshape(height, width)
    for tile in tiles(height, width, 64, halo, multiple):
        covered[tile.kept] += 1
        assert np.array_equal(place[tile.padded][tile.inner], place[tile.kept])
        for kept, seen, side in zip(tile.kept, tile.padded, (height, width), strict=True):
            assert kept.stop - kept.start <= 64 + multiple
            assert seen.start % multiple == 0
            assert kept.start - seen.start >= min(halo, kept.start)
            assert seen.stop - kept.stop >= min(halo, side - kept.stop)
            assert seen.stop == side or (side - seen.stop) % multiple == 0
    assert (covered == 1).all()


@pytest.mark.parametrize("shape", [(200, 331), (129, 64), (100, 100)])
@pytest.mark.parametrize("ensemble", [False, True])
def test_a_network_gives_the_same_by_tiles_as_whole(shape, ensemble):
    model = random_network(widths=(4, 6, 8), down=(0, 1, 1), up=(1, 1, 0), levels=(0.05, 0.3)).float()
    y = noisy(*shape)
    whole = denoise(y, model, LEVEL, tile=10_000, ensemble=ensemble)
    assert np.abs(denoise(y, model, LEVEL, tile=64, ensemble=ensemble) - whole).max() < 1e-5
    assert np.abs(whole - y).max() > 0.01


@pytest.mark.parametrize("stride", [1, 3])
def test_a_patch_model_gives_the_same_by_tiles_as_whole(stride):
    patch = EnergyModel(25, 6, sigma=1.0, level=LEVEL, free_means=1)
    patch.initialise(torch.rand(100, 25), Generator().manual_seed(0))
    model = Patchwise(patch, 1, 5, stride)
    y = noisy(131, 150)
    whole = denoise(y, model, tile=10_000)
    assert np.abs(denoise(y, model, tile=64) - whole).max() < 1e-5


def test_a_model_that_tells_no_halo_sees_the_whole_image():
    seen = []

    class Mean:
        channels, noise_range = 1, (LEVEL, LEVEL)

        def score(self, x, sigma):
            seen.append(tuple(x.shape[2:]))
            return (x.mean() - x) / sigma**2

    denoise(noisy(150, 80), Mean(), tile=64)
    assert seen == [(150, 80)]


def test_colours_go_through_a_gray_model_by_tiles_too():
    model = random_network(levels=(0.05, 0.3)).float()
    y = noisy(90, 140, 3)
    together = denoise(y, model, LEVEL, tile=64)
    for c in range(3):
        np.testing.assert_allclose(together[:, :, c], denoise(y[:, :, c], model, LEVEL), atol=1e-5)


def test_the_mean_over_symmetries_turns_with_the_image():
    model = SelfEnsemble(random_network())
    square = torch.from_numpy(noisy(16, 16)).double()[None, None]
    for turned in (lambda z: z.flip(2), lambda z: z.mT, lambda z: z.rot90(1, (2, 3))):
        torch.testing.assert_close(model.score(turned(square), LEVEL), turned(model.score(square, LEVEL)))
    plain = random_network()
    assert not torch.allclose(plain.score(square.mT, LEVEL), plain.score(square, LEVEL).mT)


class Hungry:
    """A network that says it is out of memory for more than so many pixels, and more on an accelerator."""

    def __init__(self, most: int) -> None:
        self.model, self.most, self.sizes = random_network(levels=(0.05, 0.3)).float(), most, []
        self.channels, self.noise_range = 1, self.model.noise_range
        self.halo, self.shift_multiple, self.bytes_per_pixel = self.model.halo, self.model.shift_multiple, 256

    def to(self, device):
        return self

    def score(self, x, sigma):
        self.sizes.append(x.shape[2] * x.shape[3])
        if self.sizes[-1] > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.model.score(x, sigma)


def test_tiles_become_smaller_until_memory_suffices():
    y = noisy(300, 300)
    hungry = Hungry(200 * 200)
    result = denoise(y, hungry, LEVEL)
    assert max(hungry.sizes) > 200 * 200
    assert np.abs(result - denoise(y, hungry.model, LEVEL)).max() < 1e-5


def test_where_no_tile_is_small_enough_the_code_is_7_and_there_is_no_result():
    with pytest.raises(MemoryLimitError) as caught:
        denoise(noisy(300, 300), Hungry(100), LEVEL)
    assert caught.value.code == 7
    assert str(SMALLEST) in caught.value.message


def test_a_tile_has_a_least_side():
    with pytest.raises(UsageError, match="at least 64"):
        denoise(noisy(10, 10), random_network().float(), LEVEL, tile=63)


def test_the_side_follows_what_a_pixel_takes():
    small, large = random_network(), random_network(widths=(64, 6), down=(1, 1))
    cpu = torch.device("cpu")
    assert SMALLEST <= side_for(large, cpu) < side_for(small, cpu)


def test_tiles_with_narrow_margins_are_no_larger_than_is_of_use():
    """Of patches of 4 x 4 pixels the margin is 3, and 512 MB would hold a tile of 4,723."""
    model = Patchwise(EnergyModel(16, 8, sigma=1.0, level=0.1), 1, 4)
    assert side_for(model, torch.device("cpu")) == 1024
