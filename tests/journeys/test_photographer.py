"""A photographer's evening: one command for a folder of JPEGs and other files, and a summary to be trusted."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smdae.cli.app import main
from tests.tiny import colour, everything_below, model_bytes, without_extras


@pytest.fixture
def card(bare, monkeypatch) -> Path:
    """A memory card: four JPEGs on their sides, a video, a Photoshop file, what systems leave, and a subfolder."""
    monkeypatch.setenv("SMDAE_MODEL", str(bare / "m.safetensors"))
    (bare / "m.safetensors").write_bytes(model_bytes())
    folder = bare / "Noisy JPEGs"
    (folder / "day 2").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera"
    for name in ("IMG_1.JPG", "IMG 2.jpg", "ümlaut.jpg", "[night].jpg", "day 2/IMG_5.jpg"):
        Image.fromarray(colour(40, 60)).save(folder / name, "JPEG", quality=90, exif=exif, dpi=(300, 300))
    (folder / "IMG_3.MOV").write_bytes(b"\0\0\0\x14ftypqt  " + bytes(100))
    (folder / "IMG_4.PSD").write_bytes(b"8BPS" + bytes(100))
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "._IMG_1.JPG").write_bytes(b"x")
    return folder


@pytest.fixture
def bare_install(monkeypatch):
    """No extra is installed."""
    without_extras(monkeypatch)


@pytest.mark.usefixtures("bare_install")
def test_a_folder_in_one_command(card, capsys):
    before = everything_below(card)
    assert main(["denoise", str(card), "-o", "clean", "-s", "10", "--quality", "92"]) == 0
    err = capsys.readouterr().err.splitlines()
    assert err[-2:] == [
        "smdae: 2 skipped: 1 MOV, 1 PSD; -r would add 1 in subfolders",
        "smdae: 4 written",
    ]
    assert all(len(line) <= 80 for line in err if "model" not in line)
    assert sorted(p.name for p in Path("clean").iterdir()) == ["IMG 2.jpg", "IMG_1.JPG", "[night].jpg", "ümlaut.jpg"]
    result = Image.open("clean/IMG_1.JPG")
    assert (result.getexif()[0x0112], result.getexif()[0x010F], result.info["dpi"]) == (6, "Camera", (300, 300))
    assert everything_below(card) == before  # the originals are as they were


@pytest.mark.usefixtures("bare_install")
def test_the_next_evening_does_what_is_new(card, capsys):
    assert main(["denoise", str(card), "-r", "-o", "clean", "-s", "10"]) == 0
    assert Path("clean/day 2/IMG_5.jpg").exists()
    buffer = BytesIO()
    Image.fromarray(colour(40, 60)).save(buffer, "JPEG")
    (card / "IMG_9.jpg").write_bytes(buffer.getvalue())
    capsys.readouterr()
    assert main(["denoise", str(card), "-r", "-o", "clean", "-s", "10", "--skip-existing"]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "smdae: 1 written, 5 skipped"


def test_a_look_before_and_a_look_after(card, capsys):
    picture = str(card / "IMG_1.JPG")
    assert main(["info", picture]) == 0
    assert "60 x 40 in colour, 8 bits, JPEG quality 90" in capsys.readouterr().out
    assert main(["denoise", picture, "-s", "10", "--report", "look.html"]) == 0
    assert Path("look.html").read_text().count("data:image/png") == 3
    assert main(["denoise", str(card / "IMG_4.PSD")]) == 3
    assert "Photoshop" in capsys.readouterr().err
    assert np.array(Image.open(card / "IMG_1_denoised.JPG")).shape == (40, 60, 3)
