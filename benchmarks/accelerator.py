"""How much of an accelerator does smdae use, and what did each step towards it bring?

    python benchmarks/accelerator.py [-d cuda] [--images 100] [--quick] [--compile]

    ceilings    a large matrix product in TFLOP/s and a large copy in GB/s, read and written, as torch has them
    network     a pass of the bundled network over one megapixel: float32 as it was, TF32, channels last, fewer digits,
                some at once, a graph; as a share of the matrix products in the same numbers and, by the numbers that go
                into and out of each layer, of the copy
    error       float16 and bfloat16 beside float32, in gray levels of 255, and the change of the PSNR
    fit         steps a second of the small network and of the paper's energy, asked for one by one and recorded
    folder      `smdae denoise FOLDER -o OUT/ -s 25` from file to file, by pictures at once
    processes   the same by several processes that share the accelerator, without the seconds in which they start

On a CPU the same, smaller.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from folder import main_quietly
from pictures import fill
from PIL import Image
from torch import nn

import smdae
from smdae.denoising.precision import PRECISIONS, exact
from smdae.files.corpus import gather
from smdae.fitting import loop, prepare
from smdae.fitting.precision import denormals_flushed
from smdae.fitting.settings import check
from smdae.fitting.step_graph import StepGraph
from smdae.memory import keep_freed_memory

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.counting import at_convolutions, multiplications

SAMPLES = Path(__file__).parent.parent / "sample_data"
MORE = 6  # times as many pictures
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def seconds(run: Callable[[], object], device: torch.device, least: float = 0.3) -> float:
    """Return the median time of a call in s, over rounds of as many calls as fill a while, none waiting for others."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        run()
    wait()
    begun = time.perf_counter()
    run()
    wait()
    count = max(1, int(least / 5 / max(time.perf_counter() - begun, 1e-6)))
    found = []
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(count):
            run()
        wait()
        found.append((time.perf_counter() - begun) / count)
    return statistics.median(found)


def ceilings(device: torch.device, n: int) -> dict[str, float]:
    """Return operations a second of products n x n by name, and bytes a second of a copy."""
    rates = {}
    for name, dtype in {**DTYPES, "TF32": torch.float32}.items():
        if name == "TF32" and device.type != "cuda":
            continue
        a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
        torch.backends.cuda.matmul.allow_tf32 = name == "TF32"
        rates[name] = 2 * n**3 / seconds(lambda a=a, b=b: a @ b, device)
        print(f"matrix product {n} x {n}, {name:10}{rates[name] / 1e12:10.2f} TFLOP/s", flush=True)
    torch.backends.cuda.matmul.allow_tf32 = False
    source = torch.rand(n * n * 4, device=device)
    target = torch.empty_like(source)
    rates["copy"] = 8 * source.numel() / seconds(lambda: target.copy_(source), device)
    print(f"{'copy':42}{rates['copy'] / 1e9:10.0f} GB/s", flush=True)
    return rates


def traffic(model: nn.Module, run: Callable[[], object]) -> int:
    """Return how many numbers go into and out of the convolutions of a call."""
    return at_convolutions(model, run, lambda _, x, y: x.numel() + y.numel())


