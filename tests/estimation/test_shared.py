"""White noise that the channels of a pixel share."""

import numpy as np
import pytest

from smdae.denoising.noise_search import estimate_noise
from tests.estimation.pictures import in_colour


def noisy(sigma: float, shared: float, seed: int = 0) -> np.ndarray:
    """Return a picture in colour whose white noise is correlated by `shared` between channels, uint8."""
    clean, chance = in_colour(), np.random.default_rng(seed)
    common, own = chance.normal(0, sigma, (*clean.shape[:2], 1)), chance.normal(0, sigma, clean.shape)
    return np.rint(clean + shared**0.5 * common + (1 - shared) ** 0.5 * own).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("sigma", [4.0, 12.0])
@pytest.mark.parametrize("shared", [1.0, 0.6])
def test_white_noise_that_channels_share_is_told(sigma, shared):
    found = estimate_noise(noisy(sigma, shared))
    assert found.kind == "white"
    assert found.sigma == pytest.approx(sigma, rel=0.1)
    assert found.channels is not None
    assert found.channels[0][1] == pytest.approx(shared, abs=0.12)


@pytest.mark.parametrize("sigma", [4.0, 12.0, 40.0])
def test_independent_noise_shares_nothing(sigma):
    assert estimate_noise(noisy(sigma, 0.0)).channels is None


def test_texture_that_channels_share_is_no_shared_noise():
    chance = np.random.default_rng(1)
    rough = chance.standard_normal((322, 362))
    for _ in range(2):
        rough = (rough[1:-1] + (rough[:-2] + rough[2:]) / 4).T
    clean = in_colour() + 11 * (rough / rough.std())[:, :, None]
    y = np.rint(clean + chance.normal(0, 10, clean.shape)).clip(0, 255).astype(np.uint8)
    found = estimate_noise(y)
    assert found.kind == "white"
    assert found.channels is None
    assert found.sigma == pytest.approx(10, rel=0.15)
