"""A network fitted on to images whose noise is not white: its risk without a clean image, and what comes of it."""

import numpy as np
import pytest
import torch
from torch import Generator

from smdae import Noise
from smdae.denoising.denoise import denoise
from smdae.errors import InputError, ModelError, UsageError
from smdae.files.model_file import encode, load
from smdae.fitting.prepare import prepare
from smdae.fitting.refinement import WIDTH, noise_like, risk, views_of
from smdae.fitting.refinement_batches import WEIGHT_SHARE
from smdae.fitting.settings import check
from smdae.models.unet import UNet
from smdae.noise import Affine
from tests.estimation.pictures import GRAIN, sampled, scene

CLEAN = scene(192, 256)
COLOURED = Noise((Affine(read=0.1),), grain=((1.0, 0.5), (0.5, 0.25)))
VARYING = Noise((Affine(gain=0.02, read=0.03),))
BOTH = Noise((Affine(gain=0.02, read=0.03),), grain=((1.0, 0.5), (0.5, 0.25)))
OF_GRAIN = Noise((Affine(read=18.0),), 255.0, grain=GRAIN)
OF_SHOT = Noise((Affine(1.5, 0.0, 3.0),), 255.0)
DRAWS, SIDE = 10_000, 6


def blurred(y):
    """A linear denoiser, which mixes a pixel with those beside it."""
    return 0.5 * y + 0.25 * y.roll(1, 3) + 0.15 * y.roll(-1, 2)


@pytest.mark.parametrize("noise", [COLOURED, VARYING, BOTH])
def test_the_risk_is_that_of_clean_pictures(noise):
    generator = Generator().manual_seed(0)
    x = torch.linspace(0.2, 0.8, SIDE**2, dtype=torch.float64).view(1, 1, SIDE, SIDE).expand(DRAWS, -1, -1, -1)

    def normal():
        return torch.randn(x.shape, generator=generator, dtype=torch.float64)

    y, b = x + noise_like(x, noise, normal()), noise_like(x, noise, normal())
    found = risk(blurred, y, b, noise.sd(x).square())
    truth = [(blurred(y + sign * WIDTH * b) - x).square().flatten(1).sum(1) for sign in (1, -1)]
    off = found - sum(truth) / 2
    assert abs(off.mean()) < 4 * off.std() / DRAWS**0.5
    assert off.std() / DRAWS**0.5 < 0.02 * sum(truth).mean() / 2
    wrong = found - 0.2 * noise.sd(x).square().flatten(1).sum(1)  # so that a constant that is off would be seen
    assert abs((wrong - sum(truth) / 2).mean()) > 10 * off.std() / DRAWS**0.5


def test_noise_drawn_anew_has_twice_the_variance_on_a_noisy_picture():
    x = torch.full((4000, 1, SIDE, SIDE), 0.5, dtype=torch.float64)
    generator = Generator().manual_seed(1)
    b = noise_like(x, BOTH, torch.randn(x.shape, generator=generator, dtype=torch.float64))
    assert b.var().item() == pytest.approx(BOTH.sd(x)[0, 0, 0, 0].item() ** 2, rel=0.02)
    assert (b[..., 1:] * b[..., :-1]).mean().item() / b.var().item() == pytest.approx(0.5, abs=0.05)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """The file of a small network that takes noise and has yet to learn nearly everything."""
    model = UNet(1, (16, 16), (1, 1), (1, 1), levels=(1 / 255, 60 / 255), takes_noise=True, clips=True)
    model.initialise(Generator().manual_seed(0))
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    path.write_bytes(encode(model, card(model)))
    return path


def card(model, sigma=(1.0, 60.0)):
    return {"model": "unet", "settings": model.settings(), "sigma": list(sigma), "channels": 1, "patch_size": 32}


def settings(start, **values):
    return check({"noisy": True, "init": str(start), "patch_size": 32, "precision": "float32"} | values)


def pictures(noise, count=2):
    return [sampled(noise, np.roll(CLEAN, 40 * seed, 1), seed) for seed in range(count)]


def error(model, noise):
    clean = [np.roll(CLEAN, 40 * seed, 1) for seed in range(2)]
    pairs = zip(pictures(noise), clean, strict=True)
    return np.mean([np.square(denoise(image, model).astype(float) - x).mean() for image, x in pairs])


