"""`smdae fit`: what it writes, what it refuses and in which order, how it is stopped and goes on."""

import json
import math
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load as load_tensors

from smdae.cli import fit_run as command
from smdae.cli.app import main
from smdae.files import writing
from smdae.files.model_file import load, read
from smdae.fitting.settings import DEFAULT_SECONDS, DEFAULT_STEPS, Settings
from smdae.models import MODELS
from smdae.objectives import OBJECTIVES
from tests.tiny import ENVIRONMENT, FLAGS, complaint, encoded, everything_below, gray, largest_file, photos

WRITTEN = {"model.safetensors", "model.metrics.jsonl"}


@pytest.fixture(autouse=True)
def here(bare):
    photos(bare / "photos")
    return bare


def fit(*arguments):
    return main(["fit", *FLAGS, *map(str, arguments)])


def weights(path="model.safetensors"):
    return {name: tensor.numpy().tobytes() for name, tensor in load_tensors(Path(path).read_bytes()).items()}


def lines(path="model.metrics.jsonl"):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


# What it writes


def test_a_fit_writes_a_model_and_its_metrics_and_nothing_else(here, capsys):
    before = everything_below(here)
    assert fit("photos") == 0
    after = everything_below(here)
    assert after.keys() - before.keys() == WRITTEN
    assert {name: after[name] for name in before} == before
    out, err = capsys.readouterr()
    assert out == ""
    assert "the model falls short" in err.splitlines()[-1]  # after three steps
    assert "dB" in err
    assert "\x1b" not in err
    card, _ = read("model.safetensors")
    assert (card["objective"], card["sigma"], card["channels"], card["patch_size"]) == ("dsm", 25, 1, 4)
    assert (card["images"], card["held_out_images"], card["steps"], card["seed"]) == (2, 1, 3, 0)
    assert all(math.isfinite(value) for value in card["held_out_psnr"].values())
    assert load("model.safetensors").level == 25 / 255


def test_the_metrics_are_one_object_a_line(here):
    assert fit("photos") == 0
    found = lines()
    assert [line["step"] for line in found] == [1, 2, 3]
    for line in found:
        assert line["steps"] == 3
        assert math.isfinite(line["objective"])
        assert math.isfinite(line["held_out"]["PSNR"])


