"""Folders of synthetic photographs: the sample picture, turned, shifted and mirrored, each with noise of its own."""

from pathlib import Path

import numpy as np
from PIL import Image

SAMPLE = Path(__file__).parent.parent / "sample_data" / "clean.png"


def photograph(side: int, seed: int, sigma: float) -> np.ndarray:
    """Return a noisy 8-bit gray picture with shape (side, side)."""
    generator = np.random.default_rng(seed)
    clean = np.asarray(Image.open(SAMPLE).convert("L"))
    clean = np.roll(np.rot90(clean, seed % 4), generator.integers(0, 512, 2), (0, 1))
    grown = np.pad(clean, [(0, max(0, side - length)) for length in clean.shape], mode="symmetric")[:side, :side]
    noisy = grown + sigma * generator.standard_normal(grown.shape, np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def fill(folder: Path, count: int, side: int = 1024, sigma: float = 25.0) -> Path:
    """Write that many of them as PNG files into a new folder, and return it."""
    folder.mkdir()
    for seed in range(count):
        Image.fromarray(photograph(side, seed, sigma)).save(folder / f"{seed:04}.png")
    return folder
