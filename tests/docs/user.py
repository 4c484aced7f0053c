"""A program as users write them, for `mypy --strict`: the types of smdae's public names are there, and right.

Nothing runs it; `make types` checks it.
"""

import numpy as np
import torch

import smdae
from smdae import densities, divergence, objectives
from smdae.models import EnergyModel


def denoised(image: np.ndarray) -> np.ndarray:
    """Use what the documentation shows."""
    noise = smdae.estimate_noise(image)
    print(noise.kind, noise.describe(), smdae.__version__)
    return smdae.denoise(image, "natural-gray", noise=noise, strength=0.7)


def judged(image: np.ndarray) -> dict[str, float]:
    """Use what tells how good a result is, and what makes it better."""
    quality = smdae.estimate_psnr(image, "natural-gray", 25.0)
    variance = smdae.posterior_variance(image, "natural-gray", 25.0)
    found = smdae.compare([image], objectives=["dsm"], parts=["learning"], quick=True)
    rows = {str(row["objective"]): row["psnr"] for row in found.tables["learning"]["ends"]}
    better = smdae.denoise(image, smdae.adapt(image, sigma=25.0), 25.0)
    print("; ".join(quality.doubts), rows, found.text)
    return {"psnr": quality.psnr, "variance": float(variance.mean()), "change": float(np.ptp(better - image))}


def losses(patches: torch.Tensor) -> list[torch.Tensor]:
    """Use the pure functions."""
    q = densities.Parzen(patches, sigma=0.1)
    model = EnergyModel(dim=64, hidden=128, sigma=0.1)
    clean, noisy = q.pairs(256, torch.Generator().manual_seed(0))
    probes = divergence.probes(noisy, 2)
    return [
        objectives.denoising(model, noisy, clean, 0.1),
        objectives.explicit(model, noisy, q.score(noisy)),
        objectives.implicit(model, noisy),
        objectives.sliced(model, noisy, probes, 0.1),
    ]
