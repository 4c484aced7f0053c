"""The level of the noise, estimated."""

import math
import subprocess
import sys

import numpy as np
import pytest

from smdae.estimation.noise_level import estimate, is_clipped, mad_level


def scene(height: int = 200, width: int = 240) -> np.ndarray:
    """Something smooth with edges and a corner of texture, in [30, 220]."""
    rows, columns = np.mgrid[:height, :width]
    image = 110 + 60 * np.sin(rows / 40) + 30 * (columns > width / 2)
    image[: height // 3, : width // 3] += 20 * np.sin(1.9 * columns + 1.3 * rows)[: height // 3, : width // 3]
    return image


def noisy(sigma: float, *shape: int, seed: int = 0) -> np.ndarray:
    image = scene(*shape)
    return image + sigma * np.random.default_rng(seed).standard_normal(image.shape)


@pytest.mark.parametrize("sigma", [2.0, 5.0, 15.0, 25.0, 50.0, 75.0])
def test_noise_is_found_beside_edges_and_texture(sigma):
    y = noisy(sigma)
    (found,) = estimate(y, 255.0)
    assert 255 * found == pytest.approx(sigma, rel=0.04)
    (scaled,) = estimate((y / 1000).astype(np.float32), 0.255)
    assert scaled == pytest.approx(found, rel=0.02)


@pytest.mark.parametrize(("sigma", "error"), [(5, 0.3), (15, 0.5), (25, 0.8), (50, 2.0), (75, 5.0)])
def test_what_black_and_white_cut_off_is_known(sigma, error):
    stored = np.clip(np.rint(noisy(sigma)), 0, 255).astype(np.uint8)
    (found,) = estimate(stored, 255.0)
    assert abs(255 * found - sigma) < error
    deep = (stored.astype(np.uint16)) * 257
    assert estimate(deep, 65535.0)[0] == pytest.approx(found, rel=0.02)
    if sigma == 75:  # the tails are where most of it was
        assert mad_level(stored) < 68


@pytest.mark.parametrize("side", [96, 256])
def test_there_is_no_bias_where_there_is_no_texture(side):
    smooth = 0.5 + 0.2 * np.sin(np.arange(side) / 30)
    levels = [
        estimate((smooth + 0.05 * np.random.default_rng(seed).standard_normal((side, side))).astype(np.float32), 1.0)[0]
        for seed in range(8)
    ]
    assert np.mean(levels) == pytest.approx(0.05, rel=0.008)


def test_channels_have_levels_of_their_own():
    y = np.dstack([noisy(sigma, seed=sigma) for sigma in (5, 20, 40)])
    found = [255 * s for s in estimate(y, 255.0)]
    assert found == pytest.approx([5, 20, 40], rel=0.04)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_constant_image_has_none(dtype):
    assert estimate(np.full((60, 50), 7, dtype), 255.0) == (0,)


def test_rounding_is_no_noise():
    rows = np.linspace(10, 240, 256)
    smooth = np.rint(np.add.outer(rows, rows) / 2).astype(np.uint8)
    assert estimate(smooth, 255.0) == (0,)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (3, 3), (8, 9)])
def test_small_images_give_a_number(shape):
    (found,) = estimate(np.random.default_rng(0).random(shape), 1.0)
    assert found >= 0
    assert math.isfinite(found)


def test_a_few_blocks_tell_something():
    y = 0.5 + 0.1 * np.random.default_rng(0).standard_normal((20, 20))
    assert estimate(y, 1.0)[0] == pytest.approx(0.1, rel=0.25)
    assert mad_level(y) == pytest.approx(0.1, rel=0.25)


def test_whole_numbers_do_not_wrap_round():
    y = np.clip(noisy(20), 0, 255)
    assert mad_level(y.astype(np.uint8)) == pytest.approx(mad_level(y), rel=0.05)


def test_fewer_patches_tell_nearly_the_same():
    y = noisy(25, 400, 400) / 255
    assert estimate(y, 1.0, 10_000)[0] == pytest.approx(estimate(y, 1.0)[0], rel=0.05)


def test_what_is_clipped():
    assert is_clipped(np.zeros((2, 2), np.uint8), 255.0)
    assert is_clipped(np.array([[0.0, 1.0]]), 1.0)
    assert not is_clipped(np.array([[-0.1, 1.0]]), 1.0)
    assert not is_clipped(np.array([[0.1, 1.1]]), 1.0)
    assert not is_clipped(np.array([[0.1, 0.9]]), 1.0)


def test_a_large_image_is_sampled_and_quick():
    large = np.random.default_rng(0).normal(0.5, 0.1, (3000, 3000)).astype(np.float32)
    assert estimate(large, 1.0)[0] == pytest.approx(0.1, rel=0.03)


def grown(height: int, width: int) -> float:
    """By how many MB the estimate lets a process grow that has an 8-bit image of that size."""
    code = f"""
import numpy as np, resource
from smdae.estimation.coarseness import coarseness
from smdae.estimation.noise_level import estimate
noise = np.random.default_rng(0).integers(0, 256, (500, 500), np.uint8)
estimate(noise, 255.0), coarseness(noise, 255.0)
image = np.tile(noise, ({height} // 500, {width} // 500))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
estimate(image, 255.0), coarseness(image, 255.0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="counts in kB there")
def test_memory_does_not_grow_with_the_image():
    assert grown(8000, 8000) < 150  # as floats it would take 256
