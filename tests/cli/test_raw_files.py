"""`smdae denoise` of camera raw files: names, formats, options and refusals."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from benchmarks.dng import dng, exposed, mosaic, scene
from smdae.cli.app import main
from smdae.files import images, raw
from tests.tiny import complaint

pytest.importorskip("rawpy")


@pytest.fixture(scope="module")
def file() -> bytes:
    return dng(exposed(mosaic(scene()), 4e-3, 4e-3), orientation=6)


@pytest.fixture(autouse=True)
def here(bare, file, monkeypatch):
    monkeypatch.setenv("SMDAE_MODEL", "natural-color-small")
    (bare / "a.dng").write_bytes(file)
    return bare


def test_the_result_is_a_16_bit_tiff_beside_it(here, capsys):
    assert main(["denoise", "a.dng"]) == 0
    assert "noise: shot" in capsys.readouterr().err
    result = images.read(here / "a_denoised.tif", "a")
    assert result.pixels.shape == (96, 128, 3)
    assert result.pixels.dtype == np.uint16
    with raw.opened((here / "a.dng").read_bytes(), "a") as shot:
        noisy = shot.developed().pixels
    rough = [np.abs(np.diff(one.astype(float), 2, 1)).mean() for one in (noisy, result.pixels)]
    assert rough[1] < rough[0] / 3
    assert result.metadata.icc


def test_noise_that_the_file_tells_is_not_called_estimated(here, capsys):
    (here / "a.dng").write_bytes(dng(exposed(mosaic(scene()), 4e-3, 4e-3), noise=(4e-3, 1.6e-5)))
    assert main(["denoise", "a.dng"]) == 0
    (here / "b.dng").write_bytes((here / "a.dng").read_bytes())
    assert main(["denoise", "a.dng", "b.dng", "-v", "-o", "out"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "noise" in line or "shot" in line]
    assert len(told) == 3
    assert all(line.endswith(", as the file says") for line in told)


def test_strength_0_is_what_is_developed_of_the_file(here):
    assert main(["denoise", "a.dng", "--strength", "0"]) == 0
    with raw.opened((here / "a.dng").read_bytes(), "a") as shot:
        assert np.array_equal(images.read(here / "a_denoised.tif", "a").pixels, shot.developed().pixels)


@pytest.mark.parametrize(("name", "depth"), [("b.jpg", "uint8"), ("b.png", "uint16")])
def test_formats_have_the_depth_that_they_can(name, depth, here):
    assert main(["denoise", "a.dng", "-o", name, "--strength", "0"]) == 0
    assert images.read(here / name, "b").pixels.dtype == depth
    with Image.open(here / name) as image:
        assert image.getexif()[0x0112] == 6
        assert "icc_profile" in image.info


def test_linear_light_and_what_it_is_for(here, capsys):
    assert main(["denoise", "a.dng", "--linear", "-o", "l.tif", "--strength", "0"]) == 0
    assert main(["denoise", "a.dng", "-o", "s.tif", "--strength", "0"]) == 0
    light, shown = (images.read(here / name, name).pixels.mean() for name in ("l.tif", "s.tif"))
    assert light < 0.6 * shown
    capsys.readouterr()
    assert main(["denoise", "s.tif", "--linear"]) == 2
    assert "--linear" in complaint(capsys.readouterr().err)


def test_a_profile_that_was_saved_does_what_was_found(here):
    assert main(["denoise", "a.dng", "--save-noise", "p.yaml", "-o", "1.tif"]) == 0
    assert main(["denoise", "a.dng", "--noise", "p.yaml", "-o", "2.tif"]) == 0
    one, two = (images.read(here / name, name).pixels.astype(int) for name in ("1.tif", "2.tif"))
    assert np.abs(one - two).max() <= 20


def test_a_level_that_is_told_is_taken(here, capfd):
    assert main(["denoise", "a.dng", "--sigma", "12", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["sigma"] == pytest.approx(12)


@pytest.mark.parametrize(
    "options",
    [
        ["--adapt"],
        ["--reference", "a.dng"],
        ["--noise", "grain"],
        ["--white", "100"],
        ["-s", "1,2,3"],
        ["--samples", "2"],
    ],
)
def test_what_only_developed_pictures_have_is_refused(options, here, capsys):
    assert main(["denoise", "a.dng", *options]) == 2
    assert "camera raw" in complaint(capsys.readouterr().err)
    assert os.listdir(here) == ["a.dng"]


def test_a_raw_file_is_never_replaced(here, file, capsys):
    for options in (["--in-place"], ["-o", "b.dng"]):
        assert main(["denoise", "a.dng", *options]) == 4
        assert "raw files are developed" in complaint(capsys.readouterr().err)
    assert (here / "a.dng").read_bytes() == file
    assert os.listdir(here) == ["a.dng"]


def test_in_a_folder_of_which_pictures_are_replaced_raw_files_are_left_out(here, file, capsys):
    Image.fromarray(np.full((40, 48, 3), 90, np.uint8)).save("a.png")
    assert main(["denoise", ".", "--in-place"]) == 0
    said = capsys.readouterr().err
    assert "1 skipped: 1 DNG" in said
    assert "warning" not in said
    os.remove("a.png")
    assert main(["denoise", ".", "--in-place"]) == 3
    assert "hint: camera raw files are never replaced: name a folder with -o" in capsys.readouterr().err
    (here / "b.dng").write_bytes(file)
    assert main(["denoise", "a.dng", "b.dng", "--in-place"]) == 9
    said = capsys.readouterr().err
    assert "raw files are developed" in said
    assert "takes noise out twice" not in said
    assert "-y replaces" not in said


def test_a_missing_extra_and_a_damaged_file_leave_nothing(here, file, capfd, monkeypatch):
    (here / "cut.dng").write_bytes(file[:9000])
    assert main(["denoise", "cut.dng"]) == 3
    assert "'cut.dng'" in complaint(capfd.readouterr().err)
    monkeypatch.setattr(raw, "is_installed", lambda: False)
    assert main(["denoise", "a.dng"]) == 3
    told = capfd.readouterr().err
    assert "hint: pip install 'smdae[raw]'" in told
    assert "Traceback" not in told
    assert sorted(os.listdir(here)) == ["a.dng", "cut.dng"]


def test_what_is_demosaiced_already_is_denoised_as_a_picture(here, capsys):
    values = exposed(mosaic(scene()), 4e-3, 4e-3)
    (here / "b.dng").write_bytes(dng(np.dstack([values] * 3)))
    assert main(["denoise", "b.dng", "-s", "20"]) == 0
    assert "developed first" in capsys.readouterr().err
    assert (here / "b_denoised.tif").exists()
