"""Killed at any moment, `denoise` leaves what was there or the whole result, and `fit` goes on from its last state."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from safetensors.torch import load as load_tensors

from smdae.cli.app import main
from smdae.files.model_file import load
from smdae.fitting import Prepared
from tests.forked import at_report, code_of
from tests.tiny import FLAGS, encoded, everything_below, gray, model_bytes, photos

FIT = ("fit", "photos", *FLAGS, "--max-steps", "300")
WRITTEN = {"model.safetensors", "model.metrics.jsonl", "model.state"}

moments = pytest.mark.parametrize("count", [5, pytest.param(50, marks=pytest.mark.slow)])


def seconds_of(*arguments):
    """How long a command takes, its modules loaded."""
    assert code_of(*arguments, "-y") == 0
    begun = time.perf_counter()
    assert code_of(*arguments, "-y") == 0
    return time.perf_counter() - begun


def weights(path):
    return {name: tensor.numpy().tobytes() for name, tensor in load_tensors(Path(path).read_bytes()).items()}


def without_parts(folder):
    """What is below a folder, except for temporary files that the killed could not take away."""
    return {name: data for name, data in everything_below(folder).items() if not name.endswith(".part")}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Where the machine has become faster than it was when the time was taken, moments come sooner.


@moments
def test_denoise_leaves_what_was_there_or_the_whole_result(here, count):
    (here / "m.safetensors").write_bytes(model_bytes())
    (here / "a.png").write_bytes(encoded(gray(200, 300)))
    command = ("denoise", "a.png", "-m", "m.safetensors")
    seconds = seconds_of(*command, "-o", "whole.png")
    before = everything_below(here)
    chance, seen = random.Random(count), set()
    for moment in range(count):
        old = b"old" if moment % 2 else None
        if old:
            (here / "b.png").write_bytes(old)
        code = code_of(*command, "-o", "b.png", "-y", killed_after=chance.uniform(0, 1.2 * seconds))
        after = without_parts(here)
        result = after.pop("b.png", None)
        assert after == before
        assert result == before["whole.png"] if code == 0 else result in (old, before["whole.png"])
        seen.add(code)
        seconds *= 0.8 if code == 0 else 1.0
        (here / "b.png").unlink(missing_ok=True)
        assert code_of(*command, "-o", "b.png") == 0
        assert not list(here.glob(".*.part"))
        assert (here / "b.png").read_bytes() == before["whole.png"]
        (here / "b.png").unlink()
    assert seen <= {0, -9}
    assert -9 in seen


SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


rounds = pytest.mark.parametrize("count", [4, pytest.param(52, marks=pytest.mark.slow)])


@rounds
def test_a_batch_in_place_leaves_each_picture_as_it_was_or_denoised(here, count):
    """Whatever signal ends it; those that come next clear away what it left."""
    (here / "m.safetensors").write_bytes(model_bytes())
    pictures = {f"{k}.png": encoded(gray(120, 160, seed=k)) for k in range(6)}
    for folder in ("in", "once"):
        (here / folder).mkdir()
        for name, data in pictures.items():
            (here / folder / name).write_bytes(data)
    command = ("-m", "m.safetensors", "-s", 20, "--in-place")
    seconds = seconds_of("denoise", "once", *command[:-1], "-o", "aside/")
    assert code_of("denoise", "once", *command) == 0
    denoised = {name: (here / "once" / name).read_bytes() for name in pictures}
    chance, ended = random.Random(count), set()
    for moment in range(count):
        for name, data in pictures.items():
            (here / "in" / name).write_bytes(data)
        number = SIGNALS[moment % len(SIGNALS)]
        code = code_of("denoise", "in", *command, killed_after=chance.uniform(0, 1.1 * seconds), by=number)
        assert code in (0, -number, 128 + number)
        ended.add(code)
        seconds *= 0.8 if code == 0 else 1.0
        after = without_parts(here / "in")
        assert after.keys() == pictures.keys()
        assert all(data in (pictures[name], denoised[name]) for name, data in after.items())
        left = [name for name, data in after.items() if data == pictures[name]]
        if left:
            assert code_of("denoise", *(f"in/{name}" for name in left), *command) == 0
            assert everything_below(here / "in") == denoised
        for path in (here / "in").iterdir():
            path.unlink()
    assert len(ended) > 1


@rounds
def test_fit_goes_on_to_the_weights_of_one_that_was_not_stopped(here, count):
    """Stopped by one signal or another, and again while it goes on; where there is no state yet, it is begun afresh."""
    photos(here / "photos")
    seconds = seconds_of(*FIT, "-o", "whole.safetensors")
    before = everything_below(here)
    chance, resumed = random.Random(count), 0
    for moment in range(count):
        code = None
        for again, share in enumerate((chance.uniform(0.1, 1.1), chance.uniform(0.1, 1.1), None)):
            number = SIGNALS[(moment + again * (moment // len(SIGNALS))) % len(SIGNALS)]
            saved = Path("model.state").exists()
            if code == 0 and not saved:
                break
            resumed += saved
            code = code_of(*FIT, "--resume" if saved else "-y", killed_after=share and share * seconds, by=number)
            # A signal may come before a command heeds it, or while it ends.
            assert code in ((0,) if share is None else (0, -number, 128 + number))
            seconds *= 0.8 if share and code == 0 else 1.0
            after = without_parts(here)
            assert {name: after[name] for name in before} == before
            assert after.keys() - before.keys() <= WRITTEN
            assert all(json.loads(line) for line in after.get("model.metrics.jsonl", b"").splitlines())
            if "model.safetensors" in after:
                load("model.safetensors")
        assert code == 0
        assert not list(here.glob(".*.part"))
        assert weights("model.safetensors") == weights("whole.safetensors")
        assert not Path("model.state").exists()
        for name in WRITTEN:
            Path(name).unlink(missing_ok=True)
    assert resumed


def test_each_step_is_in_the_metrics_once(here, monkeypatch):
    """As when a fit is killed after it told of some steps and before it saved the next state."""
    photos(here / "photos")
    with monkeypatch.context() as patch:
        patch.setattr(Prepared, "run", at_report(4, lambda: os.kill(os.getpid(), signal.SIGINT)))
        assert main([*FIT]) == 130
    saved = Path("model.state").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Prepared, "run", at_report(4, lambda: os.kill(os.getpid(), signal.SIGINT)))
        assert main([*FIT, "--resume"]) == 130
    Path("model.state").write_bytes(saved)
    assert main([*FIT, "--resume"]) == 0
    steps = [json.loads(line)["step"] for line in Path("model.metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))
