"""The noise of a picture, from the picture alone."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from smdae import Noise, estimate_noise
from smdae.errors import InputError, UsageError
from smdae.estimation import noise_level
from smdae.estimation.estimate import estimate
from smdae.estimation.grain import with_unseen
from smdae.estimation.scale import scale_of
from smdae.noise import Affine
from tests.estimation.pictures import GRAIN, floyd_steinberg, in_colour, page, sampled, scene, screenshot, through_jpeg

SAMPLE = Path(__file__).parents[2] / "sample_data" / "clean_color.png"


@pytest.mark.parametrize("sigma", [2.0, 5.0, 15.0, 40.0])
@pytest.mark.parametrize("stored", [True, False])
def test_white_noise_is_white(sigma, stored):
    for seed in range(3):
        y = scene() + sigma * np.random.default_rng(seed).standard_normal(scene().shape)
        y = np.clip(np.rint(y), 0, 255).astype(np.uint8) if stored else (y / 255).astype(np.float32)
        found = estimate_noise(y)
        assert found.kind == "white"
        assert found.sigma * (1 if stored else 255) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("sigma", [10.0, 25.0])
def test_noise_level_is_right_to_a_hundredth_on_average(sigma):
    """An error of the estimator that is always to one side: 3 % of the level costs 0.1 dB."""
    smooth = 130 + 50 * np.sin(np.add.outer(np.arange(160) / 40, np.arange(160) / 30))
    seeds = [np.random.default_rng(seed) for seed in range(6)]
    found = [estimate_noise(smooth + sigma * seed.standard_normal(smooth.shape), 255.0).sigma for seed in seeds]
    assert np.mean(found) == pytest.approx(sigma, rel=0.01)


def test_white_noise_in_colour_has_a_level_for_each_channel_where_they_differ():
    noise = Noise((Affine(read=5.0), Affine(read=10.0), Affine(read=20.0)), 255.0)
    found = estimate_noise(sampled(noise, in_colour()))
    assert found.kind == "white"
    assert found.levels == pytest.approx((5, 10, 20), rel=0.1)


def test_shot_noise_has_its_level_at_every_brightness():
    noise = Noise((Affine(gain=1.5, read=3.0),), 255.0)
    found = estimate_noise(sampled(noise, scene()))
    assert found.kind == "shot"
    x = np.array([[60.0, 100.0, 140.0]])
    np.testing.assert_allclose(found.sd_of(x), noise.sd_of(x), rtol=0.12)


@pytest.mark.parametrize("grain", [GRAIN, ((1.0, 0.45, 0.1), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))])
def test_grain_of_a_photon_counter_has_its_level_at_every_brightness(grain):
    noise = Noise((Affine(gain=2.0, read=1.0),), 255.0, grain=grain)
    found = estimate_noise(sampled(noise, 4 + scene() ** 3 / 255**2))
    assert found.kind == "grain"
    x = np.array([[20.0, 60.0, 120.0]])
    np.testing.assert_allclose(found.sd_of(x), noise.sd_of(x), rtol=0.2)


@pytest.mark.parametrize("peak", [8, 20])
def test_few_counts_are_shot_noise_though_white_cuts_them_off(peak):
    counts = np.random.default_rng(0).poisson(scene() / 255 * peak)
    found = estimate_noise(np.clip(np.rint(counts / peak * 255), 0, 255).astype(np.uint8))
    assert found.kind == "shot"
    x = np.array([[60.0, 100.0, 140.0]])
    np.testing.assert_allclose(found.sd_of(x), np.sqrt(x * 255 / peak), rtol=0.15)


def test_texture_that_grows_with_brightness_is_no_shot_noise():
    chance = np.random.default_rng(0)
    rough = chance.standard_normal((322, 360))
    rough = (rough[:-2] + rough[1:-1] + rough[2:]) / 3
    brightness = np.broadcast_to(np.linspace(30, 200, 360), (320, 360))
    clean = brightness + 45 * np.clip((brightness - 80) / 120, 0, 1) * rough
    y = np.clip(np.rint(clean + 2 * chance.standard_normal(clean.shape)), 0, 255).astype(np.uint8)
    assert estimate_noise(y).kind == "white"


@pytest.mark.parametrize("sigma", [4.0, 12.0, 25.0])
def test_grain_has_its_level_and_its_correlation(sigma):
    found = estimate_noise(sampled(Noise((Affine(read=sigma),), 255.0, grain=GRAIN), scene()))
    assert found.kind == "grain"
    assert found.sigma == pytest.approx(sigma, rel=0.12)
    assert found.grain[0][1] == pytest.approx(0.6, abs=0.08)
    assert found.grain[1][1] == pytest.approx(0.36, abs=0.08)


@pytest.mark.parametrize("work", ["smaller", "larger", "turned"])
def test_white_noise_that_was_resized_or_turned_is_grain(work):
    def done(picture: np.ndarray) -> np.ndarray:
        image = Image.fromarray(picture.astype(np.float32))
        if work == "turned":
            return np.asarray(image.rotate(4, Image.Resampling.BICUBIC))[30:-30, 30:-30]
        side, by = (260, Image.Resampling.BICUBIC) if work == "smaller" else (420, Image.Resampling.NEAREST)
        return np.asarray(image.resize((side, side), by))

    clean = scene()
    noise = np.random.default_rng(0).normal(0, 18, clean.shape)
    y = np.clip(np.rint(done(clean + noise)), 0, 255).astype(np.uint8)
    found = estimate_noise(y)
    assert found.kind == "grain"
    assert found.sigma == pytest.approx(done(noise).std(), rel=0.12)


@pytest.mark.parametrize("size", [12, 18])
def test_a_scan_of_print_stored_as_jpeg_holds_no_grain(size):
    shown = gaussian_filter(page(size).astype(float), 0.6) * 0.9 + 12
    noisy = np.rint(shown + np.random.default_rng(0).normal(0, 4, shown.shape)).clip(0, 255).astype(np.uint8)
    found = estimate_noise(through_jpeg(noisy, 75))
    assert found.kind != "grain"
    assert found.sigma < 5


def test_of_white_noise_in_a_jpeg_more_is_found_than_its_finest_part():
    """A part of the sample picture: grass, of which the smallest eigenvalues tell 11.7."""
    clean = np.asarray(Image.open(SAMPLE)).astype(float)[:200, :200]
    noisy = np.rint(clean + np.random.default_rng(0).normal(0, 20, clean.shape)).clip(0, 255).astype(np.uint8)
    stored = through_jpeg(noisy, 75)
    assert estimate_noise(stored).sigma == pytest.approx((stored - clean).std(), rel=0.12)


def test_what_channels_share_is_told():
    shared = ((1.0, 0.7, 0.7), (0.7, 1.0, 0.7), (0.7, 0.7, 1.0))
    found = estimate_noise(sampled(Noise((Affine(read=12.0),), 255.0, grain=GRAIN, channels=shared), in_colour()))
    assert found.kind == "grain"
    assert found.channels is not None
    assert found.channels[0][1] == pytest.approx(0.7, abs=0.1)


def test_gray_that_is_stored_as_colour_has_the_noise_of_gray():
    y = sampled(Noise.gaussian(20.0, 255.0), scene())
    assert estimate_noise(np.dstack([y] * 3)) == estimate_noise(y)


@pytest.mark.parametrize(
    "drawn",
    [page(12), page(20), page(14, 60, 240), page(14, 255, 0), *(screenshot(seed) for seed in range(4))],
    ids=["small", "large", "gray", "inverse", "screen0", "screen1", "screen2", "screen3"],
)
def test_what_was_drawn_has_none(drawn):
    found = estimate(drawn, scale_of(drawn))
    assert found.noise.is_none
    assert "alike" in found.reason


@pytest.mark.parametrize("levels", [2, 4, 8])
def test_a_dither_has_none(levels):
    assert estimate_noise(floyd_steinberg(levels)).is_none


def test_a_mask_and_a_constant_have_none():
    mask = (scene() > 120).astype(np.uint8) * 255
    assert estimate_noise(mask).is_none
    constant = np.full((60, 70, 3), 9, np.uint8)
    assert estimate(constant, scale_of(constant)).reason == "it is constant"


def test_a_clean_picture_has_none():
    assert estimate_noise(np.rint(in_colour()).astype(np.uint8)).is_none


@pytest.mark.parametrize(
    ("sigma", "decay", "is_noise"), [(4, 0.1, True), (4, 0.3, False), (12, 0.3, True), (12, 0.5, False)]
)
def test_eigenvalues_that_go_on_falling_are_those_of_texture(sigma, decay, is_noise, monkeypatch):
    monkeypatch.setattr(noise_level, "levels", lambda *_, **__: (noise_level.Level(sigma / 255, decay),))
    y = sampled(Noise.gaussian(sigma, 255.0), scene())
    found = estimate(y, scale_of(y, None))
    assert (found.instead or found).noise.is_none != is_noise


def test_bars_are_evidence_of_nothing():
    y = sampled(Noise.gaussian(25.0, 255.0), scene())
    y[:60] = y[-60:] = 128
    found = estimate_noise(y)
    assert found.kind == "white"
    assert found.sigma == pytest.approx(25, rel=0.05)


def test_pixels_that_do_not_count_do_not_speak():
    y = sampled(Noise.gaussian(10.0, 255.0), scene())
    valid = np.ones(y.shape, bool)
    valid[:, :150] = False
    y[:, :150] = np.random.default_rng(0).integers(0, 256, (len(y), 150))
    assert estimate(y, scale_of(y), valid).noise.sigma * 255 == pytest.approx(10, rel=0.08)
    floats = (y / 255).astype(np.float32)
    floats[:, :150] = np.nan
    assert estimate_noise(floats).sigma * 255 == pytest.approx(10, rel=0.08)
    with pytest.raises(InputError, match="none of its pixels is valid"):
        estimate_noise(np.full((40, 40), np.nan, np.float32))


def test_twelve_bits_in_sixteen_have_their_own_scale():
    counts = np.rint(100 + 2 * scene() + 8 * np.random.default_rng(0).standard_normal(scene().shape)).astype(np.uint16)
    found = estimate_noise(counts)
    assert found.kind == "white"
    assert found.sigma == pytest.approx(8, rel=0.08)
    tiny = (counts * 1e-5).astype(np.float32)
    assert estimate_noise(tiny).sigma == pytest.approx(8e-5, rel=0.08)


def test_a_kind_may_be_told():
    y = sampled(Noise.gaussian(12.0, 255.0), scene())
    for kind in ("white", "shot", "grain"):
        found = estimate(y, scale_of(y), kind=kind).noise
        assert found.kind == kind
        assert np.mean(found.sd_of(scene() / 255)) * 255 == pytest.approx(12, rel=0.12)


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (12, 12, 3)])
def test_pictures_too_small_for_blocks_have_a_level_or_none(shape):
    y = np.clip(128 + 20 * np.random.default_rng(0).standard_normal(shape), 0, 255).astype(np.uint8)
    assert estimate_noise(y).kind == "white"


def test_texture_of_pictures_too_small_for_blocks_is_no_noise():
    rows, columns = np.mgrid[:12, :40]
    y = np.rint(120 + 25 * np.sin(0.7 * rows + 0.4 * columns) + 4 * ((rows * columns) % 3 - 1)).astype(np.uint8)
    assert estimate_noise(y).is_none


@pytest.mark.parametrize("steps", [(200, 150, 100), (90, 60, 40)])
def test_a_gradient_in_whole_numbers_has_none(steps):
    rows, columns = np.mgrid[:300, :400]
    along = np.hypot(columns - 200, rows - 150) / 400 if steps[0] == 90 else (columns / 400 + rows / 300) / 2
    assert estimate_noise(np.rint(30 + along[:, :, None] * steps).astype(np.uint8)).is_none


def test_what_is_no_image_is_refused():
    with pytest.raises(UsageError, match="shape"):
        estimate_noise(np.zeros(5))
    with pytest.raises(UsageError, match="not int64"):
        estimate_noise(np.zeros((5, 5), np.int64))
    with pytest.raises(UsageError, match="positive"):
        estimate_noise(np.zeros((5, 5)), white=-1.0)


def test_the_unseen_noise_of_colours_is_added_the_more_of_it_is_missing():
    def seen(shared: float) -> np.ndarray:
        return 4.0 * ((1 - shared) * np.eye(3) + shared)

    brightness, colour = np.full(3, 1 / np.sqrt(3)), np.array([1.0, -1.0, 0.0]) / np.sqrt(2)
    factors = []
    for shared in (0.3, 0.7, 0.9, 0.95, 0.99):
        before, after = seen(shared), with_unseen(seen(shared))
        np.testing.assert_allclose(after, after.T, rtol=0, atol=0)
        factors.append(np.sqrt((colour @ after @ colour) / (colour @ before @ colour)))
        ratio = np.sqrt((brightness @ after @ brightness) / (brightness @ before @ brightness))
        assert 1 - 1e-9 < ratio < 1.16
    assert (np.diff(factors) > -1e-9).all()
    assert factors[0] == pytest.approx(1.0)
    assert factors[-1] == pytest.approx(3.0)
    one = np.diag([1.0, 2.0, 3.0])  # channels of levels of their own
    assert (np.linalg.eigvalsh(with_unseen(one)) > 0).all()
