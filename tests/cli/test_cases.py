"""What can befall a command line: cases from what users of other programs met, each to its exit code and one line."""

import errno
import io
import json
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load as load_tensors

from smdae.cli.app import main
from smdae.denoising import denoise
from smdae.files import animation, corpus, model_file
from smdae.files.animation import Animation
from smdae.files.images import encode, read
from smdae.files.model_file import load
from smdae.files.picture import Metadata, Picture
from smdae.fitting import Prepared, loop
from tests.forked import code_of, start
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
    python,
    unjudged,
)

DENOISE = ("denoise", "-m", "m.safetensors")
FIT = ("fit", "photos", *FLAGS)
COMPARE = ("compare", "photos", *FLAGS, "--patches", "100", "--objective", "dsm")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with a gray model, a gray picture and a folder of pictures, and no bundled models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SMDAE_MODEL", raising=False)
    (tmp_path / "weights").mkdir()
    monkeypatch.setattr(model_file, "BUNDLED", tmp_path / "weights")
    (tmp_path / "m.safetensors").write_bytes(model_bytes())
    (tmp_path / "a.png").write_bytes(encoded(gray()))
    photos(tmp_path / "photos")
    return tmp_path


@pytest.fixture
def refused(here, capsys):
    """Runs a command that must fail by this code, in one line, and leave nothing; returns the line."""

    def run(code, *arguments):
        before = everything_below(here)
        capsys.readouterr()
        assert main([*map(str, arguments)]) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert everything_below(here) == before
        return complaint(err)

    return run


