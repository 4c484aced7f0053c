"""`smdae compare --reference`: PSNR and SSIM as scikit-image has them, and the gate."""

import json

import numpy as np
import pytest
from PIL import Image
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


def test_pictures_in_four_inks_are_measured_over_them(here, capsys):
    inks = np.random.default_rng(1).integers(0, 256, (24, 32, 4), dtype=np.uint8)
    for name, quality in (("clean.jpg", 100), ("noisy.jpg", 40)):
        Image.fromarray(inks, "CMYK").save(here / name, quality=quality)
    assert main(["compare", "--reference", "clean.jpg", "noisy.jpg", "clean.jpg", "--json"]) == 0
    noisy, clean = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    both = [np.asarray(Image.open(here / name)) for name in ("clean.jpg", "noisy.jpg")]
    assert noisy["psnr"] == pytest.approx(peak_signal_noise_ratio(*both), abs=1e-6)
    assert clean["identical"]
    assert main(["compare", "--reference", "clean.jpg", "noisy.png"]) == 3
    assert "is 32 x 24 in four inks, 'noisy.png' is 32 x 24 in gray" in capsys.readouterr().err


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
        (["noisy.png", "--only", "cost"], 2, ["--reference", "--only"]),
        (["noisy.png", "--quick"], 2, ["--reference", "--quick"]),
        (["noisy.png", "-o", "report"], 2, ["--reference", "--output"]),
        (["noisy.png", "-s", "5"], 2, ["--reference", "--sigma"]),
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


def test_floats_far_beyond_one_are_not_measured_as_if_white_were_one(here, capsys):
    np.save(here / "clean.npy", CLEAN.astype(np.float32))
    np.save(here / "noisy.npy", NOISY.astype(np.float32))
    command = ["compare", "--reference", "clean.npy", "noisy.npy", "clean.npy"]
    assert main(command) == 2
    assert "did you mean --white 255?" in complaint(capsys.readouterr().err)
    assert main([*command, "--white", "255"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"PSNR  {peak_signal_noise_ratio(CLEAN, NOISY):.2f} dB")
    assert lines[1].startswith("PSNR    inf dB")
    assert main(["denoise", "noisy.npy", "--reference", "clean.npy", "--fast"]) == 2
    assert "did you mean --white 255?" in complaint(capsys.readouterr().err)
    assert not (here / "noisy_denoised.npy").exists()


def test_integers_without_a_usual_white_are_measured_by_that_of_their_type(here, capsys):
    np.save(here / "clean.npy", CLEAN.astype(np.int16) * 100)
    np.save(here / "noisy.npy", NOISY.astype(np.int16) * 100)
    assert main(["compare", "--reference", "clean.npy", "noisy.npy", "clean.npy"]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = peak_signal_noise_ratio(CLEAN.astype(float) * 100, NOISY.astype(float) * 100, data_range=32767)
    assert lines[0].startswith(f"PSNR  {expected:.2f} dB")
    assert lines[1].startswith("PSNR    inf dB")
