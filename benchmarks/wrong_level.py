"""What does a wrong sigma cost a fit on noisy images alone?

    python benchmarks/wrong_level.py TRAIN VAL [--model energy] [--sigma 25] [SETTING=VALUE...]

The images of TRAIN have noise of one level, and implicit score matching is given another. The PSNR on VAL, whose noise
has the true level, of models that are used at the level that they were given.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import yaml
from noisy_fits import SETTINGS, fitted, with_noise
from protocol import noisy_pairs, psnr_on

from smdae.denoising.denoise import denoise
from smdae.files.corpus import gather
from smdae.memory import keep_freed_memory

SHARES = (0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("train", type=Path)
    parser.add_argument("val", type=Path)
    parser.add_argument("--model", default="energy")
    parser.add_argument("--sigma", type=float, default=25)
    parser.add_argument("settings", nargs="*")
    options = parser.parse_intermixed_args()
    given = {name: yaml.safe_load(value) for name, value in (setting.split("=") for setting in options.settings)}
    noisy = with_noise(gather([options.train], 64, color=False).images, options.sigma)
    pairs = noisy_pairs(options.val, options.sigma)
    print(f"{options.model}, true sigma {options.sigma:g}, {SETTINGS | given}")
    print(f"{'given':>6}{'PSNR':>8}{'lost':>7}", flush=True)
    found = {}
    for share in sorted(SHARES, key=lambda share: abs(share - 1)):
        sigma = share * options.sigma
        alike = {"model": options.model, "objective": "ism", "noisy": True, "sigma": sigma}
        model = fitted(noisy, 1.0, {**SETTINGS, **alike, **given}, "cpu")
        found[share] = psnr_on(
            pairs, lambda image, model=model, sigma=sigma: denoise(image / np.float32(255), model, sigma / 255) * 255
        )
        print(f"{sigma:6.4g}{found[share]:8.2f}{found[1.0] - found[share]:7.2f}", flush=True)


if __name__ == "__main__":
    keep_freed_memory()
    torch.set_num_threads(1)
    main()
