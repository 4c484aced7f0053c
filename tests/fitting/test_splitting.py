"""What is held out has texture and noise, where the images have any."""

import numpy as np
import pytest
from torch import Generator

from smdae.fitting.patches import Patches
from smdae.fitting.prepare import prepare
from smdae.fitting.settings import check
from smdae.fitting.splitting import choose, roughness, split
from smdae.fitting.validation import Crops, NoisyCrops
from tests.tiny import gray

P = 8


def noisy(height=192, width=160, seed=0):
    return np.random.default_rng(seed).normal(0.5, 0.1, (height, width)).astype(np.float32)


def with_bars(rows=32):
    image = noisy()
    image[:rows] = image[-rows:] = 0.5
    return image


def test_roughness_is_the_mean_difference_of_neighbours():
    assert roughness(np.array([[0, 2, 3], [1, 1, 1]])) == pytest.approx(3 / 4)
    assert roughness(np.full((5, 5, 3), 7)) == 0
    assert roughness(np.ones((4, 1))) == 0


@pytest.mark.parametrize(
    ("found", "usual", "chosen"),
    [([1, 1, 0.6], 2, 2), ([1, 1, 0.2], 2, 0), ([0, 0, 0], 1, 1), ([0, 5, 1, 1.1, 0], 4, 3), ([9, 1, 1, 0], 0, 0)],
)
def test_the_usual_window_is_taken_unless_it_is_smooth(found, usual, chosen):
    assert choose(found, usual) == chosen


@pytest.mark.parametrize("levels", [None, [0.1]])
@pytest.mark.parametrize("turned", [False, True])
def test_of_a_single_image_with_bars_a_strip_with_noise_is_held_out(levels, turned):
    image = with_bars().T if turned else with_bars()
    fitted, held = split([image], P, 0.05, 0, levels)
    (strip,) = held.images
    assert np.std(strip) == pytest.approx(0.1, rel=0.1)
    assert sum(part.size for part in fitted.images) + strip.size == image.size
    assert all(min(part.shape) >= P for part in fitted.images)
    if levels:
        assert fitted.levels == levels * len(fitted.images)


def test_a_single_image_without_bars_is_held_out_at_its_end():
    image = noisy()
    fitted, held = split([image], P, 0.05, 0)
    np.testing.assert_array_equal(np.concatenate([fitted.images[0], held.images[0]]), image)


def test_of_several_images_a_flat_one_is_not_held_out():
    flat = np.full((32, 32), 0.5, np.float32)
    for seed in range(8):
        _, held = split([flat, noisy(32, 32), flat, flat], P, 0.05, seed)
        assert [image.std() > 0.05 for image in held.images] == [True]


def test_crops_are_not_of_a_flat_middle():
    image = noisy(256, 256)
    image[64:192, 64:192] = 0.5
    patches = Patches.pack([image], P, 1.0)
    ((clean, _, _),) = Crops.of(patches, [0.1], Generator().manual_seed(0)).pairs
    ((crop, _, _),) = NoisyCrops.of(Patches.pack([image], P, 1.0, levels=[0.1]), Generator().manual_seed(0)).probed
    for found in (clean, crop):
        assert found.std() > 0.05


def test_the_estimated_psnr_of_texture_between_bars_is_that_of_its_level():
    """A fit that has learned nothing of note cannot be at 60 dB."""
    image = with_bars()
    image[32:-32] += gray(128, 160) / np.float32(255)
    settings = check({"noisy": True, "sigma": 25.5, "patch_size": P, "hidden": 64, "max_steps": 1})
    prepared = prepare([image], 1.0, settings)
    assert prepared.crops.psnr() == pytest.approx(20, abs=0.1)
    assert prepared.crops.psnr(prepared.fitted()) < 35