def test_json_is_the_only_thing_on_stdout(capsys):
    assert fit("photos", "--json", "-o", "m.safetensors") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["output"] == "m.safetensors"
    assert result["model"] == "energy"
    assert result["steps"] == 3
    assert set(result["held_out_psnr"]) == {"noisy", "wiener", "model"}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_is_fitted_and_named_in_the_file(objective, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("parzen-patches: 50\ncomponents: 2\n")
    assert fit("photos", "--objective", objective, "-c", "c.yaml", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["objective"] == objective
    assert read("model.safetensors")[0]["objective"] == objective
    assert ("clean density" in err) == (read("model.safetensors")[0]["score_of"] == "the clean density")


def test_colours_are_fitted_when_asked_for():
    assert fit("photos", "--color") == 0
    assert load("model.safetensors").channels == 3


def test_a_time_limit_ends_the_fit():
    """A little more than the time is for reading and the last validation."""
    start = time.perf_counter()
    assert main(["fit", "photos", "--patch-size", "4", "--hidden", "8", "-b", "16", "--max-time", "0.5s"]) == 0
    assert time.perf_counter() - start < 10
    last = lines()[-1]
    assert 10 < last["step"] <= last["steps"]
    assert last["seconds"] < 5


def test_what_was_left_out_is_said(here, capsys):
    (here / "photos" / "bad.png").write_bytes(encoded(gray())[:99])
    (here / "photos" / "cut.tif").write_bytes(encoded(gray(), "TIFF")[:99])
    (here / "photos" / "also.png").write_bytes(b"text")
    (here / "photos" / "small.png").write_bytes(encoded(gray(3, 3)))
    (here / "photos" / "small.bmp").write_bytes(encoded(gray(3, 3), "BMP"))
    for name in ("a.cr2", "b.cr2", "notes.txt", ".hidden", "Thumbs.db"):
        (here / "photos" / name).write_bytes(b"x")
    assert fit("photos") == 0
    err = capsys.readouterr().err
    assert "3 files skipped: 2 PNG, 1 TIF; the first: 'photos/also.png'" in err
    assert "2 images skipped, smaller than the patch size 4: 1 BMP, 1 PNG\n" in err
    assert "smdae: 3 skipped: 2 CR2, 1 TXT\n" in err
    (here / "raws").mkdir()
    (here / "raws" / "a.cr2").write_bytes(b"x")
    assert fit("raws") == 3
    assert "no images found in 'raws', 1 skipped: 1 CR2" in capsys.readouterr().err


def test_the_white_of_float_images_does_not_touch_others(here):
    """The same pictures in 8 bits, with a white that is not theirs, and as floats with one that is."""
    for seed in range(3):
        (here / "floats").mkdir(exist_ok=True)
        np.save(here / "floats" / f"{seed}.npy", gray(seed=seed) / np.float32(255) * 4000)
    for source, options in (("photos", ()), ("photos", ("--white", 4000)), ("floats", ("--white", 4000))):
        assert fit(source, *options, "--as", "images", "-y", "-o", f"{source}{len(options)}.safetensors") == 0
    plain, given, floats = (load(f"{name}.safetensors").state_dict() for name in ("photos0", "photos2", "floats2"))
    for name in plain:
        np.testing.assert_array_equal(given[name], plain[name])
        np.testing.assert_allclose(floats[name], plain[name], atol=1e-4)


@pytest.mark.parametrize("name", ["[red]", "a b", "🎈 ü", "new\nline", "[", "caf\udce9"])
def test_any_name_will_do(here, name, capsys):
    (here / "photos").rename(here / name)
    output = here / f"{name}.safetensors"
    assert fit(here / name, "-o", output) == 0
    assert output.exists()
    assert (here / f"{name}.metrics.jsonl").exists()
    assert fit(here / name, "-o", output) == 4
    err = capsys.readouterr().err
    assert "\x1b" not in err
    complaint("smdae: error: " + err.partition("smdae: error: ")[2])


# Configuration


def test_the_help_tells_the_true_names_and_defaults(capsys):
    assert main(["fit", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    text = re.sub(r"(?<=[a-z])- (?=[a-z])", "-", text)  # lines may end at a hyphen
    options = {part.split()[0]: part for part in re.split(r" (?=--)", text)}
    for objective in OBJECTIVES:
        assert re.search(rf"\b{objective}\b", options["--objective"])
    found = {name: re.search(r"\[default: ([^\]]+)\]", part) for name, part in options.items()}
    told = {name.removeprefix("--"): match[1] for name, match in found.items() if match}
    defaults = {name.replace("_", "-"): field.default for name, field in Settings.model_fields.items()}
    shared = told.keys() & defaults.keys() - {"max-steps"}
    names = {"objective", "model", "sigma", "patch-size", "size", "hidden", "target", "batch", "lr", "seed", "probes"}
    assert shared == names | {"filters", "window", "potential"}
    assert {name: told[name].split(",")[0] for name in shared} == {
        n: str(defaults[n]).removesuffix(".0") for n in shared
    }
    of_families = {"unet": {"sigma", "patch-size", "batch", "lr"}, "experts": {"patch-size", "batch"}}
    for family, names in of_families.items():
        own = {name: re.search(rf", {family} ([^,]+)", told[name]) for name in shared}
        assert {name for name, match in own.items() if match} == names
        for name in names:
            value = MODELS[family].defaults[name.replace("-", "_")]
            assert own[name][1] == ("-".join(f"{v:g}" for v in value) if isinstance(value, tuple) else f"{value:g}")
    assert told["max-steps"].startswith(f"{DEFAULT_STEPS}, but at most {DEFAULT_SECONDS:g} s")


def test_settings_come_from_a_file_and_options_go_first(here, capsys):
    (here / "c.yaml").write_text("lr: 1e-4\nsigma: 40\nmax-steps: 7\nobjective: dae\nseed: 5\n")
    assert fit("photos", "-c", "c.yaml", "--sigma", "30", "--json") == 0
    settings = json.loads(capsys.readouterr().out)["fit"]
    assert settings["lr"] == 1e-4
    assert (settings["sigma"], settings["max_steps"]) == (30, 3)
    assert (settings["objective"], settings["seed"]) == ("dae", 5)


def test_a_duration_in_a_file_is_one(here, capsys):
    (here / "c.yaml").write_text("max-time: 10m\n")
    assert fit("photos", "-c", "c.yaml", "--json") == 0
    card = json.loads(capsys.readouterr().out)
    assert card["fit"]["max_time"] == 600
    assert card["steps"] == 3  # as --max-steps says, which ends first


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sigma: 1\nsigma: 2", ["line 2", "'sigma'", "twice"]),
        ("sigma: &a 1\nlr: *a", ["line 2", "aliases"]),
        ("lr: 1\nlearning-rate: 1", ["'c.yaml'", "line 2", "'learning-rate'", "lr"]),
        ("lr: 1\nsgma: 1", ["line 2", "'sgma'", "did you mean 'sigma'?"]),
        ("sigma: loud", ["sigma", "'loud'"]),
        ("sigma: -3", ["sigma", "-3"]),
        ("sigma: .nan", ["sigma"]),
        ("sigma: .inf", ["sigma"]),
        ("max-time: soon", ["max-time", "'soon'"]),
        ("max-time: 12:30:45", ["line 1", "max-time", "'12:30:45'"]),
        ("max-time: -3", ["max-time"]),
        ("objective: nope", ["'nope'", *OBJECTIVES]),
        ("- dsm", ["line 1"]),
    ],
)
def test_a_wrong_configuration_is_a_usage_error(here, text, words, capsys):
    (here / "c.yaml").write_text(text)
    before = everything_below(here)
    assert fit("photos", "-c", "c.yaml") == 2
    message = complaint(capsys.readouterr().err)
    for word in words:
        assert word in message
    assert everything_below(here) == before


# What it refuses


def unusable(here):
    """Inputs of every kind that cannot be used."""
    (here / "empty").mkdir()
    (here / "text.png").write_text("hello")
    (here / "cut.png").write_bytes(encoded(gray())[:-60])
    (here / "small.png").write_bytes(encoded(gray(3, 50)))
    (here / "void.png").write_bytes(b"")
    array = np.zeros((8, 8))
    array[2, 2] = math.nan
    np.save(here / "nan.npy", array)
    np.save(here / "objects.npy", np.array([{}, {}]))
    (here / "full").mkdir()
    (here / "full" / "nan.npy").write_bytes((here / "nan.npy").read_bytes())


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["photos", "--objective", "nope"], 2, ["'nope'", *OBJECTIVES]),
        (["photos", "--model", "nope"], 2, ["'nope'", "energy"]),
        (["photos", "--sigma", "0"], 2, ["sigma"]),
        (["photos", "--sigma", "-1"], 2, ["sigma"]),
        (["photos", "--sigma", "nan"], 2, ["sigma"]),
        (["photos", "--sigma", "inf"], 2, ["sigma"]),
        (["photos", "--lr", "nan"], 2, ["lr"]),
        (["photos", "--lr", "inf"], 2, ["lr"]),
        (["photos", "--lr", "0"], 2, ["lr"]),
        (["photos", "--patch-size", "1"], 2, ["patch-size"]),
        (["photos", "--patch-size", "1000000"], 2, ["patch-size"]),
        (["photos", "--patch-size", "65"], 2, ["patch-size 65", "4,225", "4,096"]),
        (["photos", "--patch-size", "40", "--color"], 2, ["patch-size 40", "4,800", "4,096"]),
        (["photos", "--hidden", "0"], 2, ["hidden"]),
        (["photos", "--hidden", "9" * 30], 2, ["hidden"]),
        (["photos", "--batch", "0"], 2, ["batch"]),
        (["photos", "--max-steps", "0"], 2, ["max-steps"]),
        (["photos", "--max-time", "0"], 2, ["--max-time"]),
        (["photos", "--max-time", "soon"], 2, ["--max-time", "'soon'"]),
        (["photos", "--max-time", "9" * 400], 2, ["max-time"]),
        (["photos", "--seed", "-1"], 2, ["seed"]),
        (["photos", "--target", "cauchy"], 2, ["target"]),
        (["photos", "--white", "0"], 2, ["--white"]),
        (["photos", "--white", "nan"], 2, ["--white"]),
        (["photos", "--device", "tpu"], 2, ["'tpu'"]),
        (["photos", "--device", "cuda:x"], 2, ["'cuda:x'"]),
        (["photos", "-o", "model.pt"], 2, ["model.pt"]),
        (["photos", "-c", "missing.yaml"], 2, ["missing.yaml"]),
        (["missing"], 3, ["'missing'"]),
        (["photos", "missing.png"], 3, ["'missing.png'"]),
        (["x" * 300], 3, []),
        (["empty"], 3, ["'empty'", "no images"]),
        (["text.png"], 3, ["'text.png'"]),
        (["void.png"], 3, ["'void.png'", "empty"]),
        (["cut.png"], 3, ["'cut.png'", "truncated"]),
        (["small.png"], 3, ["smaller than the patch size 4", "--patch-size 3"]),
        (["photos", "--patch-size", "25"], 3, ["smaller than the patch size 25"]),
        (["nan.npy"], 3, ["'nan.npy'", "NaN"]),
        (["full"], 3, ["'full'", "NaN"]),
        (["objects.npy"], 3, ["'objects.npy'"]),
        (["photos", "-o", "missing/m.safetensors"], 4, ["missing"]),
        (["photos", "-o", "text.png/m.safetensors"], 4, ["text.png"]),
        (["photos", "-o", "n" * 250 + ".safetensors"], 4, ["too long"]),
        (["photos", "--device", "cuda:99"], 8, ["'cuda:99'"]),
    ],
    ids=lambda value: " ".join(map(str, value))[:50] if isinstance(value, list) else str(value),
)
def test_what_cannot_be_is_refused_in_one_line_and_leaves_nothing(here, arguments, code, words, capsys):
    unusable(here)
    before = everything_below(here)
    assert fit(*arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    message = complaint(err)
    for word in words:
        assert word in message
    assert everything_below(here) == before


@pytest.mark.parametrize("name", ["model.safetensors", "model.metrics.jsonl", "model.state"])
def test_nothing_is_overwritten_without_leave(here, name, capsys):
    (here / name).write_bytes(b"old")
    before = everything_below(here)
    assert fit("photos") == 4
    message = complaint(capsys.readouterr().err)
    assert name in message
    assert "-y" in message
    assert everything_below(here) == before
    assert fit("photos", "-y") == 0
    assert {path.name for path in here.iterdir()} == WRITTEN | {"photos"}
    assert load("model.safetensors")
    assert len(lines()) == 3


def test_refusals_come_in_the_order_of_the_contract(here, capsys):
    """All is wrong at once; as each thing is put right, the next one is told."""
    (here / "m.safetensors").write_bytes(b"old")
    (here / "m.state").write_bytes(b"no state")
    wrong = {
        2: (["--objective", "nope"], []),
        3: (["missing"], ["photos"]),
        4: (["-o", "folder/m.safetensors"], ["-o", "m.safetensors"]),
        8: (["-d", "cuda:99"], ["-d", "cpu"]),
        5: (["--resume"], []),
    }
    (here / "folder").mkdir()
    (here / "folder" / "m.state").write_bytes(b"no state")
    (here / "folder" / "m.safetensors").mkdir()
    before = everything_below(here)
    for i, code in enumerate(wrong):
        parts = [right if j < i else bad for j, (bad, right) in enumerate(wrong.values())]
        assert fit(*(argument for part in parts for argument in part)) == code
        complaint(capsys.readouterr().err)
        assert everything_below(here) == before


# A full disk


@pytest.mark.parametrize("size", [0, 100, 1000])
def test_a_full_disk_is_an_output_error_and_leaves_nothing(here, size, capsys):
    """The metrics do not fit; nor does, at 1000 bytes, the model after them."""
    before = everything_below(here)
    with largest_file(size):
        assert fit("photos") == 4
    assert ("model.metrics.jsonl" if size < 1000 else "model.safetensors") in complaint(capsys.readouterr().err)
    assert everything_below(here) == before


def test_a_full_disk_leaves_an_older_model_as_it_was(here, capsys):
    assert fit("photos") == 0
    old = (here / "model.safetensors").read_bytes()
    capsys.readouterr()
    with largest_file(1000):
        assert fit("photos", "-y", "--seed", "3") == 4
    complaint(capsys.readouterr().err)
    assert (here / "model.safetensors").read_bytes() == old
    assert not [path for path in here.iterdir() if path.suffix == ".part"]


def test_no_space_for_a_state_ends_the_fit_but_keeps_the_last_one(here, monkeypatch, capsys):
    """States are written at each report; the second finds no space."""
    monkeypatch.setattr(command, "SAVE_SECONDS", -1.0)
    write, states = os.write, []

    def full(descriptor, data):
        if b"smdae-state" in bytes(data[:4000]):
            states.append(1)
            if len(states) > 1:
                raise OSError(28, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(writing.os, "write", full)
    assert fit("photos") == 4
    assert "cannot write 'model.state': no space left" in complaint(capsys.readouterr().err)
    assert {path.name for path in here.iterdir()} == {"photos", "model.state", "model.metrics.jsonl"}
    monkeypatch.setattr(writing.os, "write", write)
    assert fit("photos", "--resume") == 0


# Stopping and going on


def test_resumed_without_a_state_a_fit_starts_from_the_beginning_and_replaces_nothing_unasked(here, capsys):
    assert fit("photos", "--resume") == 0
    assert "there is no 'model.state' to resume from: the fit starts from the beginning" in capsys.readouterr().err
    before = (here / "model.safetensors").read_bytes()
    assert fit("photos", "--resume", "--seed", "1") == 4
    assert (here / "model.safetensors").read_bytes() == before
    assert fit("photos", "--resume", "-y", "--seed", "1") == 0
    assert (here / "model.safetensors").read_bytes() != before


def stop_at(monkeypatch, report, number=signal.SIGINT):
    """Have the fit stopped by a signal at its n-th report."""
    line, seen = command.line_of, []

    def signals(figures):
        seen.append(1)
        if len(seen) == report:
            os.kill(os.getpid(), number)
        return line(figures)

    monkeypatch.setattr(command, "line_of", signals)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_stopped_fit_goes_on_to_the_same_weights(here, number, code, monkeypatch, capsys):
    many = ("--max-steps", 40)
    assert fit("photos", *many, "-o", "whole.safetensors") == 0
    with monkeypatch.context() as patch:
        stop_at(patch, 7, number)
        assert fit("photos", *many) == code
    err = capsys.readouterr().err
    assert "stopping" in err
    assert "--resume" in err
    assert {path.name for path in here.iterdir() if path.name.startswith("model")} == WRITTEN | {"model.state"}
    assert load("model.safetensors").card["steps"] == lines()[-1]["step"] == 14
    assert fit("photos", *many, "--resume") == 0
    assert weights() == weights("whole.safetensors")
    assert [line["step"] for line in lines()] == [line["step"] for line in lines("whole.metrics.jsonl")]
    assert not (here / "model.state").exists()


def test_a_fit_stopped_twice_goes_on_all_the_same(monkeypatch):
    assert fit("photos", "--max-steps", 30, "-o", "whole.safetensors") == 0
    for resume in ((), ("--resume",)):
        with monkeypatch.context() as patch:
            stop_at(patch, 5)
            assert fit("photos", "--max-steps", 30, *resume) == 130
    assert fit("photos", "--max-steps", 30, "--resume") == 0
    assert weights() == weights("whole.safetensors")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ["damaged"]),
        (pickle.dumps({"step": 3}), ["damaged"]),
        (lambda state: state[:-100], ["damaged"]),
        (lambda state: state.replace(b"smdae-state", b"smdae-stove"), ["not the state"]),
    ],
    ids=["empty", "pickle", "truncated", "foreign"],
)
def test_a_bad_state_is_refused_and_nothing_changed(here, data, words, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_at(patch, 1)
        assert fit("photos") == 130
    state = here / "model.state"
    state.write_bytes(data(state.read_bytes()) if callable(data) else data)
    before = everything_below(here)
    capsys.readouterr()
    assert fit("photos", "--resume") == 5
    message = complaint(capsys.readouterr().err)
    for word in ["model.state", *words]:
        assert word in message
    assert everything_below(here) == before


def test_resuming_with_other_pictures_is_refused(here, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_at(patch, 1)
        assert fit("photos") == 130
    shutil.copytree("photos", "others")
    picture = sorted(Path("others").iterdir())[0]
    picture.write_bytes(encoded(gray(seed=77)))
    before = everything_below(here)
    capsys.readouterr()
    assert fit("others", "--resume") == 5
    assert "other images" in complaint(capsys.readouterr().err)
    assert everything_below(here) == before
    assert fit("photos", "--resume") == 0


def test_resuming_with_other_settings_is_refused_by_name(here, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_at(patch, 1)
        assert fit("photos", "--lr", "0.05") == 130
    before = everything_below(here)
    capsys.readouterr()
    assert fit("photos", "--resume", "--lr", "0.1") == 5
    assert "lr was 0.05, now it is 0.1" in complaint(capsys.readouterr().err)
    assert everything_below(here) == before


def test_starting_afresh_forgets_the_state_of_an_older_fit(here, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        assert fit("photos") == 130
    with monkeypatch.context() as patch:
        patch.setattr(command, "_drive", lambda *_: sys.exit(99))
        with pytest.raises(SystemExit):
            fit("photos", "-y")
    assert not (here / "model.state").exists()


def test_ctrl_c_leaves_soon_with_all_saved(here, monkeypatch, capsys):
    """A real process without an end of its own, and a real signal."""
    endless = [*FLAGS, "--max-steps", "100000000", "photos"]
    command_line = [sys.executable, "-m", "smdae", "fit", *endless]
    launched = time.monotonic()
    process = subprocess.Popen(command_line, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    try:
        waited = launched + 60
        metrics = here / "model.metrics.jsonl"
        while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < waited:
            time.sleep(0.05)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        # Two seconds on a machine that does nothing else; on a busy one the launch has taken long, too.
        assert time.monotonic() - start < max(8, start - launched)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "stopping" in err
    assert {path.name for path in here.iterdir()} == WRITTEN | {"photos", "model.state"}
    steps = load("model.safetensors").card["steps"]
    assert steps > 0
    with monkeypatch.context() as patch:
        stop_at(patch, 1)
        assert main(["fit", *endless, "--resume"]) == 130
    assert load("model.safetensors").card["steps"] > steps


# Runaway fits


def test_a_fit_that_diverges_says_so_and_leaves_no_state(here, capsys):
    assert main(["fit", "photos", *FLAGS, "--max-steps", "200", "--lr", "1e30"]) == 6
    out, err = capsys.readouterr()
    assert out == ""
    message = complaint(err)
    assert "diverged" in message
    assert "--lr" in message
    assert not (here / "model.state").exists()
    if "last good weights" in message:
        assert load("model.safetensors")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_experts_are_fitted_by_any_objective(objective, capsys):
    small = ("--filters", "5", "--window", "3", "--patch-size", "12", "-b", "2", "--max-steps", "2", "-s", "25")
    Path("c.yaml").write_text("parzen-patches: 50\ncomponents: 2\n")
    command = ["fit", "photos", "-c", "c.yaml", "--model", "experts", *small, "--objective", objective]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["objective"] == objective
    assert load("model.safetensors").settings()["filters"] == 5
    of_clean = read("model.safetensors")[0]["score_of"] == "the clean density"
    assert main(["denoise", "photos/0.png", "-m", "model.safetensors", "-o", "d.png"]) == (5 if of_clean else 0)


def test_experts_of_many_levels_and_potentials():
    small = ("--filters", "5", "--window", "3", "--patch-size", "12", "-b", "2", "--max-steps", "2")
    for potential in ("softplus", "pairs", "student"):
        assert main(["fit", "photos", "--model", "experts", *small, "-s", "5-50", "--potential", potential, "-y"]) == 0
        model = load("model.safetensors")
        assert (model.level, model.potential) == (None, potential)
        assert main(["denoise", "photos/0.png", "-m", "model.safetensors", "--sampler", "ode", "-y"]) == 0


def test_a_gradient_is_fitted_and_steps_uphill_without_lowering_the_posterior():
    small = ("--patch-size", "16", "-b", "2", "--max-steps", "2", "-s", "5-50")
    assert main(["fit", "photos", "--model", "gradient-unet", *small]) == 0
    assert load("model.safetensors").settings()["activation"] == "silu"
    for stepper in ("tweedie", "ascent"):
        how = ("--sampler", stepper, "-y", "-s", "25", "--uncertainty", "u.npy")
        assert main(["denoise", "photos/0.png", "-m", "model.safetensors", *how]) == 0
