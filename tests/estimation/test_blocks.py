"""Blocks of 8 x 8 pixels, and what they say of noise."""

import numpy as np
import pytest

from smdae import Noise
from smdae.curves import Affine
from smdae.estimation.blocks import SIDE, survey
from smdae.estimation.lagged_covariance import LAGS, covariances, unbiased
from smdae.estimation.scale import UNIT, Scale
from tests.estimation.pictures import GRAIN, sampled, scene


def field(sigma, shape=(400, 400), seed=0):
    return (0.5 + sigma * np.random.default_rng(seed).standard_normal((*shape, 1))).astype(np.float32)


def test_of_white_noise_variance_and_detail_are_its_own():
    blocks = survey(field(0.05))
    assert blocks.variance.mean() == pytest.approx(0.05**2, rel=0.02)
    assert blocks.detail.mean() == pytest.approx(0.05**2, rel=0.02)
    assert blocks.texture.mean() == pytest.approx(0.05**2, rel=0.05)


def test_a_plane_is_neither_noise_nor_counted_as_such():
    rows, columns = np.mgrid[:200, :200]
    blocks = survey((0.002 * rows + 0.001 * columns).astype(np.float32)[..., None])
    assert blocks.variance.max() < 1e-7  # what float32 leaves


def test_the_covariance_of_grain_comes_back_from_what_planes_leave():
    noise = Noise((Affine(read=10.0),), 255.0, grain=GRAIN)
    y = sampled(noise, np.full((500, 500), 128.0)) / np.float32(255)
    blocks = survey(y[..., None])
    index = np.arange(len(blocks))
    seen = covariances(blocks.pixels(index)[:, 0], np.full(len(index), 1 / len(index)))
    found = unbiased(seen)
    assert np.sqrt(found[0, 0]) * 255 == pytest.approx(10, rel=0.05)
    np.testing.assert_allclose(found[:3, :3] / found[0, 0], GRAIN, atol=0.04)
    assert seen[0, 0] < 0.9 * found[0, 0]
    assert found.shape == (LAGS, LAGS)


def test_constant_and_mixed_blocks_and_those_that_do_not_count():
    y = field(0.05)
    y[:100] = 0.5
    y[200:202, 200:204] = 0.3  # no patch of 3 x 3
    y[300:303, 300:303] = 0.3
    valid = np.ones(y.shape[:2], bool)
    valid[:, 390:] = False
    blocks = survey(y, UNIT, valid)
    assert blocks.constant.mean() == pytest.approx(0.24, abs=0.02)
    assert 1 <= (blocks.partly_constant & ~blocks.constant).sum() <= 110
    assert blocks.valid.mean() == pytest.approx(0.97, abs=0.02)


def test_pixels_beyond_black_and_white_are_saturated():
    y = np.clip(field(0.5), 0, 1)
    assert survey(y).saturated.mean() == pytest.approx((y <= 0).mean() + (y >= 1).mean(), abs=0.01)
    assert survey(y, Scale()).saturated.max() == 0


def test_the_pixels_of_blocks_are_those_of_the_picture_in_large_ones_too():
    y = field(0.1, (1200, 1300))
    blocks = survey(y)
    assert len(blocks.tiles) > 1
    index = np.random.default_rng(0).integers(0, len(blocks), 50)
    pixels = blocks.pixels(index)
    assert pixels.shape == (50, 1, SIDE, SIDE)
    np.testing.assert_allclose(pixels.mean((2, 3)), blocks.mean[index], atol=1e-4)


def test_blocks_beside_texture_are_told_from_flat_ones():
    y = (scene(320, 360) / 255).astype(np.float32)[..., None] + field(0.01, (320, 360)) - 0.5
    blocks = survey(y)
    flat = np.argsort(blocks.texture[:, 0])[: len(blocks) // 5]
    assert blocks.variance[flat].mean() == pytest.approx(0.01**2, rel=0.1)
    assert blocks.variance.mean() > 2 * 0.01**2
