"""Fits on noisy images alone: what noise they have, what they are shown as, and what comes of it."""

import numpy as np
import pytest
import torch
from skimage import data
from torch import Generator

from smdae import Noise, fit
from smdae.denoising.denoise import denoise
from smdae.errors import DivergedError, InputError, UsageError
from smdae.fitting.degeneration import refuse_degenerate
from smdae.fitting.noisy import noise_of
from smdae.fitting.prepare import prepare
from smdae.fitting.settings import check
from smdae.noise import Affine
from tests.estimation.pictures import GRAIN, sampled, scene

CLEAN = [data.camera()[i : i + 160, j : j + 160].astype(np.float32) / 255 for i in (0, 300) for j in (40, 250)]


def noisy(*sigmas, images=CLEAN):
    generator = np.random.default_rng(0)
    pairs = zip(images, sigmas, strict=True)
    return [image + np.float32(s / 255) * generator.standard_normal(image.shape, np.float32) for image, s in pairs]


def settings(**values):
    return check({"noisy": True, **values})


def test_defaults_are_implicit_score_matching_at_the_level_found():
    for model in ("energy", "unet"):
        found = settings(model=model)
        assert (found.objective, found.sigma) == ("ism", "auto")
    assert settings(objective="dsm", sigma=12).sigma == 12


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"noisy": True, "sigma": (5, 50)}, "one level of noise each"),
        ({"sigma": "auto"}, "add noisy"),
        ({"noisy": True, "objective": "dae"}, "needs clean images; noisy ones are enough for ism"),
        ({"noisy": True, "objective": "esm-parzen"}, "needs clean images"),
        ({"noisy": True, "model": "unet", "objective": "dsm", "clipped": 0.5}, "change clean images"),
        ({"extra_noise": 5}, "add noisy"),
        ({"noisy": True, "extra_noise": 5}, "with dsm"),
    ],
)
def test_what_does_not_go_together_is_refused(values, reason):
    with pytest.raises(UsageError, match=reason):
        check(values)


def test_levels_that_may_be_one_are_one():
    found = noise_of(noisy(20, 20, 20, 20), 1.0, settings())
    assert len(set(found.levels)) == 1
    assert 255 * found.levels[0] == pytest.approx(20, abs=0.5)
    assert found.warnings == ()


def test_levels_that_differ_stay_apart_and_are_too_many_for_an_energy():
    images = noisy(10, 20, 30, 40)
    found = noise_of(images, 1.0, settings(model="unet"))
    assert [255 * level for level in found.levels] == pytest.approx([10, 20, 30, 40], rel=0.08)
    with pytest.raises(InputError, match="takes one level"):
        noise_of(images, 1.0, settings(model="energy"))
    assert noise_of(images, 1.0, settings(model="energy", sigma=25)).levels == (25 / 255,) * 4


def test_small_and_textured_pictures_of_one_level_have_one_though_their_estimates_differ():
    """They did not: by the estimates a folder, or the planes of a stack, with one noise had 'noise of 12.6 to 18.8'."""
    small = [image[i : i + 40, j : j + 40] for image in CLEAN for i in (0, 60) for j in (0, 60)]
    found = noise_of(noisy(*[15] * len(small), images=small), 1.0, settings())
    assert [255 * level for level in {*found.levels} - {0.0}] == pytest.approx([15], rel=0.08)
    assert found.levels.count(0.0) <= 1  # where no noise is visible
    (warning,) = (words for words in found.warnings if "taken for one level" in words)
    assert warning.startswith("the images seem to have noise of 1")


def test_a_few_images_of_another_level_are_left_out_of_a_fit_at_one():
    found = noise_of(noisy(*[15] * 4, 40, images=[*CLEAN, CLEAN[0]]), 1.0, settings())
    assert found.levels[4] == 0
    assert len({*found.levels[:4]}) == 1
    (warning,) = found.warnings
    assert warning.startswith("1 of 5 images is left out: its noise looks like another level than 1")
    both = noise_of(noisy(*[15] * 4, 40, images=[*CLEAN, CLEAN[0]]), 1.0, settings(model="unet"))
    assert 255 * both.levels[4] == pytest.approx(40, rel=0.08)


def test_clean_images_are_no_noisy_ones():
    flat = [np.tile(np.linspace(0, 1, 160, dtype=np.float32), (160, 1))] * 3
    with pytest.raises(InputError, match="show no noise") as caught:
        noise_of(flat, 1.0, settings())
    assert "leave --noisy out" in caught.value.hint


def test_of_some_clean_images_among_noisy_ones_nothing_is_learnt():
    flat = np.tile(np.linspace(0, 1, 160, dtype=np.float32), (160, 1))
    images = [flat, *noisy(20, 20, 20, 20)]
    prepared = prepare(images, 1.0, settings(patch_size=8, max_steps=1))
    assert len(prepared.patches) + len(prepared.held_out) == 4


