"""Pixels that were replaced outright are found and repaired; nothing else is."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smdae.errors import InputError
from smdae.estimation.outliers import Outliers, find_outliers
from tests.estimation.pictures import floyd_steinberg, in_colour, page, scene, screenshot

CLEAN = Path(__file__).parents[2] / "sample_data" / "clean.png"


def eight_bits(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def peppered(picture: np.ndarray, share: float, white: float = 255, seed: int = 0) -> np.ndarray:
    """Return a picture with a share of its values replaced by 0 or white."""
    spoilt = np.random.default_rng(seed).random(picture.shape)
    picture = picture.copy()
    picture[spoilt < share / 2], picture[spoilt > 1 - share / 2] = 0, white
    return picture


def found_in(picture: np.ndarray, white: float = 255) -> Outliers | None:
    found = find_outliers(np.atleast_3d(picture), white)
    if found is not None:
        assert found.repaired.dtype == picture.dtype
        assert found.share == found.mask.mean()
        np.testing.assert_array_equal(found.repaired[~found.mask], np.atleast_3d(picture)[~found.mask])
    return found


def psnr(picture: np.ndarray, clean: np.ndarray, white: float = 255) -> float:
    return 10 * np.log10(white**2 / np.mean((np.squeeze(picture).astype(float) - clean) ** 2))


def frame(seed: int = 0, side: int = 192) -> np.ndarray:
    """Return a scene in [0, 1] with noise of 0.05, float32."""
    picture = scene()[:side, :side] / 255 + 0.05 * np.random.default_rng(seed).standard_normal((side, side))
    return picture.astype(np.float32)


def test_two_percent_salt_and_pepper_is_repaired_to_over_40_db():
    clean = np.asarray(Image.open(CLEAN))
    spoilt = peppered(clean, 0.02)
    found = found_in(spoilt)
    assert psnr(found.repaired, clean) > 45
    truth = spoilt != clean
    mask = found.mask[..., 0]
    assert (mask & truth).sum() > 0.99 * truth.sum()
    assert (mask & ~truth).sum() < 0.005 * truth.sum()


@pytest.mark.parametrize("share", [0.002, 0.02, 0.1])
@pytest.mark.parametrize("sigma", [0, 5, 25])
def test_salt_and_pepper_is_found_in_noise(share, sigma):
    noisy = scene() / 255 + sigma / 255 * np.random.default_rng(1).standard_normal(scene().shape)
    for picture, white in ((noisy.astype(np.float32), 1.0), (eight_bits(255 * noisy), 255.0)):
        spoilt = peppered(picture, share, white)
        found = found_in(spoilt, white).mask[..., 0]
        seen = np.abs(spoilt.astype(float) - picture) > white * max(12, 4 * sigma) / 255
        assert (found & seen).sum() > (0.98 if white == 1 or sigma < 10 else 0.9) * seen.sum()
        assert (found & (spoilt == picture)).sum() < 0.1 * found.sum() + 5


def test_each_channel_has_its_own():
    picture = eight_bits(in_colour() + 3 * np.random.default_rng(0).standard_normal(in_colour().shape))
    spoilt = picture.copy()
    spoilt[..., 1] = peppered(picture[..., 1], 0.02)
    found = found_in(spoilt)
    assert found.mask[..., 1].sum() > 0.97 * (spoilt != picture).sum()
    assert not found.mask[..., [0, 2]].any()


@pytest.mark.parametrize("share", [0.35, 0.6])
def test_more_than_a_quarter_is_refused(share):
    with pytest.raises(InputError, match="more than a quarter of the pixels are outliers"):
        find_outliers(peppered(eight_bits(scene()), share)[..., None], 255)


def test_one_wild_value_is_repaired_alone():
    picture = frame()
    spoilt = picture.copy()
    spoilt[100, 50] = 100
    found = found_in(spoilt, 1.0)
    np.testing.assert_array_equal(np.argwhere(found.mask), [[100, 50, 0]])
    assert found.repaired[100, 50, 0] == pytest.approx(picture[100, 50], abs=0.3)
    assert found_in(picture, 1.0) is None


@pytest.mark.parametrize("height", [4, 50])
def test_cosmic_rays_are_repaired_whole(height):
    picture, chance = frame(), np.random.default_rng(0)
    spoilt = picture.copy()
    for number in range(6):
        step = ((0, 1), (1, 0), (1, 1), (1, -1))[number % 4]
        for length in range(2 + number % 5):
            spoilt[20 + 25 * number + length * step[0], 30 + 20 * number + length * step[1]] += height * chance.uniform(
                0.7, 1.3
            )
    found = found_in(spoilt, 1.0)
    np.testing.assert_array_equal(found.mask[..., 0], spoilt != picture)
    assert np.abs(found.repaired[..., 0] - picture).max() < 0.3


def test_hot_and_dead_pixels_and_clusters_of_them_are_found():
    picture = frame()
    spoilt, chance = picture.copy(), np.random.default_rng(0)
    for number in range(40):
        row, column = chance.integers(3, 189, 2)
        height = chance.uniform(1.5, 4) * (-1 if number % 4 == 0 else 1)
        for step in range(1 + number % 3):
            spoilt[row + step, column] += height * (1 - 0.2 * step)
    truth = spoilt != picture
    mask = found_in(spoilt, 1.0).mask[..., 0]
    assert (mask & truth).sum() > 0.95 * truth.sum()
    assert not (mask & ~truth).any()


def test_hot_pixels_that_a_demosaicer_has_spread_are_repaired_whole():
    height, width = 240, 240
    chance = np.random.default_rng(0)
    clean = np.dstack([np.add.outer(np.linspace(40, 90, height), np.linspace(0, 60, width))] * 3)
    noisy = clean + 2 * chance.standard_normal(clean.shape)
    tent, cross = np.outer([0.5, 1, 0.5], [0.5, 1, 0.5]), np.array([[0, 0.25, 0], [0.25, 1, 0.25], [0, 0.25, 0]])
    spoilt = noisy.copy()
    for number in range(36):
        row, column = chance.integers(2, 238, 2)
        shape = cross if number % 3 == 1 else tent
        spoilt[row - 1 : row + 2, column - 1 : column + 2, number % 3] += 90 * shape
    truth = spoilt != noisy
    found = found_in(spoilt.astype(np.float32), 255)
    assert (found.mask & truth).sum() > 0.9 * truth.sum()
    assert (found.mask & ~truth).sum() < 0.02 * truth.sum()
    assert np.abs(found.repaired - noisy)[found.mask].max() < 20


@pytest.mark.parametrize("seed", range(6))
def test_noise_has_none(seed):
    chance = np.random.default_rng(seed)
    sigma, mean = np.exp(chance.uniform(0, 6)), chance.uniform(0, 255)
    noise = chance.normal(mean, sigma, (192, 192))
    for picture, white in (
        (noise, 255),
        (eight_bits(noise), 255),
        (np.clip(noise / 255, 0, 1).astype(np.float32), 1),
        (eight_bits(scene() + chance.normal(0, min(sigma, 80), scene().shape)), 255),
        (np.cumsum(chance.normal(0, 3, (192, 192)), 1).astype(np.float32), 255),
    ):
        assert found_in(picture, white) is None


@pytest.mark.parametrize("mean", [0.1, 0.5, 2.0, 7.0, 20.0])
def test_few_counts_have_none(mean):
    chance = np.random.default_rng(0)
    for counts in (chance.poisson(mean, (192, 192)), chance.poisson(mean * scene() / 128)):
        assert found_in(counts.astype(np.uint8)) is None
        assert found_in(counts.astype(np.float32), 1.0) is None
        assert found_in(eight_bits(255 * counts / max(3 * mean, 1))) is None


@pytest.mark.parametrize("noise", [0, 5])
def test_text_and_drawings_have_none(noise):
    chance = np.random.default_rng(0)
    dots = np.zeros((180, 180))
    dots[::9, ::9] = 200
    for drawn in (*(page(size) for size in (9, 12, 14, 20)), 255 - page(11), screenshot(), dots, scene() > 130):
        picture = eight_bits(drawn * (255 if drawn.dtype == bool else 1) + noise * chance.standard_normal(drawn.shape))
        assert found_in(picture) is None


def test_dithers_and_checkerboards_have_none():
    rows, columns = np.mgrid[:160, :160]
    bayer = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
    ordered = scene()[:320, :320] / 255 * 16 > np.tile(bayer + 0.5, (80, 80))
    at_random = scene() / 255 > np.random.default_rng(0).random(scene().shape)
    for picture in (
        *(floyd_steinberg(levels) for levels in (2, 4, 16)),
        *(255 * drawn.astype(np.uint8) for drawn in (ordered, at_random, (rows + columns) % 2, rows % 4 == 0)),
        np.full((64, 64), 7, np.uint8),
    ):
        assert found_in(picture) is None


@pytest.mark.parametrize("width", [1.2, 2.0, 3.5])
def test_stars_are_no_outliers(width):
    chance = np.random.default_rng(0)
    rows, columns = np.mgrid[:192, :192]
    sky = np.zeros((192, 192))
    for _ in range(120):
        row, column = chance.uniform(0, 192, 2)
        sky += (chance.pareto(1.2) + 1) * 0.05 * 0.5 ** (4 * ((rows - row) ** 2 + (columns - column) ** 2) / width**2)
    noisy = sky + 0.1 + chance.normal(0, 0.005, sky.shape)
    for picture, white in (
        (noisy.astype(np.float32), 1.0),
        (eight_bits(255 * noisy), 255),
        (sky.astype(np.float32), 1),
    ):
        assert found_in(picture, white) is None


def test_small_pictures_are_left_alone():
    assert find_outliers(np.where(np.eye(15, dtype=bool), 255, 9).astype(np.uint8)[..., None], 255) is None


def test_units_do_not_matter():
    picture = eight_bits(scene() + 4 * np.random.default_rng(0).standard_normal(scene().shape))
    spoilt = peppered(picture, 0.01)
    mask = found_in(spoilt).mask
    deep = found_in(spoilt.astype(np.uint16) * 257, 65535)
    double = found_in(spoilt / 255.0, 1.0)
    for other in (deep, double):
        assert (other.mask != mask).sum() < 0.02 * mask.sum()
