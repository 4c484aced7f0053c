"""Blotches of colour are found, told from real colour and from white noise, and taken out without the brightness."""

import numpy as np
import pytest
import torch

from smdae import Noise, denoise, denoise_image
from smdae.blotches import Blotches, difference_of
from smdae.curves import Affine
from smdae.denoising.blotched import Blotched, kept_by_means
from smdae.denoising.coarse import means
from smdae.denoising.noise_search import estimate_noise, find_noise
from smdae.errors import UsageError
from smdae.estimation.blotches import blotches_of, expected, look
from smdae.estimation.scale import scale_of
from smdae.jpeg import LUMA
from tests.denoising.test_coarse import coarse_noise, large_scene
from tests.estimation.pictures import GRAIN, in_colour, sampled, through_jpeg

FAST = "natural-color-small"
CLEAN = in_colour()


def noisy(size=8.0, level=9.0, read=1.5, seed=0, clean=CLEAN):
    """A picture with blotches and faint white noise."""
    noise = Noise((Affine(read=read),), 255.0, blotches=Blotches((level, level), size))
    return sampled(noise, clean, seed)


def differences(picture):
    return difference_of(torch.from_numpy(picture.astype(np.float64)).permute(2, 0, 1)[None])


def luma(picture):
    return picture.astype(float) @ np.array(LUMA)


@pytest.mark.parametrize(("size", "side"), [(3.0, 2), (6.0, 2), (6.0, 4), (12.0, 4)])
def test_it_is_known_what_blocks_keep_of_blotches(size, side):
    blotches = Blotches((1.0, 1.0), size)
    n = blotches.sample(torch.zeros(1, 3, 640, 640), torch.Generator().manual_seed(0))
    planes = (0.5 + 0.05 * n[0]).permute(1, 2, 0).numpy()
    seen = look(planes, scale_of(planes), None, side)
    variance, *neighbours = expected(size, side)
    assert np.mean(seen.variances) / 0.05**2 == pytest.approx(variance, rel=0.2)
    assert seen.neighbours == pytest.approx(neighbours, abs=0.04)
    assert difference_of(means(n, side)).std().item() == pytest.approx(kept_by_means(blotches, side), rel=0.1)


@pytest.mark.parametrize("size", [3.0, 5.0, 8.0, 12.0])
def test_level_and_size_are_estimated(size):
    picture = noisy(size)
    scale = scale_of(picture)
    found = blotches_of(picture, scale, None, look(picture, scale, None)).scaled(255)
    assert found.levels == pytest.approx((9, 9), rel=0.3)
    assert found.size == pytest.approx(size, rel=0.3)


@pytest.mark.parametrize("quality", [None, 85])
@pytest.mark.parametrize("size", [6.0, 10.0])
def test_blotches_are_found_and_taken_out(size, quality):
    picture = noisy(size) if quality is None else through_jpeg(noisy(size), quality)
    noise = estimate_noise(picture)
    assert noise.blotches is not None
    assert "blotches of colour" in noise.describe()
    result = denoise(picture, FAST)
    before, after = (differences(one - CLEAN).square().mean().item() for one in (picture, result))
    assert after < before / 2.5
    assert np.mean((luma(result) - luma(CLEAN)) ** 2) < 1.1 * np.mean((luma(picture) - luma(CLEAN)) ** 2)


def test_the_brightness_stays_as_it_is():
    picture = noisy(6.0, read=0.0)
    alone = Noise((Affine(),), 255.0, blotches=Blotches((9.0, 9.0), 6.0))
    result = denoise(picture, FAST, noise=alone)
    assert not np.array_equal(result, picture)
    assert np.abs(luma(result) - luma(picture)).max() <= 0.5  # each channel is rounded


def test_the_brightness_stays_at_black_and_white_too():
    rng = np.random.default_rng(0)
    picture = rng.choice([0, 255], (64, 64, 3)).astype(np.uint8)
    alone = Noise((Affine(),), 255.0, blotches=Blotches((40.0, 40.0), 3.0))
    assert np.abs(luma(denoise(picture, FAST, noise=alone)) - luma(picture)).max() <= 0.5


def test_small_things_of_a_strong_colour_keep_most_of_it():
    clean = CLEAN.copy()
    rows, columns = np.mgrid[:320, :360]
    spots = ((rows % 40 - 20) ** 2 + (columns % 40 - 20) ** 2) < 4.5**2
    clean[spots] = (220, 30, 40)
    noise = Noise((Affine(read=1.0),), 255.0, blotches=Blotches((7.0, 7.0), 6.0))
    result = denoise(sampled(noise, clean), FAST, noise=noise)
    off = np.linalg.norm((result[spots] - clean[spots]).mean(0))
    assert off < 0.15 * np.linalg.norm((clean[spots] - CLEAN[spots]).mean(0))
    assert (
        differences(result - clean).square().mean() < differences(sampled(noise, clean) - clean).square().mean() / 2.5
    )