def test_a_wrong_level_and_correlated_noise_are_warned_of():
    (warning,) = noise_of(noisy(20, 20, 20, 20), 1.0, settings(sigma=40)).warnings
    assert "sigma 40 was given, and the noise looks like" in warning
    white = np.random.default_rng(1).standard_normal((320, 320)).astype(np.float32)
    grain = (white + np.roll(white, 1, 0) + np.roll(white, 1, 1) + np.roll(white, (1, 1), (0, 1))) / 2
    coarse = data.camera()[100:420, 100:420].astype(np.float32) / 255 + np.float32(20 / 255) * grain
    assert any("correlated" in warning for warning in noise_of([coarse], 1.0, settings(sigma=20)).warnings)


def test_noise_that_is_not_white_is_refused_unless_its_level_is_given():
    grain, shot = Noise((Affine(read=15.0),), 255.0, grain=GRAIN), Noise((Affine(1.5, 0.0, 3.0),), 255.0)
    for noise, kind in ((grain, "grain"), (shot, "shot")):
        images = [sampled(noise, scene(), seed) for seed in range(2)]
        with pytest.raises(InputError, match=f"the noise is {kind} in 2 of 2 images"):
            noise_of(images, 255.0, settings())
        noise_of(images, 255.0, settings(sigma=15))


def test_noisy_patches_are_shown_as_they_are_at_their_own_level():
    images = noisy(10, 40, 10, 40)
    prepared = prepare(images, 1.0, settings(model="unet", patch_size=16))
    batch = prepared.examples.draw(64, Generator().manual_seed(0))
    drawn, levels = prepared.patches.draw_with_levels(64, Generator().manual_seed(0))
    assert torch.equal(batch.x.flatten(1), drawn)
    assert torch.equal(batch.needs["sigma"], levels)
    assert 255 * levels.min() < 12 < 35 < 255 * levels.max()


def test_pairs_of_noisy_patches_have_more_noise_between_them():
    prepared = prepare(noisy(20, 20, 20, 20), 1.0, settings(objective="dsm", extra_noise=15, sigma=20))
    batch = prepared.examples.draw(4000, Generator().manual_seed(0))
    assert 255 * (batch.x - batch.needs["clean"]).std() == pytest.approx(15, rel=0.01)
    assert batch.needs["sigma"] == pytest.approx(15 / 255)
    assert batch.needs["level"] == pytest.approx(25 / 255)


@pytest.mark.parametrize("objective", ["ism", "ism-reg", "ssm", "ssm-vr", "fd-ssm", "dsm"])
def test_every_objective_for_noisy_images_learns_to_denoise(objective):
    images = noisy(25, 25, 25, 25)
    model = fit(images, objective, sigma=25 / 255, noisy=True, max_steps=150, hidden=64, patch_size=8, batch=256)
    before, after = (
        np.mean([np.square(found - clean).mean() for found, clean in zip(those, CLEAN, strict=True)])
        for those in (images, [denoise(image, model) for image in images])
    )
    assert after < 0.4 * before


def test_a_network_learns_from_noisy_images_too():
    images = noisy(25, 25, 25, 25)
    model = fit(
        images, "ism", "unet", sigma=25 / 255, noisy=True, max_steps=150, patch_size=32, batch=8, precision="float32"
    )
    errors = [np.square(denoise(image, model) - clean).mean() for image, clean in zip(images, CLEAN, strict=True)]
    assert np.mean(errors) < 0.4 * (25 / 255) ** 2


def test_the_estimated_psnr_is_near_the_true_one():
    prepared = prepare(noisy(25, 25, 25, 25), 1.0, settings(sigma=25, max_steps=100, hidden=64))
    for _ in prepared.run():
        pass
    assert prepared.crops.kind == "estimated PSNR"
    model = prepared.fitted()
    ((crop, _, _),) = prepared.crops.probed
    middles = [image[16:144, 16:144] for image in CLEAN]
    clean = min(middles, key=lambda middle: np.square(crop[0, 0].numpy() - middle).mean())
    truth = np.square(denoise(crop[0, 0].numpy(), model) - clean).mean()
    assert prepared.crops.psnr(model) == pytest.approx(-10 * np.log10(truth), abs=1.0)
    assert prepared.crops.psnr() == pytest.approx(20.17, abs=0.01)
    assert prepared.wiener() is None


def test_a_divergence_that_runs_away_ends_the_fit():
    prepared = prepare(noisy(25, 25, 25, 25), 1.0, settings(sigma=25))
    refuse_degenerate(prepared.examples, -1e9, -1.2, prepared.state.model)  # a level that is too high
    with pytest.raises(DivergedError, match="a risk is never below 0"):
        refuse_degenerate(prepared.examples, -1e9, -2.5, prepared.state.model)
    prepared = prepare(noisy(25, 25, 25, 25), 1.0, settings(sigma=25, objective="dsm"))
    refuse_degenerate(prepared.examples, -1e9, -2.5, prepared.state.model)
