"""`smdae denoise`: what goes in comes out clean and of the same kind; pipes, batches, figures and refusals."""

import errno
import io
import json
import math
import os
import pickle
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from smdae.cli.app import main
from smdae.denoising import denoise
from smdae.files import model_file, writing
from smdae.files.images import encode, read
from smdae.files.model_file import load
from smdae.files.picture import Metadata, Picture
from smdae.models import Patchwise
from tests.tiny import (
    ENVIRONMENT,
    colour,
    complaint,
    encoded,
    everything_below,
    gray,
    largest_file,
    model_bytes,
    python,
    rewritten,
    unjudged,
)

needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with a gray model and a gray picture, and no bundled models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SMDAE_MODEL", raising=False)
    (tmp_path / "weights").mkdir()
    monkeypatch.setattr(model_file, "BUNDLED", tmp_path / "weights")
    (tmp_path / "m.safetensors").write_bytes(model_bytes())
    (tmp_path / "a.png").write_bytes(encoded(gray()))
    return tmp_path


@pytest.fixture
def model(here):
    return load(here / "m.safetensors")


def clean(*arguments):
    return main(["denoise", "-m", "m.safetensors", *map(str, arguments)])


def put(name, pixels, alpha=None, **more):
    """Write a picture of the kind that the name says; returns it."""
    white = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1.0
    kind = {".png": "PNG", ".tif": "TIFF", ".npy": "NPY", ".jpg": "JPEG", ".webp": "WEBP", ".ppm": "PPM"}
    picture = Picture(pixels, white, kind[Path(name).suffix], alpha, **more)
    Path(name).write_bytes(encode(picture, picture.format))
    return picture


def pixels(name):
    return read(Path(name), name).pixels


# The same kind


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("g8.png", gray()),
        ("g16.png", gray().astype(np.uint16) * 257),
        ("c8.png", colour()),
        ("c16.png", colour().astype(np.uint16) * 257),
        ("dark16.png", gray().astype(np.uint16)),
        ("g8.tif", gray()),
        ("c16.tif", colour().astype(np.uint16) * 200),
        ("g32.tif", (gray() / 255).astype(np.float32)),
        ("c32.tif", (colour() / 255).astype(np.float32)),
        ("g64.npy", gray() / 255),
        ("g16f.npy", (gray() / 255).astype(np.float16)),
        ("c16.ppm", colour().astype(np.uint16) * 257),
        ("c8.webp", colour()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_depth_kind_and_values_are_those_of_the_python_interface(name, image, model, capsys):
    put(name, image)
    original = Path(name).read_bytes()
    assert clean(name) == 0
    result = f"{Path(name).stem}_denoised{Path(name).suffix}"
    found = pixels(result)
    assert found.dtype == image.dtype
    np.testing.assert_array_equal(found, denoise(image, model))
    assert not np.array_equal(found, image)
    assert Path(name).read_bytes() == original
    out, err = capsys.readouterr()
    assert out == ""
    is_dark = name == "dark16.png"  # noise is 1/257 of that of the model
    poor = "smdae: warning: the result may be poor: its noise looks like sigma 0.075, not 25, the model's level\n"
    assert unjudged(err) == poor * is_dark


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("image", [gray(), colour()], ids=["gray", "colour"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_alpha_is_kept_bit_for_bit_and_what_it_hides_too(dtype, image, suffix, model):
    deep = image.astype(dtype) * (257 if dtype == "uint16" else 1)
    alpha = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, image.shape[:2]).astype(dtype) + 1
    alpha[:5] = 0
    put(f"x{suffix}", deep, alpha)
    assert clean(f"x{suffix}") == 0
    found = read(Path(f"x_denoised{suffix}"), "x")
    np.testing.assert_array_equal(found.alpha, alpha)
    np.testing.assert_array_equal(found.pixels[alpha == 0], deep[alpha == 0])
    far = slice(12, None)  # from the rows that are hidden
    np.testing.assert_array_equal(found.pixels[far][alpha[far] > 0], denoise(deep, model)[far][alpha[far] > 0])


def test_a_gray_model_takes_colours_one_by_one(model):
    put("c.png", colour())
    assert clean("c.png") == 0
    planes = [denoise(np.ascontiguousarray(colour()[..., c]), model) for c in range(3)]
    np.testing.assert_array_equal(pixels("c_denoised.png"), np.dstack(planes))


def test_metadata_travels_along():
    put("x.png", colour(), metadata=Metadata(icc=b"profile" * 20, dpi=(300.0, 150.0)))
    assert clean("x.png") == 0
    back = read(Path("x_denoised.png"), "x").metadata
    assert back.icc == b"profile" * 20
    assert back.dpi == pytest.approx((300, 150), abs=0.02)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2), (4, 4), (5, 31), (3, 2, 3)])