@pytest.mark.parametrize("quality", [None, 75])
def test_a_picture_without_noise_has_no_blotches(quality):
    clean = np.rint(CLEAN).astype(np.uint8)
    assert estimate_noise(clean if quality is None else through_jpeg(clean, quality)).blotches is None


@pytest.mark.parametrize("noise", [Noise((Affine(read=20.0),), 255.0), Noise((Affine(read=9.0),), 255.0, grain=GRAIN)])
def test_other_noise_is_not_taken_for_blotches(noise):
    assert estimate_noise(sampled(noise, CLEAN)).blotches is None


def test_noise_that_is_told_to_be_white_has_no_blotches():
    picture = noisy()
    assert find_noise(picture, scale_of(picture), kind="white").noise.blotches is None
    assert find_noise(picture, scale_of(picture), kind="grain").noise.blotches is not None


def test_hidden_pixels_do_not_count():
    picture = noisy()
    valid = np.ones(picture.shape[:2], bool)
    valid[:, 240:] = False
    picture[:, 240:] = np.random.default_rng(0).integers(0, 256, (320, 120, 3))
    found = find_noise(picture, scale_of(picture), valid).noise.scaled(255.0)
    assert found.blotches.levels == pytest.approx((9, 9), rel=0.3)


@pytest.mark.parametrize("grain", [((1.0,),), GRAIN])
@pytest.mark.parametrize("model", [FAST, "natural-gray-small"])
def test_the_result_does_not_depend_on_tiles(model, grain):
    noise = Noise((Affine(read=4.0),), 255.0, grain=grain, blotches=Blotches((9.0, 9.0), 4.0))
    picture = sampled(noise, in_colour(203, 230))
    whole, cut = (denoise(picture, model, noise=noise, tile=side) for side in (1000, 64))
    assert np.abs(whole.astype(int) - cut).max() <= 1
    assert differences(whole - in_colour(203, 230)).std() < 0.7 * differences(picture - in_colour(203, 230)).std()


class Halving:
    """A model of one's own, which knows white noise only."""

    channels, noise_range, halo, shift_multiple, bytes_per_pixel = None, (0.0, 1.0), 0, 1, 16

    def score(self, x, sigma):
        return -0.5 * (x - x.mean((2, 3), keepdim=True)) / sigma**2


def test_a_model_of_ones_own_takes_blotches_out_of_means():
    y = torch.rand(1, 3, 24, 28, generator=torch.Generator().manual_seed(0)) / 4 + 0.4
    blotches = Blotches((0.05, 0.05), 4.0)
    rest = Blotched(Halving(), blotches, None).with_model(Halving()).reconstruct(y)
    h, g = difference_of(means(y, 2)), difference_of(means(rest, 2))
    assert (g - h.mean((2, 3), keepdim=True)).std() < 0.7 * h.std()


def test_gray_stored_as_colour_has_none_and_takes_a_profile_of_colour():
    noise = Noise((Affine(read=9.0),), 255.0, blotches=Blotches((9.0, 9.0), 4.0))
    gray = np.repeat(sampled(Noise((Affine(read=9.0),), 255.0), CLEAN[:, :, 0])[:, :, None], 3, 2)
    results = [denoise(gray, "natural-gray-small", noise=one) for one in (noise, Noise.gaussian(9.0, 255.0))]
    assert np.array_equal(*results)


def test_uncertainty_and_the_estimated_psnr_are_refused():
    noise = Noise((Affine(read=4.0),), 255.0, blotches=Blotches((9.0, 9.0), 4.0))
    picture = noisy()[:96, :96]
    assert not denoise_image(picture, FAST, noise=noise).quality.is_trusted
    with pytest.raises(UsageError, match="white noise"):
        denoise_image(picture, FAST, noise=noise, uncertainty=True)
    with pytest.raises(UsageError, match="sampler"):
        denoise(picture, FAST, noise=noise, sampler="langevin")


def test_a_given_level_is_that_of_all_noise():
    found = find_noise(noisy(), scale_of(noisy())).noise.scaled(255.0)
    result = denoise(noisy(), FAST, found.sigma)
    assert np.abs(result.astype(int) - denoise(noisy(), FAST)).max() <= 1


def test_coarse_noise_of_all_channels_is_not_taken_for_blotches():
    """It stayed in the brightness: with blotches taken out of the colours alone, 1.5 dB were lost."""
    clean = np.stack([large_scene()] * 3, 2)
    found = estimate_noise(sampled(coarse_noise(2), clean))
    assert (found.coarseness, found.blotches) == (2, None)
