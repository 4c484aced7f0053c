"""What part of the network's own rate is left of it in a folder of pictures, from file to file?

    python benchmarks/folder.py [IMAGES] [PARTS]           100 pictures of one megapixel, in 10 parts

Part by part, in turn and on all cores: the pictures decoded and the results encoded and written, alone; their pixels
through the network, alone, by one thread a picture and by all threads for each; and `smdae denoise ... -s 25`, with
what it does by default, in a process where torch is loaded. Two more passes of the network, over a part of each
picture, judge its result. The share is the network's seconds, the fewer of the two ways, over what the command's leave
when those of the coding are taken off: with the one pass that denoises, and with all that goes through the network; the
median over parts. Beside the seconds of the clock stand those of the processors, which others at work do not change.
"""

import contextlib
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from pictures import fill

import smdae
from smdae.cli.app import main
from smdae.denoising.probing import TILE_MARGIN, TILE_SIDE, places
from smdae.denoising.task import Task
from smdae.files.images import encode, read
from smdae.files.writing import write
from smdae.memory import keep_freed_memory

SIGMA = 25.0
ROWS = (
    "decode and encode",
    "network, a thread a picture",
    "network, all threads a picture",
    "smdae denoise",
    "... -j 1",
)


def main_quietly(*arguments: object) -> float:
    """Run a command with its output dropped, and return the seconds it took."""
    begun = time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()):
        assert main([str(argument) for argument in arguments]) == 0
    return time.perf_counter() - begun


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds by the clock, and those of the processors."""
    clock, processors = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - clock, time.process_time() - processors


def by_threads(work: Callable[[Path], object], files: list[Path], workers: int) -> None:
    """Do the work on all files by so many threads."""
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, files))


def benchmark(count: int, parts: int, room: Path) -> None:
    """Print the table."""
    cores, cpu = torch.get_num_threads(), torch.device("cpu")
    files = sorted(fill(room / "in", count).iterdir())
    model = smdae.load("natural-gray")

    def command(inputs: list[Path], *more: object) -> float:
        return main_quietly("denoise", *inputs, "-o", f"{room / 'out'}/", "-s", SIGMA, "-y", *more)

    command(files)
    pictures = {path: read(path, path.name) for path in files}
    results = {path: read(room / "out" / path.name, path.name) for path in files}

    def code(path: Path) -> None:
        read(path, path.name)
        write(room / "out" / path.name, encode(results[path], "PNG"), overwrite=True)

    def network(path: Path) -> None:
        task = Task.of(pictures[path].pixels, model, SIGMA)
        with torch.inference_mode():
            task.base_on(cpu).score(task.noisy((slice(None), slice(None)), cpu), task.levels[0])

    def alone(part: list[Path], threads: int) -> None:
        torch.set_num_threads(threads)
        try:
            by_threads(network, part, cores // threads)
        finally:
            torch.set_num_threads(cores)

    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ROWS}
    for k in range(parts):
        part = files[k * count // parts : (k + 1) * count // parts]
        runs = (
            lambda part=part: by_threads(code, part, cores),
            lambda part=part: alone(part, 1),
            lambda part=part: alone(part, cores),
            lambda part=part: command(part),
            lambda part=part: command(part, "-j", 1),
        )
        for name, run in zip(ROWS, runs, strict=True):
            seconds[name].append(timed(run))
    task = Task.of(pictures[files[0]].pixels, model, SIGMA)
    probed = len(places(task, torch.Generator().manual_seed(0))[0]) * (TILE_SIDE + 2 * TILE_MARGIN) ** 2
    passes = 1 + 2 * probed / task.pixels.size
    print(f"{count} pictures of 1 megapixel on {cores} threads; {passes:.2f} passes of the network a picture")
    print(f"{'ms a picture':34}{'clock':>9}{'processors':>12}")
    for name, found in seconds.items():
        clock, processors = (1000 * sum(values) / count for values in zip(*found, strict=True))
        print(f"{name:34}{clock:9.1f}{processors:12.1f}")
    coded, one, all_, *commands = (seconds[name] for name in ROWS)
    for name, whole in zip(ROWS[3:], commands, strict=True):
        shares = [
            [min(a[kind], b[kind]) / (w[kind] - c[kind]) for a, b, w, c in zip(one, all_, whole, coded, strict=True)]
            for kind in (0, 1)
        ]
        for kind, values in zip(("clock", "processors"), shares, strict=True):
            share = statistics.median(values)
            print(f"{name:16}{kind:12}{share:6.0%} of the network's rate by one pass, {passes * share:.0%} by all")


if __name__ == "__main__":
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as place:
        benchmark(*(int(a) for a in (*sys.argv[1:3], *("100", "10")[len(sys.argv) - 1 :])), Path(place))
