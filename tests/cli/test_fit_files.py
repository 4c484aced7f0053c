"""The files of a fit: nobody else's are touched, two fits never write one, and a full disk loses nothing."""

import errno
import json
import os
import pty
import signal
import time
from pathlib import Path

import pytest
from safetensors.torch import load as load_tensors

from smdae.cli import fit_run as command
from smdae.cli.app import main
from smdae.files import writing
from smdae.files.model_file import load
from smdae.fitting import Prepared
from smdae.pipeline import fit_files
from tests.forked import at_report, start
from tests.tiny import FLAGS, complaint, everything_below, photos

ENDLESS = ("--max-steps", 100_000_000)
MODEL, STATE, LOG = Path("model.safetensors"), Path("model.state"), Path("model.metrics.jsonl")


@pytest.fixture(autouse=True)
def here(bare):
    photos(bare / "photos")
    return bare


def fit(*arguments):
    return main(["fit", "photos", *FLAGS, *map(str, arguments)])


def weights(path=MODEL):
    return {name: tensor.numpy().tobytes() for name, tensor in load_tensors(Path(path).read_bytes()).items()}


def steps(path=LOG):
    return [json.loads(line)["step"] for line in Path(path).read_text().splitlines()]


def begun(path=LOG):
    """Wait until a fit has told of a step."""
    for _ in range(1200):
        if path.exists() and path.stat().st_size:
            return
        time.sleep(0.05)
    raise AssertionError("the fit did not begin")


# What came meanwhile, and two at once


def test_a_model_that_came_meanwhile_stays_and_the_fit_is_not_lost(here, monkeypatch, capsys):
    assert fit("-o", "whole.safetensors") == 0
    with monkeypatch.context() as patch:
        patch.setattr(Prepared, "run", at_report(2, lambda: MODEL.write_bytes(b"newer")))
        assert fit() == 4
    capsys.readouterr()
    assert MODEL.read_bytes() == b"newer"
    assert fit("--resume") == 4
    assert "a model of another fit" in complaint(capsys.readouterr().err)
    assert MODEL.read_bytes() == b"newer"
    assert fit("--resume", "-y") == 0
    assert weights() == weights("whole.safetensors")


