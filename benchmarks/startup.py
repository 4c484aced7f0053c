"""What does `smdae denoise` cost beyond loading torch and the network's own time?

    python benchmarks/startup.py

Whole processes in turn, on a 481 x 321 PNG: one that loads torch alone, one that denoises with the bundled gray
network; and the network's time in a process that is warm.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from timing import in_turn, median

import smdae


def run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        noisy = np.random.default_rng(0).normal(128, 40, (321, 481)).clip(0, 255).astype(np.uint8)
        picture = Path(folder) / "noisy.png"
        Image.fromarray(noisy).save(picture)
        model = smdae.load("natural-gray")
        target = str(Path(folder) / "clean.png")
        arguments = ("-m", "smdae", "denoise", str(picture), "-y", "-o", target)
        times = in_turn(
            {
                "import torch": lambda: run("-c", "import torch"),
                "denoise, sigma given": lambda: run(*arguments, "-s", "25"),
                "denoise, sigma found": lambda: run(*arguments),
                "the network": lambda: smdae.denoise(noisy, model, 25),
                "smdae --help": lambda: run("-m", "smdae", "--help"),
            },
            7,
        )
    for name, seconds in times.items():
        print(f"{name:24}{median(seconds):7.3f} s")
    above = [
        whole - torch - network
        for whole, torch, network in zip(
            times["denoise, sigma found"], times["import torch"], times["the network"], strict=True
        )
    ]
    print(f"{'above both':24}{median(above):7.3f} s")
