"""The estimated quality of results, and what makes it doubtful."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from smdae import Noise, estimate_noise, load
from smdae.denoising import judgement, probing
from smdae.denoising.denoise import denoise, run_task
from smdae.denoising.judgement import Judgement, judge
from smdae.denoising.task import Task

CLEAN = data.camera()[:320, 60:380].astype(np.float32) / 255
KNOWN = Noise.gaussian(25 / 255)
LARGE = data.camera().astype(np.float32) / 255


@pytest.fixture(scope="module")
def model():
    return load("natural-gray-small")


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
    return judge(task, result, 0.004 if sigma is None else 0.0), -10 * np.log10(error)


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


def test_noise_that_was_estimated_of_another_picture_is_less_sure_than_known_noise(model):
    image = noise(CLEAN, 25)
    profile = Noise.from_yaml(estimate_noise(noise(CLEAN, 25, seed=1)).to_yaml())
    assert 0 < profile.level_error < 0.1
    found, known = (judge(task, run_task(task)) for task in (Task.of(image, model, noise=n) for n in (profile, KNOWN)))
    assert found.error > 1.5 * known.error
    assert found.doubts == known.doubts == ()
    wrong = Task.of(image, model, noise=profile.amplified(0.7))
    assert judge(wrong, run_task(wrong)).doubts[0].startswith("the noise looks like")


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
    monkeypatch.setattr(probing, "MAX_PROBED_WHOLE", 1 << 16)
    part, truth = judged(noise(LARGE, 25), model, 25, clean=LARGE)
    assert part.error > whole.error
    assert abs(part.psnr - truth) < 3 * part.error


def test_what_was_removed_elsewhere_tells_of_what_was_not_probed(model, monkeypatch):
    """Of a picture that is half smooth and half texture, tiles by chance see more of one; the others make up for it."""
    texture = np.random.default_rng(0).random((256, 256)).astype(np.float32).repeat(4, 0).repeat(4, 1)[:512, :512]
    clean = np.hstack([np.full((512, 512), 0.5, np.float32), texture])
    image = noise(clean, 25)
    task, result = Task.of(image, model, 25 / 255), denoise(image, model, 25 / 255)
    monkeypatch.setattr(probing, "MAX_PROBED_WHOLE", 1 << 30)
    nowhere = np.full((2, 1), -np.inf)
    removed = judgement._residual(task, result[..., None], nowhere).power
    whole = probing.probe_jacobian(task, result[..., None], nowhere, removed).trace
    monkeypatch.setattr(probing, "MAX_PROBED_WHOLE", 1 << 18)
    apart, alone = [], []
    for seed in range(8):
        monkeypatch.setattr(probing, "SEED", seed)
        traces = probing.probe_jacobian(task, result[..., None], nowhere, removed)
        apart.append((traces.trace - whole)[0] / traces.error[0])
        alone.append(traces.error[0])
    assert np.abs(apart).max() < 4
    assert np.sqrt(np.mean(np.square(apart))) < 2
    # The mean over 32 tiles, of which half have nearly none and half twice as much, errs by a sixth of it.
    assert np.mean(alone) < 0.1 * whole


def test_all_tiles_are_seen_alike_and_lie_in_the_image(model):
    task = Task.of(np.zeros((515, 700), np.float32) + 0.5, model, 0.1)
    places, part = probing.places(task, probing.Generator().manual_seed(0))
    assert part == pytest.approx(len(places) * probing.TILE_SIDE**2 / (515 * 700), rel=0.1)
    place = np.arange(515 * 700).reshape(515, 700)
    for tile in places:
        assert place[tile.padded].shape == (48, 48)
        assert all(part.start % model.shift_multiple == 0 for part in tile.padded)
        assert np.array_equal(place[tile.padded][tile.inner], place[tile.kept])


def test_batches_are_as_large_as_memory_for_a_tile(model, monkeypatch):
    image = np.hstack([noise(LARGE, 25)] * 2)
    task, result = Task.of(image, model, 25 / 255), denoise(image, model, 25 / 255)
    together = judge(task, result)
    monkeypatch.setattr(probing, "MAX_TILE_BYTES", 3 * 2 * 48 * 48 * model.bytes_per_pixel)
    places, _ = probing.places(task, probing.Generator().manual_seed(0))
    assert {len(batch) for batch in probing.batches(task, places)} <= {1, 2, 3}
    one_by_one = judge(task, result)
    assert one_by_one.psnr == pytest.approx(together.psnr, abs=0.5)


def test_a_given_level_is_looked_into_only_where_it_does_not_add_up(model, monkeypatch):
    asked = []
    monkeypatch.setattr(judgement.noise_level, "estimate", lambda *_: (asked.append("level"), (25 / 255,))[1])
    monkeypatch.setattr(judgement, "coarseness", lambda *_: (asked.append("grain"), 1.0)[1])
    for given, expected in ((25, []), (18, ["level", "grain"]), (33, ["level", "grain"]), (None, ["level"])):
        asked.clear()
        judged(noise(CLEAN, 25), model, given)
        assert [*dict.fromkeys(asked)] == expected


def test_colours_at_levels_of_their_own():
    colour = data.astronaut()[:200, 100:300].astype(np.float32) / 255
    image = np.dstack([noise(colour[..., c], sigma, c) for c, sigma in enumerate((10, 20, 30))])
    model = load("natural-color-small")
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
    found, _ = judged(np.asarray(half), model, 25, clean=0, noise="white")
    assert any("correlated" in doubt for doubt in found.doubts)


def test_a_picture_that_is_black_or_white_is_doubted(model):
    page = stored(noise((CLEAN > 0.5).astype(np.float32), 25))
    found, _ = judged(page, model, 25)
    assert any("cut the noise off" in doubt for doubt in found.doubts)


def test_a_figure_is_told_with_its_error_and_only_where_nothing_is_doubted(model):
    assert Judgement(30.04, 0.26, ()).text == "30.0 +- 0.3 dB"
    assert Judgement(30.04, 0.01, ()).text == "30.0 +- 0.1 dB"
    assert Judgement(30.04, 0.26, ()).is_trusted
    task = Task.of(noise(CLEAN, 25), model, 25 / 255)
    unsure = judge(task, denoise(noise(CLEAN, 25), model, 25 / 255), level_error=0.2)
    assert not unsure.is_trusted
    assert "its standard error would be" in unsure.doubts[0]


def test_a_negative_error_has_no_standard_error_in_decibels(model):
    found, _ = judged(CLEAN[:96, :96], model, 15, clean=0, noise="white")
    assert "the error comes out negative: sigma is too high" in found.doubts
    assert not any("standard error" in doubt for doubt in found.doubts)


def test_two_pictures_of_different_noise_in_one_have_no_figure(model):
    image = noise(LARGE[:256, :256], 5)
    image[:, 128:] = noise(LARGE[:256, :256], 25)[:, 128:]
    found, truth = judged(stored(image), model, clean=LARGE[:256, :256])
    assert found.psnr > truth + 5
    assert any("other noise" in doubt for doubt in found.doubts)


def test_a_gain_that_is_not_known_puts_the_quality_in_doubt():
    before = Judgement(30.0, 0.2, ())
    better = before.better_by(1.0, 0.3)
    assert (better.psnr, better.error, better.doubts) == (31.0, pytest.approx(0.36, abs=0.01), ())
    assert better.is_gain_known
    far = before.better_by(9.0, 2.0)
    assert not far.is_gain_known
    assert far.doubts == ("its standard error would be 2.0 dB",)
    assert not before.is_gain_known
