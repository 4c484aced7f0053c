"""Whether what the flattest blocks of a picture hold is grain or texture."""

import math

import numpy as np
import pytest

from smdae import Noise, estimate_noise
from smdae.estimation.evidence import FEATURES, MAX_FACTOR, MIN_FACTOR, Evidence, evidence, features
from smdae.estimation.grain import QUANTILES
from smdae.noise import Affine
from tests.estimation.pictures import GRAIN, sampled

SHARED = ((1.0, 0.8, 0.8), (0.8, 1.0, 0.8), (0.8, 0.8, 1.0))


def rough(seed: int) -> np.ndarray:
    """Return colours all of whose places are rough, some a little and some much: (160, 240, 3), in [0, 255]."""
    chance = np.random.default_rng(seed)
    down, across = np.fft.fftfreq(160)[:, None], np.fft.fftfreq(240)[None]
    slope = np.hypot(down, across).clip(1 / 240) ** -1.4
    waves, swell = (
        np.fft.ifft2(np.fft.fft2(chance.standard_normal((160, 240))) * slope**power).real for power in (1.0, 1.6)
    )
    waves, swell = waves / waves.std(), swell / swell.std()
    one = 120 + 30 * waves * np.exp(0.7 * swell)
    return np.clip(np.stack([one, 0.9 * one + 10, 0.8 * one + 30], 2), 0, 255)


def numbers(**changed: object) -> Evidence:
    n = len(FEATURES)
    plain = {
        "mean": np.zeros(n),
        "deviation": np.ones(n),
        "lowest": np.full(n, -2.0),
        "highest": np.full(n, 2.0),
        "odds": np.zeros(n),
        "odds_at_mean": 0.0,
        "factor": np.zeros(n),
        "factor_at_mean": 0.0,
    }
    return Evidence(**(plain | changed))


def test_features_are_in_the_order_of_their_names():
    rho = np.eye(4)
    rho[0, 1], rho[1, 0], rho[0, 2], rho[2, 0], rho[1, 1] = 0.4, 0.6, 0.1, 0.3, 0.7
    spread = np.linspace(0.5, 2, len(QUANTILES))
    found = dict(zip(FEATURES, features(10 / 255, 5 / 255, rho, 0.2, 0.9, 1.5, 0.3, 0.8, spread, 80, 3), strict=True))
    assert found["log level"] == pytest.approx(math.log(10))
    assert found["log excess"] == pytest.approx(math.log(2))
    assert (found["correlation at 1"], found["correlation at 2"]) == pytest.approx((0.5, 0.2))
    assert found["correlation across"] == 0.7
    assert (found["scatter"], found["share"], found["decay"]) == (0.2, 0.9, 0.3)
    assert found["correlation of channels"] == 0.8
    assert found["log factor"] == pytest.approx(math.log(1.5))
    assert found["log spread at 0.02"] == pytest.approx(math.log(0.5))
    assert (found["compressed"], found["quality"], found["colour"]) == (1, 0.8, 1)
    plain = dict(zip(FEATURES, features(0, 0, rho, 0.2, 0.9, 1.5, 0.3, 0, spread, None, 1), strict=True))
    assert (plain["compressed"], plain["quality"], plain["colour"]) == (0, 0, 0)
    assert math.isfinite(plain["log level"])


def test_odds_and_factor_are_linear_within_what_was_met_and_constant_beyond():
    odds, factor = np.linspace(-1, 1, len(FEATURES)), np.full(len(FEATURES), 0.01)
    found = numbers(
        odds=odds, odds_at_mean=0.5, factor=factor, factor_at_mean=-0.1, deviation=np.full(len(FEATURES), 2.0)
    )
    f = np.linspace(-1, 1.5, len(FEATURES))
    f[FEATURES.index("log spread at 0.02")] = -1.0  # texture
    assert found.log_odds(f) == pytest.approx(0.5 + odds @ f / 2)
    assert found.level_factor(f) == pytest.approx(math.exp(-0.1 + factor @ f / 2))
    assert found.log_odds(100 * f) == found.log_odds(np.clip(100 * f, -2, 2))
    assert numbers(factor_at_mean=9.0).level_factor(f) == MAX_FACTOR
    assert numbers(factor_at_mean=-9.0).level_factor(f) == MIN_FACTOR


def test_where_even_the_weakest_blocks_are_as_noise_is_the_level_is_that_of_the_blocks():
    f = np.zeros(len(FEATURES))
    found = numbers(factor_at_mean=-0.4)
    for weakest, share in ((0.71, 0), (0.5, 1), (math.sqrt(0.70 * 0.55), 0.5)):
        f[FEATURES.index("log spread at 0.02")] = math.log(weakest)
        assert found.level_factor(f) == pytest.approx(math.exp(-0.4 * share))


def test_the_numbers_that_come_with_smdae_are_whole():
    found = evidence()
    for name in ("mean", "deviation", "lowest", "highest", "odds", "factor"):
        assert getattr(found, name).shape == (len(FEATURES),)
        assert np.isfinite(getattr(found, name)).all()
    assert (found.lowest <= found.highest).all()


@pytest.mark.parametrize("seed", range(4))
def test_grain_is_found_where_there_is_nothing_but_texture(seed):
    noise = Noise((Affine(read=14.0),), 255.0, grain=GRAIN, channels=SHARED)
    found = estimate_noise(sampled(noise, rough(seed), seed))
    assert found.kind == "grain"
    assert found.sigma == pytest.approx(14, rel=0.35)


@pytest.mark.parametrize("seed", range(4))
def test_texture_alone_is_no_grain(seed):
    assert estimate_noise(np.rint(rough(seed)).astype(np.uint8)).is_none
