"""Noise whose level depends on brightness, told from white noise and from texture."""

import numpy as np
import pytest
import torch

from smdae import estimate_noise
from tests.estimation.pictures import scene


def eight_bits(y: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(y), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(3))
def test_speckle_of_an_object_before_black_is_found(seed):
    """The black has no noise, and is larger than the object."""
    rows, columns = np.mgrid[:320, :360]
    clean = np.where(np.hypot(rows - 160, columns - 200) < 95, 70 + 0.6 * scene(), 2.0)
    found = estimate_noise(eight_bits(clean * (1 + 0.2 * np.random.default_rng(seed).standard_normal(clean.shape))))
    assert found.kind == "shot"
    x = np.array([[140.0, 160.0]])
    np.testing.assert_allclose(found.sd_of(x), 0.2 * x, rtol=0.15)


@pytest.mark.parametrize("seed", range(3))
def test_noise_that_falls_with_brightness_is_shot_noise(seed):
    """As in a negative, or in a scan of film by transmitted light."""
    clean = scene()
    deviation = 4 + 16 * (1 - clean / 255)
    found = estimate_noise(eight_bits(clean + deviation * np.random.default_rng(seed).standard_normal(clean.shape)))
    assert found.kind == "shot"
    x = np.array([[60.0, 100.0, 180.0]])
    np.testing.assert_allclose(found.sd_of(x), 4 + 16 * (1 - x / 255), rtol=0.1)


def test_the_level_of_photons_and_read_noise_is_a_line_of_the_variance():
    """Bins are off by 10 % each, by chance and by texture; the line through them is not."""
    chance = np.random.default_rng(0)
    rows, columns = np.mgrid[:320, :360]
    textured = (rows // 40 + columns // 40) % 3 > 0
    clean = np.linspace(20, 220, 360) + 8 * textured * chance.standard_normal(textured.shape)
    found = estimate_noise(eight_bits(clean + np.sqrt(0.5 * clean + 4) * chance.standard_normal(clean.shape)))
    (curve,) = found.curves
    assert curve.gain == pytest.approx(0.5, rel=0.15)
    x = np.linspace(30, 210, 40)[None]
    np.testing.assert_allclose(found.sd_of(x), np.sqrt(0.5 * x + 4), rtol=0.1)


@pytest.mark.parametrize("gain", [2.0, 4.0])
def test_shot_noise_on_fine_structure_all_over_the_picture_is_found(gain):
    """As in a section of plant tissue, whose cells leave no block flat, so that neighbours are alike in all."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:320, :360]
    smooth = torch.from_numpy(rng.standard_normal((1, 336, 376)))
    for _ in range(2):
        smooth = torch.nn.functional.avg_pool2d(smooth, 9, 1)
    walls = 1 / (1 + (smooth[0].numpy() / float(smooth.std()) / 0.6) ** 2)
    clean = np.exp(0.9 * np.sin(rows / 50) * np.cos(columns / 60)) * (25 + 90 * walls)
    found = estimate_noise(eight_bits(gain * rng.poisson(clean / gain) + 2 * rng.standard_normal(clean.shape)))
    assert found.kind == "shot"
    x = np.array([[30.0, 60.0, 120.0]])
    np.testing.assert_allclose(found.sd_of(x), np.sqrt(gain * x + 4), rtol=0.08)


@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_shot_noise_of_a_few_bright_cells_is_found(gain):
    """They cover a twentieth of a dark ground, whose noise has one level."""
    rng = np.random.default_rng(2)
    rows, columns = np.mgrid[:320, :360]
    clean = np.full(rows.shape, 14.0)
    for y, x in zip(rng.uniform(20, 300, 12), rng.uniform(20, 340, 12), strict=True):
        clean += 60 * np.exp(-((np.hypot(rows - y, columns - x) / 9) ** 4))
    found = estimate_noise(eight_bits(gain * rng.poisson(clean / gain) + 1.5 * rng.standard_normal(clean.shape)))
    assert found.kind == "shot"
    x = np.array([[14.0, 40.0, 70.0]])
    np.testing.assert_allclose(found.sd_of(x), np.sqrt(gain * x + 1.5**2), rtol=0.06)


def test_texture_that_grows_with_brightness_leaves_white_noise_white():
    """It raises the blocks of the bright, but not their smallest eigenvalues."""
    rng = np.random.default_rng(0)
    columns = np.arange(360)
    texture = torch.nn.functional.avg_pool2d(torch.from_numpy(rng.standard_normal((1, 322, 362))), 3, 1)[0].numpy()
    clean = 40 + 140 * columns / 360 * (1 + 0.3 * texture / texture.std() * (columns > 120))
    found = estimate_noise(eight_bits(clean + 8 * rng.standard_normal(clean.shape)))
    assert found.kind == "white"
    assert found.sigma == pytest.approx(8, rel=0.03)