def test_a_picture_smaller_than_a_patch_is_denoised_too(shape):
    put("x.png", np.resize(gray(), shape))
    assert clean("x.png") == 0
    assert pixels("x_denoised.png").shape == shape


def test_the_ending_of_the_output_is_its_format(model):
    put("x.png", colour())
    assert clean("x.png", "-o", "y.tif") == 0
    with tifffile.TiffFile("y.tif") as file:
        np.testing.assert_array_equal(file.asarray(), denoise(colour(), model))


# Sigma and white


def test_sigma_is_on_the_scale_of_8_bit_pictures_whatever_the_depth():
    """One picture in four kinds of file, one sigma, one result."""
    put("a8.png", gray())
    put("a16.png", gray().astype(np.uint16) * 257)
    put("a32.tif", (gray() / 255).astype(np.float32))
    put("a64.npy", gray() / 255)
    for name in ("a8.png", "a16.png", "a32.tif", "a64.npy"):
        assert clean(name, "-s", "28") == 0
    expected = pixels("a8_denoised.png")
    np.testing.assert_allclose(pixels("a16_denoised.png") / 257, expected, atol=0.51)
    np.testing.assert_allclose(pixels("a32_denoised.tif") * 255, expected, atol=0.51)
    np.testing.assert_allclose(pixels("a64_denoised.npy"), pixels("a32_denoised.tif"), atol=1e-5)
    assert clean("a8.png", "-o", "auto.png") == 0
    assert not np.array_equal(pixels("auto.png"), expected)


def test_white_scales_pictures_and_their_sigma():
    image = (gray() / 255).astype(np.float32)
    put("one.tif", image)
    put("many.tif", image * 4000)
    assert clean("one.tif", "-s", "28") == 0
    assert clean("many.tif", "-s", "28", "--white", "4000") == 0
    np.testing.assert_allclose(pixels("many_denoised.tif") / 4000, pixels("one_denoised.tif"), atol=1e-5)
    put("twelve.png", (gray().astype(np.uint16) * 16))
    assert clean("twelve.png", "-s", "28", "--white", "4080") == clean("a.png", "-s", "28") == 0
    np.testing.assert_allclose(pixels("twelve_denoised.png") / 16, pixels("a_denoised.png"), atol=0.6)


def test_floats_are_not_clipped(model):
    put("x.tif", (gray() / 255).astype(np.float32) + 3)
    assert clean("x.tif") == 0
    assert pixels("x_denoised.tif").min() > 1


@pytest.mark.parametrize(("sigma", "warned"), [("25", False), ("29", False), ("21", False), ("31", True), ("19", True)])
def test_a_sigma_far_from_the_models_is_warned_of(sigma, warned, capsys):
    assert clean("a.png", "-s", sigma) == 0
    said = unjudged(capsys.readouterr().err)
    assert said == (
        f"smdae: warning: the result may be poor: sigma {sigma} is far from 25, the model's level\n" * warned
    )
    assert clean("a.png", "-s", sigma, "-v", "-y") == 0
    assert ("up to 20 % from it" in capsys.readouterr().err) == warned


