"""`smdae fit --noisy`: no clean image, a level that is found or given, and images that will not do."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load as load_tensors
from skimage import data

from smdae import Noise
from smdae.cli.app import main
from smdae.files.model_file import read
from smdae.fitting import degeneration
from smdae.noise import Affine
from tests.cli.test_denoise_network import network_bytes
from tests.estimation.pictures import GRAIN, sampled, scene
from tests.tiny import FLAGS, complaint, encoded, everything_below

SIGMA = 20


@pytest.fixture(autouse=True)
def here(bare):
    """A folder with folders of noisy and of clean pictures."""
    for folder in ("noisy", "clean"):
        (bare / folder).mkdir()
    for i, clean in enumerate(crops()):
        (bare / "clean" / f"{i}.png").write_bytes(encoded(smooth(clean)))
        np.save(bare / "noisy" / f"{i}.npy", noised(clean, SIGMA, i))
    return bare


def crops():
    return [data.camera()[i : i + 96, 60:180] for i in (20, 120, 220, 320)]


def smooth(clean):
    """Without the camera's own noise."""
    return np.asarray(Image.fromarray(clean).resize((60, 48), Image.Resampling.BOX).resize((120, 96)))


def noised(clean, sigma, seed=0):
    generator = np.random.default_rng(seed)
    return ((clean + sigma * generator.standard_normal(clean.shape)) / 255).astype(np.float32)


def fit(*arguments):
    return main(["fit", *FLAGS, *map(str, arguments)])


def test_the_level_is_found_and_the_quality_is_estimated(capsys):
    assert fit("noisy", "--noisy", "--json") == 0
    out, err = capsys.readouterr()
    result, (card, _) = json.loads(out), read("model.safetensors")
    assert result["objective"] == card["objective"] == "ism"
    assert result["sigma"] == pytest.approx(SIGMA, rel=0.05)
    assert "estimated" in err
    assert "estimated PSNR" in Path("model.metrics.jsonl").read_text()


@pytest.mark.parametrize("objective", ["ism", "ism-reg", "dsm", "ssm", "ssm-vr", "fd-ssm"])
@pytest.mark.parametrize("model", ["energy", "unet"])
def test_every_objective_for_noisy_images_fits_both_families(objective, model):
    own = () if model == "energy" else ("--model", "unet", "--patch-size", "32")
    refused = (model, objective) == ("unet", "ism-reg")
    assert fit("noisy", "--noisy", "-s", SIGMA, "--objective", objective, *own) == (2 if refused else 0)
    if not refused:
        assert main(["denoise", "noisy/0.npy", "-m", "model.safetensors", "-o", "d.npy"]) == 0


def test_one_image_is_fitted_from_scratch_and_from_a_model(capsys):
    Path("start.safetensors").write_bytes(network_bytes())
    assert fit("noisy/0.npy", "--noisy", "-s", SIGMA, "-o", "a.safetensors") == 0
    assert (
        fit("noisy/0.npy", "--noisy", "--init", "start.safetensors", "--patch-size", "32", "-o", "b.safetensors") == 0
    )
    assert read("b.safetensors")[0]["model"] == "unet"
    assert read("b.safetensors")[0]["objective"] == "ism"


def test_extra_noise_is_for_dsm(capsys):
    assert fit("noisy", "--noisy", "--objective", "dsm", "--extra-noise", 8) == 0
    capsys.readouterr()
    assert fit("noisy", "--noisy", "--extra-noise", 8, "-o", "b.safetensors") == 2
    assert "extra-noise is what the objective dsm adds" in complaint(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("clean", "--noisy"), 3, "the images show no noise, and --noisy is for noisy images"),
        (("noisy", "--noisy", "--objective", "dae"), 2, "needs clean images; noisy ones are enough for"),
        (("noisy", "-s", "auto"), 2, "sigma auto is for noisy images; add noisy"),
        (("mixed", "--noisy"), 3, "and the model 'energy' takes one level"),
    ],
)
def test_what_will_not_do_is_refused_and_leaves_nothing(here, arguments, code, said, capsys):
    (here / "mixed").mkdir()
    for i, clean in enumerate(crops()):
        np.save(here / "mixed" / f"{i}.npy", noised(clean, 10 + 15 * i, i))
    before = everything_below(here)
    assert fit(*arguments) == code
    assert said in complaint(capsys.readouterr().err)
    assert everything_below(here) == before


