"""Validation: the figure of a model on held-out images, during a fit and after it.

A model with a noise level denoises crops of the held-out images by one Tweedie step, and its figure is their PSNR. If
the images are noisy themselves, the PSNR is estimated from the mean of Stein's unbiased estimates of the error, always
along the same probes. A model of the clean density, as fitted by `ism` on clean data, has no noise to remove: its
figure is -J.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.denoising import sure
from smdae.denoising.metrics import psnr
from smdae.denoising.sure import Risk
from smdae.divergence import probes
from smdae.fitting.corruption import Corrupted, corrupted, source_side
from smdae.fitting.distributed import ALONE, Group
from smdae.fitting.draws import Batch
from smdae.fitting.examples import Examples
from smdae.fitting.patches import Patches
from smdae.fitting.splitting import choose, roughness
from smdae.noise import Noise
from smdae.protocols import posterior_mean

CROP = 64  # largest side of a crop, in pixels
NOISY_CROP = 128  # likewise for noisy images: the estimated error is more precise on more pixels
CROPS = 16  # largest number of crops
PLACES_PER_AXIS = 4  # places for a crop along each axis, if the middle of an image is flat
ROWS = 4096  # number of held-out rows of numbers, at most, and about that with all their repetitions
REAL_CROPS = 64  # crops with the noise of real pictures
BATCH = 4096  # held-out patches for J
TINY = 1e-30  # in place of a squared error of zero


@dataclass(frozen=True)
class Validation:
    """A held-out figure: the higher, the better."""

    value: float  # PSNR in dB, true or estimated, -J, or -100 times the risk
    kind: str  # the name of that figure: "PSNR", "estimated PSNR", "-J" or "-risk"


class Validate(Protocol):
    """A measure of a model on held-out images; a group of processes shares the work."""

    def __call__(self, model: Any, group: Group = ALONE) -> Validation:
        """Return the model's figure."""