@pytest.mark.parametrize(("noise", "warned"), [(24, False), (6, True), (60, True)])
def test_a_picture_whose_noise_is_far_from_the_models_level_is_warned_of(noise, warned, capsys):
    shown = 128 + noise * np.random.default_rng(0).standard_normal((96, 96))
    put("n.png", np.clip(np.rint(shown), 0, 255).astype(np.uint8))
    assert clean("n.png") == 0
    said = capsys.readouterr().err
    assert ("the result may be poor: its noise looks like sigma" in said) == warned
    assert ("not 25, the model's level" in said) == warned
    assert clean("n.png", "-s", "25", "-y") == 0
    assert "looks like" not in capsys.readouterr().err


def test_a_stride_is_taken(model):
    assert clean("a.png", "--stride", "4") == 0
    np.testing.assert_array_equal(pixels("a_denoised.png"), denoise(gray(), model, stride=4))


# Pipes


class Pipe(io.TextIOWrapper):
    """A stream of bytes under a stream of text, as stdin and stdout are."""

    def __init__(self, data=b""):
        super().__init__(io.BytesIO(data))


def test_a_pipe_carries_the_picture_and_nothing_else(here):
    """Through a real shell; the model that the environment names is taken, and said so on stderr."""
    assert clean("a.png") == 0
    with open("a.png", "rb") as source:
        named = ENVIRONMENT | {"SMDAE_MODEL": "m.safetensors"}
        done = python("-m", "smdae", "denoise", "-", "-o", "-", stdin=source, text=False, env=named)
    assert done.returncode == 0
    assert done.stdout == Path("a_denoised.png").read_bytes()
    assert unjudged(done.stderr.decode()) == "smdae: model 'm.safetensors'\n"


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.jpg", "x.npy"])
def test_what_comes_from_a_pipe_goes_to_one_in_its_own_format(name, monkeypatch):
    put(name, gray())
    stdout = Pipe()
    monkeypatch.setattr(sys, "stdin", Pipe(Path(name).read_bytes()))
    monkeypatch.setattr(sys, "stdout", stdout)
    assert clean("-", "-o", "-") == 0
    assert clean(name) == 0
    assert stdout.buffer.getvalue() == Path(f"x_denoised{Path(name).suffix}").read_bytes()


def test_without_an_output_stdin_goes_to_stdout(monkeypatch):
    stdout = Pipe()
    monkeypatch.setattr(sys, "stdin", Pipe(encoded(gray())))
    monkeypatch.setattr(sys, "stdout", stdout)
    assert clean("-") == 0
    assert read(stdout.buffer.getvalue(), "stdout").pixels.shape == gray().shape


@pytest.mark.parametrize("data", [b"", b"text", encoded(gray())[:300]], ids=["empty", "text", "truncated"])
def test_a_bad_picture_from_a_pipe_is_an_input_error(data, monkeypatch, capsysbinary):
    monkeypatch.setattr(sys, "stdin", Pipe(data))
    assert clean("-", "-o", "-") == 3
    out, err = capsysbinary.readouterr()
    assert out == b""
    assert "stdin" in complaint(err.decode())


@pytest.fixture
def terminal():
    """The two ends of one: what the program sees, as text, and what a person would."""
    person, program = os.openpty()
    with open(program, "r+b", buffering=0) as raw:
        yield io.TextIOWrapper(raw, write_through=True)
    os.close(person)


def test_a_picture_is_not_written_to_a_terminal(terminal, here, monkeypatch, capsys):
    before = everything_below(here)
    monkeypatch.setattr(sys, "stdout", terminal)
    for arguments in (["a.png", "-o", "-"], ["-"], ["missing.png", "-o", "-"]):
        assert clean(*arguments) == 2
        message = complaint(capsys.readouterr().err)
        assert "terminal" in message
        assert "-o" in message
    assert everything_below(here) == before


