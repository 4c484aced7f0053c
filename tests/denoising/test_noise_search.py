"""The noise of a picture: what blocks take for grain is taken out only if it does not look like texture."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
