"""The noise of a picture: what blocks take for grain is taken out only if it does not look like texture."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage import data

from smdae.denoising.denoise import denoise
from smdae.denoising.noise_search import estimate_noise, find_noise
from smdae.estimation.estimate import estimate
from smdae.estimation.scale import scale_of
from smdae.noise import Affine, Noise
from tests.estimation.pictures import GRAIN, in_colour, sampled, through_jpeg

SAMPLES = Path(__file__).parents[2] / "sample_data"


@pytest.mark.parametrize("quality", [60, 75, 90])
def test_texture_that_was_compressed_is_left_alone_though_blocks_take_it_for_grain(quality):
    gravel = through_jpeg(np.asarray(Image.open(SAMPLES / "patches" / "gravel_1.png").convert("RGB")), quality)
    scale = scale_of(gravel, None)
    blocks = estimate(gravel, scale)
    assert blocks.noise.kind == "grain"
    assert blocks.odds > 0
    found = find_noise(gravel, scale)
    assert found.noise.is_none
    assert found.reason == "what there is looks like texture"
    assert np.array_equal(denoise(gravel), gravel)


@pytest.mark.parametrize(("name", "quality"), [("noisy.png", 50), ("noisy_color.png", 50)])
def test_noise_that_was_compressed_is_found_though_blocks_doubt_it(name, quality):
    noisy = through_jpeg(np.asarray(Image.open(SAMPLES / name).convert("RGB")), quality)
    assert estimate(noisy, scale_of(noisy, None)).odds < 0
    assert estimate_noise(noisy).kind == "grain"


def test_grain_that_is_known_to_be_is_not_doubted():
    gravel = np.asarray(Image.open(SAMPLES / "patches" / "gravel_1.png").convert("RGB"))
    found = find_noise(gravel, scale_of(gravel, None), kind="grain")
    assert found.noise.kind == "grain"
    assert math.isinf(found.odds)


def test_grain_is_as_blocks_tell_but_for_its_level():
    y = sampled(Noise((Affine(read=12.0),), 255.0, grain=GRAIN), in_colour())
    scale = scale_of(y, None)
    found, blocks = find_noise(y, scale).noise, estimate(y, scale).noise
    assert found.sigma * 255 == pytest.approx(12, rel=0.1)
    assert replace(found, curves=blocks.curves) == blocks


def _framed(y: np.ndarray, colour: int) -> np.ndarray:
    framed = np.full((y.shape[0] + 150, y.shape[1] + 90, 3), colour, np.uint8)
    framed[77:-73, 43:-47] = y
    return framed


def _barred(y: np.ndarray) -> np.ndarray:
    barred = y.copy()
    barred[:60] = barred[-60:] = 16
    return barred


def _with_nan(y: np.ndarray) -> np.ndarray:
    floats = y.astype(np.float32) / 255
    floats[::97] = np.nan
    return floats


def _with_lost_pixels(y: np.ndarray) -> np.ndarray:
    floats = y.astype(np.float32) / 255
    floats[np.random.default_rng(0).random(y.shape[:2]) < 0.01] = np.nan
    return floats


@pytest.mark.parametrize(
    "as_stored",
    [
        lambda y: _framed(y, 250),
        lambda y: _framed(y, 0),
        _barred,
        lambda y: y.astype(np.float64) / 255,
        lambda y: y.astype(np.uint16) * 257,
        _with_nan,
        _with_lost_pixels,
    ],
    ids=["white frame", "black frame", "bars", "floats", "16 bits", "NaN in rows", "NaN here and there"],
)
@pytest.mark.parametrize("quality", [None, 80], ids=["grain", "grain, then JPEG"])
def test_grain_is_found_beside_what_has_none_and_in_other_types(quality, as_stored):
    y = sampled(Noise((Affine(read=12.0),), 255.0, grain=GRAIN), in_colour())
    if quality is not None:
        y = through_jpeg(y, quality)
    stored = as_stored(y)
    scale = scale_of(stored, None)
    found, plain = find_noise(stored, scale).noise, find_noise(y, scale_of(y, None)).noise
    assert found.kind == "grain"
    assert found.sigma == pytest.approx(plain.sigma, rel=0.15)


@pytest.mark.parametrize("quality", [75, 92])
def test_a_jpeg_with_bars_has_the_noise_of_one_without(quality):
    y = sampled(Noise((Affine(read=12.0),), 255.0, grain=GRAIN), in_colour())
    plain, barred = through_jpeg(y, quality), through_jpeg(_barred(y), quality)
    found = [find_noise(stored, scale_of(stored, None)).noise.sigma for stored in (plain, barred)]
    assert found[1] == pytest.approx(found[0], rel=0.1)


def test_floats_of_a_jpeg_have_the_noise_of_the_jpeg():
    y = through_jpeg(sampled(Noise((Affine(read=5.0),), 255.0, grain=GRAIN), in_colour()), 75)
    floats = y.astype(np.float32) / 255
    assert find_noise(floats, scale_of(floats, None)).noise == find_noise(y, scale_of(y, None)).noise


@pytest.mark.parametrize("name", ["astronaut", "coffee"])
def test_faint_noise_whose_neighbours_are_a_little_alike_is_found(name):
    clean = getattr(data, name)()[100:300, 100:360].astype(float)
    noise = gaussian_filter(np.random.default_rng(0).standard_normal(clean.shape), (0.5, 0.5, 0))
    noisy = np.clip(np.rint(clean + 6 * noise / noise.std()), 0, 255).astype(np.uint8)
    found = estimate_noise(noisy)
    assert found.kind == "grain"
    assert found.sigma == pytest.approx(6, rel=0.15)
