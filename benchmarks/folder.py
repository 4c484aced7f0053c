"""What part of the network's own rate is left of it in a folder of pictures, from file to file?

    python benchmarks/folder.py [IMAGES] [ROUNDS]          100 images of one megapixel, 3 rounds

In each round, in turn and on all cores: the pictures decoded and the results encoded, alone; their pixels through the
network, alone, by one thread a picture and by all threads for each; and `smdae denoise FOLDER -o OUT/ -s 25`, in a
process where torch is loaded, with what it does by default: two more passes of the network over a part of each picture
judge the result. The share is the network's seconds over what the command's leave when those of the coding, alone, are
taken off; once with the network's one pass, once with all that passes through it.
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
from smdae.denoising.judgement import MARGIN, SIDE, _places
from smdae.denoising.task import Task
from smdae.files.images import encode, read
from smdae.files.writing import write
from smdae.memory import keep_freed_memory

SIGMA = 25.0


def seconds_of(work: Callable[[Path], object], files: list[Path], workers: int) -> float:
    """Of the work on all files by so many threads."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, files))
    return time.perf_counter() - begun


def main_quietly(*arguments: object) -> float:
    """Seconds of a command."""
    begun = time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()):
        assert main([str(argument) for argument in arguments]) == 0
    return time.perf_counter() - begun


def benchmark(count: int, rounds: int, room: Path) -> None:
    """The table."""
    cores = torch.get_num_threads()
    files = sorted(fill(room / "in", count).iterdir())
    model = smdae.load("natural-gray")
    pictures = {path: read(path, path.name) for path in files}
    tasks = {path: Task.of(picture.pixels, model, SIGMA) for path, picture in pictures.items()}
    main_quietly("denoise", room / "in", "-o", f"{room / 'out'}/", "-s", SIGMA)
    results = {path: read(room / "out" / path.name, path.name) for path in files}

    def code(path: Path) -> None:
        read(path, path.name)
        write(room / "out" / path.name, encode(results[path], "PNG"), overwrite=True)

    def network(path: Path) -> None:
        task = tasks[path]
        noisy = task.noisy((slice(None), slice(None)), torch.device("cpu"))
        with torch.inference_mode():
            task.quick(torch.device("cpu")).score(noisy, task.levels[0])

    def alone(threads: int) -> float:
        torch.set_num_threads(threads)
        try:
            return seconds_of(network, files, cores // threads)
        finally:
            torch.set_num_threads(cores)

    rows: dict[str, list[float]] = {}
    for _ in range(rounds):
        found = {
            "decode and encode": seconds_of(code, files, cores),
            "network, a thread a picture": alone(1),
            "network, all threads a picture": alone(cores),
            "smdae denoise": main_quietly("denoise", room / "in", "-o", f"{room / 'out'}/", "-s", SIGMA, "-y"),
            "smdae denoise -j 1": main_quietly(
                "denoise", room / "in", "-o", f"{room / 'out'}/", "-s", SIGMA, "-y", "-j", 1
            ),
        }
        for name, seconds in found.items():
            rows.setdefault(name, []).append(seconds)
    probed = len(_places(tasks[files[0]], torch.Generator().manual_seed(0))[0]) * (SIDE + 2 * MARGIN) ** 2
    passes = 1 + 2 * probed / tasks[files[0]].pixels.size
    print(f"{count} pictures of 1 megapixel on {cores} threads, median of {rounds}; {passes:.2f} passes a picture")
    for name, seconds in rows.items():
        print(f"{name:34}{statistics.median(seconds) / count * 1000:8.1f} ms a picture")
    best = [min(a, b) for a, b in zip(*list(rows.values())[1:3], strict=True)]
    for name in ("smdae denoise", "smdae denoise -j 1"):
        left = [whole - code for whole, code in zip(rows[name], rows["decode and encode"], strict=True)]
        shares = [net / rest for net, rest in zip(best, left, strict=True)]
        told = ", ".join(f"{value:.0%}" for value in sorted(shares))
        print(f"{name:34}{statistics.median(shares):8.0%} of the network's rate, one pass ({told});", end=" ")
        print(f"{passes * statistics.median(shares):.0%} with all passes")


if __name__ == "__main__":
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as place:
        benchmark(*(int(a) for a in (*sys.argv[1:3], *("100", "3")[len(sys.argv) - 1 :])), Path(place))