def network(device: torch.device, rates: dict[str, float], side: int, with_compile: bool) -> None:
    """Print the table of a pass of the network."""
    model = smdae.load("natural-gray").to(device).clipped(1.0)
    y = torch.rand(1, 1, side, side, device=device)
    run = lambda: model.score(y, 0.1)  # noqa: E731
    with torch.inference_mode():
        operations, numbers = 2 * multiplications(model, run), traffic(model, run)
    print(f"\n{'a pass over ' + str(side) + ' x ' + str(side):38}{'ms':>8}{'images/s':>10}{'products':>10}{'copy':>7}")

    def row(name: str, precision: str, run: Callable[[], object], images: int = 1) -> None:
        with torch.inference_mode():
            each = seconds(run, device) / images
        share = operations / each / rates[precision]
        size = 4 if precision in ("float32", "TF32") else 2
        print(
            f"{name:38}{1000 * each:8.2f}{1 / each:10.0f}{share:10.1%}{size * numbers / each / rates['copy']:7.0%}",
            flush=True,
        )

    def passes(model: Any, images: int = 1) -> Callable[[], object]:
        batch = y.expand(images, -1, -1, -1).contiguous()
        return lambda: model.score(batch, 0.1)

    if device.type == "cuda":
        row("as it was: TF32, kernels in their order", "TF32", passes(model))
    with exact():
        row("float32", "float32", passes(model))
    last = smdae.load("natural-gray").to(device, memory_format=torch.channels_last).clipped(1.0)
    with exact():
        row("float32, kernels channels last", "float32", passes(last))
    for name in ("bfloat16", "float16"):
        if device.type == "cpu" and name == "float16":
            continue  # slow there, by far
        lower = last.with_products_in(PRECISIONS[name])
        row(name, name, passes(lower))
        for images in (2, 4, 8):
            row(f"{name}, {images} at once", name, passes(lower, images), images)
        if device.type == "cuda":
            with torch.inference_mode():
                recorded = graph_of(passes(lower))
            row(f"{name}, a graph", name, recorded)
            torch.backends.cudnn.benchmark = True
            row(f"{name}, cudnn.benchmark", name, passes(lower))
            torch.backends.cudnn.benchmark = False
    if with_compile:
        lower = last.with_products_in(PRECISIONS["float16" if device.type == "cuda" else "bfloat16"])
        compiled = torch.compile(lower._pass)
        probe = torch.rand(1, 6, side // 2, side // 2, device=device).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            begun = time.perf_counter()
            compiled(probe)
            print(f"to compile takes {time.perf_counter() - begun:.1f} s")
        for name, layers in (("layers alone", lower._pass), ("layers alone, compiled", compiled)):
            row(name, "bfloat16", partial(layers, probe))


def graph_of(run: Callable[[], object]) -> Callable[[], object]:
    """Return a function that replays a call as a CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def error(device: torch.device, folders: list[Path]) -> None:
    """Print the table of errors: over all pictures, on 8-bit noise, by a network with an input for it."""
    names = [name for name, dtype in PRECISIONS.items() if dtype]
    model = smdae.load("natural-gray").to(device)
    images = [np.asarray(Image.open(p).convert("L")) for f in folders for p in ([f] if f.is_file() else f.iterdir())]
    print(f"\n{len(images)} images, gray levels    " + "".join(f"{name + ': RMS, max, dB':>36}" for name in names))
    for sigma in (5, 15, 25, 50):
        errors: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
        for seed, clean in enumerate(images):
            noise = np.random.default_rng(seed).standard_normal(clean.shape, np.float32)
            y = torch.from_numpy(np.clip(np.rint(clean + sigma * noise), 0, 255).astype(np.float32) / 255)
            y, x = y[None, None].to(device), torch.from_numpy(clean / np.float32(255)).to(device)
            with torch.inference_mode(), exact():
                before = model.clipped(1.0).reconstruct(y, sigma / 255)
                for name in names:
                    after = model.clipped(1.0).with_products_in(PRECISIONS[name]).reconstruct(y, sigma / 255)
                    apart = 255 * (after - before)
                    loss = [(z.clamp(0, 1) - x).square().mean().item() for z in (after, before)]
                    errors[name].append(
                        (apart.square().mean().item(), apart.abs().max().item(), -10 * np.log10(loss[0] / loss[1]))
                    )
        row = ""
        for values in errors.values():
            square, largest, gain = np.array(values).T
            row += f"{square.mean() ** 0.5:14.3f}{largest.max():7.2f}{gain.mean():8.4f}{gain.min():8.4f}"
        print(f"sigma {sigma:<10}{row}", flush=True)


def fits(device: torch.device, rates: dict[str, float], least: float) -> None:
    """Print the table of fits."""
    images = gather([SAMPLES / "patches"], 64)
    print(f"\n{'steps of a fit':44}{'steps/s':>9}{'ms':>8}{'products':>10}")
    for name, values, operations, dtype in (
        ("small network, 16 of 64 x 64, bfloat16", {"model": "unet"}, 6 * 14_600 * 16 * 64**2, "bfloat16"),
        ("small network, 64 of 64 x 64, bfloat16", {"model": "unet", "batch": 64}, 6 * 14_600 * 64**3, "bfloat16"),
        ("energy, 512 of 12 x 12, 512 units, float32", {}, 10 * 512 * 144 * 512, "float32"),
    ):
        for recorded in (False, True) if device.type == "cuda" else (False,):
            with denormals_flushed():
                prepared = prepare(images.images, images.white, check({"seed": 1, **values}), device)
                state, examples = prepared.state, prepared.examples
                record = StepGraph.of(state, examples, loop.step) if recorded else None

                def step(state: Any = state, examples: Any = examples, record: Any = record) -> None:
                    if record:
                        record(1e-3, 0.01, 0.0)
                    else:
                        batch = examples.draw(state.settings.batch, state.generator)
                        loop.step(state, batch, examples, 1e-3)

                for _ in range(5):
                    step()
                each = seconds(step, device, least)
            label = f"{name}{', recorded' if recorded else ''}"
            print(f"{label:54}{1 / each:9.0f}{1000 * each:8.3f}{operations / each / rates[dtype]:10.1%}", flush=True)


def folder(device: torch.device, count: int) -> None:
    """Print the table of folders."""
    print(f"\n{count} pictures of 1 megapixel, file to file{'images/s':>12}")
    with tempfile.TemporaryDirectory() as place:
        room = Path(place)
        fill(room / "in", count)

        def command(*more: object) -> float:
            options = ("-s", 25, "-d", device, "-y", *more)
            return main_quietly("denoise", room / "in", "-o", f"{room / 'out'}/", *options)

        command()
        for name, more in (
            *((f"-j {jobs}", ("-j", jobs)) for jobs in (1, 4, 8, 16)),
            ("as it comes", ()),
            ("as it comes, float32", ("--precision", "float32")),
            ("as it comes, level estimated", ("-s", "auto")),
        ):
            found = [command(*more) for _ in range(2)]
            print(f"{name:44}{count / min(found):10.1f}", flush=True)


def processes(device: torch.device, count: int) -> None:
    """Print the table of processes on one accelerator: what many pictures take longer than few."""
    print(f"\n{'by processes on one device, file to file':44}{'images/s':>10}")
    with tempfile.TemporaryDirectory() as place:
        room = Path(place)
        few, many = fill(room / "few", count), room / "many"
        many.mkdir()
        for path, again in product(few.iterdir(), range(MORE)):
            os.link(path, many / f"{again}-{path.name}")

        def taken(inputs: Path, size: int, jobs: int) -> float:
            launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", size)
            options = ("-o", f"{room / 'out'}/", "-s", 25, "-d", device, "-y", "-j", jobs)
            words = [str(word) for word in (*launcher, "-m", "smdae", "denoise", inputs, *options)]
            begun = time.perf_counter()
            subprocess.run(words, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
            return time.perf_counter() - begun

        for size, jobs in ((2, 4), (2, 8), (4, 2), (4, 4), (8, 2)):
            longer = taken(many, size, jobs) - taken(few, size, jobs)
            print(f"{f'{size} processes, -j {jobs}':44}{(MORE - 1) * count / longer:10.1f}", flush=True)


def benchmark() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-d", "--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--clean", type=Path, nargs="*", default=[SAMPLES / "clean.png"])
    options = parser.parse_args()
    device = torch.device(options.device)
    large = device.type == "cuda" and not options.quick
    rates = ceilings(device, 8192 if large else 1024)
    folder(device, options.images)
    processes(torch.device("cuda:0") if device.type == "cuda" else device, options.images)
    network(device, rates, 1024 if large else 512, options.compile)
    error(device, options.clean)
    fits(device, rates, 1.0 if large else 0.3)


if __name__ == "__main__":
    keep_freed_memory()
    benchmark()
