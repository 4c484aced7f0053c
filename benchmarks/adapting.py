"""What does adapting the bundled network to the very image gain?

    python benchmarks/adapting.py [VAL] [--sigma 25] [--weights all|edges|coarsest|fine]

For each image of VAL, and without it for pictures unlike photographs that scikit-image brings along: the PSNR of
`natural-gray` and of the network adapted to the noisy image alone, what was gained, what the estimate said was gained,
and the seconds that it took on one core. `--weights` moves some of them only.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from protocol import noisy_pairs
from skimage import data

import smdae
from smdae.denoising.denoise import run_task
from smdae.denoising.metrics import psnr
from smdae.denoising.task import Task
from smdae.fitting import adaptation

UNLIKE = ("page", "text", "brick", "grass", "gravel", "cell", "moon", "clock")
KEPT = {
    "all": lambda name: True,
    "edges": lambda name: name.startswith(("stem", "head")),
    "coarsest": lambda name: name.startswith("down.2"),
    "fine": lambda name: not name.startswith(("down.2", "down.1", "up.1")),
}


def pictures(folder: Path | None, sigma: float) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return the name of each picture, its clean and its noisy image, float32 with white 255."""
    if folder:
        names = sorted(p.stem for p in folder.iterdir() if p.is_file())
        return [(name, *pair) for name, pair in zip(names, noisy_pairs(folder, sigma), strict=True)]
    found = []
    for seed, name in enumerate(UNLIKE):
        clean = getattr(data, name)().astype(np.float32)
        noise = np.random.default_rng(seed).standard_normal(clean.shape, np.float32)
        found.append((name, clean, clean + np.float32(sigma) * noise))
    return found


def some(weights: str) -> None:
    """Have `adapt` move these weights only."""
    inner = adaptation.OPTIMISERS["muon"]

    def optimiser(network: torch.nn.Module, rate: float, decay: float) -> torch.optim.Optimizer:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(KEPT[weights](name))
        return inner(network, rate, decay)

    adaptation.OPTIMISERS = {**adaptation.OPTIMISERS, "muon": optimiser}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("val", type=Path, nargs="?")
    parser.add_argument("--sigma", type=float, default=25)
    parser.add_argument("--weights", choices=KEPT, default="all")
    options = parser.parse_args()
    some(options.weights)
    model = smdae.load("natural-gray")
    print(f"sigma {options.sigma:g}, {options.weights} weights")
    print(f"{'image':12}{'before':>8}{'after':>8}{'gain':>7}{'estimated':>11}{'seconds':>9}", flush=True)
    gains = []
    for name, clean, noisy in pictures(options.val, options.sigma):
        image = noisy / np.float32(255)
        task = Task.of(image, model, options.sigma / 255)
        first = run_task(task)
        begun = time.perf_counter()
        network, estimated, _ = adaptation.adapted(task, first)
        seconds = time.perf_counter() - begun
        results = first, run_task(Task.of(image, network, options.sigma / 255))
        before, after = (psnr(torch.from_numpy(r.clip(0, 1)), torch.from_numpy(clean / 255), 1.0) for r in results)
        gains.append(after - before)
        print(f"{name:12}{before:8.2f}{after:8.2f}{gains[-1]:7.2f}{estimated:11.2f}{seconds:9.0f}", flush=True)
    print(f"{'mean':28}{np.mean(gains):7.2f}   least {min(gains):.2f}, most {max(gains):.2f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
