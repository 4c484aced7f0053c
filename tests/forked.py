"""Commands in processes of their own that begin at once: forked from one that has all modules loaded."""

import fcntl
import multiprocessing
import os
import resource
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from smdae.cli import fit_run
from smdae.cli.app import main
from smdae.fitting import Prepared

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        *("pytest", "rich.progress", "safetensors.torch", "torch.onnx", "torch._dynamo"),
        *("smdae.files.images", "smdae.denoising", "smdae.fitting", "tests.forked"),
    ]
)


def at_report(number: int, act: Callable[[], object]) -> Callable[[Prepared], Iterator]:
    """Return what a fit runs if something is to happen at its n-th report, counted from 1."""
    whole = Prepared.run

    def run(self: Prepared) -> Iterator:
        for count, report in enumerate(whole(self), 1):
            if count == number:
                act()
            yield report

    return run


def run(
    arguments: list[str],
    environment: dict[str, str],
    stderr: Path | None,
    memory: int | None,
    terminal: str | None = None,
    begun: Connection | None = None,
) -> None:
    """A command that saves its state at every report and says what it says to a file, or to a terminal of its own."""
    os.environ.clear()  # of the server, which is of the test that was the first to ask for a process
    os.environ.update(environment)
    fit_run.SAVE_SECONDS = 0.0
    if terminal:
        os.setsid()
        opened = os.open(terminal, os.O_RDWR)
        fcntl.ioctl(opened, termios.TIOCSCTTY, 0)
        for descriptor in (0, 1, 2):
            os.dup2(opened, descriptor)
        os.close(opened)
    if stderr:
        os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT), 2)
    if memory is not None:
        taken = resource.getpagesize() * int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory,) * 2)
    if begun:
        begun.send(True)
    code = main(arguments)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as `main` does for a process of its own
    sys.exit(code)


def start(
    *arguments: object,
    stderr: Path | None = None,
    memory: int | None = None,
    terminal: str | None = None,
    begun: Connection | None = None,
) -> BaseProcess:
    """A command under way, which may have `memory` bytes beyond what its modules take."""
    given = ([*map(str, arguments)], {"SMDAE_DEVICE": "cpu", **os.environ}, stderr, memory, terminal, begun)
    process = SERVER.Process(target=run, args=given)
    process.start()
    return process


def code_of(
    *arguments: object, killed_after: float | None = None, by: int = signal.SIGKILL, **options: object
) -> int | None:
    """The exit code of a command, which may be sent a signal some seconds after it has begun."""
    begun, here = SERVER.Pipe(duplex=False)
    process = start(*arguments, begun=here, **options)
    here.close()
    with suppress(EOFError):  # of a process that ends before that
        begun.recv()
    process.join(killed_after)
    if killed_after is not None and process.exitcode is None and process.pid is not None:
        os.kill(process.pid, by)
    process.join(120)
    process.kill()
    process.join()
    return process.exitcode
