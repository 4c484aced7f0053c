"""How good and fast is smdae now, how much memory does it take, how does it scale? Figures for `python -m benchmarks`.

Each kind of figure has a generator, small enough to be run after each change.

Speeds are ratios of two things timed in turn in one run, as medians, so that figures of two runs on a noisy machine can
be compared; seconds stand beside them and are not compared.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from place import ROOT, environment
from protocol import noisy_pairs, psnr_on
from timing import in_turn, median, ratio

import smdae
from smdae.densities import Parzen
from smdae.fitting import Settings, prepare
from smdae.fitting.loop import step
from smdae.models import EnergyModel, Patchwise

SAMPLES = ROOT / "sample_data"


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        name: What it is of.
        value: How much.
        unit: Of what.
        better: "higher" or "lower"; empty where two runs are not compared.
        tolerance: By what share it may change by chance.
    """

    name: str
    value: float
    unit: str
    better: str = ""
    tolerance: float = 0.1


def quality(data: Path | None) -> Iterator[Figure]:
    """Measure the PSNR of the bundled networks, on Set12 and McMaster, if any, and on the samples; of a short fit."""
    folders = [data / "val" / name for name in ("Set12", "McMaster")] if data else []
    for folder in filter(Path.is_dir, folders):
        model = smdae.load("natural-gray" if folder.name == "Set12" else "natural-color")
        for sigma in (15, 25, 50):
            pairs = noisy_pairs(folder, sigma)
            value = psnr_on(pairs, partial(smdae.denoise, model=model, sigma=sigma, white=255))
            yield Figure(f"{folder.name}, sigma {sigma}", value, "dB", "higher", 0.0005)
    noisy, clean = (np.asarray(Image.open(SAMPLES / name)) for name in ("noisy.png", "clean.png"))
    result = smdae.denoise(noisy, "natural-gray").astype(float)
    error = np.mean((result - clean) ** 2)
    yield Figure("sample, 8 bits, sigma found", 10 * np.log10(255**2 / error), "dB", "higher", 0.0005)
    images = [np.asarray(Image.open(path).convert("L")) for path in sorted((SAMPLES / "patches").glob("*.png"))]
    prepared = prepare(images, 255.0, Settings(max_steps=1000))
    *_, last = prepared.run()
    assert last.validation is not None
    yield Figure("energy, 1,000 steps on the samples", last.validation.value, "dB", "higher", 0.001)


