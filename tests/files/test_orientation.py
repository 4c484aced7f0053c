"""How pictures are turned before they are shown, and masks and references that were made from what is shown."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from smdae.cli.app import main
from smdae.files import colour_profile
from smdae.files.images import read
from smdae.files.orientation import lying_over, orientation_of, turned_back, upright
from smdae.files.picture import Metadata
from tests.tiny import colour, model_bytes


def turned(pixels: np.ndarray, orientation: int, name: str) -> Image.Image:
    """Save pixels with an orientation, and return what a viewer shows."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(name, exif=exif)
    with Image.open(name) as image:
        return ImageOps.exif_transpose(image)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".webp"])
def test_the_orientation_is_that_of_the_exif(ending, bare):
    for orientation in range(1, 9):
        turned(colour(), orientation, f"a{ending}")
        assert orientation_of(read(Path(f"a{ending}"), "a").metadata) == orientation
    assert orientation_of(Metadata()) == 1
    assert orientation_of(Metadata(exif=b"nonsense")) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_is_shown_is_what_viewers_show_and_is_turned_back(orientation, bare):
    pixels = colour()
    shown = np.asarray(turned(pixels, orientation, "a.png"))
    assert np.array_equal(upright(pixels, orientation), shown)
    assert np.array_equal(turned_back(shown, orientation), pixels)


def test_what_fits_only_as_it_is_stored_is_taken_so(bare):
    turned(colour(), 6, "a.png")
    other = read(Path("a.png"), "a").metadata
    size = colour().shape[:2]
    assert np.array_equal(lying_over(colour(), Metadata(), other, size), colour())
    assert np.array_equal(lying_over(colour(), other, other, size), colour())


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_a_mask_and_a_reference_are_what_a_viewer_shows(orientation, bare, monkeypatch, capsys):
    monkeypatch.setenv("SMDAE_MODEL", str(bare / "m.safetensors"))
    (bare / "m.safetensors").write_bytes(model_bytes())
    shown = turned(colour(), orientation, "a.png")
    mask = np.zeros((shown.height, shown.width), np.uint8)
    mask[: shown.height // 2] = 255
    Image.fromarray(mask).save("mask.png")
    shown.save("clean.png", exif=Image.Exif())
    call = ["denoise", "a.png", "-s", "25", "--noise", "white", "--mask", "mask.png", "--reference", "clean.png"]
    assert main(call) == 0
    assert "PSNR" in capsys.readouterr().err
    with Image.open("a_denoised.png") as image:
        changed = (np.asarray(ImageOps.exif_transpose(image)) != np.asarray(shown)).any(2)
    assert changed[: shown.height // 2].mean() > 0.5
    assert not changed[shown.height // 2 :].any()


@pytest.mark.parametrize(
    ("target", "lost"),
    [
        ("b.png", ""),
        ("b.tif", ""),
        ("b.bmp", "its colour profile and its orientation"),
        ("b.ppm", "its colour profile and its orientation"),
        ("b.npy", "its colour profile and its orientation"),
        ("b.jxl", "its colour profile"),
    ],
)
def test_a_format_that_cannot_hold_how_a_picture_looks_is_told(target, lost, bare, monkeypatch, capsys):
    (bare / "m.safetensors").write_bytes(model_bytes())
    monkeypatch.setenv("SMDAE_MODEL", "m.safetensors")
    words = Image.Exif()
    words[274] = 6
    Image.fromarray(colour()).save(bare / "a.jpg", exif=words, icc_profile=colour_profile.linear())
    assert main(["denoise", "a.jpg", "-o", target, "-s", "20"]) == 0
    said = capsys.readouterr().err
    assert (f"warning: of 'a.jpg', {lost} will not be in the result" in said) == bool(lost)
    Image.fromarray(colour()).save(bare / "c.jpg", icc_profile=colour_profile.srgb())
    assert main(["denoise", "c.jpg", "-o", target, "-s", "20", "-y"]) == 0
    assert "will not be in the result" not in capsys.readouterr().err
