"""What results say of their model: where it stands, that the picture stays the same, and that it does not add up."""

import gzip
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from smdae.cli.app import main
from smdae.files import marks
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
    assert "natural-gray-small@2 (" in words_in(f"c.{format.lower()}")
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
    assert (found == data) == (format == "BMP")


def tiff(samples: np.ndarray, **options: object) -> bytes:
    buffer = BytesIO()
    tifffile.imwrite(buffer, samples, **options)
    return buffer.getvalue()


def frames(format: str) -> bytes:
    """An animation of two frames, or an MPO of two pictures."""
    buffer = BytesIO()
    first, second = (Image.fromarray(colour()[:: 1 - 2 * k].copy()) for k in (0, 1))
    first.save(buffer, format, save_all=True, append_images=[second])
    return buffer.getvalue()


def inks() -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.dstack([colour(), gray(seed=5) // 2]), "CMYK").save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def sky(last: int = 0) -> bytes:
    """A FITS file with an image, and one in front of it that is left alone."""
    fits = pytest.importorskip("astropy.io.fits")
    buffer = BytesIO()
    science = fits.ImageHDU((gray() / 255).astype("f4"), name="SCI")
    science.header["NOTE"] = "x" * last
    fits.HDUList([fits.PrimaryHDU(gray(seed=1)), science]).writeto(buffer)
    return buffer.getvalue()


def boxed(format: str) -> bytes:
    if format == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    return encoded(colour(), format)


FILES = {
    "png": lambda: encoded(gray()),
    "jpg": lambda: encoded(colour(), "JPEG"),
    "webp": lambda: encoded(colour(), "WEBP"),
    "tif": lambda: tiff(gray()),
    "tiff": lambda: tiff(colour(), photometric="rgb", compression="zlib", byteorder=">"),
    "tf8": lambda: tiff(np.stack([gray(), gray(seed=1)]), photometric="minisblack", bigtiff=True),
    "gif": lambda: encoded(gray(), "GIF"),
    "pgm": lambda: encoded(gray(), "PPM").replace(b"P5", b"P5\n# by hand", 1),
    "pam": lambda: b"P7\nWIDTH 32\nHEIGHT 24\nDEPTH 1\nMAXVAL 255\nENDHDR\n" + gray().tobytes(),
    "jp2": lambda: bytes(imagecodecs.jpeg2k_encode(colour(), codecformat="jp2", reversible=True)),
    "jxl": lambda: bytes(imagecodecs.jpegxl_encode(colour(), lossless=True, usecontainer=True)),
    "avif": lambda: boxed("AVIF"),
    "heic": lambda: boxed("HEIF"),
    "fits": sky,
    "fits.gz": lambda: gzip.compress(sky(5)),
    "mpo": lambda: frames("MPO"),
    "jpeg": inks,
}
AT_THE_BEGINNING = ("jpg", "jpeg", "mpo", "pgm", "pam", "fits", "fits.gz")
ANIMATIONS = {"png": "PNG", "gif": "GIF", "webp": "WEBP"}


@pytest.mark.parametrize("ending", FILES)
def test_every_format_with_a_place_for_words_says_who_made_a_result_and_is_read_as_ever(here, ending):
    refuse_once_more(here, f"a.{ending}", FILES[ending]())
    if ending in ("tif", "tiff", "tf8"):
        with tifffile.TiffFile(here / f"b.{ending}") as result, tifffile.TiffFile(here / f"a.{ending}") as source:
            assert [page.asarray().shape for page in result.pages] == [page.asarray().shape for page in source.pages]
            assert result.series[0].shape == source.series[0].shape
    if ending in ("png", "jpg", "jpeg", "webp", "tif", "tiff", "gif", "pgm", "avif", "heic", "jp2", "mpo"):
        with Image.open(here / f"b.{ending}") as shown:
            for frame in range(getattr(shown, "n_frames", 1)):
                shown.seek(frame)
                shown.load()


@pytest.mark.parametrize("ending", ANIMATIONS)
def test_an_animation_says_it_too(here, ending):
    refuse_once_more(here, f"a.{ending}", frames(ANIMATIONS[ending]))
    with Image.open(here / f"b.{ending}") as shown:
        assert shown.n_frames == 2
        shown.seek(1)
        shown.load()


def refuse_once_more(here, name: str, data: bytes) -> None:
    """Denoise a file: its result, and that of the result, say once which model made them, unless words are stripped."""
    ending = name.partition(".")[2]
    file = here / name
    file.write_bytes(data)
    assert marks.words_in(file) is None
    assert main(["denoise", str(file), "-o", f"b.{ending}", "-s", "25"]) == 0
    assert marks.words_in(here / f"b.{ending}").startswith("denoised by smdae ")
    assert main(["denoise", f"b.{ending}", "-o", f"c.{ending}", "-s", "25", "--fast"]) == 0
    assert "-small@" in marks.words_in(here / f"c.{ending}")
    whole = (here / f"c.{ending}").read_bytes()
    whole = gzip.decompress(whole) if ending.endswith("gz") else whole
    assert whole.count(b"denoised by smdae") == 1
    assert main(["denoise", f"b.{ending}", "-o", f"bare.{ending}", "-s", "25", "--strip-metadata"]) == 0
    assert marks.words_in(here / f"bare.{ending}") is None or ending.startswith("fits")  # whose header stays


@pytest.mark.parametrize("ending", FILES)
def test_what_is_cut_or_changed_says_nothing(here, ending):
    data = FILES[ending]()
    (here / "a").write_bytes(data)
    assert marks.words_in(here / "a") is None
    assert main(["denoise", str(here / "a"), "-o", f"b.{ending}", "-s", "25"]) == 0
    whole = (here / f"b.{ending}").read_bytes()
    for share in (0.01, 0.2, 0.5, 0.9, 0.99):
        (here / "a").write_bytes(whole[: int(share * len(whole))])
        assert marks.words_in(here / "a") is None or ending in AT_THE_BEGINNING
    assert marks.words_in(here / "missing") is None


def test_results_in_folders_are_known_by_what_they_say_and_named_ones_are_taken(here, capsys):
    folder = here / "in"
    folder.mkdir()
    for ending, make in FILES.items():
        (folder / f"a{ending}.{ending}").write_bytes(make())
    assert main(["denoise", "in", "-o", "out/", "-s", "25"]) == 0
    for file in (here / "out").iterdir():
        file.rename(folder / f"renamed_{file.name}")
    capsys.readouterr()
    assert main(["denoise", "in", "-o", "again/", "-s", "25"]) == 0
    assert f"{len(FILES)} skipped: {len(FILES)} results of an earlier run" in capsys.readouterr().err
    assert sorted(file.name for file in (here / "again").iterdir()) == sorted(f"a{e}.{e}" for e in FILES)
    named = [str(file) for file in folder.glob("renamed_*")]
    assert main(["denoise", *named, "-o", "twice/", "-s", "25"]) == 0
    assert len([*(here / "twice").iterdir()]) == len(FILES)
    for file in folder.glob("a*"):
        file.unlink()
    assert main(["denoise", "in", "-o", "none/"]) == 3
    assert "hint: name them to denoise them once more" in capsys.readouterr().err
