"""What does a fit on a corpus larger than memory cost: to begin with, in memory, and in time?

A corpus of so many GB is a number of links to a few synthetic JPEGs of 2048 x 2048 pixels, which take no room; its
cache takes all of it, and is removed in the end. Each figure is taken in a process of its own: the time to fill the
cache and the most memory meanwhile; the time from a process's start to the end of its first step with a cache that is
there, once with its pixels thrown out of the system's memory, as after a restart of the machine, and once with them in
it; the most memory until then and after so many steps more (VmHWM, all that counts as the process's); and the time of
a step.

Given --compare, one more, no larger than memory: steps of the same fits from memory and from the cache in turn, as
ratios: of the time; and, as the next batch is read beside the computing, of the time of the thread that computes, which
is the ratio where a core is idle.

    python benchmarks/corpora.py FOLDER [GB...] [--compare GB]
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SIDE, DISTINCT = 2048, 16
MODELS = {"energy": 200, "unet": 10}  # steps more
ROUNDS = 15


def photograph(seed: int) -> np.ndarray:
    """Return noise with the spectrum of photographs, 1/f, gray, 8-bit."""
    rng = np.random.default_rng(seed)
    across, down = np.fft.rfftfreq(SIDE), np.fft.fftfreq(SIDE)
    radius = np.hypot(across, down[:, None]).clip(1 / SIDE)
    picture = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) / radius)
    return (128 + 45 * picture / picture.std()).clip(0, 255).astype(np.uint8)


def corpus(folder: Path, size: float) -> Path:
    """Make and return a folder of links to pictures that have so many GB once they are decoded."""
    from PIL import Image

    sources, links = folder / "sources", folder / f"{size:g}"
    sources.mkdir(exist_ok=True)
    links.mkdir(exist_ok=True)
    for seed in range(DISTINCT):
        if not (path := sources / f"{seed}.jpg").exists():
            Image.fromarray(photograph(seed)).save(path, quality=90)
    for k in range(max(2, round(size * 1e9 / SIDE**2))):
        link = links / f"{k:06}.jpg"
        if not link.is_symlink():
            link.symlink_to(sources / f"{k % DISTINCT}.jpg")
    return links


def memory(name: str) -> float:
    """Return a figure of this process's memory in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1000


def gathered(images: Path, cache: Path | None) -> object:
    from smdae.files.corpus import gather

    return gather([images], 64, cache=cache)


def prepared(images: Path, cache: Path | None, model: str) -> object:
    from smdae.fitting import prepare
    from smdae.fitting.settings import check
    from smdae.memory import keep_freed_memory

    keep_freed_memory()
    found = gathered(images, cache)
    return prepare(found.images, found.white, check({"model": model}))


def steps(fit: object, count: int) -> None:
    from smdae.fitting.loop import step

    state, examples = fit.state, fit.examples
    for _ in range(count):
        batch = examples.draw(state.settings.batch, state.generator)
        examples.expect(state.settings.batch, state.generator)  # as the loop of a fit does
        step(state, batch, examples, 1e-3)


def fill(images: Path, cache: Path) -> None:
    """Fill the cache."""
    begun = time.perf_counter()
    gathered(images, cache)
    print(time.perf_counter() - begun, memory("VmHWM"))


def start(images: Path, cache: Path, model: str) -> None:
    """Begin with a cache that is there, and go on for some steps."""
    fit = prepared(images, cache, model)
    steps(fit, 1)
    first, before = time.time() - float(os.environ["BEGUN"]), memory("VmHWM")
    begun = time.perf_counter()
    steps(fit, MODELS[model])
    print(first, before, memory("VmHWM"), memory("RssAnon"), 1000 * (time.perf_counter() - begun) / MODELS[model])


def compare(images: Path, cache: Path, model: str) -> None:
    """Compare steps from memory and from the cache, in turn."""
    fits = [prepared(images, where, model) for where in (None, cache)]
    ratios: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        seconds = []
        for fit in fits:
            begun, own = time.perf_counter(), time.thread_time()
            steps(fit, MODELS[model] // 5)
            seconds.append((time.perf_counter() - begun, time.thread_time() - own))
        for k in range(2):
            ratios[k].append(seconds[1][k] / seconds[0][k])
    import torch

    weights = [fit.state.model.state_dict() for fit in fits]
    equal = all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    print(statistics.median(ratios[0]), statistics.median(ratios[1]), float(equal))


def child(task: str, *arguments: object) -> list[float]:
    """Return what a process of its own has measured."""
    run = subprocess.run(
        [sys.executable, __file__, "--task", task, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | {"BEGUN": str(time.time())},
    )
    return [*map(float, run.stdout.split())]


def throw_out(cache: Path) -> None:
    """Have the system forget the pixels."""
    for path in cache.glob("pixels-*"):
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def table(folder: Path, sizes: list[float], compared: float | None) -> None:
    folder.mkdir(exist_ok=True)
    cache = folder / "cache"
    print(
        "    GB images   filling          memory  first step, cold    warm  memory  after steps  anonymous  ms a step"
    )
    for size in sizes:
        images = corpus(folder, size)
        seconds, peak = child("fill", images, cache)
        count, filled = len(os.listdir(images)), f"{seconds:6.0f} s{peak:14.0f} MB"
        for model in MODELS:
            throw_out(cache)
            cold = child("start", images, cache, model)
            warm = child("start", images, cache, model)
            print(
                f"{size:6g}{count:7}{filled}{cold[0]:16.1f} s{warm[0]:6.1f} s{max(cold[1], warm[1]):5.0f} MB"
                f"{max(cold[2], warm[2]):9.0f} MB{max(cold[3], warm[3]):8.0f} MB{warm[4]:11.1f}  {model}",
                flush=True,
            )
        shutil.rmtree(cache)
    if compared:
        images = corpus(folder, compared)
        child("fill", images, cache)
        print(f"\nfrom the cache over from memory, {compared:g} GB, the same to the last bit")
        for model in MODELS:
            wall, own, equal = child("compare", images, cache, model)
            print(
                f"{model:8}time {wall:5.2f}   of the thread that computes {own:5.2f}   "
                + ("equal" if equal else "DIFFERENT")
            )
        shutil.rmtree(cache)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--task"]:
        _, _, task, images, cache, *more = sys.argv
        {"fill": fill, "start": start, "compare": compare}[task](Path(images), Path(cache), *more)
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("folder", type=Path)
        parser.add_argument("sizes", type=float, nargs="*", default=[0.1, 1.0])
        parser.add_argument("--compare", type=float)
        options = parser.parse_args()
        table(options.folder, options.sizes, options.compare)