def speed(data: Path | None) -> Iterator[Figure]:
    """Time the network, the energy and the Parzen score, beside one large convolution and one large product."""
    y = torch.rand(1, 1, 1024, 1024)
    x = torch.rand(1, 128, 256, 256).contiguous(memory_format=torch.channels_last)
    convolution = torch.nn.Conv2d(128, 128, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    network = smdae.load("natural-gray")
    with torch.inference_mode():
        times = in_turn({"convolution": lambda: convolution(x), "network": lambda: network.score(y, 0.1)}, 7)
    yield Figure("network, 1 megapixel", median(times["network"]), "s")
    yield Figure("network, in large convolutions", ratio(times["network"], times["convolution"]), "", "lower")

    images = [np.asarray(Image.open(path).convert("L")) for path in sorted((SAMPLES / "patches").glob("*.png"))]
    a, b = torch.rand(1024, 144), torch.rand(144, 512)
    fits = {name: prepare(images, 255.0, Settings(objective=name, batch=1024)) for name in ("dsm", "ism")}

    def steps(prepared: smdae.fitting.Prepared) -> Callable[[], None]:
        def run() -> None:
            for _ in range(20):
                batch = prepared.examples.draw(1024, prepared.state.generator)
                step(prepared.state, batch, prepared.examples, 1e-3)

        return run

    runs = {name: steps(prepared) for name, prepared in fits.items()}
    times = in_turn({"products": lambda: [a @ b for _ in range(100)], **runs}, 7)
    yield Figure("dsm step of the energy", median(times["dsm"]) / 20, "s")
    yield Figure("dsm step, its five products = 1", ratio(times["dsm"], times["products"]), "", "lower")
    yield Figure("ism step, in dsm steps", ratio(times["ism"], times["dsm"]), "", "lower")

    patches = torch.rand(50_000, 144)
    queries, q = patches[:512], Parzen(patches, 0.1)
    times = in_turn({"products": lambda: (queries @ patches.T) @ patches, "score": lambda: q.score(queries)}, 5)
    yield Figure("Parzen score, its two products = 1", ratio(times["score"], times["products"]), "", "lower")

    patchwise = Patchwise(EnergyModel(144, 512, 1.0, level=0.1, free_means=1), 1, 12)
    image = torch.rand(1, 1, 256, 256)
    with torch.inference_mode():
        times = in_turn({"energy": lambda: patchwise.score(image), "network": lambda: network.score(image, 0.1)}, 5)
    yield Figure("energy, in networks", ratio(times["energy"], times["network"]), "", "lower")


def memory(data: Path | None) -> Iterator[Figure]:
    """Measure the peaks of memory of whole processes."""
    with tempfile.TemporaryDirectory() as folder:
        picture, target = Path(folder) / "noisy.png", Path(folder) / "clean.png"
        noise = np.random.default_rng(0).normal(128, 40, (4000, 4000)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noise).save(picture, compress_level=1)
        yield Figure("import smdae, torch", _peak("-c", "import torch, smdae.models"), "MB", "lower", 0.05)
        arguments = ("-m", "smdae", "denoise", str(picture), "-s", "25", "-y", "-o", str(target))
        yield Figure("denoise 16 megapixels", _peak(*arguments), "MB", "lower")
        fit = ("-m", "smdae", "fit", str(SAMPLES / "patches"), "-y", "-o", f"{folder}/m.safetensors", "--max-steps")
        yield Figure("fit the energy", _peak(*fit, "200"), "MB", "lower")
        yield Figure("fit the network", _peak(*fit, "5", "--model", "unet"), "MB", "lower")


def _peak(*arguments: str) -> float:
    """Return the largest resident memory of a process of Python, in MB."""
    code = "import os, subprocess, sys, resource\nsubprocess.run([sys.executable, *sys.argv[1:]], check=True, "
    code += "stdout=2)\nprint(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, env=environment())
    return int(done.stdout) / 1024


def scaling(data: Path | None) -> Iterator[Figure]:
    """Compare two processes of one core each with one of one core: steps of a fit a second."""
    script = str(ROOT / "benchmarks" / "scaling.py")
    command = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script)
    done = subprocess.run(
        [sys.executable, *command], check=True, capture_output=True, env=environment() | {"OMP_NUM_THREADS": "1"}
    )
    for line in done.stdout.decode().splitlines()[1:]:
        model, batch, *_, gain = line.split()
        yield Figure(f"{model}, batch {batch}, two processes", float(gain), "times one", "higher")


def startup(data: Path | None) -> Iterator[Figure]:
    """Time whole processes beside one that loads torch alone."""
    with tempfile.TemporaryDirectory() as folder:
        target = f"{folder}/clean.png"
        denoise = ("-m", "smdae", "denoise", str(SAMPLES / "noisy.png"), "-y", "-o", target, "-s", "25")
        times = in_turn(
            {
                "python": lambda: _run("-c", "pass"),
                "torch": lambda: _run("-c", "import torch"),
                "help": lambda: _run("-m", "smdae", "--help"),
                "denoise": lambda: _run(*denoise),
            },
            5,
        )
    yield Figure("import torch", median(times["torch"]), "s")
    yield Figure("smdae --help, in import torch", ratio(times["help"], times["torch"]), "", "lower")
    yield Figure("denoise the sample, in import torch", ratio(times["denoise"], times["torch"]), "", "lower")


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment())


KINDS: dict[str, Callable[[Path | None], Iterator[Figure]]] = {
    "quality": quality,
    "speed": speed,
    "memory": memory,
    "scaling": scaling,
    "start-up": startup,
}
