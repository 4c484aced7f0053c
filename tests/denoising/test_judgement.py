"""The estimated quality of results, and what makes it doubtful."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from smdae import load
from smdae.denoising import judgement
from smdae.denoising.denoise import denoise
from smdae.denoising.judgement import Judgement, judge
from smdae.denoising.task import Task

CLEAN = data.camera()[:320, 60:380].astype(np.float32) / 255
LARGE = data.camera().astype(np.float32) / 255


@pytest.fixture(scope="module")
def model():
    return load("natural-gray")


def noise(clean, sigma, seed=0):
    return clean + np.float32(sigma / 255) * np.random.default_rng(seed).standard_normal(clean.shape, np.float32)


def stored(image):
    return np.clip(np.rint(255 * image), 0, 255).astype(np.uint8)


def judged(image, model, sigma=None, **options):
    """The judgement of the image denoised, and the true PSNR, white being 1, to a clean one."""
    clean = options.pop("clean", CLEAN)
    level = sigma if sigma is None or image.dtype.kind == "u" else sigma / 255
    task = Task.of(image, model, level, **options)
    result = denoise(image, model, level, **options)
    unit = 255 if image.dtype.kind == "u" else 1
    error = np.mean((np.clip(result / unit, 0, 1) - clean) ** 2)
    return judge(task, result, sigma is None), -10 * np.log10(error)


@pytest.mark.parametrize("sigma", [10, 25, 50])
def test_the_truth_is_near_and_nothing_is_doubted(model, sigma):
    found, truth = judged(noise(CLEAN, sigma), model, sigma)
    assert abs(found.psnr - truth) < 3 * found.error
    assert found.error < 1
    assert found.doubts == ()


def test_a_channel_without_noise_counts_as_right(model):
    image, clean = np.dstack([noise(CLEAN, 30), CLEAN, noise(CLEAN, 30, 1)]), np.dstack([CLEAN] * 3)
    task = Task.of(image, model, (30 / 255, 0.0, 30 / 255))
    result = denoise(image, model, (30 / 255, 0.0, 30 / 255))
    found, truth = judge(task, result), -10 * np.log10(np.mean((np.clip(result, 0, 1) - clean) ** 2))
    assert abs(found.psnr - truth) < 3 * found.error


def test_a_wrong_estimate_is_wrong_for_all_channels_alike(model):
    errors = []
    for image in (noise(CLEAN, 25), noise(np.dstack([CLEAN] * 3), 25)):
        clean = CLEAN if image.ndim == 2 else np.dstack([CLEAN] * 3)
        errors.append(judged(image, model, clean=clean)[0].error)
    assert errors[1] > 0.8 * errors[0]


def test_a_level_that_was_estimated_is_less_sure(model):
    given, _ = judged(noise(CLEAN, 25), model, 25)
    found, truth = judged(noise(CLEAN, 25), model)
    assert found.error > 1.5 * given.error
    assert abs(found.psnr - truth) < 3 * found.error
    assert found.doubts == ()


def test_where_black_and_white_cut_noise_off_the_truth_is_near_all_the_same(model):
    found, truth = judged(stored(noise(CLEAN, 25)), model, 25)
    assert abs(found.psnr - truth) < 1
    assert found.doubts == ()


def test_strength_and_ensemble_count(model):
    for options in ({"strength": 0.5}, {"ensemble": True}):
        found, truth = judged(noise(CLEAN, 25), model, 25, **options)
        assert abs(found.psnr - truth) < 3 * found.error


def test_a_large_image_is_probed_in_part(model, monkeypatch):
    whole, _ = judged(noise(LARGE, 25), model, 25, clean=LARGE)
    monkeypatch.setattr(judgement, "LEAST_PROBED", 1 << 16)
    part, truth = judged(noise(LARGE, 25), model, 25, clean=LARGE)
    assert part.error > whole.error
    assert abs(part.psnr - truth) < 3 * part.error


def test_colours_at_levels_of_their_own():
    colour = data.astronaut()[:200, 100:300].astype(np.float32) / 255
    image = np.dstack([noise(colour[..., c], sigma, c) for c, sigma in enumerate((10, 20, 30))])
    model = load("natural-color")
    levels = [level / 255 for level in (10, 20, 30)]
    result = denoise(image, model, levels)
    found = judge(Task.of(image, model, levels), result)
    truth = -10 * np.log10(np.mean((np.clip(result, 0, 1) - colour) ** 2))
    assert abs(found.psnr - truth) < 3 * found.error


def test_a_wrong_level_is_doubted(model):
    for sigma in (12, 50):
        found, _ = judged(noise(CLEAN, 25), model, sigma)
        assert any("looks like sigma 25" in doubt for doubt in found.doubts)


def test_correlated_noise_is_doubted(model):
    half = Image.fromarray(noise(LARGE, 40)).resize((360, 360), Image.Resampling.BICUBIC)
    found, _ = judged(np.asarray(half), model, clean=0)
    assert any("correlated" in doubt for doubt in found.doubts)


def test_a_picture_that_is_black_or_white_is_doubted(model):
    page = stored(noise((CLEAN > 0.5).astype(np.float32), 25))
    found, _ = judged(page, model, 25)
    assert any("cut the noise off" in doubt for doubt in found.doubts)


def test_what_is_no_more_than_a_bound_is_told_as_one():
    assert Judgement(30.04, 0.26, ()).text == "30.0 +- 0.3 dB"
    assert Judgement(30.04, 0.01, ()).text == "30.0 +- 0.1 dB"
    assert Judgement(60.0, 40.0, ()).text == "over 47 dB"
