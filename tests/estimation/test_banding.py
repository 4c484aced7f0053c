"""Offsets of rows and columns are found, and nothing passes for them."""

import numpy as np
import pytest

from smdae.estimation.banding import find_banding
from tests.estimation.pictures import page, scene


def soft(height: int = 256, width: int = 320) -> np.ndarray:
    """Return a ground with a few wide spots."""
    rows, columns = np.mgrid[:height, :width]
    picture = 80 + 0.1 * columns
    for row, column in ((50, 60), (120, 240), (200, 100)):
        picture += 60 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 300)
    return picture


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("sigma", [2.0, 8.0])
def test_offsets_of_rows_are_found(sigma, dtype):
    chance = np.random.default_rng(0)
    offsets = chance.normal(0, 0.4 * sigma, 256)
    noisy = soft() + offsets[:, None] + chance.normal(0, sigma, soft().shape)
    rows, columns = find_banding(np.clip(np.rint(noisy), 0, 255).astype(dtype)[..., None], 255)
    assert rows.shape == (256, 1)
    assert columns.shape == (320, 1)
    assert not columns.any()
    assert np.std(rows[:, 0] - offsets) < 0.35 * np.std(offsets)


def test_offsets_are_found_beside_texture_that_hides_half_of_the_rows_in_a_part():
    chance = np.random.default_rng(0)
    offsets = chance.normal(0, 6, 256)
    textured = soft()
    textured[:120, 110:] += 40 * chance.standard_normal((120, 210))
    noisy = textured + offsets[:, None] + chance.normal(0, 5, soft().shape)
    found = find_banding(np.clip(np.rint(noisy), 0, 255).astype(np.uint8)[..., None], 255)
    assert found is not None
    assert np.std(found[0][:, 0] - offsets) < 0.4 * np.std(offsets)


def test_offsets_of_columns_belong_to_their_channel():
    chance = np.random.default_rng(0)
    offsets = chance.normal(0, 2, 320)
    noisy = np.dstack([soft(), soft(), soft()]) + chance.normal(0, 4, (*soft().shape, 3))
    noisy[..., 1] += offsets
    rows, columns = find_banding(noisy.astype(np.float32), 255)
    assert not rows.any()
    assert not columns[:, [0, 2]].any()
    assert np.corrcoef(columns[:, 1], offsets)[0, 1] > 0.95


@pytest.mark.parametrize("sigma", [0, 4])
def test_neither_noise_nor_structure_passes_for_offsets(sigma):
    chance = np.random.default_rng(0)
    rows, columns = np.mgrid[:256, :320]
    lines = np.where(chance.random(256) < 0.06, 60, 200)[:, None] * np.ones((1, 320))
    for picture in (
        soft(),
        scene(),
        page(),
        rows / 1.5 + 0 * columns,
        128 + 4 * np.sin(rows / 2),
        128 + 6 * (rows % 8 < 3),
        lines,
        np.where(columns < 100, 3 * chance.standard_normal((256, 1)), 0) + 128,
    ):
        noisy = picture + chance.normal(0, sigma, picture.shape)
        assert find_banding(noisy.astype(np.float32)[..., None], 255) is None
        assert find_banding(np.clip(np.rint(noisy), 0, 255).astype(np.uint8)[..., None], 255) is None


def test_small_pictures_have_none():
    assert find_banding(np.random.default_rng(0).normal(0, 1, (40, 40, 1)), 1) is None
