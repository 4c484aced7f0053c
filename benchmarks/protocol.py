"""The field's protocol for denoisers: noise added in float from a fixed seed, neither clipped nor rounded, or clipped
to 0 to 255 and rounded as stored pictures are; PSNR of the estimate clipped to 0 to 255, averaged over images.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from smdae.files.corpus import gather


def is_colour(folder: Path) -> bool:
    """Return whether the first picture of a folder is in colour."""
    from PIL import Image

    with Image.open(sorted(p for p in folder.iterdir() if p.is_file())[0]) as image:
        return image.mode == "RGB"


def noisy_pairs(folder: Path, sigma: float, stored: bool = False) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return clean and noisy images, float32 with white 255, or uint8 if `stored`, each (H, W) or (H, W, 3)."""
    pairs = []
    for seed, image in enumerate(gather([folder], 1, color=is_colour(folder)).images):
        clean = image.astype(np.float32)
        noisy = clean + sigma * np.random.default_rng(seed).standard_normal(clean.shape, np.float32)
        pairs.append((clean, np.clip(np.rint(noisy), 0, 255).astype(np.uint8) if stored else noisy))
    return pairs


def psnr_on(pairs: list[tuple[np.ndarray, np.ndarray]], denoiser: Callable[[np.ndarray], np.ndarray]) -> float:
    """Return the mean PSNR of a denoiser in dB."""
    values = []
    for clean, noisy in pairs:
        error = np.clip(denoiser(noisy).astype(np.float64), 0, 255) - clean
        values.append(10 * np.log10(255**2 / np.mean(error**2)))
    return float(np.mean(values))
