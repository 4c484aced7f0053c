"""`smdae denoise` of many pictures: folders, patterns, names, what is there, what fails; and of none of the noise."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from smdae.cli.app import main
from smdae.files.images import encode, read
from smdae.files.picture import Picture
from smdae.pipeline import batch, one_picture, outcome
from tests.tiny import (
    ENVIRONMENT,
    FLAGS,
    colour,
    complaint,
    encoded,
    everything_below,
    gray,
    model_bytes,
    photos,
    unjudged,
    without_extras,
)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A model, and pictures in a tree: in/a.png, in/b.tif, in/deep/a.png, in/deep/er/c.png, and a text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMDAE_MODEL", str(tmp_path / "m.safetensors"))
    (tmp_path / "m.safetensors").write_bytes(model_bytes())
    (tmp_path / "in" / "deep" / "er").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "deep/a.png", "deep/er/c.png")):
        (tmp_path / "in" / name).write_bytes(encoded(gray(seed=seed)))
    (tmp_path / "in" / "b.tif").write_bytes(encoded(gray(seed=3), "TIFF"))
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    return tmp_path


def names(folder: str) -> set[str]:
    return {str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file()}


def denoise(*arguments: str) -> int:
    return main(["denoise", "-m", "m.safetensors", *map(str, arguments)])


def test_memory_that_runs_out_for_one_picture_does_not_stop_the_others(monkeypatch, capsys):
    def denoised(picture, *of, do=outcome.denoised):
        if of[3].endswith("b.tif"):
            raise MemoryError
        return do(picture, *of)

    monkeypatch.setattr(one_picture, "denoised", denoised)
    assert denoise("in", "-o", "out") == 9
    assert names("out") == {"a.png"}
    assert "error: not enough memory for 'in/b.tif'" in capsys.readouterr().err
    assert denoise("in/b.tif", "-o", "out") == 7


# Which


def test_a_folder_stands_for_the_pictures_in_it():
    assert denoise("in", "-o", "out/") == 0
    assert names("out") == {"a.png", "b.tif"}


def test_with_r_the_tree_is_kept():
    assert denoise("in", "-r", "-o", "out/") == 0
    assert names("out") == {"a.png", "b.tif", "deep/a.png", "deep/er/c.png"}


def test_results_beside_their_inputs_are_not_taken_for_inputs_next_time():
    assert denoise("in", "-r") == 0
    assert denoise("in", "-r", "-y") == 0
    assert names("in") == {
        "a.png",
        "a_denoised.png",
        "b.tif",
        "b_denoised.tif",
        "deep/a.png",
        "deep/a_denoised.png",
        "deep/er/c.png",
        "deep/er/c_denoised.png",
        "notes.txt",
    }


def test_a_pattern_that_no_shell_expanded_is_one():
    assert denoise("in/*.png", "in/**/c.png", "-o", "out/") == 0
    assert names("out") == {"a.png", "c.png"}


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(here):
    (here / "[a].png").write_bytes(encoded(gray()))
    assert denoise("[a].png") == 0
    assert Path("[a]_denoised.png").exists()


def test_a_picture_that_is_named_twice_is_denoised_once(here, capsys):
    """As by a pattern and by its name, or in a list that several tools have made."""
    Path("list.txt").write_text("in/../in/a.png\nin/a.png\n")
    assert denoise("in/a.png", "in/a*.png", "in", "--files-from", "list.txt", "-o", "out", "--json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("a.png" in json.loads(line)["input"] for line in lines) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nothing*.png"], 3, ["no file matches 'nothing*.png'"]),
        (["empty"], 3, ["no images found in 'empty'"]),
        (["outer"], 3, ["no images found in 'outer'", "-r"]),
        (["in/a.png", "in/deep/a.png", "-o", "out/"], 2, ["two results would both be 'out/a.png'"]),
        (["in/a.png", "in/b.tif", "-o", "x.png"], 2, ["one picture, and there are 2", "-o x.png/"]),
        (["in", "-o", "-"], 2, ["stdout takes one picture, and there are 2"]),
        (["in", "-o", "in/notes.txt"], 4, ["'in/notes.txt' is a file", "need a folder"]),
        (["in/a.png", "--in-place", "-o", "x.png"], 2, ["--in-place"]),
        (["in/a.png", "--in-place", "--suffix", "_x"], 2, ["--in-place"]),
        (["-", "--in-place"], 2, ["stdin"]),
        (["in/a.png", "--format", "xcf"], 2, ["--format 'xcf'", "png"]),
        (["in/a.png", "--bit-depth", "12"], 2, ["--bit-depth '12'"]),
        (["in/a.png", "-o", "x.png", "--format", "tiff"], 2, ["'x.png'", "--format"]),
        (["in/a.png", "--bit-depth", "16", "--format", "jpeg"], 4, ["JPEG", "uint16"]),
        (["in/a.png", "-j", "0"], 2, ["--jobs 0"]),
        (["in/a.png", "--precision", "half"], 2, ["precision 'half'", "float16"]),
        (["in/a.png", "--precision", "bfloat16"], 2, ["precision bfloat16 is for networks"]),
        (["in/a.png", "--strength", "1.5"], 2, ["--strength 1.5"]),
        (["in/a.png", "--strength", "nan"], 2, ["--strength nan"]),
        (["in/a.png", "--suffix", ""], 4, ["'in/a.png'", "exists"]),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(here, arguments, code, words, capsys):
    (here / "empty").mkdir()
    (here / "outer" / "inner").mkdir(parents=True)
    (here / "outer" / "inner" / "a.png").write_bytes(encoded(gray()))
    before = everything_below(here)
    assert denoise(*arguments) == code
    text = complaint(capsys.readouterr().err)
    for word in words:
        assert word in text
    assert everything_below(here) == before


def left_out(capsys) -> list[str]:
    """What was said of files in folders that are no inputs."""
    return [line for line in capsys.readouterr().err.splitlines() if "skipped: " in line or "-r would" in line]


def test_what_is_left_out_in_folders_is_counted_by_kind(here, capsys, monkeypatch):
    without_extras(monkeypatch)
    for name in ("x.CR2", "y.cr2", "z.ND2", ".hidden.nef", "Thumbs.db", "README"):
        (here / "in" / name).write_bytes(b"x")
    assert denoise("in", "-o", "out") == 0
    expected = "5 skipped: 2 CR2, 1 ND2, 1 TXT, 1 without an ending"
    assert left_out(capsys) == [f"smdae: {expected}; -r would add 2 in subfolders"]
    assert denoise("in", "-r", "-o", "out", "-y") == 0
    assert left_out(capsys) == [f"smdae: {expected}"]
    (here / "raw").mkdir()
    (here / "raw" / "x.CR2").write_bytes(b"x")
    assert denoise("raw") == 3
    assert "no images found in 'raw', 1 skipped: 1 CR2" in complaint(capsys.readouterr().err)


def test_results_of_an_earlier_run_are_no_inputs_wherever_the_new_ones_go(here, capsys):
    assert denoise("in", "--samples", "0") == 0
    beside = ("in/a_denoised_sample1.png", "in/a_denoised_component1.png", "in/a_denoised_mode1.png")  # of version 0.1
    for name in ("in/alone_denoised.png", *beside):
        Path(name).write_bytes(encoded(gray(seed=5)))
    capsys.readouterr()
    assert denoise("in", "-o", "out") == 0
    assert names("out") == {"a.png", "alone_denoised.png", "b.tif"}  # what lies alone is nobody's result
    assert left_out(capsys)[0].startswith("smdae: 6 skipped: 5 results of an earlier run, 1 TXT")
    assert denoise("in/a_denoised.png", "-o", "again.png") == 0
    assert Path("again.png").exists()


def test_links_to_folders_are_followed_and_hidden_folders_left_alone(here, capsys):
    (here / "links").mkdir()
    for name in ("trip", "again"):
        (here / "links" / name).symlink_to("../in")
    (here / "links" / "round").symlink_to(".")
    (here / "in" / ".thumbnails").mkdir()
    (here / "in" / ".thumbnails" / "a.png").write_bytes(encoded(gray()))
    assert denoise("links", "-o", "out") == 3
    assert "hint: -r searches the folders in it too" in capsys.readouterr().err
    assert denoise("links", "-r", "-o", "links/out") == 0
    assert names("links/out") == {"again/a.png", "again/b.tif", "again/deep/a.png", "again/deep/er/c.png"}
    assert denoise("links", "-r", "-o", "links/out", "--skip-existing") == 0  # the results there are no inputs
    assert names("links/out") == {"again/a.png", "again/b.tif", "again/deep/a.png", "again/deep/er/c.png"}


def test_several_inputs_or_r_make_a_folder_of_the_output(here):
    assert denoise("in/a.png", "in/b.tif", "-o", "two") == 0
    assert names("two") == {"a.png", "b.tif"}
    assert denoise("in", "-r", "-o", "tree") == 0
    assert names("tree") == {"a.png", "b.tif", "deep/a.png", "deep/er/c.png"}
    assert denoise("in/deep", "-o", "one") == 0
    assert names("one") == {"a.png"}
    assert denoise("in/deep", "-o", "one.png") == 0  # which is the name of one picture
    assert Path("one.png").is_file()


# How named, what kind


def test_names_endings_and_depths_are_as_asked():
    assert denoise("in", "-o", "out/", "--suffix", "_clean", "--format", "png", "--bit-depth", "16") == 0
    assert names("out") == {"a_clean.png", "b_clean.png"}
    picture = read(Path("out/a_clean.png"), "a")
    assert picture.pixels.dtype == np.uint16
    # 16 bits hold more than 8 bits times 257: the result was not rounded to 8 in between.
    assert (picture.pixels % 257 != 0).any()


def test_floats_and_back():
    assert denoise("in/a.png", "--format", "tiff", "--bit-depth", "32f", "-o", "f.tif") == 0
    assert denoise("in/a.png", "-o", "same.png") == 0
    floats = read(Path("f.tif"), "f").pixels
    assert floats.dtype == np.float32
    assert np.abs(floats - read(Path("same.png"), "s").pixels).max() <= 0.51
    assert (
        denoise("f.tif", "--strength", "0", "--white", "255", "--bit-depth", "8", "--format", "png", "-o", "back.png")
        == 0
    )
    assert np.array_equal(read(Path("back.png"), "b").pixels, read(Path("same.png"), "s").pixels)


def test_in_place_replaces_each_input_by_its_result(here):
    expected = Path("expected.png")
    assert denoise("in/a.png", "-o", expected) == 0
    assert denoise("in", "-r", "--in-place") == 0
    assert Path("in/a.png").read_bytes() == expected.read_bytes()
    assert len(names("in")) == 5


# What is there, what fails


def test_skip_existing_does_what_is_left(here, capsys):
    (here / "out").mkdir()
    (here / "out" / "a.png").write_bytes(b"mine")
    assert denoise("in", "-o", "out", "--skip-existing", "--json") == 0
    out, err = capsys.readouterr()
    records = [json.loads(line) for line in out.splitlines()]
    assert [r["input"] for r in records] == ["in/a.png", "in/b.tif"]
    assert records[0]["skipped"] is True
    assert Path("out/a.png").read_bytes() == b"mine"
    assert err.splitlines()[-1] == "smdae: 1 written, 1 skipped"


@pytest.mark.parametrize("jobs", [1, 3])
def test_what_fails_stops_nothing_else_and_is_counted(here, jobs, capsys):
    (here / "in" / "aa.png").write_bytes(encoded(gray())[:60])
    (here / "out").mkdir()
    (here / "out" / "b.tif").write_bytes(b"mine")
    assert denoise("in", "-r", "-o", "out", "-j", jobs, "--json") == 9
    out, err = capsys.readouterr()
    records = [json.loads(line) for line in out.splitlines()]
    assert [r["input"] for r in records] == ["in/a.png", "in/aa.png", "in/b.tif", "in/deep/a.png", "in/deep/er/c.png"]
    assert [r.get("code") for r in records] == [None, 3, 4, None, None]
    assert names("out") == {"a.png", "b.tif", "deep/a.png", "deep/er/c.png"}
    *_, remark, counts, error, first, second, hint = err.splitlines()
    assert remark == "smdae: 1 skipped: 1 TXT"
    assert counts == "smdae: 3 written, 2 failed"
    assert error == "smdae: error: 2 of 5 pictures could not be denoised:"
    assert first.startswith("  cannot read 'in/aa.png': ")
    assert second.startswith("  cannot write 'out/b.tif': ")
    assert hint == "hint: --skip-existing leaves results that are there, -y replaces them"


def test_what_to_do_about_many_failures_of_a_kind_is_said_once(here, capsys):
    assert denoise("in", "-r", "-o", "out") == 0
    (here / "in" / "text.png").write_text("text")
    (here / "in" / "words.png").write_text("words")
    capsys.readouterr()
    assert denoise("in", "-r", "-o", "out") == 9
    err = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("smdae: error: cannot write") for line in err) == 4
    assert [line[:20] for line in err if line.startswith("hint: ")] == [
        "hint: -y replaces it",
        "hint: smdae reads PN",
        "hint: --skip-existin",
    ]


@pytest.mark.parametrize("jobs", [1, 2])
def test_fail_fast_stops_at_the_first_failure(here, jobs, capsys):
    (here / "in" / "0.png").write_bytes(b"")
    assert denoise("in", "-r", "-o", "out/", "--fail-fast", "-j", jobs) == 9
    assert "not begun" in capsys.readouterr().err.splitlines()[-3]
    assert len(names("out") if Path("out").exists() else ()) < 4


def test_many_at_once_are_what_they_are_one_by_one():
    assert denoise("in", "-r", "-o", "one/") == 0
    assert denoise("in", "-r", "-o", "four/", "-j", "4") == 0
    assert everything_below(Path("one")) == everything_below(Path("four"))


def test_by_default_there_is_one_for_each_core_and_the_files_are_the_same(four_cores, monkeypatch, capsys):
    assert denoise("in", "-r", "-o", "one/", "-j", "1", "--json") == 0
    one = capsys.readouterr()
    parallel = []
    pool = batch.ThreadPoolExecutor
    monkeypatch.setattr(batch, "ThreadPoolExecutor", lambda count: (parallel.append(count), pool(count))[1])
    assert denoise("in", "-r", "-o", "four/", "--json") == 0
    four = capsys.readouterr()
    assert parallel == [4]
    assert everything_below(Path("one")) == everything_below(Path("four"))
    # Whatever is done first is told in its turn, and so is what is said of it.
    assert four.err == one.err
    records = [[json.loads(line) for line in text.splitlines()] for text in (one.out, four.out)]
    for a, b in zip(*records, strict=True):
        assert {k: v for k, v in a.items() if k not in ("seconds", "output")} == {
            k: v for k, v in b.items() if k not in ("seconds", "output")
        }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_what_is_under_way_and_leaves_nothing_half_done(here, number, monkeypatch, capsys):
    """Both pictures under way are held in the middle; of the others none has begun."""
    for k in range(6):
        (here / "in" / f"z{k}.png").write_bytes(encoded(gray(seed=k)))
    entered, released = threading.Barrier(3), threading.Event()
    judge = outcome.is_noise_estimated

    def slow(*arguments):
        entered.wait(10)
        released.wait(10)
        time.sleep(0.1)  # until the stop is known
        return judge(*arguments)

    def stop():
        entered.wait(10)
        os.kill(os.getpid(), number)
        released.set()

    monkeypatch.setattr(outcome, "is_noise_estimated", slow)
    killer = threading.Thread(target=stop)
    killer.start()
    assert denoise("in", "-r", "-o", "out/", "-j", "2", "-s", "20") == 128 + number
    killer.join()
    assert capsys.readouterr().err.splitlines()[-1] in ("smdae: interrupted", "smdae: terminated")
    left = [name for name in names(".") if name.startswith("out/")]
    assert len(left) <= 2
    for name in left:
        assert read(Path(name), name).pixels.shape == (24, 32)


# None of the noise


@pytest.mark.parametrize("name", ["a.png", "b.tif"])
def test_strength_0_leaves_every_bit_of_the_file(name):
    assert denoise(f"in/{name}", "--strength", "0", "-o", f"same{Path(name).suffix}") == 0
    assert Path(f"same{Path(name).suffix}").read_bytes() == Path(f"in/{name}").read_bytes()


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "BMP", "PPM"])
def test_strength_0_does_not_even_compress_again(format, here):
    ending = {"JPEG": ".jpg", "WEBP": ".webp", "BMP": ".bmp", "PPM": ".ppm"}[format]
    data = encoded(colour(), format)
    Path(f"x{ending}").write_bytes(data)
    assert denoise(f"x{ending}", "--strength", "0", "-o", f"y{ending}") == 0
    assert Path(f"y{ending}").read_bytes() == data


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["uint8", "uint16", "float32"]),
    st.sampled_from([1, 3]),
    st.booleans(),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
)
def test_strength_0_is_the_identity_for_every_kind(here, dtype, channels, alpha, height, width, seed):
    generator = np.random.default_rng(seed)

    def samples(*shape: int) -> np.ndarray:
        if dtype == "float32":
            return generator.standard_normal(shape).astype(np.float32)
        return generator.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)

    pixels = samples(height, width) if channels == 1 else samples(height, width, 3)
    white = 1.0 if dtype == "float32" else float(np.iinfo(dtype).max)
    picture = Picture(pixels, white, "TIFF", samples(height, width) if alpha else None)
    Path("p.tif").write_bytes(encode(picture, "TIFF"))
    for target in ("q.tif", "q.npy") if not alpha else ("q.tif",):
        assert denoise("p.tif", "--strength", "0", "-o", target, "-y") == 0
        result = read(Path(target), target)
        assert result.pixels.dtype == pixels.dtype
        assert np.array_equal(result.pixels, pixels)
        assert (result.alpha is None) is not alpha
        if alpha:
            assert np.array_equal(result.alpha, picture.alpha)


def test_half_the_strength_is_half_the_way():
    noisy = read(Path("in/a.png"), "a").pixels.astype(int)
    for strength, name in (("0.5", "half.png"), ("1", "whole.png")):
        assert denoise("in/a.png", "--strength", strength, "-o", name) == 0
    half, whole = (read(Path(name), name).pixels.astype(int) for name in ("half.png", "whole.png"))
    assert np.abs(half - (noisy + whole) / 2).max() <= 1


# Stdout


POLLUTER = """
import os, sys
from importlib import import_module
d = import_module("smdae.denoising.denoise")
plain = d.run_task
def loud(*a, **k):
    print("printed by a library")
    os.write(1, b"written past Python\\n")
    return plain(*a, **k)
