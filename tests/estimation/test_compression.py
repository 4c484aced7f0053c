"""Pictures that were JPEGs once."""

import numpy as np
import pytest

from smdae.estimation.compression import jpeg_quality
from smdae.estimation.estimate import estimate
from smdae.estimation.scale import scale_of
from smdae.noise import Noise
from tests.estimation.pictures import floyd_steinberg, in_colour, page, sampled, scene, screenshot, through_jpeg


@pytest.mark.parametrize("quality", [40, 75, 90])
@pytest.mark.parametrize("sigma", [2.0, 15.0])
@pytest.mark.parametrize("clean", [scene(), in_colour()], ids=["gray", "colour"])
def test_the_quality_is_found_wherever_the_grid_begins(quality, sigma, clean):
    stored = through_jpeg(sampled(Noise.gaussian(sigma, 255.0), clean), quality)
    assert jpeg_quality(stored) == quality
    assert jpeg_quality(stored[3:, 6:]) == quality


def test_the_quality_is_found_beside_a_frame_and_what_does_not_count():
    stored = through_jpeg(sampled(Noise.gaussian(4.0, 255.0), in_colour()), 75)
    framed = np.full((900, 900, 3), 200, np.uint8)
    framed[101:421, 99:459] = stored
    assert jpeg_quality(framed) == 75
    seen = np.zeros((900, 900), bool)
    seen[101:421, 99:459] = True
    noise = np.random.default_rng(0).integers(0, 256, framed.shape, np.uint8)
    assert jpeg_quality(np.where(seen[:, :, None], framed, noise), seen) == 75
    assert jpeg_quality(framed, ~seen) is None


@pytest.mark.parametrize("sigma", [0.0, 0.5, 2.0, 10.0, 40.0, 100.0])
def test_noise_was_no_jpeg(sigma):
    for seed in range(3):
        assert jpeg_quality(sampled(Noise.gaussian(sigma, 255.0), scene(), seed)[:, :, None]) is None
        assert jpeg_quality(sampled(Noise.gaussian(sigma, 255.0), in_colour(), seed)) is None


def test_noise_after_a_jpeg_leaves_nothing_of_it_to_be_seen():
    stored = through_jpeg(np.rint(in_colour()).astype(np.uint8), 75)
    assert jpeg_quality(sampled(Noise.gaussian(10.0, 255.0), stored.astype(np.float64))) is None


def test_what_was_drawn_was_no_jpeg():
    for drawn in (page(), page(20, 60, 240), screenshot(), floyd_steinberg(2), np.full((80, 80), 9, np.uint8)):
        assert jpeg_quality(np.atleast_3d(drawn)) is None


def test_other_pictures_are_not_looked_at():
    stored = through_jpeg(np.rint(scene()).astype(np.uint8), 75)
    assert jpeg_quality(stored.astype(np.uint16)) is None
    assert jpeg_quality(stored[:40]) is None
    assert jpeg_quality(stored.repeat(2, 2)) is None


def test_the_estimate_has_it():
    stored = through_jpeg(sampled(Noise.gaussian(15.0, 255.0), scene()), 80)
    assert estimate(stored, scale_of(stored)).jpeg == 80
    assert estimate(stored, scale_of(stored), jpeg=70).jpeg == 70
    assert estimate(sampled(Noise.gaussian(15.0, 255.0), scene()), scale_of(stored)).jpeg is None
