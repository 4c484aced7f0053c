"""How often is shot noise told from white noise, and what is lost where it is not?

    python -m benchmarks.shot_noise FOLDER [--names PATTERN] [--every K] [--seed N]

Every Kth picture of FOLDER whose name fits PATTERN gets, as gray values of 8 bits, white noise of several levels,
Poisson counts of several gains with read noise of 1.5, and speckle, which grows in proportion to brightness. The table
counts those that are taken for shot noise, and compares the PSNR of the small network, in dB and as a mean over the
pictures, when the noise is found in the picture and when it is told.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.markdown_table import head, row
from benchmarks.network_sizes import psnr
from smdae.curves import Table
from smdae.denoising.denoise import denoise
from smdae.denoising.noise_search import estimate_noise
from smdae.memory import keep_freed_memory
from smdae.noise import Noise

NETWORK = "natural-gray-small"
READ, SPECKLE = 1.5, 0.15  # gray levels; share of the brightness
Added = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # from a clean picture to a noisy one


def white(sigma: float) -> tuple[Added, Noise]:
    """Return what adds white noise, and the noise."""
    return lambda x, rng: x + sigma * rng.standard_normal(x.shape), Noise.gaussian(sigma, 255.0)


def shot(gain: float) -> tuple[Added, Noise]:
    """Return what counts photons, each of which is `gain` gray levels, and the noise."""

    def counted(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return gain * rng.poisson(x / gain) + READ * rng.standard_normal(x.shape)

    return counted, Noise.poisson_gaussian(gain, READ, white=255.0)


def speckle() -> tuple[Added, Noise]:
    """Return what adds speckle and read noise, and the noise."""
    at = np.linspace(0, 255, 52)

    def sd(x: np.ndarray) -> np.ndarray:
        return np.hypot(SPECKLE * x, READ)

    return lambda x, rng: x + sd(x) * rng.standard_normal(x.shape), Noise((Table(tuple(at), tuple(sd(at))),), 255.0)


NOISES = {
    "white, sigma 3": white(3),
    "white, sigma 8": white(8),
    "white, sigma 20": white(20),
    "white, sigma 50": white(50),
    "shot, gain 0.5": shot(0.5),
    "shot, gain 3": shot(3),
    "shot, gain 8": shot(8),
    "speckle": speckle(),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--names", default="*", metavar="PATTERN")
    parser.add_argument("--every", type=int, default=1, metavar="K")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    keep_freed_memory()
    paths = sorted(options.folder.glob(options.names))[:: options.every]
    print(head("noise", "pictures", "taken for shot noise", "noisy", "denoised", "noise told"))
    for name, (added, noise) in NOISES.items():
        rng = np.random.default_rng(options.seed)
        figures, found = [], 0
        for path in paths:
            clean = np.asarray(Image.open(path).convert("L"))
            noisy = added(clean.astype(np.float64), rng).round().clip(0, 255).astype(np.uint8)
            found += estimate_noise(noisy).kind == "shot"
            results = noisy, denoise(noisy, NETWORK), denoise(noisy, NETWORK, noise=noise)
            figures.append([psnr(result, clean) for result in results])
        means = np.mean(figures, 0)
        print(row(name, len(paths), found, *(f"{value:.2f}" for value in means)), flush=True)


if __name__ == "__main__":
    main()