def test_a_wrong_level_and_correlated_noise_are_warned_of(here, capsys):
    assert fit("noisy", "--noisy", "-s", 60) == 0
    assert "sigma 60 was given, and the noise looks like" in capsys.readouterr().err
    noisy = np.clip(255 * noised(data.camera(), SIGMA), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save("a.jpg", quality=30)
    Image.fromarray(noisy).resize((700, 700), Image.Resampling.BICUBIC).save("a.png")
    for name in ("a.jpg", "a.png"):
        assert fit(name, "--noisy", "-s", SIGMA, "-o", f"{name}.safetensors") == 0
        assert "the noise is correlated: at half the size" in capsys.readouterr().err


def test_a_divergence_that_runs_away_ends_the_fit_with_its_reason(monkeypatch, capsys):
    monkeypatch.setattr(degeneration, "MAX_NEGATIVE_RISK", -1.0)  # as if no risk were low enough
    assert fit("noisy", "--noisy", "-s", SIGMA, "--max-steps", 40) == 6
    noise, *rest = capsys.readouterr().err.splitlines()
    assert noise == f"smdae: noise of sigma {SIGMA}"
    said = complaint("\n".join(rest))
    assert "a risk is never below 0" in said
    assert "the last good weights are in 'model.safetensors'" in said
    assert read("model.safetensors")[0]["objective"] == "ism"


@pytest.fixture
def grainy(here):
    """A folder of pictures with grain, and networks that take noise, as the bundled ones do, or white noise alone."""
    (here / "grainy").mkdir()
    noise = Noise((Affine(read=18.0),), 255.0, grain=GRAIN)
    for i in range(2):
        picture = sampled(noise, np.roll(scene(192, 256), 40 * i, 1), i)
        (here / "grainy" / f"{i}.png").write_bytes(encoded(picture))
    levels = (1 / 255, 60 / 255)
    (here / "start.safetensors").write_bytes(network_bytes(takes_noise=True, clips=True, levels=levels))
    (here / "white.safetensors").write_bytes(network_bytes())
    return here


def test_a_network_is_fitted_on_to_grain_and_its_card_says_what_its_figures_are_of(grainy, capsys):
    arguments = ("--init", "start.safetensors", "--patch-size", "32", "--max-steps", "2", "-b", "2")
    assert main(["fit", "grainy", "--noisy", *arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert "noise: grain (2), sigma" in err
    result, (card, _) = json.loads(out), read("model.safetensors")
    assert card["objective"] == result["objective"] == "dae"
    assert card["noise"].startswith("grain (2), sigma")
    assert card["held_out_psnr_of"] == "PSNR with noise drawn anew"
    assert "the PSNR is with noise drawn anew" in card["about"]
    assert card["held_out_risk"]["after"] <= card["held_out_risk"]["before"]
    assert card["sigma"] == [pytest.approx(1), pytest.approx(60)]
    assert "-risk" in Path("model.metrics.jsonl").read_text()
    assert main(["denoise", "grainy/0.png", "-m", "model.safetensors", "-o", "d.png"]) == 0


def test_a_fit_to_grain_that_gains_nothing_says_so_and_keeps_the_weights(grainy, capsys):
    arguments = ("--init", "start.safetensors", "--patch-size", "32", "--max-steps", "1", "-b", "1", "--lr", "100")
    assert main(["fit", "grainy", "--noisy", *arguments]) == 0
    err = capsys.readouterr().err
    assert "nothing was gained on held-out images: the weights are still those of 'start.safetensors'" in err
    same, first = (read(name)[1] for name in ("model.safetensors", "start.safetensors"))
    assert load_tensors(same)["head.weight"].tolist() == load_tensors(first)["head.weight"].float().tolist()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 3, "the noise is grain in 2 of 2 images: its pixels are correlated, and the model is one of white"),
        (("--init", "white.safetensors"), 5, "'white.safetensors' was fitted to white noise alone"),
        (("--init", "start.safetensors", "--objective", "ssm"), 2, "and the objective 'ssm' is for white noise"),
    ],
)
def test_a_fit_to_grain_that_cannot_be_is_refused_and_leaves_nothing(grainy, arguments, code, said, capsys):
    before = everything_below(grainy)
    own = ("--patch-size", "32") if arguments else ()
    assert main(["fit", "grainy", "--noisy", *arguments, *own, "--max-steps", "1"]) == code
    assert said in complaint(capsys.readouterr().err)
    assert everything_below(grainy) == before


def test_a_quality_that_few_pixels_cannot_tell_is_not_told(capsys):
    for i in range(3):
        np.save(f"tiny{i}.npy", noised(np.full((40, 40), 128.0), SIGMA, i))
    arguments = ["--noisy", "-s", str(SIGMA), "--init", "natural-gray-small", "--patch-size", "32", "--max-steps", "1"]
    assert main(["fit", "tiny0.npy", "tiny1.npy", "tiny2.npy", *arguments, "-o", "m.safetensors"]) == 0
    assert "unknown: too few pixels" in capsys.readouterr().err
    assert main(["info", "m.safetensors"]) == 0
    assert "PSNR" not in capsys.readouterr().out
