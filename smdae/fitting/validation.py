"""How good a model is on held-out images, while it is fitted and after.

A model that knows the level of the noise denoises crops of the held-out images by one Tweedie step, and its figure is
their PSNR. Where the images are noisy themselves there is nothing to compare with, and the PSNR is estimated: that of
the mean of Stein's unbiased estimates of the error, along the same probes whatever the model. A model of the clean
density, as `ism` on clean data fits, has no noise to remove: its figure is -J.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from smdae.denoising import risk
from smdae.denoising.quality import psnr
from smdae.denoising.risk import Risk
from smdae.divergence import probes
from smdae.fitting.examples import Batch, Examples
from smdae.fitting.patches import Patches

__all__ = ["Crops", "NoisyCrops", "Validation", "by_denoising", "by_objective"]

CROP = 64  # pixels on a side, at most
NOISY_CROP = 128  # the estimate of an error errs itself, and less on more pixels
CROPS = 16
BATCH = 4096  # held-out patches for J


@dataclass(frozen=True)
class Validation:
    """A held-out figure: the higher, the better.

    Attributes:
        value: PSNR in dB, true or estimated, or -J.
        kind: Which of these.
    """

    value: float
    kind: str


@dataclass(frozen=True, eq=False)
class Crops:
    """Clean and noisy crops, each with shape (1, C, h, w), white being 1, and the level of the noise."""

    pairs: tuple[tuple[Tensor, Tensor, float], ...]
    kind = "PSNR"

    @classmethod
    def of(cls, held_out: Patches, levels: Sequence[float], generator: Generator) -> "Crops":
        """Crops from the middle of up to 16 of the images, with noise at each of the levels."""
        pairs = []
        for _, clean in _middles(held_out, CROP):
            noise = torch.randn(clean.shape, generator=generator, device=clean.device)
            pairs += [(clean, clean + sigma * noise, sigma) for sigma in levels]
        return cls(tuple(pairs))

    @property
    def levels(self) -> list[float]:
        """Those that there are crops of, white being 1, each once."""
        return sorted({sigma for *_, sigma in self.pairs})

    @torch.no_grad()
    def psnr(self, model: Any | None = None, level: float | None = None) -> float:
        """Mean PSNR in dB of the crops of one level or of all, after one Tweedie step of a model or as they are."""
        values = []
        for clean, noisy, sigma in self.pairs:
            if level in (None, sigma):
                estimate = noisy if model is None else _tweedie(model, sigma, noisy)
                values.append(psnr(estimate, clean, white=1.0))
        return sum(values) / len(values)


@dataclass(frozen=True, eq=False)
class NoisyCrops:
    """Crops of noisy images and probes, each with shape (1, C, h, w), white being 1, and the level of the noise."""

    probed: tuple[tuple[Tensor, Tensor, float], ...]
    kind = "estimated PSNR"

    @classmethod
    def of(cls, held_out: Patches, generator: Generator) -> "NoisyCrops":
        """Crops from the middle of up to 16 of the images."""
        assert held_out.levels is not None
        levels = held_out.levels.tolist()
        crops = _middles(held_out, NOISY_CROP)
        return cls(tuple((noisy, probes(noisy, 1, generator)[0], levels[i]) for i, noisy in crops))

    @property
    def levels(self) -> list[float]:
        """Those that there are crops of, white being 1, each once."""
        return sorted({sigma for *_, sigma in self.probed})

    @torch.no_grad()
    def psnr(self, model: Any | None = None, level: float | None = None) -> float:
        """Estimated PSNR in dB of the crops of one level or of all, after a Tweedie step of a model or as they are."""
        found = []
        for noisy, probe, sigma in self.probed:
            if level not in (None, sigma):
                continue
            if model is None:
                found.append(Risk(sigma**2, 0.0, sigma))
                continue
            denoise = partial(_tweedie, model, sigma)
            change = risk.change(denoise, noisy, probe, sigma)
            found.append(risk.estimate(denoise(noisy) - noisy, probe, change, sigma))
        return risk.mean(found).psnr()


def _tweedie(model: Any, sigma: float, noisy: Tensor) -> Tensor:
    return noisy + sigma**2 * model.score(noisy, sigma)


def _middles(held_out: Patches, side: int) -> Iterator[tuple[int, Tensor]]:
    """The middle of up to 16 of the images, evenly chosen: its number, and the crop, with shape (1, C, h, w)."""
    for i in torch.linspace(0, len(held_out) - 1, min(CROPS, len(held_out))).round().long().tolist():
        yield i, held_out.image(i, side)[None]


def by_denoising(crops: Crops | NoisyCrops, lift: Callable[[Any], Any]) -> Callable[[Any], Validation]:
    """Validation by PSNR of one Tweedie step; `lift` makes an image model of the model that is fitted."""

    return lambda model: Validation(crops.psnr(lift(model)), crops.kind)


def by_objective(examples: Examples, batch: Batch) -> Callable[[Any], Validation]:
    """Validation by -J on a fixed batch of held-out examples."""

    @torch.no_grad()
    def validate(model: Any) -> Validation:
        return Validation(-batch.losses(examples.objective, model).mean().item(), "-J")

    return validate
