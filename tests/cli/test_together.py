"""Commands in several processes: one result, one word, one exit code, whoever fails or dies."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load as load_tensors

from smdae.cli import together as work
from smdae.cli.app import main
from smdae.cli.interrupts import terminable
from smdae.cli.together import End, decided
from smdae.errors import InputError
from smdae.files.model_file import load
from smdae.pipeline import peers
from smdae.processes import Place
from tests.forked import SERVER
from tests.ranks import command, ended, free_port, results, said, start, surroundings
from tests.tiny import ENVIRONMENT, FLAGS, complaint, encoded, everything_below, gray, model_bytes, photos, unjudged

FIT = ("fit", "photos", *FLAGS, "--max-steps", 40)
LONG = ("fit", "photos", *FLAGS, "--max-steps", 100_000)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with pictures; what processes say goes elsewhere."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("SMDAE_MODEL", raising=False)
    photos(folder / "photos")
    return folder


def together(size, *arguments, folder, codes=0, **options):
    """What a command of several processes says, all of them having ended with the same code."""
    assert ended(start(size, *arguments, folder=folder, **options)) == [codes] * size
    assert not any(said(folder, rank) or results(folder, rank) for rank in range(1, size))
    return said(folder, 0)


def weights(path="model.safetensors"):
    return load_tensors(Path(path).read_bytes())


def lines(path="model.metrics.jsonl"):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def assert_same_fit(path="model.safetensors", other="whole.safetensors"):
    ours, theirs = weights(path), weights(other)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert (tensor - theirs[name]).abs().max() <= 2e-5 * theirs[name].abs().max()


def begun(path="model.metrics.jsonl", reports=3):
    """Wait until a fit has told of some steps."""
    for _ in range(600):
        if Path(path).exists() and len(Path(path).read_text().splitlines()) >= reports:
            return
        time.sleep(0.05)
    raise AssertionError("the fit did not begin")


# How all end


def test_how_a_command_of_many_ended():
    done, failed, died = End("done", 0), End("failed", 3, "cannot read"), End.by_death(1, 3)
    lost, stopped, terminated = End("lost", 10, "the connection broke"), End("stopped", 130), End("stopped", 143)
    for ends, end in [
        ([done, done, lost], lost),
        ([done, stopped, done], stopped),
        ([stopped, terminated], stopped),  # as it came first
        ([stopped, died, stopped], died),
        ([died, stopped, failed], failed),
        ([lost, died, lost], died),
        ([lost, stopped, lost], stopped),  # as others lose whoever is stopped
        ([lost, died, failed], failed),
    ]:
        assert decided(ends) == end


def waiting(rank, port, act, is_deaf):
    """Work that waits a minute for another process, which does something else; signals may be of no use."""
    os.environ.update(surroundings(rank, 2, port))
    work.GRACE = 0.5
    try:
        with terminable(), work.together(Place(rank, 2, rank)):
            if rank == 1:
                act()
            if is_deaf:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(60)
    except BaseException as error:
        sys.exit(End.of(error).code)


def interrupted():
    raise KeyboardInterrupt


def unreadable():
    raise InputError("cannot read 'a.png'")


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("is_deaf", [False, True])
@pytest.mark.parametrize(("act", "codes"), [(interrupted, [130, 130]), (unreadable, [3, 3]), (killed, [10, -9])])
def test_work_that_waits_in_vain_for_another_process_is_ended(act, codes, is_deaf):
    port = free_port()
    processes = [SERVER.Process(target=waiting, args=(rank, port, act, is_deaf)) for rank in range(2)]
    for process in processes:
        process.start()
    assert ended(processes, 30) == codes


# Fits


def test_a_fit_by_two_is_that_of_one(here, tmp_path):
    """With a batch that is not shared evenly, by one writer, one voice and one line of JSON."""
    command = (*FIT, "-b", 15)
    assert main([*map(str, command), "-o", "whole.safetensors"]) == 0
    heard = together(2, *command, "--json", folder=tmp_path)
    assert heard.startswith("smdae: warning: the model falls short"), "as so short a fit does"
    assert heard.count("\n") == 1
    assert_same_fit()
    card = json.loads(results(tmp_path, 0))
    assert card["steps"] == 40
    assert card["held_out_psnr"] == pytest.approx(load("whole.safetensors").card["held_out_psnr"], abs=1e-4)
    judged = [
        {line["step"]: line["held_out"] for line in lines(name) if "held_out" in line}
        for name in ("model.metrics.jsonl", "whole.metrics.jsonl")
    ]
    assert judged[0].keys() == judged[1].keys()
    for step, figures in judged[0].items():
        assert figures == pytest.approx(judged[1][step], abs=1e-4)
    steps = [line["step"] for line in lines()]
    assert steps == sorted(set(steps))
    assert {path.name for path in here.iterdir()} == {
        "photos",
        *(f"{name}.{ending}" for name in ("model", "whole") for ending in ("safetensors", "metrics.jsonl")),
    }


def test_what_a_person_sees_of_a_fit_by_four_is_what_one_shows(here, tmp_path, capfd):
    assert main([*map(str, FIT), "-o", "whole.safetensors"]) == 0
    shown = capfd.readouterr().err
    told = together(4, *FIT, folder=tmp_path)
    assert [line.split()[0] for line in told.splitlines()] == [line.split()[0] for line in shown.splitlines()]
    assert_same_fit()


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_fit_with_one_clear_word(here, tmp_path, victim):
    """The first holds the store here, so that the other is alone; under a launcher it is not, see below."""
    processes = start(2, *LONG, "--seed", 1, folder=tmp_path)
    begun()
    os.kill(processes[victim].pid, signal.SIGKILL)
    killed = time.monotonic()
    codes = ended(processes, 30)
    assert time.monotonic() - killed < 30
    assert codes[victim] == -signal.SIGKILL
    assert codes[1 - victim] == 10
    complaint(said(tmp_path, 1 - victim))
    assert f"process {victim} of 2 died" in said(tmp_path, 1 - victim)
    assert "--resume to go on from step" in said(tmp_path, 1 - victim)
    assert said(tmp_path, victim) == ""
    assert not Path("model.safetensors").exists()


def test_a_fit_of_two_that_was_stopped_goes_on_with_three_and_then_alone(here, tmp_path):
    many = ("fit", "photos", *FLAGS, "--max-steps", 3000)
    assert main([*map(str, many), "-o", "whole.safetensors"]) == 0
    for size, number, code in ((2, signal.SIGTERM, 143), (3, signal.SIGINT, 130)):
        command = (*many, *(["--resume"] if size == 3 else []))
        told = together(size, *command, folder=tmp_path, codes=code, told={1: (3, number)})  # one is told, all end
        assert "--resume to go on" in told
    assert main([*map(str, many), "--resume"]) == 0
    assert weights("model.safetensors").keys() == weights("whole.safetensors").keys()
    assert load("model.safetensors").card["steps"] == load("whole.safetensors").card["steps"]
    held = [load(name).card["held_out_psnr"]["model"] for name in ("model.safetensors", "whole.safetensors")]
    assert held[0] == pytest.approx(held[1], abs=0.02)
    assert not Path("model.state").exists()


def test_a_fit_that_diverges_is_told_of_once_and_keeps_the_last_good_weights(here, tmp_path):
    for path in (here / "photos").iterdir():
        path.write_bytes(encoded(np.full((24, 32), 90, np.uint8)))
    command = ("fit", "photos", *FLAGS, "--max-steps", 4000, "--objective", "ism", "--lr", 0.3)
    told = together(2, *command, folder=tmp_path, codes=6)
    assert told.count("implicit score matching degenerated") == 1
    assert told.count("the last good weights are in 'model.safetensors'") == 1
    assert load("model.safetensors").card["steps"] < 4000


def test_what_only_one_process_runs_into_is_told_by_the_first(here, tmp_path):
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux")
    # A step takes 960 MB for its hidden units: what runs out is memory for them, not for some thread of a library.
    command = ("fit", "photos", "--hidden", 40_000, "--max-steps", 3000, "-b", 6000)
    told = together(2, *command, folder=tmp_path, codes=7, memory={1: 400 << 20})
    assert "not enough memory" in told


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("compare", "photos"), 2, "compare is for one process, and there are 2"),
        (("denoise", "-", "-o", "-"), 2, "a stream is for one process"),
        (("denoise", "photos/0.png", "-o", "-"), 2, "a stream is for one process"),
        ((*FIT, "-b", 1), 2, "a batch of 1 is too small for 2 processes"),
        ((*FIT, "--frob"), 2, "no such option"),
        (("fit", "nowhere"), 3, "'nowhere'"),
        ((*FIT, "-o", "nowhere/m.safetensors"), 4, "nowhere/m.safetensors"),
    ],
)
def test_refusals_are_told_once(here, tmp_path, arguments, code, message):
    before = everything_below(here)
    assert message in complaint(together(2, *arguments, folder=tmp_path, codes=code))
    assert everything_below(here) == before


def leftover(environ, folder):
    """A command alone, to which the environment says that there are others; it has less patience than it has."""
    peers.REPORT_AFTER, peers.START_TIMEOUT = 0.3, timedelta(seconds=3)
    command(environ, ["denoise", "photos/0.png"], folder, None)


@pytest.mark.parametrize("rank", [0, 1])
def test_who_waits_for_nobody_says_so_and_gives_up(here, tmp_path, rank):
    """As with what an earlier run under torchrun has left in the environment."""
    before = everything_below(here)
    process = SERVER.Process(target=leftover, args=(surroundings(rank, 2, free_port()), tmp_path))
    process.start()
    assert ended([process]) == [10]
    waiting, error, hint = said(tmp_path, rank).splitlines()
    assert waiting.startswith("smdae: ")
    assert error.startswith("smdae: error: ")
    for line in (waiting, hint):
        assert "unset RANK and WORLD_SIZE" in line
    assert everything_below(here) == before


# Denoising


@pytest.fixture
def noisy(here):
    """Eight pictures and a bad file."""
    folder = here / "noisy"
    folder.mkdir()
    for seed in range(8):
        (folder / f"{seed}.png").write_bytes(encoded(gray(40 + 8 * seed, 64, seed)))
    (folder / "4bad.png").write_bytes(b"nonsense")
    (here / "m.safetensors").write_bytes(model_bytes())
    return ("denoise", "noisy", "-m", "m.safetensors")


def without_time(told):
    records = [json.loads(line) for line in told.splitlines()]
    return [{name: value for name, value in record.items() if name != "seconds"} for record in records]


@pytest.mark.parametrize(("size", "more"), [(2, ()), (3, ("-j", 2)), (2, ("--in-place",))])
def test_denoise_shares_files_and_tells_of_them_as_one_process_does(here, tmp_path, noisy, size, more, capfd):
    before = everything_below(here)
    output = () if more == ("--in-place",) else ("-o", "out/")
    assert main([*map(str, (*noisy, *more, *output, "--json"))]) == 9
    one, told = everything_below(here), capfd.readouterr()
    for path in (here / "out").glob("*"):
        path.unlink()
    for name, data in before.items():
        if data is not None:
            (here / name).write_bytes(data)
    err = together(size, *noisy, *more, *output, "--json", folder=tmp_path, codes=9)
    assert everything_below(here) == one
    assert without_time(results(tmp_path, 0)) == without_time(told.out)
    if "-j" not in more:  # where two lines of one process may change places
        assert err == told.err


def test_a_single_file_is_the_first_ones(here, tmp_path, noisy):
    assert unjudged(together(2, "denoise", "noisy/3.png", *noisy[2:], folder=tmp_path)) == ""
    assert Path("noisy/3_denoised.png").exists()
    assert "not an image" in complaint(together(2, "denoise", "noisy/4bad.png", *noisy[2:], folder=tmp_path, codes=3))


def test_after_a_failure_no_more_is_begun_if_that_is_asked_for(here, tmp_path, noisy):
    (here / "noisy" / "00.png").write_bytes(b"nonsense")
    err = together(2, *noisy, "-o", "out/", "--fail-fast", folder=tmp_path, codes=9)
    assert "1 of 10 pictures could not be denoised:" in err
    assert len(list((here / "out").glob("*"))) <= 2


def test_what_is_there_is_left_alone_by_all(here, tmp_path, noisy):
    together(2, *noisy, "-o", "out/", folder=tmp_path, codes=9)
    before = everything_below(here)
    err = together(2, *noisy, "-o", "out/", "--skip-existing", folder=tmp_path, codes=9)
    assert "smdae: 8 skipped, 1 failed" in err
    assert "1 of 9 pictures could not be denoised:" in err
    assert everything_below(here) == before


# Under a launcher


def launched(size, *arguments):
    """A command under torchrun, whose own words are many."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ENVIRONMENT}
    return subprocess.Popen([*launcher, "-m", "smdae", *map(str, arguments)], **streams)


