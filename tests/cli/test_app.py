"""The command line as a whole: help at once, one line for each failure, exit codes, signals and broken streams."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import torch

from smdae import __version__
from smdae.cli import console
from smdae.cli.app import main
from smdae.errors import InputError
from smdae.files import images, writing
from smdae.memory import left
from tests.tiny import ENVIRONMENT, complaint, encoded, everything_below, gray, model_bytes, python

needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with a noisy picture and a model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SMDAE_MODEL", raising=False)
    (tmp_path / "a.png").write_bytes(encoded(gray()))
    (tmp_path / "m.safetensors").write_bytes(model_bytes())
    return tmp_path


# Help


def test_help_comes_at_once():
    """Seconds of the processor, the best of several: those of the clock are also those of other programs."""
    resource = pytest.importorskip("resource")

    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    best = 9.0
    for _ in range(4):
        start = spent()
        done = python("-m", "smdae", "--help")
        best = min(best, spent() - start)
        assert done.stdout.startswith("Usage: smdae")
    assert best < 0.4


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["--version"], ["fit", "--help"], ["denoise", "-h"], ["fit"], ["frob"]]
)
def test_help_and_usage_errors_load_no_large_library(arguments):
    code = (
        f"import sys; from smdae.cli.app import main; main({arguments!r});"
        "print([m for m in ('torch', 'numpy', 'PIL', 'yaml') if m in sys.modules], file=sys.stderr)"
    )
    done = python("-c", code)
    assert done.stderr.splitlines()[-1] == "[]"
    assert done.returncode == 0


def test_an_impossible_request_is_refused_before_torch_is_loaded():
    code = (
        "import sys; from smdae.cli.app import main\n"
        "for line in ('denoise a.png -s nan', 'denoise a.png -d tpu', 'fit a.png -o m.pt', 'fit a.png -d cuda:x',"
        " 'fit a.png --max-time soon'):\n"
        "    assert main(line.split()) == 2\n"
        "assert 'torch' not in sys.modules"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["fit", "--help"], ["fit", "-h"], ["denoise", "--help"]])
def test_help_that_was_asked_for_is_the_result(arguments, capsys):
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Usage: smdae")
    assert err == ""


def test_the_list_of_commands_cuts_no_sentence_short(capsys):
    assert main(["--help"]) == 0
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


def test_a_bare_call_shows_the_help_but_is_a_usage_error(capsys):
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: smdae")
    assert "denoise" in err


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_told(flag, capsys):
    assert main([flag]) == 0
    assert capsys.readouterr().out == f"smdae {__version__}\n"


# One line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frob"], ["frob"]),
        (["--frob"], ["--frob"]),
        (["fit"], ["PATH"]),
        (["denoise"], ["INPUT"]),
        (["fit", "x", "--sgma", "3"], ["--sgma", "--sigma"]),
        (["fit", "x", "--patch-size", "4.5"], ["--patch-size"]),
        (["fit", "x", "--max-steps"], ["--max-steps"]),
        (["denoise", "a.png", "--stride", "x"], ["--stride"]),
        (["denoise", "a.png", "--tile", "x"], ["--tile"]),
        (["denoise", "a.png", "-o"], ["-o"]),
        (["denoise", "a.png", "--json=3"], ["--json"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_the_parser_complains_in_one_line_too(arguments, words, capsys, here):
    before = everything_below(here)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    text = complaint(err)
    assert "--help'" in text
    for word in words:
        assert word in text
    assert everything_below(here) == before


def raises(error):
    def fails(*_args, **_kwargs):
        raise error

    return fails


def allocates(*_args, **_kwargs):
    torch.empty(1 << 55)


@pytest.mark.parametrize(
    ("fails", "code", "words"),
    [
        (raises(RuntimeError("first\nsecond")), 1, "RuntimeError: first"),
        (raises(AssertionError()), 1, "AssertionError"),
        (raises(InputError("no [/red] good\nat \x1b all")), 3, r"no [/red] good\nat \x1b all"),
        (raises(MemoryError()), 7, "not enough memory"),
        (raises(torch.OutOfMemoryError("CUDA out of memory")), 7, "not enough memory"),
        (allocates, 7, "not enough memory"),
    ],
    ids=["bug", "silent bug", "own", "memory", "cuda memory", "torch memory"],
)
@pytest.mark.parametrize("debug", [False, True])
def test_whatever_goes_wrong_is_one_line_and_a_code(fails, code, words, debug, monkeypatch, capsys):
    monkeypatch.setattr(images, "read", fails)
    arguments = ["denoise", "a.png", "-m", "m.safetensors"]
    assert main([*arguments, "--debug"] if debug else arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    traceback, _, rest = err.partition("smdae: error: ")
    assert words in complaint("smdae: error: " + rest)
    assert ("Traceback" in traceback) == debug


def test_a_terminal_that_knows_no_unicode_is_told_in_escapes():
    done = python("-m", "smdae", "denoise", "ü🎈.png", env=ENVIRONMENT | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 3
    assert r"\xfc\U0001f388.png" in complaint(done.stderr)


def test_a_message_that_nobody_can_hear_stops_nothing(monkeypatch):
    class Deaf:
        encoding = "utf-8"

        def write(self, text):
            raise BrokenPipeError

        def isatty(self):
            return False

        flush = write

    monkeypatch.setattr(sys, "stderr", Deaf())
    console.note("hello")
    assert main(["denoise", "missing.png"]) == 3


# Signals


@pytest.fixture
def harmless():
    """Should SIGTERM not be handled, the test fails rather than its process."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