@pytest.mark.parametrize(("noise", "kind"), [(OF_GRAIN, "grain"), (OF_SHOT, "shot")])
def test_a_network_becomes_better_for_such_images_without_a_clean_one(start, noise, kind):
    prepared = prepare(pictures(noise), 255.0, settings(start, max_steps=40, lr=0.02, batch=4, validations=1))
    assert prepared.noise.startswith(kind)
    before = error(prepared.fitted(), noise)
    for _ in prepared.run():
        pass
    assert prepared.gained
    assert error(prepared.fitted(), noise) < 0.95 * before
    assert prepared.crops.psnr(prepared.fitted()) > prepared.crops.psnr()


def test_what_is_kept_lies_between_the_start_and_the_fit(start):
    prepared = prepare(pictures(OF_GRAIN), 255.0, settings(start))
    with torch.no_grad():
        for weight in prepared.state.average.parameters():
            weight += 1.0
    prepared.state.keep()
    for name, weight in prepared.fitted().state_dict().items():
        torch.testing.assert_close(weight, prepared.start[name] + WEIGHT_SHARE)


def test_where_nothing_is_gained_the_weights_stay_as_they_were(start):
    prepared = prepare(pictures(OF_GRAIN), 255.0, settings(start, max_steps=1, lr=100.0, warmup=0, batch=1))
    before = {name: weight.clone() for name, weight in prepared.fitted().state_dict().items()}
    for _ in prepared.run():
        pass
    assert not prepared.gained
    after = prepared.fitted().state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_a_state_that_is_taken_up_again_ends_as_if_it_had_not_been_left(start):
    def fresh():
        return prepare(pictures(OF_GRAIN), 255.0, settings(start, max_steps=4, batch=1, validations=1))

    def run(prepared, until):
        for _ in prepared.run():
            if prepared.state.record["step"] >= until:
                return

    whole, half, rest = fresh(), fresh(), fresh()
    run(whole, 4)
    run(half, 2)
    rest.state.restore(half.state.to_bytes(), "a state")
    run(rest, 4)
    assert rest.state.record["best"] == pytest.approx(whole.state.record["best"], rel=1e-6)
    for a, b in zip(rest.state.parameters, whole.state.parameters, strict=True):
        torch.testing.assert_close(a, b)


def test_what_is_held_out_is_not_learnt_from_and_every_batch_is_told_its_noise(start):
    prepared = prepare(pictures(OF_GRAIN), 255.0, settings(start))
    (view, part, _), _ = prepared.crops.parts
    assert part.noisy.shape == (1, 192, 64)
    assert view.training.noisy.shape == (1, 192, 256 - 64)
    batch = prepared.examples.draw(4, Generator().manual_seed(0))
    assert batch.x.shape == (4, 1, 32, 32)
    assert 255 * (batch.x - batch.needs["clean"]).std() == pytest.approx(255 * view.level, rel=0.3)
    assert batch.losses(prepared.examples.objective, prepared.state.model).shape == (4,)


def test_small_images_are_judged_by_what_is_learnt_from(start):
    small = [image[:, :128] for image in pictures(OF_GRAIN)]
    prepared = prepare(small, 255.0, settings(start, patch_size=96))
    assert len(prepared.crops.parts) == 2
    assert np.isfinite(prepared.validate(prepared.state.average).value)


def test_what_cannot_be_fitted_so_is_refused(start, tmp_path):
    white = UNet(1, (16,), (1,), (1,), levels=(1 / 255, 60 / 255))
    (tmp_path / "white.safetensors").write_bytes(encode(white, card(white)))
    grain = pictures(OF_GRAIN)
    with pytest.raises(InputError, match="the noise is grain in 2 of 2 images: its pixels are correlated") as caught:
        prepare(grain, 255.0, check({"noisy": True, "model": "unet"}))
    assert "--init natural-gray" in caught.value.hint
    with pytest.raises(ModelError, match=r"white\.safetensors' was fitted to white noise alone"):
        prepare(grain, 255.0, settings(tmp_path / "white.safetensors"))
    with pytest.raises(UsageError, match="and the objective 'dsm' is for white noise"):
        prepare(grain, 255.0, settings(start, objective="dsm"))
    with pytest.raises(UsageError, match="and growth is for white noise"):
        prepare(grain, 255.0, settings(start, growth=(64,)))


def test_impulses_are_refused(start):
    def struck(image, seed):
        chance = np.random.default_rng(seed).random(image.shape)
        return np.where(chance < 0.04, 0, np.where(chance > 0.96, 255, image)).astype(np.uint8)

    images = [struck(image, seed) for seed, image in enumerate(pictures(OF_SHOT))]
    network = load(str(start))
    with pytest.raises(InputError, match="2 of 2 images have impulses"):
        views_of(images, None, network, 32, torch.device("cpu"))