@dataclass(frozen=True, eq=False)
class Crops:
    """Clean and noisy crops of held-out images, white being 1."""

    pairs: tuple[tuple[Tensor, Tensor, float], ...]  # clean and noisy crop, (1, C, h, w), level between
    real: Corrupted | None = None  # pictures with the noise of real ones; None if the model is not fitted to such noise
    of_images: bool = True  # whether values lie between black and white, so that results are clipped, unlike rows
    kind = "PSNR"

    @classmethod
    def of(
        cls,
        held_out: Patches,
        levels: Sequence[float],
        generator: Generator,
        real: bool = False,
        kind: Noise | None = None,
    ) -> "Crops":
        """Return crops of up to 16 held-out images, evenly chosen, each with noise at every level.

        A crop is the middle of its image, or another part where the middle is flat.

        Args:
            held_out: The images, or rows of numbers. The few rows are repeated, each time with other noise.
            levels: Levels of white noise; white, the brightest value, is 1.
            generator: Draws the noise.
            real: Whether to add crops with the noise of real pictures.
            kind: Noise to add in place of white noise; `levels` then holds its level alone. None for white noise.
        """
        pairs = []
        for _, middle in middles(held_out, CROP if held_out.size > 1 else ROWS):
            # Of the few rows that are held out each gets noise many times: by one draw, the best weights were picked by
            # chance.
            clean = middle if held_out.size > 1 else middle.repeat(1, 1, 1, max(1, ROWS // middle.shape[3]))
            if kind is not None:
                e = torch.randn(clean.shape, generator=generator, device=clean.device)
                pairs += [(clean, clean + kind.sd(clean) * kind.correlate(e), levels[0])]
                continue
            noise = torch.randn(clean.shape, generator=generator, device=clean.device)
            pairs += [(clean, clean + sigma * noise, sigma) for sigma in levels]
        if not real:
            return cls(tuple(pairs), of_images=held_out.size > 1)
        crop = min(CROP, held_out.size)  # images are large enough for what patches of the fit are made from
        side = source_side(crop)
        flat = replace(held_out, size=side).draw(REAL_CROPS, generator)
        return cls(tuple(pairs), corrupted(flat.view(REAL_CROPS, -1, side, side), crop, generator))

    @property
    def levels(self) -> list[float]:
        """Return the levels that there are crops of, white being 1, each once."""
        return sorted({sigma for *_, sigma in self.pairs})

    @torch.no_grad()
    def real_psnr(self, model: Any | None = None, group: Group = ALONE) -> float:
        """Return the mean PSNR in dB of the pictures with real noise, after one Tweedie step of an image model.

        None stands for the pictures as they are. The group shares the work.
        """
        assert self.real is not None
        real = self.real

        def psnr_of(i: int) -> float:
            row = slice(i, i + 1)
            noisy, clean, sigma = real.noisy[row], real.clean[row], float(real.sigma[i])
            if model is None:
                return psnr(noisy, clean, white=1.0)
            conditioned = model.clipped(1.0) if real.white[i] else model
            conditioned = conditioned.conditioned(real.conditioning.of_part(row))
            return psnr(posterior_mean(conditioned, noisy, sigma), clean, white=1.0)

        return group.mean(psnr_of, range(len(real.noisy)))

    def mean_psnr(self, model: Any | None = None, group: Group = ALONE) -> float:
        """Return the mean of `psnr` and, if there are pictures with real noise, `real_psnr`, in dB."""
        white = self.psnr(model, group=group)
        return white if self.real is None else (white + self.real_psnr(model, group)) / 2

    @torch.no_grad()
    def psnr(self, model: Any | None = None, level: float | None = None, group: Group = ALONE) -> float:
        """Return the mean PSNR in dB of the crops after one Tweedie step of an image model; None for no step.

        Only crops of a level are used, white being 1, unless it is None. The group shares the work.
        """

        def psnr_of(pair: tuple[Tensor, Tensor, float]) -> float:
            clean, noisy, sigma = pair
            estimate = noisy if model is None else posterior_mean(model, noisy, sigma)
            if not self.of_images:
                return -10 * math.log10((estimate.double() - clean.double()).square().mean().item() or TINY)
            return psnr(estimate, clean, white=1.0)

        return group.mean(psnr_of, [pair for pair in self.pairs if level in (None, pair[2])])


@dataclass(frozen=True, eq=False)
class NoisyCrops:
    """Crops of noisy images and probes, each with shape (1, C, h, w), white being 1, and the level of the noise."""

    probed: tuple[tuple[Tensor, Tensor, float], ...]
    kind = "estimated PSNR"

    @classmethod
    def of(cls, held_out: Patches, generator: Generator) -> "NoisyCrops":
        """Return crops from the middle of up to 16 of the images, and a probe for each."""
        assert held_out.levels is not None
        levels = held_out.levels.tolist()
        crops = middles(held_out, NOISY_CROP)
        return cls(tuple((noisy, probes(noisy, 1, generator)[0], levels[i]) for i, noisy in crops))

    @property
    def levels(self) -> list[float]:
        """Return the levels that there are crops of, white being 1, each once."""
        return sorted({sigma for *_, sigma in self.probed})

    def psnr(self, model: Any | None = None, level: float | None = None, group: Group = ALONE) -> float:
        """Return the PSNR in dB of the crops, as `Crops.psnr`, but estimated without clean images."""
        return self.risk(model, level, group).psnr()

    @torch.no_grad()
    def risk(self, model: Any | None = None, level: float | None = None, group: Group = ALONE) -> Risk:
        """Return the mean estimated squared error of the crops after one Tweedie step, white being 1, as a `Risk`.

        Arguments are those of `Crops.psnr`.
        """

        def risk_of(crop: tuple[Tensor, Tensor, float]) -> tuple[float, ...]:
            noisy, probe, sigma = crop
            if model is None:
                return sigma**2, 0.0, sigma
            product = sure.jacobian_product(lambda y: posterior_mean(model, y, sigma), noisy, probe, sigma)
            return astuple(sure.estimate(posterior_mean(model, noisy, sigma) - noisy, probe, product, sigma))

        found = group.map(risk_of, [crop for crop in self.probed if level in (None, crop[2])], width=3)
        return sure.mean([Risk(*figures) for figures in found])


def middles(held_out: Patches, side: int, most: int = CROPS) -> Iterator[tuple[int, Tensor]]:
    """Yield the index and the middle, (1, C, h, w), of up to `most` images, evenly chosen.

    If the middle is flat, another part of the image is taken.
    """
    for i in torch.linspace(0, len(held_out) - 1, min(most, len(held_out))).round().long().tolist():
        yield i, _crop(held_out, i, side)[None]


def _crop(held_out: Patches, i: int, side: int) -> Tensor:
    """Return the middle of an image, or another part if that is flat, at most `side` pixels a side, (C, h, w)."""
    height, width = (int(sides[i]) for sides in (held_out.images.heights, held_out.images.widths))
    high, wide = min(side, height), min(side, width)
    middle = ((height - high) // 2, (width - wide) // 2)
    tops, lefts = ({round(t) for t in np.linspace(0, most, PLACES_PER_AXIS)} for most in (height - high, width - wide))
    places = [middle, *sorted(itertools.product(tops, lefts))]
    found = [roughness(held_out.window(i, *place, high, wide)) for place in places]
    return held_out.window(i, *places[choose(found, 0)], high, wide)


def by_denoising(crops: Crops | NoisyCrops, lift: Callable[[Any], Any]) -> Validate:
    """Return a validation by the PSNR of one Tweedie step, true or estimated.

    `lift` makes an image model of the fitted one.
    """

    def validate(model: Any, group: Group = ALONE) -> Validation:
        image_model = lift(model)
        mean = crops.mean_psnr if isinstance(crops, Crops) else crops.psnr
        return Validation(mean(image_model, group=group), crops.kind)

    return validate


def by_objective(examples: Examples, batch: Batch) -> Validate:
    """Return a validation by -J on a fixed batch of held-out examples, which the first process computes for all."""

    @torch.no_grad()
    def validate(model: Any, group: Group = ALONE) -> Validation:
        return Validation(
            -group.mean(lambda shown: shown.losses(examples.objective, model).mean().item(), [batch]), "-J"
        )

    return validate
