"""`smdae denoise` with models of many levels: the level is found, tiles and turns, pictures of every size and kind."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from smdae.cli.app import main
from smdae.denoising import denoise
from smdae.denoising.noise_search import estimate_noise
from smdae.device import find
from smdae.estimation import noise_level
from smdae.files import model_file
from smdae.files.images import read
from smdae.files.model_file import encode, load
from tests.conftest import random_network
from tests.tiny import ENVIRONMENT, colour, complaint, encoded, everything_below, gray, python


def network_bytes(channels: int = 1, **more) -> bytes:
    """The file of a network of levels 10 to 50."""
    model = random_network(channels, **({"levels": (10 / 255, 50 / 255)} | more)).float()
    card = {
        "model": "unet",
        "settings": model.settings(),
        "objective": "dsm",
        "sigma": [10.0, 50.0],
        "channels": channels,
        "patch_size": 64,
    }
    return encode(model, card, half=True)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with bundled networks and a gray and a colour picture."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SMDAE_MODEL", raising=False)
    (tmp_path / "weights").mkdir()
    monkeypatch.setattr(model_file, "BUNDLED", tmp_path / "weights")
    for name, channels in (("natural-gray", 1), ("natural-color", 3)):
        (tmp_path / "weights" / f"{name}.safetensors").write_bytes(network_bytes(channels))
    (tmp_path / "a.png").write_bytes(encoded(gray(80, 100)))
    (tmp_path / "c.png").write_bytes(encoded(colour(70, 90)))
    return tmp_path


def pixels(name: str) -> np.ndarray:
    return read(Path(name), name).pixels


@pytest.mark.parametrize("is_native", [False, True])
def test_digits_are_as_asked(monkeypatch, is_native):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: is_native)
    for name in ("auto", "float32", "bfloat16"):
        assert main(["denoise", "a.png", "-s", "20", "--precision", name, "-o", f"{name}.png"]) == 0
        assert np.array_equal(pixels(f"{name}.png"), denoise(pixels("a.png"), sigma=20, precision=name))
    assert np.array_equal(pixels("auto.png"), pixels("bfloat16.png" if is_native else "float32.png"))
    assert not np.array_equal(pixels("bfloat16.png"), pixels("float32.png"))


def test_without_a_model_and_a_level_both_are_found(capsys):
    assert main(["denoise", "a.png", "c.png"]) == 0
    for name in ("a", "c"):
        noisy = pixels(f"{name}.png")
        result = pixels(f"{name}_denoised.png")
        assert np.array_equal(result, denoise(noisy, noise=estimate_noise(noisy)))
        assert np.array_equal(result, denoise(noisy))
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "smdae: model 'natural-gray'"
    assert said[1].startswith("smdae: 'a.png': white, sigma ")
    assert said[1].endswith(", estimated")
    assert said[2] == "smdae: model 'natural-color'"


def test_what_auto_takes_is_told_by_a_plain_command():
    """In a process of its own, since the tests' processes say nothing of the machine."""
    where = str(find("auto")).replace("cpu", "the CPU")
    done = python("-m", "smdae", "denoise", "a.png", "-o", "b.png", env=ENVIRONMENT | {"SMDAE_DEVICE": "auto"})
    assert done.returncode == 0
    assert done.stderr.splitlines()[0].startswith(f"smdae: model 'natural-gray' on {where}")


def test_a_model_of_one_level_is_taken_at_it(here, capsys):
    (here / "one.safetensors").write_bytes(network_bytes(levels=(25 / 255, 25 / 255)))
    found = 255 * noise_level.estimate(gray(80, 100), 255.0)[0]
    for model, sigma in (("one.safetensors", 25), ("natural-gray", found)):
        assert main(["denoise", "a.png", "-m", model, "--json", "-y"]) == 0
        assert json.loads(capsys.readouterr().out)["sigma"] == pytest.approx(sigma)


@pytest.mark.parametrize(("sigma", "warned"), [("9", True), ("10", False), ("50", False), ("51", True)])
def test_a_level_outside_the_range_is_warned_of_and_names_it(sigma, warned, capsys):
    assert main(["denoise", "a.png", "-s", sigma]) == 0
    said = capsys.readouterr().err
    assert ("not from 10 to 50" in said) is warned


def test_each_channel_may_have_a_level_of_its_own(capsys):
    image = colour(70, 90)
    assert main(["denoise", "c.png", "-s", "20,0,40", "-y", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sigma"] == [20, 0, 40]
    result = pixels("c_denoised.png")
    assert np.array_equal(result[:, :, 1], image[:, :, 1])
    for c, sigma in ((0, 20), (2, 40)):
        assert np.array_equal(result[:, :, c], denoise(image, sigma=sigma)[:, :, c])
    assert main(["denoise", "c.png", "-m", "natural-gray", "-s", "20,0,40", "-y"]) == 0
    for c, sigma in ((0, 20), (2, 40)):
        alone = denoise(np.ascontiguousarray(image[:, :, c]), "natural-gray", sigma)
        assert np.array_equal(pixels("c_denoised.png")[:, :, c], alone)


def test_a_picture_without_noise_is_left_as_it_is(capsys):
    Path("flat.png").write_bytes(encoded(np.full((40, 40), 77, np.uint8)))
    assert main(["denoise", "flat.png"]) == 0
    assert "no noise found" in capsys.readouterr().err
    assert np.array_equal(pixels("flat_denoised.png"), pixels("flat.png"))
    assert main(["denoise", "flat.png", "-s", "20", "-y"]) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2), (7, 13), (17, 101)])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_any_size(shape, channels):
    image = gray(*shape) if channels == 1 else colour(*shape)
    Path("b.png").write_bytes(encoded(image))
    assert main(["denoise", "b.png", "-s", "25"]) == 0
    assert np.array_equal(pixels("b_denoised.png"), denoise(image, sigma=25))
    assert pixels("b_denoised.png").shape == image.shape


