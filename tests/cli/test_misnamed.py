"""Files of several pictures, or of their own kind, under the name of another format are no input: exit code 3."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from smdae.cli.app import main
from tests.tiny import complaint, gray


def animation(kind: str) -> bytes:
    frames = [Image.fromarray(gray(40, 40, seed)) for seed in range(3)]
    buffer = BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def stack() -> bytes:
    buffer = BytesIO()
    tifffile.imwrite(buffer, np.stack([gray(), gray()]), photometric="minisblack")
    return buffer.getvalue()


def sky() -> bytes:
    fits = pytest.importorskip("astropy.io.fits")
    buffer = BytesIO()
    fits.PrimaryHDU(gray(40, 40).astype("f4")).writeto(buffer)
    return buffer.getvalue()


FILES = {
    "a.png": (lambda: animation("GIF"), "animation", "a.gif"),
    "a.gif": (lambda: animation("PNG"), "animation", "b.png"),
    "a.tif": (lambda: animation("WEBP"), "animation", "b.webp"),
    "a.jpg": (stack, "TIFF of 2 pages", "b.tif"),
    "b": (stack, "has no ending", "c.tif"),
    "a.bmp": (sky, "a FITS file", "b.fits"),
    "a.pgm": (lambda: b"YUV4MPEG2 W32 H32 Cmono\nFRAME\n" + gray(32, 32).tobytes(), "a Y4M stream", "b.y4m"),
}


@pytest.mark.parametrize("name", FILES)
def test_they_are_refused_as_an_input_unless_their_result_has_a_name(name, bare, capsys, monkeypatch):
    monkeypatch.setenv("SMDAE_MODEL", "natural-gray-small")
    make, said, right = FILES[name]
    Path(name).write_bytes(make())
    assert main(["denoise", name]) == 3
    text = complaint(capsys.readouterr().err)
    assert said in text
    assert f"'{name}'" in text
    assert "rename it" in text
    assert os.listdir() == [name]
    assert main(["denoise", name, "-o", right, "--strength", "0"]) == 0


def test_a_result_in_another_format_is_refused_as_an_output(bare):
    Path("a.gif").write_bytes(animation("GIF"))
    assert main(["denoise", "a.gif", "-o", "a.png"]) == 4