d.run_task = loud
from smdae.cli.app import main
sys.exit(main(sys.argv[1:]))
"""


def test_only_the_picture_reaches_stdout_whatever_a_library_prints(here):
    call = [sys.executable, "-c", POLLUTER, "denoise", "-m", "m.safetensors", "-", "-o", "-"]
    done = subprocess.run(call, input=encoded(gray()), capture_output=True, env=ENVIRONMENT, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout[:8] == b"\x89PNG\r\n\x1a\n"
    assert Image.open(io.BytesIO(done.stdout)).size == (32, 24)
    assert b"printed by a library" in done.stderr
    assert b"written past Python" in done.stderr


def test_only_json_reaches_stdout_whatever_a_library_prints(here):
    call = [sys.executable, "-c", POLLUTER, "denoise", "-m", "m.safetensors", "in/a.png", "--json"]
    done = subprocess.run(call, capture_output=True, env=ENVIRONMENT, timeout=120)
    assert json.loads(done.stdout)["output"] == "in/a_denoised.png"


def test_a_guarded_stdout_that_is_closed_ends_it_quietly(here):
    call = f"{sys.executable} -m smdae denoise -m m.safetensors in/a.png -o - | head -c 10 | wc -c"
    call += "; echo ${PIPESTATUS[0]}"
    done = subprocess.run(["bash", "-c", call], capture_output=True, env=ENVIRONMENT, timeout=120, text=True)
    assert done.stdout.split() in (["10", "141"], ["10", "0"])  # a small picture may fit into the pipe
    assert unjudged(done.stderr) == ""
    assert os.path.exists("in/a.png")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_sizes(here):
    """Each size that a network meets has kernels of its own, which are not kept for ever."""
    generator = np.random.default_rng(0)
    for part, count in (("first", 40), ("second", 120)):
        (here / part).mkdir()
        for k in range(count):
            height, width = generator.integers(24, 130, 2)
            (here / part / f"{k}.png").write_bytes(encoded(gray(height, width, seed=k)))
    program = """
import os, sys
from smdae.cli.app import main
taken = []
for part in ("first", "second"):
    assert main(["denoise", part, "-o", part + "_out/", "-m", "natural-gray-small", "-j", "2", "-q"]) == 0
    taken.append(int(open("/proc/self/statm").read().split()[1]))
print(taken[1] / taken[0])
"""
    result = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert float(result.stdout) < 1.1


@pytest.mark.parametrize(
    "command", [("denoise", "-s", "20", "-r", "-o", "out"), ("fit", *FLAGS, "-o", "z.safetensors")]
)
def test_folders_that_cannot_be_read_are_told_of(here, command, monkeypatch, capsys):
    (here / "closed").mkdir()
    photos(here / "closed" / "photos")
    (here / "closed" / "below").mkdir()
    scan, shut = os.scandir, ["closed/below"]

    def refusing(path):
        if os.fspath(path) in shut:
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert main([command[0], "closed", *command[1:]]) == 0
    assert "1 folder that cannot be read" in capsys.readouterr().err
    shut.append("closed")
    assert main([command[0], "closed", *command[1:], "-y"]) == 3
    assert "cannot read the folder 'closed': permission denied" in complaint(capsys.readouterr().err)