def test_colours_through_the_gray_model_are_three_pictures():
    assert main(["denoise", "c.png", "-m", "natural-gray", "-s", "25"]) == 0
    channels = [denoise(np.ascontiguousarray(plane), "natural-gray", 25) for plane in np.moveaxis(colour(70, 90), 2, 0)]
    assert np.array_equal(pixels("c_denoised.png"), np.dstack(channels))


def test_a_gray_picture_through_the_colour_model_is_refused(here, capsys):
    before = everything_below(here)
    assert main(["denoise", "a.png", "-m", "natural-color", "-s", "25"]) == 5
    assert "takes 3 channels, the image has 1" in complaint(capsys.readouterr().err)
    assert everything_below(here) == before


def test_tiles_change_nothing_and_turns_do():
    assert main(["denoise", "a.png", "-s", "25", "-o", "whole.png"]) == 0
    assert main(["denoise", "a.png", "-s", "25", "-t", "64", "-o", "tiled.png"]) == 0
    assert main(["denoise", "a.png", "-s", "25", "--ensemble", "-o", "turned.png"]) == 0
    assert np.abs(pixels("whole.png").astype(int) - pixels("tiled.png")).max() <= 1
    assert not np.array_equal(pixels("whole.png"), pixels("turned.png"))
    assert np.array_equal(pixels("turned.png"), denoise(gray(80, 100), sigma=25, ensemble=True))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-t", "63"], ["--tile 63", "64"]),
        (["-s", "0"], ["--sigma '0'"]),
        (["-s", "loud"], ["--sigma 'loud'"]),
        (["-s", "0,0"], ["--sigma '0,0'"]),
        (["-s", "5,-1,5"], ["--sigma '5,-1,5'"]),
        (["-s", "20,30"], ["2 values", "1 channel"]),
        (["--stride", "2"], ["--stride", "patches"]),
    ],
)
def test_wrong_options_are_refused_and_leave_nothing(here, arguments, words, capsys):
    before = everything_below(here)
    assert main(["denoise", "a.png", "-m", "natural-gray", "-s", "25", *arguments]) == 2
    text = complaint(capsys.readouterr().err)
    for word in words:
        assert word in text
    assert everything_below(here) == before


def test_nan_in_a_float_picture_stays_where_it_is_and_is_told(capsys):
    image = gray().astype(np.float32) / 255
    image[3, 4] = np.nan
    np.save("n.npy", image)
    assert main(["denoise", "n.npy"]) == 0
    assert "1 pixel is NaN or infinite, and left as it was" in capsys.readouterr().err
    result = np.load("n_denoised.npy")
    assert np.array_equal(np.isnan(result), np.isnan(image))
    assert (result != image).mean() > 0.5


def test_nan_is_not_written_to_integers(here, capsys):
    image = np.stack([gray().astype(np.float32) / 255] * 2)
    image[1, 3, 4] = np.nan
    tifffile.imwrite("n.tif", image, photometric="minisblack")
    before = everything_below(here)
    for pages in ([], ["--pages", "2"], ["--strength", "0"]):
        assert main(["denoise", "n.tif", "--bit-depth", "16", "--white", "1", "-o", "i.tif", *pages]) == 4
        assert "it holds NaN or infinity, which uint16 cannot hold" in capsys.readouterr().err
    assert everything_below(here) == before
    assert main(["denoise", "n.tif", "--bit-depth", "32f", "-o", "f.tif"]) == 0


def test_a_network_that_answers_nan_writes_no_file(here, capsys, monkeypatch):
    monkeypatch.setattr("smdae.models.unet.UNet.score", lambda self, x, sigma=None: x * float("nan"))
    before = everything_below(here)
    assert main(["denoise", "a.png", "-s", "25"]) == 1
    assert "not finite" in capsys.readouterr().err
    assert everything_below(here) == before


def test_too_little_memory_is_7_and_writes_no_file(here, capsys, monkeypatch):
    def hungry(self, x, sigma=None):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr("smdae.models.unet.UNet.score", hungry)
    before = everything_below(here)
    assert main(["denoise", "a.png", "-s", "25"]) == 7
    assert "not enough memory, even for tiles of 64 x 64" in capsys.readouterr().err
    assert everything_below(here) == before


def test_stored_pictures_are_denoised_as_clipped_ones_and_floats_are_not(here):
    (here / "k.safetensors").write_bytes(network_bytes(clips=True))
    model = load(here / "k.safetensors")
    image = gray(24, 32)
    assert np.array_equal(denoise(image, model, 25), denoise(image, model.clipped(1.0), 25))
    floats = 0.1 + 0.8 * image.astype(np.float32) / 255
    plain = denoise(floats, model, 25 / 255)
    assert np.abs(plain - denoise(floats, model.clipped(1.0), 25 / 255)).max() > 1e-3
    cut = np.clip(2 * floats - 0.5, 0, 1)  # touches black and white and goes no further
    assert np.array_equal(denoise(cut, model, 25 / 255), denoise(cut, model.clipped(1.0), 25 / 255))


def test_weights_in_half_precision_come_back_as_float32():
    model = load("natural-gray")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    for kept, exact in zip(model.parameters(), random_network(levels=(10 / 255, 50 / 255)).parameters(), strict=True):
        torch.testing.assert_close(kept, exact.float(), rtol=1e-3, atol=1e-4)
