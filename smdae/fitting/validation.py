"""How good a model is on held-out images, while it is fitted and after.

A model that knows the level of the noise denoises crops of the held-out images by one Tweedie step, and its figure is
their PSNR. A model of the clean density, as `ism` on clean data fits, has no noise to remove: its figure is -J.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from smdae.denoising.quality import psnr
from smdae.fitting.examples import Batch, Examples
from smdae.fitting.patches import Patches

__all__ = ["Crops", "Validation", "by_denoising", "by_objective"]

CROP = 64  # pixels on a side, at most
CROPS = 16
BATCH = 4096  # held-out patches for J


@dataclass(frozen=True)
class Validation:
    """A held-out figure: the higher, the better.

    Attributes:
        value: PSNR in dB, or -J.
        kind: Which of the two.
    """

    value: float
    kind: str


@dataclass(frozen=True, eq=False)
class Crops:
    """Clean and noisy crops, each with shape (1, C, h, w), white being 1, and the level of the noise."""

    pairs: tuple[tuple[Tensor, Tensor, float], ...]

    @classmethod
    def of(cls, held_out: Patches, levels: Sequence[float], generator: Generator) -> "Crops":
        """Crops from the middle of up to 16 of the images, with noise at each of the levels."""
        chosen = torch.linspace(0, len(held_out) - 1, min(CROPS, len(held_out))).round().long().tolist()
        pairs = []
        for i in chosen:
            image = held_out.image(i)
            top, left = (max(0, (side - CROP) // 2) for side in image.shape[1:])
            clean = image[None, :, top : top + CROP, left : left + CROP]
            noise = torch.randn(clean.shape, generator=generator, device=clean.device)
            pairs += [(clean, clean + sigma * noise, sigma) for sigma in levels]
        return cls(tuple(pairs))

    @torch.no_grad()
    def psnr(self, model: Any | None = None, level: float | None = None) -> float:
        """Mean PSNR in dB of the crops of one level or of all, after one Tweedie step of a model or as they are."""
        values = []
        for clean, noisy, sigma in self.pairs:
            if level in (None, sigma):
                estimate = noisy if model is None else noisy + sigma**2 * model.score(noisy, sigma)
                values.append(psnr(estimate, clean, white=1.0))
        return sum(values) / len(values)


def by_denoising(crops: Crops, lift: Callable[[Any], Any]) -> Callable[[Any], Validation]:
    """Validation by PSNR of one Tweedie step; `lift` makes an image model of the model that is fitted."""

    return lambda model: Validation(crops.psnr(lift(model)), "PSNR")


def by_objective(examples: Examples, batch: Batch) -> Callable[[Any], Validation]:
    """Validation by -J on a fixed batch of held-out examples."""

    @torch.no_grad()
    def validate(model: Any) -> Validation:
        return Validation(-batch.losses(examples.objective, model).mean().item(), "-J")

    return validate