def process_of(launcher, rank):
    """The process of a rank."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                environ = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if parent == launcher.pid and f"RANK={rank}".encode() in environ:
                return int(entry.name)
    raise AssertionError(f"no process {rank}")


def ours(stderr):
    return [line for line in stderr.splitlines() if line.startswith(("smdae: ", "hint: "))]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux")
@pytest.mark.parametrize(("size", "victim"), [(2, 1), pytest.param(4, 0, marks=pytest.mark.slow)])
def test_under_torchrun_a_killed_process_ends_all_and_the_fit_goes_on(here, size, victim):
    many = ("fit", "photos", *FLAGS, "--max-steps", 1500)
    launcher = launched(size, *many)
    begun()
    os.kill(process_of(launcher, victim), signal.SIGKILL)
    killed = time.monotonic()
    _, stderr = launcher.communicate(timeout=60)
    assert time.monotonic() - killed < 30
    assert launcher.returncode == 1
    assert ours(stderr)[0] == f"smdae: error: process {victim} of {size} died"
    assert ours(stderr)[1].startswith("hint: run the same command with --resume to go on from step ")
    assert len(ours(stderr)) == 2
    assert stderr.count("exitcode  : 10 ") == size - 1
    step = int(ours(stderr)[1].split()[-1])
    assert main([*map(str, many), "--resume", "--json"]) == 0
    assert lines()[-1]["step"] > step
    told = [line["step"] for line in lines()]
    assert told == sorted(set(told))