def test_a_picture_is_not_awaited_from_a_terminal(terminal, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", terminal)
    start = time.perf_counter()
    assert clean("-", "-o", "b.png") == 2
    assert time.perf_counter() - start < 1
    assert "stdin" in complaint(capsys.readouterr().err)


def test_a_closed_pipe_ends_it_quietly(here, monkeypatch, capsys):
    reading, writing_end = os.pipe()
    os.close(reading)
    monkeypatch.setattr(sys, "stdout", os.fdopen(writing_end, "w"))
    assert clean("a.png", "-o", "-") == 141
    assert capsys.readouterr().err == ""
    sys.stdout.close()


@needs_dev_full
@pytest.mark.parametrize("arguments", [["-o", "-"], ["--json"]])
def test_a_full_disk_behind_stdout_is_an_output_error(arguments, monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert clean("a.png", *arguments) == 4
        assert complaint(unjudged(capsys.readouterr().err)) == "smdae: error: cannot write to stdout: no space left"


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_disk_that_fills_behind_stdout_is_an_output_error_too(here, buffering, monkeypatch, capsys):
    """The system takes a part of the picture before it says so."""
    with open("out.png", "wb", buffering=buffering) as file, io.TextIOWrapper(file, write_through=True) as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with largest_file(100):
            assert clean("a.png", "-o", "-") == 4
    assert "stdout: the file is too large" in complaint(capsys.readouterr().err)


# The model that is taken


def test_the_model_is_the_first_of_those_that_there_are(here, monkeypatch, capsys):
    """-m, else $SMDAE_MODEL, else the bundled one; the last two are told, and what lies in the folder is not taken."""
    os.rename("m.safetensors", "source")
    bundled = here / "weights" / "natural-gray.safetensors"
    for path in (bundled, here / "model.safetensors", here / "named.safetensors", here / "given.safetensors"):
        path.write_bytes(Path("source").read_bytes())

    def taken(*arguments):
        assert main(["denoise", "a.png", "-y", *arguments]) == 0
        return unjudged(capsys.readouterr().err)

    monkeypatch.setenv("SMDAE_MODEL", "named.safetensors")
    assert taken("-m", "given.safetensors") == ""
    assert taken() == "smdae: model 'named.safetensors'\n"
    monkeypatch.setenv("SMDAE_MODEL", "")
    Path("model.safetensors").write_text("no model")  # nor is it read
    left = "smdae: ./model.safetensors exists: -m model.safetensors uses it\n"
    assert taken() == f"{left}smdae: model 'natural-gray'\n"
    os.remove("model.safetensors")
    assert taken() == "smdae: model 'natural-gray'\n"
    assert taken("-m", "natural-gray") == ""
    bundled.unlink()
    assert main(["denoise", "a.png", "-y"]) == 5
    assert "smdae fit" in complaint(capsys.readouterr().err)


def test_what_auto_took_is_told_once(here, monkeypatch, capsys):
    (here / "weights" / "natural-gray.safetensors").write_bytes(model_bytes())
    monkeypatch.setattr("smdae.device.taken", lambda name, where: f"on the {name} of the {where}")
    assert main(["denoise", "a.png", "-o", "1.png"]) == 0
    assert unjudged(capsys.readouterr().err) == "smdae: model 'natural-gray' on the auto of the cpu\n"
    put("c.png", gray())
    assert main(["denoise", "a.png", "c.png", "-m", "m.safetensors", "-o", "made/", "-d", "cpu"]) == 0
    assert unjudged(capsys.readouterr().err) == "smdae: computing on the cpu of the cpu\nsmdae: 2 written\n"


def test_the_bundled_model_suits_the_picture(here, capsys):
    put("c.png", colour())
    for name, channels in (("natural-gray", 1), ("natural-color", 3)):
        (here / "weights" / f"{name}.safetensors").write_bytes(model_bytes(channels=channels))
    assert main(["denoise", "a.png", "c.png"]) == 0
    said = "smdae: model 'natural-gray'\nsmdae: model 'natural-color'\nsmdae: 2 written\n"
    assert unjudged(capsys.readouterr().err) == said


def test_fast_is_the_small_bundled_model(here, capsys):
    put("c.png", colour())
    for name, channels in (("natural-gray-small", 1), ("natural-color-small", 3)):
        (here / "weights" / f"{name}.safetensors").write_bytes(model_bytes(channels=channels))
    assert main(["denoise", "a.png", "c.png", "--fast"]) == 0
    said = "smdae: model 'natural-gray-small'\nsmdae: model 'natural-color-small'\nsmdae: 2 written\n"
    assert unjudged(capsys.readouterr().err) == said
    assert main(["denoise", "a.png", "--fast", "-m", "m.safetensors", "-y"]) == 2
    assert "--fast" in complaint(capsys.readouterr().err)


def bad_models():
    plain = model_bytes()
    return {
        "pickle": (pickle.dumps({"W": 1}), ["it is a pickle"]),
        "truncated": (plain[:-50], ["cut off"]),
        "header": (plain[:50], ["cut off"]),
        "version": (rewritten(plain, version="3"), ["version 3"]),
        "foreign": (rewritten(plain, format="pt"), ["not made by smdae"]),
        "unknown": (rewritten(plain, model="os.system"), ["'os.system'"]),
        "empty": (b"", ["not a safetensors file"]),
        "picture": (encoded(gray()), ["not a safetensors file"]),
        "colour": (model_bytes(channels=3), ["takes 3 channels, the image has 1"]),
        "clean": (rewritten(plain, score_of="the clean density"), ["cannot remove noise", "dsm"]),
        "huge": (rewritten(plain, settings={"channels": 1, "size": 4, "dim": 16, "hidden": 10**12, "sigma": 1.0}), []),
    }


@pytest.mark.parametrize("name", bad_models())
def test_a_bad_model_is_refused_and_leaves_nothing(name, here, capsys):
    data, words = bad_models()[name]
    Path("bad.safetensors").write_bytes(data)
    before = everything_below(here)
    assert main(["denoise", "a.png", "-m", "bad.safetensors", "-o", "made/"]) == 5
    out, err = capsys.readouterr()
    assert out == ""
    message = complaint(err)
    for word in words:
        assert word in message
    assert everything_below(here) == before


def test_an_answer_that_is_not_a_number_is_never_written(here, monkeypatch, capsys):
    monkeypatch.setattr(Patchwise, "score", lambda self, x, sigma=None: x * math.inf)
    before = everything_below(here)
    assert clean("a.png") == 1
    assert "not finite" in complaint(capsys.readouterr().err)
    assert everything_below(here) == before


# Refusals


def unusable(here):
    (here / "empty").mkdir()
    (here / "text.png").write_text("hello")
    (here / "void.png").write_bytes(b"")
    (here / "cut.png").write_bytes(encoded(gray())[:-60])
    (here / "old.png").write_bytes(b"old")
    (here / "folder.png").mkdir()
    (here / "plain").write_bytes(encoded(gray()))
    np.save(here / "nan.npy", np.full((8, 8), math.nan))
    np.save(here / "five.npy", np.zeros((2, 8, 8, 5)))
    put("alpha.png", gray(), gray(seed=1))
    put("deep.png", gray().astype(np.uint16))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["a.png", "-s", "0"], 2, ["--sigma", "'0'"]),
        (["a.png", "-s", "-1"], 2, ["--sigma", "'-1'"]),
        (["a.png", "-s", "nan"], 2, ["--sigma"]),
        (["a.png", "-s", "inf"], 2, ["--sigma"]),
        (["a.png", "-s", "loud"], 2, ["--sigma", "'loud'"]),
        (["a.png", "-s", ""], 2, ["-s is empty"]),
        (["a.png", "--sampler", "nope"], 2, ["'nope'", "tweedie"]),
        (["a.png", "--stride", "0"], 2, ["--stride"]),
        (["a.png", "--stride", "5"], 2, ["stride", "4"]),
        (["a.png", "--white", "-1"], 2, ["--white"]),
        (["a.png", "-d", "tpu"], 2, ["'tpu'"]),
        (["a.png", "-d", "cpu:1"], 2, ["'cpu:1'"]),
        (["-", "-", "-o", "made/"], 2, ["stdin"]),
        (["-", "-o", "empty"], 2, ["stdin"]),
        (["a.png", "alpha.png", "-o", "b.png"], 2, ["b.png/"]),
        (["a.png", "alpha.png", "-o", "-"], 2, ["there are 2"]),
        (["a.png", "-o", "-", "--json"], 2, ["--json"]),
        (["a.png", "alpha.png", "--reference", "a.png"], 2, ["--reference"]),
        (["missing.png"], 3, ["'missing.png'"]),
        (["x" * 300 + ".png"], 3, ["too long"]),
        (["empty"], 3, ["no images found in 'empty'"]),
        (["text.png"], 3, ["'text.png'"]),
        (["void.png"], 3, ["'void.png'", "empty"]),
        (["cut.png"], 3, ["'cut.png'", "truncated"]),
        (["nan.npy"], 3, ["'nan.npy'", "none of its pixels is valid"]),
        (["five.npy"], 3, ["'five.npy'"]),
        (["a.png", "--reference", "missing.png"], 3, ["'missing.png'"]),
        (["a.png", "--reference", "text.png"], 3, ["'text.png'"]),
        (["a.png", "--reference", "five.npy"], 3, ["'five.npy'"]),
        (["a.png", "-o", "old.png"], 4, ["'old.png'", "exists", "-y"]),
        (["a.png", "-o", "a.png"], 4, ["'a.png'", "exists"]),
        (["a.png", "-o", "missing/b.png"], 4, ["missing"]),
        (["a.png", "-o", "missing/deeper/"], 4, ["missing"]),
        (["a.png", "-o", "old.png/"], 4, ["old.png"]),
        (["a.png", "-o", "old.png/b.png"], 4, ["old.png"]),
        (["a.png", "-o", "b.xyz"], 4, ["'b.xyz'", ".png"]),
        (["a.png", "-o", "b"], 4, ["'b'", ".png"]),
        (["a.png", "-o", "n" * 300 + ".png"], 4, ["too long"]),
        (["plain"], 4, ["plain_denoised", ".png"]),
        (["alpha.png", "-o", "b.jpg"], 4, ["alpha"]),
        (["deep.png", "-o", "b.jpg"], 4, ["uint16"]),
        (["a.png", "-d", "cuda:99"], 8, ["'cuda:99'"]),
        (["a.png", "-m", "missing.safetensors"], 5, ["'missing.safetensors'"]),
        (["a.png", "-m", "n" * 300], 5, []),
        (["a.png", "-m", "empty"], 5, ["'empty'"]),
        (["a.png", "-m", "a.png"], 5, ["'a.png'"]),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else str(value),
)
def test_what_cannot_be_is_refused_in_one_line_and_leaves_nothing(here, arguments, code, words, capsys):
    unusable(here)
    before = everything_below(here)
    assert clean(*arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    message = complaint(err)
    for word in words:
        assert word in message
    assert everything_below(here) == before


def test_refusals_come_in_the_order_of_the_contract(here, capsys):
    """All is wrong at once; as each thing is put right, the next one is told."""
    (here / "old.png").write_bytes(b"old")
    (here / "text.png").write_text("hello")
    wrong = {
        2: (["-s", "nan"], ["-s", "25"]),
        3: (["text.png"], ["a.png"]),
        4: (["-o", "old.png"], ["-o", "new.png"]),
        8: (["-d", "cuda:99"], ["-d", "cpu"]),
        5: (["-m", "text.png"], []),
    }
    before = everything_below(here)
    for i, code in enumerate(wrong):
        parts = [right if j < i else bad for j, (bad, right) in enumerate(wrong.values())]
        assert clean(*(argument for part in parts for argument in part)) == code
        complaint(capsys.readouterr().err)
        assert everything_below(here) == before


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
@pytest.mark.parametrize("target", ["b.png", "made/", "old.png"])
def test_a_full_disk_is_an_output_error_and_leaves_nothing(here, code, target, monkeypatch, capsys):
    (here / "old.png").write_bytes(b"old")
    before = everything_below(here)

    def fails(*_args):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(writing.os, "write", fails)
        assert clean("a.png", "-o", target, "-y") == 4
    assert "cannot write" in complaint(capsys.readouterr().err)
    assert everything_below(here) == before


# Outputs


def test_leave_to_overwrite_is_taken(here, model):
    (here / "a_denoised.png").write_bytes(b"old")
    assert clean("a.png", "-y") == 0
    np.testing.assert_array_equal(pixels("a_denoised.png"), denoise(gray(), model))
    assert clean("a.png", "-y", "-o", "a.png") == 0
    np.testing.assert_array_equal(pixels("a.png"), denoise(gray(), model))


@pytest.mark.parametrize("target", ["made/", "there", "there/"])
def test_results_go_into_a_folder_which_is_made_if_it_ends_in_a_slash(here, target):
    (here / "there").mkdir()
    put("c.png", colour())
    assert clean("a.png", "c.png", "-o", target) == 0
    assert sorted(os.listdir(target)) == ["a.png", "c.png"]


def test_a_folder_is_not_left_empty(here, capsys):
    (here / "text.png").write_text("hello")
    before = everything_below(here)
    assert clean("text.png", "-o", "made/") == 3
    assert clean("text.png", "missing.png", "-o", "made/") == 9
    assert everything_below(here) == before
    assert clean("text.png", "a.png", "-o", "made/") == 9
    assert os.listdir("made") == ["a.png"]


def test_a_result_never_replaces_an_input_that_is_yet_to_be_read(here, capsys):
    put("a_denoised.png", colour())
    before = everything_below(here)
    assert clean("a.png", "a_denoised.png", "-y") == 2
    assert "'a_denoised.png'" in complaint(capsys.readouterr().err)
    (here / "sub").mkdir()
    (here / "sub" / "b.png").write_bytes(encoded(gray()))
    (here / "b.png").symlink_to(here / "sub" / "b.png")
    before = everything_below(here)
    assert clean("a.png", "b.png", "sub/a.png", "-o", "sub", "-y") == 2
    assert everything_below(here) == before


@pytest.mark.parametrize(
    "name", ["[red].png", "[/x] [bold].png", "🎈 ü.png", "new\nline.png", "-x.png", "caf\udce9.png"]
)
def test_any_name_will_do(name, here, capsys, model):
    path = here / name.replace("/", "")
    path.write_bytes(encoded(gray()))
    result = path.with_name(f"{path.stem}_denoised.png")
    assert clean("--json", "--", path.name) == 0
    assert json.loads(capsys.readouterr().out)["output"] == result.name
    np.testing.assert_array_equal(read(result, "x").pixels, denoise(gray(), model))
    assert clean("--", path.name) == 4
    assert "exists" in complaint(capsys.readouterr().err)
    path.write_bytes(b"text")
    assert clean("-y", "--", path.name) == 3
    complaint(capsys.readouterr().err)


# Batches


def test_a_batch_goes_on_after_a_failure_and_says_so(here, capsys, model):
    for name in ("b.png", "c.png", "d.png"):
        put(name, gray())
    (here / "b.png").write_text("hello")
    (here / "c_denoised.png").write_bytes(b"old")
    assert clean("a.png", "b.png", "c.png", "missing.png", "d.png", "--json") == 9
    out, err = capsys.readouterr()
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["input"] for record in records] == ["a.png", "b.png", "c.png", "missing.png", "d.png"]
    assert [record.get("code") for record in records] == [None, 3, 4, 3, None]
    assert [line.startswith("smdae: error: ") for line in err.splitlines()].count(True) == 4
    assert "3 of 5 pictures could not be denoised:" in err
    for name in ("a", "d"):
        np.testing.assert_array_equal(pixels(f"{name}_denoised.png"), denoise(gray(), model))
    assert (here / "c_denoised.png").read_bytes() == b"old"
    assert not (here / "b_denoised.png").exists()