def measured(*arguments, **options):
    """Runs a command that says on stdout how many CPU seconds it took, and how many megabytes at most."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs Linux")
    code = (
        "import re, sys, time; from smdae.cli.app import main\n"
        f"code, seconds = main({[*arguments]!r}), time.process_time()\n"
        "print(seconds, int(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1]) / 1e3); sys.exit(code)"
    )
    return python("-c", code, **options)


def pixels(name):
    return read(Path(name), name).pixels


def weights(path):
    return {name: tensor.numpy().tobytes() for name, tensor in load_tensors(Path(path).read_bytes()).items()}


# What goes in (cases 1, 6 to 12, 30)


def test_a_missing_input_makes_no_folder_for_its_result(refused):
    assert "'missing.png'" in refused(3, *DENOISE, "missing.png", "-o", "made/")


def chunk(kind, payload):
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png(width, height, *more, rows=b""):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + body + chunk(b"IEND", b"")


def test_a_small_file_that_promises_billions_of_pixels_is_refused_without_asking_for_memory(here):
    (here / "a.png").write_bytes(png(60_000, 60_000, rows=bytes(1000)))
    done = measured("denoise", "a.png")
    assert done.returncode == 3
    assert "60000 x 60000 pixels are over the limit" in complaint(done.stderr)
    seconds, megabytes = map(float, done.stdout.split())
    assert seconds < 3
    assert megabytes < 300


PAGE = [(256, 4), (257, 4), (258, 8), (259, 1), (262, 1), (273, 0), (277, 1), (278, 4), (279, 16)]


def directories(*pages):
    """A TIFF of directories one behind the other; each is (entries, where the next one is, None for right behind)."""
    file = struct.pack("<4sI", b"II*\0", 8)
    for entries, following in pages:
        end = len(file) + 6 + 12 * len(entries)
        file += struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, 4, 1, v) for tag, v in entries)
        file += struct.pack("<I", end if following is None else following)
    return file + bytes(16)


@pytest.mark.parametrize(
    ("file", "codes"),
    [
        (directories((PAGE, 8)), {0, 3}),
        (directories((PAGE, None), (PAGE, 8)), {0, 3}),
        (directories(*[([], None)] * 30_000), {3}),
        (directories(*[(PAGE, None)] * 3_000, ([], 0)), {3}),
        (directories(([*PAGE, (330, 8)], 0)), {0}),
        (directories(([*PAGE, (34665, 8)], 0)), {0}),
    ],
    ids=["page after itself", "circle of two", "30000 empty pages", "3000 pages", "page in itself", "EXIF in itself"],
)
def test_a_tiff_that_leads_in_circles_or_nowhere_ends_soon(here, file, codes, capsys):
    (here / "x.tif").write_bytes(file)
    start = time.process_time()
    code = main([*DENOISE, "x.tif"])
    assert time.process_time() - start < 5
    assert code in codes
    if code:
        assert "'x.tif'" in complaint(capsys.readouterr().err)
    assert Path("x_denoised.tif").exists() == (code == 0)


def frames(format, count):
    buffer = io.BytesIO()
    many = [Image.fromarray(np.full((2, 2), i % 256, np.uint8)) for i in range(count)]
    many[0].save(buffer, format, save_all=True, append_images=many[1:], lossless=True)
    return buffer.getvalue()


def huge(format):
    """An animation of 999 small frames on a canvas of 16,383 pixels a side or more: a TB in all."""
    file = bytearray(frames(format, 999))
    if format == "GIF":
        file[6:10] = struct.pack("<HH", 20_000, 20_000)
    else:
        file[24:30] = (16_382).to_bytes(3, "little") * 2  # as large as a WebP can be
    return bytes(file)


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (huge("GIF"), 7),
        (huge("WEBP"), 7),
        (png(4, 4, chunk(b"acTL", b"\xff\xff\xff\xff\0\0\0\0"), rows=bytes(52)), 3),
    ],
    ids=["GIF", "WebP", "PNG of four billion frames"],
)
def test_a_huge_animation_is_refused_before_its_frames_are_decoded(here, file, code, refused, monkeypatch):
    def decoded(_animation):
        raise AssertionError("a frame was decoded")

    monkeypatch.setattr(Animation, "_seen", decoded)
    (here / "x.png").write_bytes(file)
    start = time.process_time()
    assert "'x.png'" in refused(code, *DENOISE, "x.png")
    assert time.process_time() - start < 2


@pytest.mark.parametrize("format", ["GIF", "WEBP"])
def test_an_animation_under_a_wrong_name_is_refused_at_its_first_frame(here, format, refused, monkeypatch):
    """Its result would have that name; 999 frames would take a minute."""
    over, seen = animation._over, []
    monkeypatch.setattr(animation, "_over", lambda *arguments: seen.append(1) or over(*arguments))
    (here / "x.png").write_bytes(frames(format, 999))
    assert f"'x.png' is an animation of 999 frames in {format}, and is named .png" in refused(3, *DENOISE, "x.png")
    assert len(seen) <= 1


@pytest.mark.parametrize(
    "data",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch hurt) (w) file\n",
        b"%PDF-1.7\n",
        b"8BPS\0\1" + bytes(30),
        b"SIMPLE  =                    T" + b" " * 2850,
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        b"push graphic-context\nimage over 0,0 0,0 'https://127.0.0.1/x.jpg'\n",
        b"\xd7\xcd\xc6\x9a" + bytes(60),
        b"\x1f\x8b\x08" + bytes(60),
    ],
    ids=["EPS", "PDF", "PSD", "FITS", "SVG", "MVG", "WMF", "gzip"],
)
def test_a_file_that_other_programs_would_run_is_refused_and_no_program_is_started(here, data, refused, monkeypatch):
    def started(*_args, **_kwargs):
        raise AssertionError("a program was started")

    for module, name in ((subprocess, "Popen"), (os, "system"), (os, "posix_spawn"), (os, "fork")):
        monkeypatch.setattr(module, name, started)
    (here / "x.png").write_bytes(data)
    assert "'x.png'" in refused(3, *DENOISE, "x.png")
    assert "'x.png'" in refused(3, "fit", "x.png", *FLAGS)


def test_an_endless_pipe_is_refused_at_its_first_bytes():
    code = (
        "import resource, sys; from smdae.cli.app import main\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); sys.exit(main(['denoise', '-', '-o', 'b.png']))"
    )
    with open("/dev/zero", "rb") as zeros:
        done = python("-c", code, stdin=zeros)
    assert "stdin" in complaint(done.stderr)
    assert done.returncode == 3


def test_a_picture_that_vanishes_while_others_are_read_is_left_out_and_said(here, monkeypatch, capsys):
    read_file = corpus.images_in

    def vanishing(file, white):
        (here / "photos" / "1.png").unlink(missing_ok=True)
        return read_file(file, white)

    monkeypatch.setattr(corpus, "images_in", vanishing)
    assert main([*FIT]) == 0
    err = capsys.readouterr().err
    assert "1 file skipped" in err
    assert "no such file" in err


# What comes out (cases 19, 20, 25, 37 to 39, 43, 44)


@pytest.mark.parametrize("source", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("target", [".png", ".jpg", ".tif", ".webp"])
def test_orientation_profile_and_resolution_travel_and_pixels_do_not_turn(source, target):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[274], exif[271] = orientation, "Maker"
        metadata = Metadata(exif.tobytes().removeprefix(b"Exif\0\0"), b"profile" * 9, b"<x:xmpmeta/>", (300.0, 150.0))
        Path("x").write_bytes(encode(Picture(colour(), 255.0, source, metadata=metadata), source))
        assert main([*DENOISE, "x", "-o", f"y{target}", "-y"]) == 0
        assert pixels(f"y{target}").shape == (24, 32, 3)
        image = Image.open(f"y{target}")
        assert (image.getexif()[274], image.getexif()[271]) == (orientation, "Maker")
        assert image.info["icc_profile"] == b"profile" * 9
        assert image.info["xmp"].rstrip(b"\0") == b"<x:xmpmeta/>"
        if "WEBP" not in (source, target[1:].upper()):
            assert image.info["dpi"] == pytest.approx((300, 150), rel=1e-3)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_metadata_that_are_broken_or_huge_cost_no_picture(format):
    for metadata in (Metadata(exif=b"II*\0\xff\xff\xff\xff rubbish"), Metadata(icc=os.urandom(5_000_000))):
        Path("x").write_bytes(encode(Picture(gray(), 255.0, format, metadata=metadata), format))
        assert main([*DENOISE, "x", "-o", "y.png", "-y"]) == 0
        assert pixels("y.png").shape[:2] == gray().shape


def test_a_model_that_fails_in_a_single_tile_writes_no_file(here, refused, monkeypatch):
    (here / "large.png").write_bytes(encoded(gray(150, 150)))
    model, calls = load("m.safetensors"), []
    score = type(model).score

    def failing(self, x, sigma=None):
        calls.append(1)
        answer = score(self, x, sigma)
        return answer * float("nan") if len(calls) == 3 else answer

    monkeypatch.setattr(type(model), "score", failing)
    assert "not finite" in refused(1, *DENOISE, "large.png", "-t", "64")
    assert len(calls) == 3


def test_a_link_as_output_stays_a_link(here):
    (here / "real").mkdir()
    (here / "b.png").symlink_to(here / "real" / "b.png")
    assert main([*DENOISE, "a.png", "-o", "b.png"]) == 0
    assert (here / "b.png").is_symlink()
    np.testing.assert_array_equal(pixels("real/b.png"), denoise(gray(), load("m.safetensors")))
    (here / "n.safetensors").symlink_to(here / "real" / "n.safetensors")
    assert main([*FIT, "-o", "n.safetensors"]) == 0
    assert load("real/n.safetensors")


@pytest.mark.parametrize("mask", [0o077, 0o022, 0o002])
def test_files_are_readable_by_whom_the_umask_says_and_results_by_no_more_than_their_inputs(mask):
    os.chmod("a.png", 0o664)
    before = os.umask(mask)
    try:
        assert main([*DENOISE, "a.png"]) == main([*FIT]) == main([*COMPARE]) == 0
    finally:
        os.umask(before)
    for name in ("a_denoised.png", "model.safetensors", "model.metrics.jsonl", "comparison/results.json"):
        most = 0o664 if name == "a_denoised.png" else 0o666
        assert stat.S_IMODE(os.stat(name).st_mode) == most & ~mask


def test_of_two_at_once_for_one_name_one_is_done_and_the_other_refused(here):
    before = everything_below(here)
    racers = [start(*DENOISE, "a.png", "-o", "b.png", stderr=here / f"{number}.txt") for number in range(4)]
    for racer in racers:
        racer.join()
    assert sorted(racer.exitcode for racer in racers) == [0, 4, 4, 4]
    for number, racer in enumerate(racers):
        told = (here / f"{number}.txt").read_text()
        assert "exists already" in complaint(told) if racer.exitcode else unjudged(told) == ""
        (here / f"{number}.txt").unlink()
    np.testing.assert_array_equal(pixels("b.png"), denoise(gray(), load("m.safetensors")))
    assert everything_below(here).keys() - before.keys() == {"b.png"}


def test_the_longest_name_is_taken_and_one_that_would_be_longer_is_refused(here, refused):
    name = "n" * 251 + ".png"
    (here / name).write_bytes(encoded(gray()))
    assert "too long" in refused(4, *DENOISE, name)
    assert main([*DENOISE, name, "-o", "made/"]) == 0
    assert pixels(f"made/{name}").shape == gray().shape


def test_control_codes_in_a_name_never_reach_the_terminal(here, capsys):
    name = "\x1b[31m\x1b]0;owned\x07\r\u202eevil<script>"
    (here / f"{name}.png").write_bytes(encoded(gray()))
    (here / "photos").rename(here / name)
    (here / name / "bad.png").write_text("text")
    for arguments in (
        [*DENOISE, f"{name}.png", "--reference", f"{name}.png"],
        [*DENOISE, f"{name}.png"],
        [*DENOISE, f"{name}.png", "-m", f"{name}.safetensors", "-y"],
        ["fit", name, *FLAGS, "-o", f"{name}.safetensors"],
        ["fit", name, *FLAGS, "-o", f"{name}.safetensors"],
        ["compare", name, *COMPARE[2:], "-o", f"{name} report"],
    ):
        main(arguments)
        told = "".join(capsys.readouterr())
        assert told
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", told)
    assert (here / f"{name} report" / "results.json").exists()


# Models (cases 52, 74)


@cache
def archives():
    data, made = model_bytes(), {}
    for kind in ("w", "w:gz", "w:xz"):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=kind) as tar:
            entry = tarfile.TarInfo("../escaped.safetensors")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        made[f"tar {kind}"] = buffer.getvalue()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../escaped.safetensors", data)
    made["zip"] = buffer.getvalue()
    buffer = io.BytesIO()
    np.savez(buffer, W=np.zeros(3))
    made["npz"] = buffer.getvalue()
    return made


@pytest.mark.parametrize("kind", archives())
def test_an_archive_is_no_model_and_is_never_unpacked(here, kind, refused):
    (here / "folder").mkdir()
    (here / "folder" / "x.safetensors").write_bytes(archives()[kind])
    assert "never loads a pickle" in refused(5, "denoise", "a.png", "-m", "folder/x.safetensors")


def with_header(text, data=b""):
    return len(text).to_bytes(8, "little") + text + data


@cache
def headers():
    good = model_bytes()
    length = int.from_bytes(good[:8], "little")
    text, data = good[8 : 8 + length], good[8 + length :]
    parsed = json.loads(text)
    overlap = parsed | {"patch.b": parsed["patch.b"] | {"data_offsets": [0, 32]}}
    overflow = parsed | {"patch.b": parsed["patch.b"] | {"shape": [1 << 62, 1 << 62]}}
    million = b'"t":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},' * 10**6
    many = parsed | {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(15_000)}
    twice = text[:-1].rstrip() + b', "patch.b": {"dtype":"F32","shape":[8],"data_offsets":[0,32]}}'
    return {
        "overlapping": with_header(json.dumps(overlap).encode(), data),
        "overflowing": with_header(json.dumps(overflow).encode(), data),
        "a name twice": with_header(twice, data),
        "15,000 tensors": with_header(json.dumps(many).encode(), data),
        "a million tensors": with_header(b"{" + million + b"}"),
        "2^63": (1 << 63).to_bytes(8, "little") + b"{}",
    }


@pytest.mark.parametrize("name", headers())
def test_a_header_made_to_hurt_is_refused_at_once(here, name, refused):
    (here / "x.safetensors").write_bytes(headers()[name])
    start = time.process_time()
    assert "'x.safetensors'" in refused(5, "denoise", "a.png", "-m", "x.safetensors")
    assert time.process_time() - start < 2


# Options (case 58)

HUGE = "9" * 30


@pytest.mark.parametrize(
    "arguments",
    [
        (*DENOISE, "a.png", "--tile", "0.5"),
        (*DENOISE, "a.png", "--tile", "0"),
        (*DENOISE, "a.png", "--tile", f"-{HUGE}"),
        (*DENOISE, "a.png", "--stride", HUGE),
        (*DENOISE, "a.png", "--white", "1e400"),
        (*DENOISE, "a.png", "-s", "1e400"),
        ((*DENOISE, "a.png", "-s", "1e300")),
        ((*DENOISE, "a.png", "-s", HUGE)),
        ((*DENOISE, "a.png", "-s", "1e-300")),
        ((*DENOISE, "a.png", "-d", "cuda:" + "9" * 5000)),
        (*FIT, "--seed", HUGE),
        (*FIT, "-b", HUGE),
        (*FIT, "--patch-size", HUGE),
        (*FIT, "--lr", "1e400"),
        (*FIT, "--lr", "-0"),
        (*FIT, "--max-time", "1e9"),
        ((*FIT, "-s", "1e300")),
        (*COMPARE, "--seed", HUGE),
        (*COMPARE, "--lr", "nan"),
        (*COMPARE, "--patches", "-1"),
        ((*COMPARE, "--patches", HUGE)),
        ((*COMPARE, "--max-steps", HUGE)),
        ((*COMPARE, "-s", HUGE)),
    ],
    ids=lambda arguments: " ".join(arguments[:1] + arguments[-2:])[:40],
)
def test_a_number_that_makes_no_sense_is_a_usage_error(arguments, refused):
    refused(2, *arguments)


def test_sigma_may_have_an_exponent(capsys):
    assert main([*FIT, "-s", "2500e-2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sigma"] == 25


# Fits (cases 49, 57)


def interrupted_at(monkeypatch, number):
    """Have fits stopped by Ctrl-C at their n-th report."""
    whole = Prepared.run

    def run(self):
        for i, report in enumerate(whole(self), 1):
            if i == number:
                os.kill(os.getpid(), signal.SIGINT)
            yield report

    monkeypatch.setattr(Prepared, "run", run)


def test_a_fit_stopped_at_its_last_step_is_finished_by_resuming(here, monkeypatch):
    """A report a step: the last state is that of all three steps."""
    assert main([*FIT, "-o", "whole.safetensors"]) == 0
    with monkeypatch.context() as patch:
        interrupted_at(patch, 3)
        assert main([*FIT]) == 130
    assert main([*FIT, "--resume"]) == 0
    assert weights("model.safetensors") == weights("whole.safetensors")
    assert load("model.safetensors").card["steps"] == 3
    assert not (here / "model.state").exists()


def test_a_fit_that_had_stopped_early_does_not_go_on_when_resumed(here, monkeypatch):
    (here / "c.yaml").write_text("patience: 1\nlr: 1\n")
    command = ("fit", "photos", *FLAGS, "--max-steps", "400", "-c", "c.yaml")
    assert main([*command, "-o", "whole.safetensors"]) == 0
    steps = load("whole.safetensors").card["steps"]
    assert steps < 400
    with monkeypatch.context() as patch:
        interrupted_at(patch, len(Path("whole.metrics.jsonl").read_text().splitlines()))
        assert main([*command]) == 130
    assert load("model.safetensors").card["steps"] == steps
    assert main([*command, "--resume"]) == 0
    assert load("model.safetensors").card["steps"] == steps


def test_a_fit_whose_loss_is_no_number_stops_and_keeps_the_last_good_weights(here, monkeypatch, capsys):
    """From step 12 of 40 on J is nan; validations at steps 2, 4, ... 10 are the last good ones."""
    step = loop.step

    def failing(state, *rest, **named):
        value = step(state, *rest, **named)
        return value * float("nan") if state.record["step"] >= 12 else value

    monkeypatch.setattr(loop, "step", failing)
    assert main([*FIT, "--max-steps", "40"]) == 6
    message = complaint(capsys.readouterr().err)
    assert "last good weights are in 'model.safetensors'" in message
    assert all(tensor.isfinite().all() for tensor in load("model.safetensors").state_dict().values())
    assert [json.loads(line)["step"] for line in Path("model.metrics.jsonl").read_text().splitlines()] == [
        2,
        4,
        6,
        8,
        10,
    ]
    assert not (here / "model.state").exists()


# Surroundings (cases 66, 68, 72, 73)


def test_where_memory_runs_out_the_code_is_7_and_there_is_no_file(here):
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux")
    (here / "large.png").write_bytes(encoded(np.tile(gray(100, 100), (20, 20))))
    before, codes = everything_below(here), {}
    for megabytes in (0, 3, 6, 9, 12, 15, 500):
        arguments = ("large.png", "-o", "b.png", "-s", "25", "--stride", "4")
        codes[megabytes] = code_of(*DENOISE, *arguments, memory=megabytes << 20, stderr=here / "stderr.txt")
        told = (here / "stderr.txt").read_text()
        (here / "stderr.txt").unlink()
        if codes[megabytes]:
            assert "not enough memory" in complaint(told)
            assert everything_below(here) == before
        else:
            (here / "b.png").unlink()
    assert set(codes.values()) == {0, 7}
    assert (codes[0], codes[500]) == (7, 0)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOMEM, "Cannot allocate memory"), ImportError("x.so: failed to map segment from shared object")],
    ids=["of the system", "of the loader"],
)
def test_memory_that_the_system_does_not_give_is_7_too(error, refused, monkeypatch):
    def fails(*_args, **_kwargs):
        raise error

    monkeypatch.setattr("smdae.files.model_file.load", fails)
    assert "not enough memory" in refused(7, *DENOISE, "a.png")


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"TERM": "dumb", "COLUMNS": "20"}])
def test_a_terminal_that_knows_no_codes_gets_none(variables, monkeypatch):
    told = on_a_terminal(variables, monkeypatch)
    assert "\x1b" not in told
    assert "dB" in told


def test_colours_are_left_out_where_nobody_wants_them(monkeypatch):
    told = on_a_terminal({"TERM": "xterm-256color", "NO_COLOR": "1"}, monkeypatch)
    assert not re.search(r"\x1b\[(3[0-9]|4[0-9]|9[0-9]|10[0-9])", told)


def test_a_terminal_of_a_few_columns_does_no_harm(monkeypatch):
    for columns in ("1", "3", "20"):
        assert on_a_terminal({"TERM": "xterm", "COLUMNS": columns}, monkeypatch)


def on_a_terminal(variables, monkeypatch):
    """What a person sees of a fit."""
    for name in ("TERM", "COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    person, program = os.openpty()
    with open(program, "w") as stderr, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        assert main([*FIT, "-y"]) == 0
        stderr.flush()
        told = os.read(person, 1 << 16).decode()
    os.close(person)
    return told


def test_nothing_asks_the_network(monkeypatch):
    def asked(*_args, **_kwargs):
        raise AssertionError("the network was asked")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, asked)
    assert main([*FIT]) == main([*COMPARE]) == main([*DENOISE, "a.png"]) == 0


def test_a_home_that_is_not_there_does_no_harm():
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), "/proc/nowhere")
    done = python("-m", "smdae", *COMPARE, env=ENVIRONMENT | nowhere)
    assert done.returncode == 0
    assert all(line.startswith("smdae: ") for line in done.stderr.splitlines())


def test_a_folder_that_is_gone_is_told_in_one_line(here):
    code = (
        "import os, sys; from smdae.cli.app import main; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
        f"sys.exit(main(['denoise', '-m', {str(here / 'm.safetensors')!r}, {str(here / 'a.png')!r}]))"
    )
    done = python("-c", code)
    if done.returncode:
        complaint(done.stderr)
    else:
        assert done.stderr == ""


# Long


@pytest.mark.slow
def test_a_hundred_megapixels_of_colour_are_denoised_in_under_2_gigabytes(here):
    """With the library's own memory; the picture is made of noise that compresses little."""
    tile = np.random.default_rng(0).integers(0, 256, (500, 500, 3)).astype(np.uint8)
    Image.fromarray(np.tile(tile, (20, 20, 1))).save("large.png", compress_level=1)
    done = measured(*DENOISE, "large.png", "--stride", "4", timeout=280)
    poor = "smdae: warning: the result may be poor: its noise looks like sigma 85, not 25, the model's level\n"
    assert (done.returncode, unjudged(done.stderr)) == (0, poor)
    assert float(done.stdout.split()[1]) < 1600


@pytest.mark.slow
def test_fifty_megapixels_in_a_gigabyte_and_a_half_of_address_space_are_denoised_or_refused(here):
    (here / "large.png").write_bytes(encoded(np.tile(gray(100, 100), (50, 100))))
    code = (
        "import resource, sys; from smdae.cli.app import main\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 << 29, 3 << 29))\n"
        "sys.exit(main(['denoise', 'large.png', '-m', 'm.safetensors', '--stride', '4']))"
    )
    done = python("-c", code, timeout=280)
    assert done.returncode in (0, 7)
    if done.returncode:
        complaint(done.stderr)
    assert Path("large_denoised.png").exists() == (done.returncode == 0)
