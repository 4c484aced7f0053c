"""What a model of white noise becomes for noise of each kind."""

import numpy as np
import pytest

import smdae
from smdae.curves import Affine
from smdae.denoising.denoise import denoise
from smdae.noise import Noise
from tests.conftest import random_network
from tests.estimation.pictures import GRAIN, in_colour, sampled, scene

RISING = Noise((Affine(gain=3.0, black=20.0, read=1.0),), 255.0, grain=GRAIN)


def error_of(result, clean):
    return float(np.sqrt(np.mean((result.astype(float) - clean) ** 2)))


def test_grain_that_rises_with_brightness_is_taken_out_at_every_brightness():
    model, clean = smdae.load("natural-gray-small"), scene()
    noisy = sampled(RISING, clean)
    one_level = Noise((Affine(read=error_of(noisy, clean)),), 255.0, grain=GRAIN)
    assert error_of(denoise(noisy, model, noise=RISING), clean) < 0.9 * error_of(
        denoise(noisy, model, noise=one_level), clean
    )


def test_its_mean_stays_in_bright_and_in_dark_places():
    model, clean = smdae.load("natural-gray-small"), scene()
    noisy = sampled(RISING, clean)
    left = denoise(noisy, model, noise=RISING) - clean
    for low, high in ((20, 60), (60, 120), (120, 230)):
        assert abs(left[(clean >= low) & (clean < high)].mean()) < 1.5


@pytest.mark.parametrize("takes_noise", [True, False])
def test_tiles_of_a_picture_with_such_grain_are_the_whole(takes_noise):
    model = smdae.load("natural-gray-small") if takes_noise else random_network().float()
    noisy = sampled(RISING, scene(384, 300)) / np.float32(255)
    noise = RISING.scaled(1 / 255)
    whole = denoise(noisy, model, noise=noise, precision="float32")
    by_tiles = denoise(noisy, model, noise=noise, tile=128, precision="float32")
    # Results of a network that was not fitted reach 300, with as many digits; those of a fitted one stay below 1.
    np.testing.assert_allclose(by_tiles, whole, rtol=0, atol=1e-5 * max(1, np.abs(whole).max()))


def test_channels_have_such_grain_each_of_its_own_level():
    model, clean = smdae.load("natural-color-small"), in_colour()
    noise = Noise(tuple(Affine(gain=gain, read=2.0) for gain in (0.5, 1.5, 3.0)), 255.0, grain=GRAIN)
    noisy = sampled(noise, clean)
    result = denoise(noisy, model, noise=noise)
    for c in range(3):
        assert error_of(result[..., c], clean[..., c]) < 0.6 * error_of(noisy[..., c], clean[..., c])
