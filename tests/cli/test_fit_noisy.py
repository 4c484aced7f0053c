"""`smdae fit --noisy`: no clean image, a level that is found or given, and images that will not do."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from smdae.cli.app import main
from smdae.files.model_file import read
from smdae.fitting import degeneration
from tests.cli.test_denoise_network import network_bytes
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
        (("noisy", "--noisy", "--objective", "dae"), 2, "wants clean images; noisy ones will do for"),
        (("noisy", "-s", "auto"), 2, "sigma auto is the level of noisy images; add noisy"),
        (("mixed", "--noisy"), 3, "and the model 'energy' wants one level"),
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
        assert "the noise is correlated: seen at half the size" in capsys.readouterr().err


def test_a_divergence_that_runs_away_ends_the_fit_with_its_reason(monkeypatch, capsys):
    monkeypatch.setattr(degeneration, "MAX_NEGATIVE_RISK", -1.0)  # as if no risk were low enough
    assert fit("noisy", "--noisy", "-s", SIGMA, "--max-steps", 40) == 6
    noise, *rest = capsys.readouterr().err.splitlines()
    assert noise == f"smdae: noise of sigma {SIGMA}"
    said = complaint("\n".join(rest))
    assert "the estimate of the divergence ran away" in said
    assert "the last good weights are in 'model.safetensors'" in said
    assert read("model.safetensors")[0]["objective"] == "ism"
