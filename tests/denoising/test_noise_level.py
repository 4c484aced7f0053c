"""The level of the noise, estimated."""

import numpy as np
import pytest

from smdae.denoising.noise_level import estimate


@pytest.mark.parametrize("sigma", [2.0, 10.0, 25.0, 50.0])
@pytest.mark.parametrize("channels", [None, 3])
def test_noise_on_something_smooth_is_found(sigma, channels):
    shape = (256, 256) if channels is None else (256, 256, channels)
    rows = np.linspace(60, 190, 256).reshape(256, 1, *(1,) * (len(shape) - 2))
    noisy = rows + sigma * np.random.default_rng(0).standard_normal(shape)
    assert estimate(noisy) == pytest.approx(sigma, rel=0.03)
    assert estimate(noisy / 255) == pytest.approx(sigma / 255, rel=0.03)


def test_a_constant_image_has_none_and_a_pixel_tells_nothing():
    assert estimate(np.full((20, 20), 7, np.uint8)) == 0
    for shape in ((1, 1), (1, 50), (50, 1), (1, 1, 3)):
        assert estimate(np.random.default_rng(0).random(shape)) == 0


def test_whole_numbers_do_not_wrap_round():
    noisy = np.clip(128 + 20 * np.random.default_rng(0).standard_normal((101, 77)), 0, 255)
    assert estimate(noisy.astype(np.uint8)) == pytest.approx(20, rel=0.06)
    assert estimate((257 * noisy).astype(np.uint16)) == pytest.approx(20 * 257, rel=0.06)


def test_a_large_image_is_sampled():
    tall = np.random.default_rng(0).standard_normal((9001, 40))
    assert estimate(tall) == pytest.approx(1, rel=0.05)
