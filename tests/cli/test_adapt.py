"""`smdae denoise --adapt`: what it says, what it gives, and what cannot be adapted."""

import json

import numpy as np
import pytest
from skimage import data

from smdae.cli.app import main
from smdae.files.images import read
from smdae.fitting import adaptation, transform_spline
from smdae.noise import Noise
from tests.tiny import complaint, everything_below, model_bytes

SIGMA = 25


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with a noisy texture and an energy; few steps are taken."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SMDAE_MODEL", raising=False)
    monkeypatch.setattr(adaptation.adapted, "__defaults__", (adaptation.adapted.__defaults__[0], 150))
    monkeypatch.setattr(transform_spline.learnt_for, "__defaults__", (transform_spline.learnt_for.__defaults__[0], 40))
    brick = data.brick()[:192, :256] / np.float32(255)
    noise = np.random.default_rng(0).standard_normal(brick.shape, np.float32)
    np.save("brick.npy", brick + np.float32(SIGMA / 255) * noise)
    np.save("truth.npy", brick)
    (tmp_path / "energy.safetensors").write_bytes(model_bytes())
    return tmp_path


def test_what_is_gained_is_said_and_true(capsys):
    runs = {}
    for name, more in (("plain", ()), ("adapted", ("--adapt",))):
        command = ["denoise", "brick.npy", "-s", str(SIGMA), "--reference", "truth.npy", "--json", "-o", f"{name}.npy"]
        assert main([*command, "--fast", *more]) == 0
        out, err = capsys.readouterr()
        runs[name] = json.loads(out)
    assert runs["plain"]["gain"] is None
    assert runs["adapted"]["gain"] > 0.1
    assert f"adapted: +{runs['adapted']['gain']:.2f} dB, estimated" in err
    assert runs["adapted"]["psnr"] > runs["plain"]["psnr"] + 0.1
    assert (
        abs(runs["adapted"]["psnr"] - runs["adapted"]["psnr_estimated"]) < 3 * runs["adapted"]["psnr_estimated_error"]
    )


def test_without_a_gain_the_result_is_that_without_it(here, capsys):
    flat = 0.5 + 0.1 * np.random.default_rng(0).standard_normal((96, 96), np.float32)
    np.save("flat.npy", flat)
    for name, more in (("plain", ()), ("adapted", ("--adapt",))):
        assert main(["denoise", "flat.npy", "-s", "25.5", "--fast", "-o", f"{name}.npy", *more]) == 0
    assert "adapting gains nothing here" in capsys.readouterr().err
    assert np.array_equal(*(read(here / f"{name}.npy", name).pixels for name in ("plain", "adapted")))


def test_of_shot_noise_the_transform_is_learnt_and_that_is_said(here, capsys):
    clean = np.linspace(0.1, 0.6, 96 * 96, dtype=np.float32).reshape(96, 96)
    np.save("shot.npy", (np.random.default_rng(0).poisson(20 * clean) / 20).astype(np.float32))
    (here / "faint.yaml").write_text(Noise.poisson_gaussian(0.5 / 20, 0.01).to_yaml())
    runs = []
    for name in ("one", "two"):
        command = ["denoise", "shot.npy", "--fast", "--noise", "faint.yaml", "--adapt", "--json", "-o", f"{name}.npy"]
        assert main(command) == 0
        out, err = capsys.readouterr()
        runs.append(json.loads(out))
    assert runs[0]["gain"] is None
    assert runs[0]["transform"] == runs[1]["transform"] > 0
    assert "adapted: the transform of the noise alone, which predicts hidden pixels" in err
    assert np.array_equal(*(read(here / f"{name}.npy", name).pixels for name in ("one", "two")))


def test_an_energy_cannot_be_adapted(here, capsys):
    before = everything_below(here)
    assert main(["denoise", "brick.npy", "-m", "energy.safetensors", "--adapt", "-o", "d.npy"]) == 2
    assert "--adapt is for networks, and this model is not one" in complaint(capsys.readouterr().err)
    assert everything_below(here) == before
