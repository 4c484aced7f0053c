"""What does each sampler come to, and after how many steps?

    python benchmarks/stepping.py VAL [--model natural-gray] [--sigma 25] [--steps 2,5,10,20] [--size S]

The PSNR on VAL, float noise, of every sampler that the model takes, with its own step size or the one given, for each
number of steps.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from protocol import noisy_pairs, psnr_on

import smdae
from smdae.denoising import SAMPLERS, denoise


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("val", type=Path)
    parser.add_argument("--model", default="natural-gray")
    parser.add_argument("--sigma", type=float, default=25)
    parser.add_argument("--steps", default="2,5,10,20")
    parser.add_argument("--size", type=float)
    options = parser.parse_args()
    model = smdae.load(options.model)
    pairs = noisy_pairs(options.val, options.sigma)
    print(f"{options.model}, sigma {options.sigma:g}")
    for name, row in SAMPLERS.items():
        if row.needs_range and model.level is not None:
            continue
        for count in [1] if row.most == 1 else map(int, options.steps.split(",")):
            how = {"sampler": name, "steps": count, "step_size": None if row.size is None else options.size}

            def run(image: np.ndarray, how: dict = how) -> np.ndarray:
                return denoise(image / np.float32(255), model, options.sigma / 255, **how) * 255

            print(f"{name:16}{count:5}{psnr_on(pairs, run):8.2f}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
