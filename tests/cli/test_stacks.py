"""`smdae denoise` of TIFFs with many pages: each page as it would be alone, in one file, whole or absent."""

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from smdae.cli.app import main
from smdae.denoising import denoise
from smdae.denoising.pages import MAX_EXAMINED
from smdae.estimation.estimate import estimate
from smdae.files.model_file import load
from tests.tiny import ENVIRONMENT, complaint, encoded, everything_below, gray, model_bytes

PAGES = 5


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A gray model, and stacks: five pages of 16 bits, and three of floats."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SMDAE_MODEL", raising=False)
    (tmp_path / "model.safetensors").write_bytes(model_bytes())
    tifffile.imwrite(
        "s.tif", np.stack([gray(seed=seed).astype(np.uint16) * 200 for seed in range(PAGES)]), photometric="minisblack"
    )
    floats = np.stack([gray(seed=seed).astype(np.float32) / 255 for seed in range(3)])
    tifffile.imwrite("f.tif", floats, photometric="minisblack")
    return tmp_path


def pages(name: str) -> np.ndarray:
    with tifffile.TiffFile(name) as file:
        return np.stack([page.asarray() for page in file.pages])


def clean(*arguments: str) -> int:
    return main(["denoise", "-m", "model.safetensors", *arguments])


def test_each_page_is_what_it_would_be_alone(capsys):
    assert clean("s.tif", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["pages"] == PAGES
    assert record["sigma"] == [pytest.approx(25.0)] * PAGES
    model = load("model.safetensors")
    result = pages("s_denoised.tif")
    assert result.dtype == np.uint16
    for page, noisy in zip(result, pages("s.tif"), strict=True):
        assert np.array_equal(page, denoise(noisy, model))


def test_floats_are_neither_rounded_nor_clipped():
    assert clean("f.tif", "-s", "25") == 0
    model = load("model.safetensors")
    for page, noisy in zip(pages("f_denoised.tif"), pages("f.tif"), strict=True):
        assert np.array_equal(page, denoise(noisy, model, 25 / 255))


def test_through_pipes():
    call = [sys.executable, "-m", "smdae", "denoise", "-m", "model.safetensors", "-", "-o", "-"]
    done = subprocess.run(call, input=Path("s.tif").read_bytes(), capture_output=True, env=ENVIRONMENT, timeout=120)
    assert done.returncode == 0, done.stderr
    assert clean("s.tif") == 0
    with tifffile.TiffFile(io.BytesIO(done.stdout)) as file:
        assert np.array_equal(np.stack([page.asarray() for page in file.pages]), pages("s_denoised.tif"))


def test_what_is_told_of_pages_holds_none_of_their_pixels(monkeypatch):
    told = []
    monkeypatch.setattr("smdae.pipeline.stacked.summarise", lambda channels, *_, **__: told.extend(channels[""]))
    assert clean("s.tif") == 0
    assert len(told) == PAGES
    for one in told:
        assert not any(isinstance(value, np.ndarray) or hasattr(value, "pixels") for value in vars(one).values())


def test_another_depth():
    assert clean("s.tif", "--bit-depth", "32f", "-o", "deep.tif") == 0
    assert pages("deep.tif").dtype == np.float32
    assert clean("s.tif", "--bit-depth", "8", "-o", "flat.tif") == 0
    assert pages("flat.tif").dtype == np.uint8


def counted(kind: str) -> np.ndarray:
    """A stack of counts, far below the white of their type if that has room: (3, 64, 64)."""
    generator = np.random.default_rng(3)
    y, x = np.mgrid[:64, :64]
    light = 60 + 40 * np.sin(x / 7) * np.cos(y / 9)
    counts = np.stack([light + 8 * generator.standard_normal(light.shape) for _ in range(3)])
    return np.rint(counts * {"uint8": 1, "uint16": 25, "int16": 25}[kind]).clip(0).astype(kind)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16"])
def test_floats_keep_counts(kind):
    tifffile.imwrite("c.tif", counted(kind), photometric="minisblack")
    assert main(["denoise", "c.tif", "--fast", "-o", "whole.tif"]) == 0
    assert main(["denoise", "c.tif", "--fast", "-o", "floats.tif", "--bit-depth", "32f"]) == 0
    assert main(["denoise", "c.tif", "--strength", "0", "-o", "same.tif", "--bit-depth", "32f"]) == 0
    assert pages("floats.tif").dtype == np.float32
    assert np.abs(pages("floats.tif") - pages("whole.tif")).max() <= {"uint8": 1.6, "uint16": 12, "int16": 12}[kind]
    assert (pages("floats.tif") - counted(kind)).std() > 5
    assert np.array_equal(pages("same.tif"), counted(kind))


def test_counts_of_12_bits_are_as_large_as_in_their_file():
    counts = (gray() // 2 * 16.0).astype(">u2")
    Path("c.pgm").write_bytes(b"P5 %d %d 4095\n" % (counts.shape[1], counts.shape[0]) + counts.tobytes())
    call = ["denoise", "c.pgm", "--format", "tiff", "--bit-depth", "32f", "-m", "model.safetensors"]
    assert main([*call, "--strength", "0", "-o", "same.tif"]) == 0
    assert np.abs(pages("same.tif")[0] - counts).max() < 0.04  # the samples are stretched to 16 bits and back
    assert main([*call, "-o", "f.tif", "-y"]) == 0
    assert pages("f.tif").max() < 4096
    assert np.abs(pages("f.tif")[0] - counts).max() > 100


def test_deeper_pages_have_the_noise_that_was_found():
    tifffile.imwrite("c.tif", counted("uint8"), photometric="minisblack")
    assert main(["denoise", "c.tif", "--fast", "-o", "whole.tif"]) == 0
    assert main(["denoise", "c.tif", "--fast", "-o", "deep.tif", "--bit-depth", "16"]) == 0
    assert np.abs(pages("deep.tif") / 257 - pages("whole.tif")).max() <= 1.6


def test_strength_0_leaves_every_sample():
    assert clean("s.tif", "--strength", "0", "-o", "same.tif") == 0
    assert np.array_equal(pages("same.tif"), pages("s.tif"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["s.tif", "-o", "x.png"], 4, ["PNG cannot hold 5 pages", "hint: write TIFF: name it .tif"]),
        (["s.tif", "-o", "x.fits"], 4, ["'x.fits': TIFF does not become FITS", "hint: name it .tif"]),
        (["s.tif", "--format", "jpeg", "--quality", "90"], 4, ["5 pages", "leave --format and --quality out"]),
        (["one.tif", "--format", "jpeg"], 4, ["uint16 samples", "hint: add --bit-depth 8, or write PNG"]),
        (["one.tif", "-o", "x.ome.zarr"], 4, ["TIFF does not become OME-Zarr"]),
        (["one.tif", "-o", "x.nef"], 4, ["TIFF does not become camera raw"]),
        (["s.tif", "--reference", "s.tif"], 3, ["'s.tif'", "5 pages", "--reference"]),
        (["cut.tif"], 3, ["'cut.tif'", "page"]),
        (["s.tif", "-o", "old.tif"], 4, ["'old.tif'", "-y"]),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(here, arguments, code, words, capsys):
    data = Path("s.tif").read_bytes()
    Path("cut.tif").write_bytes(data[: len(data) // 2])
    tifffile.imwrite("one.tif", pages("s.tif")[0])
    Path("old.tif").write_bytes(b"mine")
    before = everything_below(here)
    assert clean(*arguments) == code
    text = complaint(capsys.readouterr().err)
    for word in words:
        assert word in text
    assert everything_below(here) == before


def test_a_stack_is_one_of_a_batch(here):
    (here / "in").mkdir()
    (here / "in" / "a.png").write_bytes(encoded(gray()))
    (here / "in" / "s.tif").write_bytes(Path("s.tif").read_bytes())
    assert clean("in", "-o", "out/") == 0
    assert pages("out/s.tif").shape == (PAGES, 24, 32)


def test_one_that_is_killed_midway_leaves_no_file_of_that_name(here):
    large = np.stack([gray(300, 300, seed=seed) for seed in range(40)])
    tifffile.imwrite("large.tif", large, photometric="minisblack")
    call = [sys.executable, "-m", "smdae", "denoise", "-m", "model.safetensors", "large.tif", "-o", "out.tif"]
    process = subprocess.Popen(call, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        parts = list(here.glob(".out.tif.*.part"))
        if parts and parts[0].stat().st_size > 200_000:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    assert process.wait() == -signal.SIGKILL
    assert not (here / "out.tif").exists()


MANY = 200  # pages
MAX_PAGE_SECONDS = 0.008  # of the CPU, where Python counts to a million in COUNTING seconds
COUNTING = 0.05


def seconds_of_cpu(work: Callable[[], object]) -> float:
    """The CPU time of the faster of two calls."""
    times = []
    for _ in range(2):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times)


def counting() -> None:
    total = 0
    for number in range(1_000_000):
        total += number


@pytest.mark.parametrize("arguments", [["--strength", "0"], ["--fast", "-s", "25"], ["--fast"]])
def test_a_page_of_a_few_pixels_takes_a_few_milliseconds(arguments, capsys):
    noise = np.random.default_rng(0).normal(120, 25, (MANY, 8, 8)).clip(0, 255).astype(np.uint8)
    for name, some in (("few.tif", noise[:2]), ("many.tif", noise)):
        with tifffile.TiffWriter(name) as file:
            for page in some:
                file.write(page, contiguous=False)
    assert main(["denoise", "few.tif", *arguments]) == 0  # imports and the model
    spent = seconds_of_cpu(lambda: main(["denoise", "many.tif", "-y", *arguments]))
    assert pages("many_denoised.tif").shape == noise.shape
    slow = max(1.0, seconds_of_cpu(counting) / COUNTING)
    assert spent / MANY < MAX_PAGE_SECONDS * slow


@pytest.mark.parametrize("arguments", [[], ["-s", "25"]])
def test_pages_share_what_is_found_of_their_noise(arguments, monkeypatch):
    looked = []
    monkeypatch.setattr("smdae.denoising.noise_search.estimate", lambda *given: looked.append(1) or estimate(*given))
    noisy = np.random.default_rng(0).normal(120, 25, (20, 64, 64)).clip(0, 255).astype(np.uint8)
    tifffile.imwrite("n.tif", noisy, photometric="minisblack")
    assert main(["denoise", "n.tif", "-m", "natural-gray-small", *arguments]) == 0
    assert 0 < len(looked) <= MAX_EXAMINED
    looked.clear()
    result = denoise(noisy, "natural-gray-small", 25 if arguments else None)
    assert 0 < len(looked) <= MAX_EXAMINED + 1  # the first page is asked for what it is to be denoised with
    assert np.array_equal(result, pages("n_denoised.tif"))


def test_of_many_pages_the_first_reasons_are_told(capsys):
    noisy = np.random.default_rng(0).normal(120, 25, (30, 16, 16)).clip(0, 255).astype(np.uint8)
    tifffile.imwrite("n.tif", noisy, photometric="minisblack")
    assert main(["denoise", "n.tif", "-v", "-m", "natural-gray-small", "-s", "25"]) == 0
    told = capsys.readouterr().err
    assert "more reasons" in told
    assert max(map(len, told.splitlines())) < 300


@pytest.mark.parametrize("verbose", [False, True])
def test_of_many_series_the_first_are_told_one_by_one(verbose, capsys):
    """As tifffile makes them where a page is written at a time."""
    with tifffile.TiffWriter("many.tif") as writer:
        for seed in range(14):
            writer.write(np.tile(gray(seed=seed % 3), (3, 3)), photometric="minisblack")
    assert main(["denoise", "many.tif", "-m", "natural-gray-small", *(["-v"] if verbose else [])]) == 0
    said = capsys.readouterr().err
    assert sum("channel 1: " in line and "noise" in line for line in said.splitlines()) == (14 if verbose else 12)
    assert ("smdae: 2 more channels (-v lists them)" in said) != verbose


@pytest.mark.parametrize("name", ["last.tif", "last.npy"])
@pytest.mark.parametrize(("shape", "is_told"), [((64, 70, 5), True), ((64, 70, 17), False), ((9, 70, 5), False)])
def test_pages_that_look_like_channels_stored_last_are_told(capsys, name, shape, is_told):
    noisy = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    np.save(name, noisy) if name.endswith("npy") else tifffile.imwrite(name, noisy, photometric="minisblack")
    assert clean(name) == 0
    told = f"{shape[0]} pages of {shape[2]} x {shape[1]} look like {shape[2]} channels stored last"
    assert (told in capsys.readouterr().err) is is_told
