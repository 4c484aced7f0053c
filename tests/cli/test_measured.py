"""`smdae compare --reference`: PSNR and SSIM as scikit-image has them, and the gate."""

import json

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from smdae.cli.app import main
from tests.tiny import colour, complaint, encoded, everything_below, gray

CLEAN = gray()
NOISY = np.clip(CLEAN + 10 * np.random.default_rng(0).standard_normal(CLEAN.shape), 0, 255).astype(np.uint8)


@pytest.fixture(autouse=True)
def here(bare):
    for name, pixels in (("clean.png", CLEAN), ("noisy.png", NOISY), ("other.png", gray(10, 10))):
        (bare / name).write_bytes(encoded(pixels))
    return bare


def measure(*arguments):
    return main(["compare", "--reference", "clean.png", *arguments])


def test_figures_are_those_of_scikit_image(here, capsys):
    before = everything_below(here)
    assert measure("noisy.png", "clean.png", "--json") == 0
    out, err = capsys.readouterr()
    assert err == ""
    noisy, clean = (json.loads(line) for line in out.splitlines())
    assert noisy["psnr"] == pytest.approx(peak_signal_noise_ratio(CLEAN, NOISY), abs=1e-6)
    usual = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    assert noisy["ssim"] == pytest.approx(structural_similarity(CLEAN, NOISY, **usual), abs=1e-3)
    assert (clean["psnr"], clean["ssim"], clean["identical"]) == (None, 1.0, True)
    assert measure("noisy.png", "clean.png") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"PSNR {noisy['psnr']:6.2f} dB   SSIM {noisy['ssim']:.4f}   noisy.png"
    assert lines[1].startswith("PSNR    inf dB   SSIM 1.0000")
    assert everything_below(here) == before


def test_the_gate_is_exit_code_11(capsys):
    assert measure("noisy.png", "clean.png", "--min-psnr", "10") == 0
    capsys.readouterr()
    assert measure("noisy.png", "clean.png", "--min-psnr", "60") == 11
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert err.splitlines()[0] == "smdae: error: 1 of 2 below --min-psnr 60:"
    assert err.splitlines()[1].startswith("  'noisy.png' has ")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["other.png"], 3, ["'other.png'", "10 x 10"]),
        (["gone.png"], 3, ["gone.png"]),
        ([], 2, ["nothing to measure"]),
        (["noisy.png", "--only", "cost"], 2, ["--reference"]),
        (["noisy.png", "--min-psnr", "nan"], 2, ["--min-psnr"]),
        (["-"], 2, ["stdin"]),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, code, words, capsys):
    assert measure(*arguments) == code
    text = complaint(capsys.readouterr().err)
    for word in words:
        assert word in text


def test_of_many_those_that_can_be_are_measured(here, capsys):
    (here / "c.png").write_bytes(encoded(colour()))
    assert measure("noisy.png", "c.png") == 9
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert "1 of 2 pictures could not be measured" in err
    assert main(["compare", "noisy.png", "--min-psnr", "10"]) == 2
