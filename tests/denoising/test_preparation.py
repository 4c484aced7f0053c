"""What is done to a picture before and after."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from smdae import Noise, denoise
from smdae.denoising.preparation import prepare
from smdae.errors import InputError
from tests.estimation.pictures import in_colour, sampled, scene


def noisy(sigma=20.0):
    return sampled(Noise.gaussian(sigma, 255.0), scene(160, 180))


def test_gray_stored_as_colour_is_gray_and_comes_back_as_colour():
    y = noisy()
    prepared = prepare(np.dstack([y] * 3))
    assert prepared.is_shared
    assert np.array_equal(prepared.pixels, y)
    result = denoise(np.dstack([y] * 3))
    assert np.array_equal(result, np.dstack([denoise(y)] * 3))


def test_hidden_pixels_are_filled_from_around_and_come_back():
    y = noisy()
    visible = np.ones(y.shape, bool)
    visible[40:90, 50:120] = False
    y[~visible] = 255
    prepared = prepare(y, visible=visible)
    filled = prepared.pixels[~visible].astype(float)
    assert abs(filled.mean() - scene(160, 180)[~visible].mean()) < 15
    assert np.array_equal(prepared.pixels[visible], y[visible])
    assert np.array_equal(prepared.restored(np.zeros_like(y))[~visible], y[~visible])
    assert not prepared.restored(np.zeros_like(y))[visible].any()


def test_numbers_that_are_none_are_hidden():
    y = (in_colour(60, 70) / 255).astype(np.float32)
    y[10:20, 10:30, 1] = np.nan
    prepared = prepare(y)
    assert np.isfinite(prepared.pixels).all()
    assert prepared.valid is not None
    assert not prepared.valid[10:20, 10:30].any()
    assert np.array_equal(prepared.restored(y), y, equal_nan=True)


def test_a_picture_of_which_nothing_counts_is_refused():
    with pytest.raises(InputError, match="none of its pixels is valid"):
        prepare(noisy(), visible=np.zeros((160, 180), bool))


@pytest.mark.parametrize("factor", [1e-4, 1.0, 3e5])
def test_floats_of_any_scale_are_denoised_alike(factor):
    y = scene(160, 180) + 20 * np.random.default_rng(0).standard_normal((160, 180))
    expected = denoise((y * 0.01).astype(np.float32)) * 100
    result = denoise((y * factor + 7 * factor).astype(np.float32)) / factor - 7
    assert np.abs(result - expected).max() < 2.5
    assert np.sqrt(np.mean((result - scene(160, 180)) ** 2)) < 6


def test_twelve_bits_in_sixteen_are_not_harmed():
    clean = 100 + 2 * scene(160, 180)
    counts = np.rint(clean + 8 * np.random.default_rng(0).standard_normal(clean.shape)).astype(np.uint16)
    result = denoise(counts)
    assert result.dtype == np.uint16
    assert np.sqrt(np.mean((result - clean) ** 2)) < 3


def test_an_outlier_does_not_set_the_scale_and_nothing_but_it_changes():
    y = (scene(160, 180) / 255 + 0.05 * np.random.default_rng(0).standard_normal((160, 180))).astype(np.float32)
    spoilt = y.copy()
    spoilt[80, 90] = 100
    without, result = denoise(y), denoise(spoilt)
    apart = np.abs(result - without)
    apart[74:87, 84:97] = 0
    assert apart.max() < 0.02
    assert abs(result[80, 90] - scene(160, 180)[80, 90] / 255) < 0.15


def test_offsets_of_rows_are_taken_off():
    chance = np.random.default_rng(0)
    clean = np.full((256, 256), 0.4)
    rows = 0.03 * chance.standard_normal((256, 1))
    banded = (clean + rows + 0.05 * chance.standard_normal(clean.shape)).astype(np.float32)
    prepared = prepare(banded)
    assert prepared.is_banded
    assert prepared.pixels.mean(1).std() < 0.4 * banded.mean(1).std()
    assert not prepare((clean + 0.05 * chance.standard_normal(clean.shape)).astype(np.float32)).is_banded


def test_lines_of_print_are_no_offsets():
    image = Image.new("L", (512, 512), 255)
    pen = ImageDraw.Draw(image)
    for line in range(30):
        words = "Sphinx of black quartz, judge my vow. 0123456789 " * 2
        pen.text((10, 10 + 16 * line), words, fill=0, font=ImageFont.load_default(14))
    page = np.asarray(image)
    assert not prepare(page).is_banded
    assert np.array_equal(denoise(page), page)
