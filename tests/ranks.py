"""Several processes that work together, forked from one that has all modules loaded, on the loopback alone."""

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from smdae.fitting import Prepared
from smdae.fitting.distributed import ALONE, Group, joined
from smdae.processes import Place
from tests.forked import SERVER, at_report, run


def surroundings(rank: int, size: int, port: int) -> dict[str, str]:
    """The environment of a process with what a launcher tells it."""
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {**os.environ, "SMDAE_DEVICE": "cpu", **{name: str(value) for name, value in told.items()}}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def command(
    environ: dict[str, str],
    arguments: list[str],
    folder: Path,
    memory: int | None = None,
    told: tuple[int, int] | None = None,
) -> None:
    """A command as one process of several, which leaves what it says in out.RANK and err.RANK.

    `told` is the report of a fit at which it sends itself a signal, and which.
    """
    if told:
        Prepared.run = at_report(told[0], partial(os.kill, os.getpid(), told[1]))
    os.dup2(os.open(folder / f"out.{environ['RANK']}", os.O_WRONLY | os.O_CREAT), 1)
    run(arguments, environ, folder / f"err.{environ['RANK']}", memory)


def start(
    size: int,
    *arguments: object,
    folder: Path,
    memory: dict[int, int] | None = None,
    told: dict[int, tuple[int, int]] | None = None,
) -> list[BaseProcess]:
    """A command under way in several processes.

    Some may have only so much memory beyond what their modules take, and some may be `told` to end by a signal.
    """
    port, started = free_port(), []
    for rank in range(size):
        for what in ("out", "err"):
            (folder / f"{what}.{rank}").unlink(missing_ok=True)
        given = (surroundings(rank, size, port), [*map(str, arguments)], folder)
        given += (memory or {}).get(rank), (told or {}).get(rank)
        started.append(SERVER.Process(target=command, args=given))
        started[-1].start()
    return started


def ended(processes: list[BaseProcess], seconds: float = 60) -> list[int | None]:
    """The exit codes of processes; None of those that had to be killed."""
    for process in processes:
        process.join(seconds)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
        process.join()
    return codes


def said(folder: Path, rank: int) -> str:
    """What a process wrote on stderr."""
    return (folder / f"err.{rank}").read_text()


def results(folder: Path, rank: int) -> bytes:
    """What a process wrote on stdout."""
    return (folder / f"out.{rank}").read_bytes()


@contextmanager
def group(rank: int, size: int, port: int) -> Iterator[Group]:
    """The group of processes that meet at a port."""
    if size == 1:
        yield ALONE
        return
    store = torch.distributed.TCPStore("127.0.0.1", port, size, rank == 0)
    with joined(store, Place(rank, size, rank), torch.device("cpu"), own=True) as found:
        yield found


def _part(work: Callable[..., object], rank: int, size: int, port: int, folder: Path, arguments: tuple) -> None:
    with group(rank, size, port) as found:
        torch.save(work(found, *arguments), folder / f"{size}.{rank}")
    sys.exit(0)


def each(size: int, work: Callable[..., object], *arguments: object, folder: Path) -> list:
    """What a function of a group makes in each of its processes."""
    port = free_port()
    processes = [SERVER.Process(target=_part, args=(work, rank, size, port, folder, arguments)) for rank in range(size)]
    for process in processes:
        process.start()
    assert ended(processes) == [0] * size
    return [torch.load(folder / f"{size}.{rank}", weights_only=False) for rank in range(size)]
