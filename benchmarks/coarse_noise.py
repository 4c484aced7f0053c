"""How much noise that is coarser than the pixels is taken out, and how often is a clean picture taken for it?

    python -m benchmarks.coarse_noise noisy FOLDER [--count N] [--fast]
    python -m benchmarks.coarse_noise clean FOLDER [--every K]

The first enlarges N pictures twice and adds noise of sigma 12 under a Gaussian filter of several widths, independent
in the channels or the same in all; or it adds white noise of sigma 15, and enlarges then. All are denoised without
options, and the PSNR is a mean over the pictures. The second looks at every Kth picture as it is, enlarged, blurred,
filtered and shrunk, and counts those in which noise that is coarser than the pixels is found.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter

from benchmarks.cameras import clean_pictures
from benchmarks.markdown_table import head, row
from benchmarks.network_sizes import psnr
from smdae.denoising.coarse import enlarged
from smdae.denoising.denoise import denoise
from smdae.denoising.noise_search import estimate_noise
from smdae.memory import keep_freed_memory

SIGMA, SIGMA_BEFORE = 12.0, 15.0
LARGEST = 480  # pixels a side that are used of a picture
NOISES = {
    "Gaussian filter of 1 px": ("filtered", 1.0, 3),
    "1.5 px, alike in all channels": ("filtered", 1.5, 1),
    "2 px": ("filtered", 2.0, 3),
    "2 px, alike in all channels": ("filtered", 2.0, 1),
    "3 px": ("filtered", 3.0, 3),
    "4 px": ("filtered", 4.0, 3),
    "white, then enlarged 2 times": ("enlarged", 2, 3),
    "white, then enlarged 3 times": ("enlarged", 3, 3),
    "white, then enlarged 4 times": ("enlarged", 4, 3),
}
CLEAN: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as they are": lambda image: image,
    "enlarged 2 times": lambda image: _times(image, 2),
    "enlarged 3 times": lambda image: _times(image, 3),
    "blurred, 1 px": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "blurred, 2 px": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "median of 5 x 5": lambda image: image.filter(ImageFilter.MedianFilter(5)),
    "shrunk to 0.7": lambda image: image.resize(
        (image.width * 7 // 10, image.height * 7 // 10), Image.Resampling.LANCZOS
    ),
}


def _times(image: Image.Image, factor: int) -> Image.Image:
    """Return the upper left part of a picture enlarged, LARGEST pixels a side at most."""
    part = image.crop((0, 0, min(image.width, LARGEST // factor), min(image.height, LARGEST // factor)))
    return part.resize((part.width * factor, part.height * factor), Image.Resampling.BICUBIC)


def _tensor(picture: np.ndarray) -> torch.Tensor:
    """Return a picture, (H, W, 3), as a tensor, (1, 3, H, W)."""
    return torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None]


def _filtered(e: torch.Tensor, width: float) -> torch.Tensor:
    """Return noise, (1, C, H, W), under a Gaussian filter, with standard deviation 1."""
    at = torch.arange(-round(4 * width), round(4 * width) + 1)
    weights = torch.exp(-(at**2) / (2 * width**2))
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        kernel = weights.reshape(shape).repeat(e.shape[1], 1, 1, 1)
        e = torch.nn.functional.conv2d(e, kernel, padding="same", groups=e.shape[1])
    return e / e.std()


def _pair(picture: np.ndarray, how: str, size: float, channels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture with such noise, uint8, and without, both (H, W, 3)."""
    generator = torch.Generator().manual_seed(seed)
    if how == "filtered":
        y = _tensor(picture)[..., : LARGEST // 2, : LARGEST // 2]
        clean = enlarged(y, 2, [2 * side for side in y.shape[-2:]])
        e = torch.randn(1, channels, *clean.shape[-2:], generator=generator)
        noisy = clean + SIGMA * _filtered(e, size)
    else:
        factor = int(size)
        y = _tensor(picture)[..., : LARGEST // factor, : LARGEST // factor]
        e = torch.randn(y.shape, generator=generator)
        clean, noisy = (
            enlarged(x, factor, [factor * side for side in y.shape[-2:]]) for x in (y, y + SIGMA_BEFORE * e)
        )
    of_both = (x[0].permute(1, 2, 0).numpy() for x in (noisy, clean))
    return np.clip(np.rint(next(of_both)), 0, 255).astype(np.uint8), next(of_both)


def noisy_table(folder: Path, count: int, model: str) -> None:
    """Print what is found of each noise in `count` pictures of a folder, and the PSNR before and after."""
    pictures = clean_pictures(folder, count, seed=0, scale=1)
    print(head("", "found", "noisy", "denoised", "least gain"), flush=True)
    for name, (how, size, channels) in NOISES.items():
        found, before, after = 0, [], []
        for seed, picture in enumerate(pictures):
            noisy, clean = _pair(picture, how, size, channels, seed)
            result = denoise(noisy, model)
            found += not np.array_equal(result, noisy)
            before.append(psnr(noisy, clean))
            after.append(psnr(result, clean))
        least = np.subtract(after, before).min()
        means = (f"{np.mean(psnrs):.2f}" for psnrs in (before, after))
        print(row(name, f"{found} of {len(pictures)}", *means, f"{least:+.2f}"), flush=True)


def clean_table(folder: Path, every: int) -> None:
    """Print in how many of every Kth picture of a folder noise is found that is coarser than the pixels."""
    paths = sorted(folder.iterdir())[::every]
    print(head("clean pictures", "count", "taken for coarse noise"), flush=True)
    for name, change in CLEAN.items():
        wrong = 0
        for path in paths:
            with Image.open(path) as image:
                wrong += estimate_noise(np.asarray(change(image.convert("RGB")))).coarseness > 1
        print(row(name, len(paths), wrong), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("table", choices=("noisy", "clean"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--fast", action="store_true")
    options = parser.parse_args()
    if options.table == "noisy":
        noisy_table(options.folder, options.count, "natural-color-small" if options.fast else "natural-color")
    else:
        clean_table(options.folder, options.every)


if __name__ == "__main__":
    keep_freed_memory()
    torch.set_num_threads(1)
    main()