@pytest.mark.parametrize("moment", ["reading", "writing"])
@pytest.mark.usefixtures("harmless")
def test_a_signal_leaves_nothing_behind(number, code, word, moment, here, monkeypatch, capsys):
    def sends(*_args, **_kwargs):
        os.kill(os.getpid(), number)
        time.sleep(1)

    if moment == "reading":
        monkeypatch.setattr(images, "read", sends)
    else:
        monkeypatch.setattr(writing.os, "fsync", sends)
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    before = everything_below(here)
    assert main(["denoise", "a.png", "-m", "m.safetensors", "-o", "made/"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"smdae: {word}\n"
    assert everything_below(here) == before
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_the_first_signal_asks_and_the_second_leaves_at_once(name, code):
    script = (
        "import os, signal, time; from smdae.cli.interrupts import stoppable\n"
        "with stoppable('stopping') as stop:\n"
        f"    os.kill(os.getpid(), signal.{name})\n"
        f"    assert stop and stop.code == {code}\n"
        "    print('still here', flush=True)\n"
        f"    os.kill(os.getpid(), signal.{name})\n"
        "    time.sleep(60)\n"
    )
    done = python("-c", script)
    assert done.returncode == code
    assert done.stdout == "still here\n"
    assert done.stderr == "smdae: stopping\n"


# Streams


def test_ctrl_c_ends_the_process_once_its_own_command_is_done(monkeypatch):
    """Not so where a program of Python calls a command, and goes on."""
    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(sys, "argv", ["smdae", "--version"])
    try:
        assert main(["--version"]) == 0
        assert signal.getsignal(signal.SIGINT) is handler
        assert main() == 0
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, handler)


def test_what_a_command_sets_ends_with_it():
    """Which messages are said, whether with escape codes, and how much memory is used."""
    usual = console.VOICE.get()
    arguments = ["denoise", "a.png", "-m", "m.safetensors", "-s", "20", "--quiet", "--max-memory", "64M", "--no-color"]
    assert main(arguments) == 0
    assert console.VOICE.get() == usual
    assert left() > 64 << 20


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["fit", "--help"]])
def test_a_closed_pipe_ends_it_quietly(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    done = python("-m", "smdae", *arguments, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@needs_dev_full
@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_a_full_disk_behind_stdout_is_an_output_error(arguments):
    with open("/dev/full", "w") as full:
        done = python("-m", "smdae", *arguments, stdout=full)
    assert done.returncode == 4
    assert complaint(done.stderr) == "smdae: error: cannot write to stdout: no space left"


@pytest.mark.parametrize(
    ("closed", "code"), [((1,), 4), ((0, 1), 4), ((0, 1, 2), 4), ((0,), 0), ((2,), 0), ((0, 2), 0)]
)
def test_streams_that_are_closed_lead_nowhere(closed, code):
    def close():
        for number in closed:
            os.close(number)

    done = python("-m", "smdae", "--version", preexec_fn=close)
    assert done.returncode == code
    assert done.stdout == ("" if 1 in closed else f"smdae {__version__}\n")
    if 2 not in closed and code:
        assert complaint(done.stderr) == "smdae: error: cannot write to stdout: it is closed"


def test_what_is_said_to_a_closed_stderr_does_not_go_to_stdout():
    done = python("-m", "smdae", "denoise", "missing.png", preexec_fn=lambda: os.close(2))
    assert (done.returncode, done.stdout) == (3, "")


@needs_dev_full
def test_a_full_disk_behind_stderr_leaves_the_exit_code(tmp_path):
    with open("/dev/full", "w") as full:
        done = python("-m", "smdae", "denoise", "missing.png", stderr=full)
    assert (done.returncode, done.stdout) == (3, "")


# Escape codes


def said_on_a_terminal(arguments: list[str], **environment: str) -> bytes:
    """Return all that a command says on a terminal of 80 columns, stdout and stderr in one."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    known = {name: text for name, text in ENVIRONMENT.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    call = [sys.executable, "-m", "smdae", *arguments]
    with subprocess.Popen(
        call,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**known, "TERM": "xterm-256color", **environment},
    ) as process:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # once no one writes to it any more
            while piece := os.read(ours, 1 << 16):
                said += piece
    os.close(ours)
    assert process.returncode == 0, said
    return said


@pytest.mark.parametrize(
    "arguments", [["info", "m.safetensors"], ["denoise", "a.png", "-m", "m.safetensors", "-o", "b.png", "-y"]]
)
def test_no_color_means_no_escape_codes_at_all(arguments):
    assert b"\x1b[" in said_on_a_terminal(arguments)
    assert b"\x1b[" in said_on_a_terminal(arguments, NO_COLOR="")
    for plain in (
        said_on_a_terminal([*arguments, "--no-color"]),
        said_on_a_terminal(["--no-color", *arguments], FORCE_COLOR="1"),
        said_on_a_terminal(arguments, NO_COLOR="1"),
    ):
        assert b"\x1b" not in plain
        assert len(plain) > 20


@pytest.mark.parametrize("arguments", [["--help"], ["denoise", "--help"]])
def test_help_has_no_escape_codes_without_colour(arguments):
    assert b"\x1b" not in said_on_a_terminal(["--no-color", *arguments])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not remove the current folder of a process")
@pytest.mark.parametrize("when", ["before", "during"])
def test_a_current_folder_that_is_gone_is_told_as_such(when, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    if when == "before":
        folder.rmdir()
    else:

        def removing(*_args, **_kwargs):
            folder.rmdir()
            return Path("a.png").resolve(strict=True)

        monkeypatch.setattr("smdae.cli.info.sources", removing)
    assert main(["info", "a.png"]) == 2
    assert "the current folder no longer exists" in capsys.readouterr().err
