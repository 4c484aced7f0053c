"""What results say of their model: where it stands, that the picture stays the same, and that it does not add up."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from smdae.cli.app import main
from smdae.files.images import read
from smdae.files.marks import marked
from tests.tiny import colour, encoded, gray, model_bytes


@pytest.fixture(autouse=True)
def here(bare, monkeypatch):
    monkeypatch.setenv("SMDAE_MODEL", str(bare / "m.safetensors"))
    (bare / "m.safetensors").write_bytes(model_bytes())
    return bare


def words_in(path) -> str | None:
    with Image.open(path) as image:
        image.load()
        comment = image.info.get("comment", b"").decode()
        return image.info.get("smdae") or (comment.removeprefix("smdae: ") or None)


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_a_result_names_its_model_once_however_often_it_is_denoised(here, format):
    name = f"a.{format.lower()}"
    (here / name).write_bytes(encoded(colour(), format))
    assert words_in(name) is None
    assert main(["denoise", name, "-o", f"b.{format.lower()}"]) == 0
    assert words_in(f"b.{format.lower()}").startswith("denoised by smdae ")
    assert "m.safetensors (" in words_in(f"b.{format.lower()}")
    assert (
        main(["denoise", f"b.{format.lower()}", "-m", "natural-gray-small", "-s", "20", "-o", f"c.{format.lower()}"])
        == 0
    )
    assert "natural-gray-small@1 (" in words_in(f"c.{format.lower()}")
    assert (here / f"c.{format.lower()}").read_bytes().count(b"denoised by smdae") == 1


def test_other_comments_stay(here):
    buffer = BytesIO()
    Image.fromarray(colour()).save(buffer, "JPEG", comment=b"smdae was not here")
    (here / "a.jpg").write_bytes(buffer.getvalue())
    assert main(["denoise", "a.jpg", "-o", "b.jpg"]) == 0
    assert main(["denoise", "b.jpg", "-o", "c.jpg"]) == 0
    found = (here / "c.jpg").read_bytes()
    assert found.count(b"smdae was not here") == found.count(b"denoised by smdae") == 1


def test_nothing_is_said_where_nothing_was_done_or_words_are_not_wanted(here):
    (here / "a.png").write_bytes(encoded(gray()))
    assert main(["denoise", "a.png", "--strength", "0", "-o", "b.png"]) == 0
    assert main(["denoise", "a.png", "--strip-metadata", "-o", "c.png"]) == 0
    assert words_in("b.png") is None
    assert words_in("c.png") is None


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "BMP"])
def test_the_picture_stays_the_same(format):
    data = encoded(colour(), format)
    found = marked(data, format, "by smdae")
    np.testing.assert_array_equal(read(found, "a").pixels, read(data, "a").pixels)
    assert read(found, "a").metadata == read(data, "a").metadata
    assert (found == data) == (format in ("TIFF", "BMP"))