def test_a_model_that_came_while_a_fit_went_on_stays(monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(Prepared, "run", at_report(1, lambda: os.kill(os.getpid(), signal.SIGINT)))
        assert fit() == 130
    with monkeypatch.context() as patch:
        patch.setattr(Prepared, "run", at_report(1, lambda: MODEL.write_bytes(b"newer")))
        assert fit("--resume") == 4
    assert MODEL.read_bytes() == b"newer"


def test_with_leave_what_came_meanwhile_is_replaced(monkeypatch):
    monkeypatch.setattr(Prepared, "run", at_report(2, lambda: MODEL.write_bytes(b"newer")))
    assert fit("-y") == 0
    assert load(MODEL)


@pytest.mark.parametrize("more", [(), ("-y",), ("-y", "--seed", 3)])
def test_a_second_fit_to_the_same_name_is_refused_and_the_first_goes_on(here, more, capsys):
    first = start("fit", "photos", *FLAGS, *ENDLESS)
    try:
        begun()
        assert fit(*more) == 4
        assert ("another fit is writing it" if more else "exists already") in complaint(capsys.readouterr().err)
        assert fit("-o", "other.safetensors") == 0
        os.kill(first.pid, signal.SIGINT)
        first.join(60)
        assert first.exitcode == 130
    finally:
        first.kill()
        first.join()
    assert steps() == sorted(set(steps()))
    assert load(MODEL).card["steps"] == steps()[-1]


def test_of_fits_that_begin_at_once_one_writes(here):
    """Each is told to overwrite, so that only the lock keeps them apart; none waits for another."""
    fits = [start("fit", "photos", *FLAGS, "-y", "--max-steps", 300, "--seed", seed) for seed in range(3)]
    for process in fits:
        process.join(120)
    codes = [process.exitcode for process in fits]
    assert set(codes) <= {0, 4}
    assert 0 in codes
    assert load(MODEL).card["seed"] in [seed for seed, code in enumerate(codes) if code == 0]
    assert steps() == sorted(set(steps()))


def test_the_lock_of_a_fit_that_was_killed_is_none(here):
    first = start("fit", "photos", *FLAGS, *ENDLESS)
    begun()
    first.kill()
    first.join()
    assert fit("-y") == 0


def test_an_empty_log_of_a_fit_that_was_killed_at_its_start_is_in_nobodys_way():
    LOG.touch()
    assert fit() == 0


def test_a_log_that_is_a_pipe_is_refused(here, capsys):
    os.mkfifo(LOG)
    STATE.write_bytes(b"")
    assert fit("-y") in (0, 4)


# A terminal that is closed


def test_a_closed_terminal_stops_a_fit_that_goes_on_later(here):
    """The command is the leader of a session on a terminal of its own, whose other end is closed."""
    ours, theirs = pty.openpty()
    process = start("fit", "photos", *FLAGS, *ENDLESS, terminal=os.ttyname(theirs))
    try:
        begun()
        os.close(theirs)
        os.close(ours)
        process.join(60)
        assert process.exitcode == 129
    finally:
        process.kill()
        process.join()
    assert load(MODEL).card["steps"] == steps()[-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Prepared, "run", at_report(1, lambda: os.kill(os.getpid(), signal.SIGINT)))
        assert fit(*ENDLESS, "--resume") == 130
    assert load(MODEL).card["steps"] > 0


def test_who_has_hang_ups_ignored_is_not_stopped_by_one(monkeypatch):
    """As nohup does."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        monkeypatch.setattr(Prepared, "run", at_report(1, lambda: os.kill(os.getpid(), signal.SIGHUP)))
        assert fit() == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


# No space, at each write


def full_after(monkeypatch, writes, what=b""):
    """Have the disk be full after so many writes of files that begin with some bytes; the write that fails is a part.

    A simulation: `os.write`, by which all files of a fit are written, says that there is no space.
    """
    write, count = os.write, [0]

    def short(descriptor, data):
        if what in bytes(data[:4000]):
            count[0] += 1
        if count[0] > writes and what in bytes(data[:4000]):
            if count[0] == writes + 1 and len(data) > 1:
                return write(descriptor, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        if count[0] > writes:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(writing.os, "write", short)
    return count


@pytest.mark.parametrize(
    ("what", "number"), [("smdae-model", 0), *((what, n) for what in ("smdae-state", '{"step"') for n in (0, 1, 3))]
)
def test_a_full_disk_ends_a_fit_that_goes_on_once_there_is_space(here, what, number, monkeypatch, capsys):
    many = ("--max-steps", 20)
    assert fit(*many, "-o", "whole.safetensors") == 0
    MODEL.write_bytes(b"old")
    capsys.readouterr()
    monkeypatch.setattr(command, "SAVE_SECONDS", -1.0)  # a state at each report
    with monkeypatch.context() as patch:
        full_after(patch, number, what.encode())
        code = fit(*many, "-y")
    assert code == 4
    assert MODEL.read_bytes() == b"old"
    assert not [path for path in here.iterdir() if path.suffix == ".part"]
    assert "no space left" in complaint(capsys.readouterr().err)
    if LOG.exists():
        assert steps() == sorted(set(steps()))
    assert fit(*many, *(("--resume", "-y") if STATE.exists() else ("-y",))) == 0
    assert weights() == weights("whole.safetensors")
    assert not STATE.exists()


def test_a_fit_whose_model_finds_no_space_is_kept_as_a_state(here, monkeypatch, capsys):
    """Though none was written on the way."""
    with monkeypatch.context() as patch:
        full_after(patch, 0, b"smdae-model")
        real = patch.setattr
        keep = fit_files.keep

        def freed(*arguments):
            patch.undo()
            keep(*arguments)

        real(fit_files, "keep", freed)
        assert fit() == 4
    assert "--resume" in complaint(capsys.readouterr().err)
    assert {path.name for path in here.iterdir()} == {"photos", STATE.name, LOG.name}
    before = everything_below(here / "photos")
    assert fit("--resume") == 0
    assert load(MODEL).card["steps"] == 3
    assert everything_below(here / "photos") == before