# Figures


@pytest.mark.parametrize("kind", ["g8.png", "c8.png", "g16.png", "c16.tif", "g32.tif", "c64.npy"])
@pytest.mark.parametrize("reference", ["same", "8 bits", "float"])
def test_the_figures_are_those_of_scikit_image(kind, reference, capsys):
    truth = colour() if kind[0] == "c" else gray()
    noise = np.random.default_rng(0).normal(0, 20, truth.shape)
    unit = (truth + noise).clip(0, 255) / 255
    white = {"8": 255, "16": 65535}.get(kind[1:].split(".")[0], 1.0)
    dtype = {"8": np.uint8, "16": np.uint16, "32": np.float32, "64": np.float64}[kind[1:].split(".")[0]]
    put(kind, (np.rint(unit * white) if white > 1 else unit).astype(dtype))
    if reference == "float":
        put("clean.npy", truth / 255)
    elif reference == "8 bits":
        put("clean.npy", truth)
    else:
        put("clean.npy", (truth / 255 * white).round(0 if white > 1 else 12).astype(dtype))
    assert clean(kind, "--reference", "clean.npy", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    x = pixels("clean.npy")
    x = x / (np.iinfo(x.dtype).max if x.dtype.kind == "u" else 1.0)
    stem, suffix = kind.split(".")
    for name, file in (("", f"{stem}_denoised.{suffix}"), ("_noisy", kind)):
        y = (pixels(file) / white).astype(np.float64).clip(0, 1)
        assert record["psnr" + name] == pytest.approx(peak_signal_noise_ratio(x, y, data_range=1), rel=1e-6)
        expected = structural_similarity(
            x.astype(np.float64),
            y,
            data_range=1,
            channel_axis=-1 if x.ndim == 3 else None,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert record["ssim" + name] == pytest.approx(expected, rel=1e-6)


def test_figures_of_floats_with_a_white_of_their_own(capsys):
    truth, noisy = gray() / 255, (gray() / 255 + np.random.default_rng(0).normal(0, 0.1, gray().shape)).clip(0, 1)
    put("clean.npy", truth)
    put("x.npy", noisy)
    put("clean4000.npy", truth * 4000)
    put("x4000.npy", noisy * 4000)
    assert clean("x.npy", "--reference", "clean.npy", "--json") == 0
    assert clean("x4000.npy", "--reference", "clean4000.npy", "--white", "4000", "--json") == 0
    one, many = map(json.loads, capsys.readouterr().out.splitlines())
    for name in ("psnr", "ssim", "psnr_noisy", "ssim_noisy"):
        assert many[name] == pytest.approx(one[name], rel=1e-4)


def test_figures_are_told_to_a_person_too(capsys):
    put("clean.png", gray(seed=0))
    assert clean("a.png", "--reference", "clean.png") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "PSNR" in err
    assert "(noisy inf)" in err
    assert "SSIM" in err


def test_figures_that_do_not_exist_are_null_and_stop_nothing(capsys):
    """A picture too small for SSIM, and one equal to its reference."""
    put("small.png", gray(8, 8))
    assert clean("small.png", "--reference", "small.png", "--json", "-y") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["ssim"] is record["ssim_noisy"] is record["psnr_noisy"] is None
    assert record["psnr"] > 0
    assert clean("small.png", "--reference", "small.png", "-y") == 0
    assert "SSIM nan" in capsys.readouterr().err


@pytest.mark.parametrize("other", [gray(24, 31), gray(32, 24), colour()], ids=["size", "turned", "colours"])
def test_a_reference_shows_the_same_picture(other, here, capsys):
    put("other.png", other)
    before = everything_below(here)
    assert clean("a.png", "--reference", "other.png") == 3
    assert "'other.png'" in complaint(capsys.readouterr().err)
    assert everything_below(here) == before


def test_json_tells_what_was_done(capsys):
    assert clean("a.png", "--json", "-s", "30", "-d", "cpu") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["input"], record["output"]) == ("a.png", "a_denoised.png")
    assert record["sigma"] == 30
    assert record["device"] == "cpu"
    assert record["model"]["name"] == "m.safetensors"
    assert {"model": "energy", "objective": "dsm", "sigma": 25}.items() <= record["model"].items()
    assert record["seconds"] >= 0


def test_a_picture_is_one_picture_however_it_was_saved():
    """Palette colours are looked up; the result is what the same colours give."""
    palette = Image.fromarray(colour()).quantize(16)
    palette.save("p.png")
    put("c.png", np.asarray(palette.convert("RGB")))
    assert clean("p.png", "c.png") == 0
    np.testing.assert_array_equal(pixels("p_denoised.png"), pixels("c_denoised.png"))
