"""The batches, the validation and the result of a fit by iterative data refinement: see `refinement`.

The weights that are validated and kept are an average of those at the start and those of the fit (Wortsman et al. 2022,
"Robust fine-tuning of zero-shot models"): the first part of the way gains most, and the rest forgets what the few
pictures do not show.
"""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from smdae.denoising.metrics import psnr
from smdae.fitting.distributed import ALONE, Group
from smdae.fitting.draws import Batch
from smdae.fitting.precision import products_in
from smdae.fitting.refinement import Part, Reconstructor, View, held_out_in, noise_like, risk
from smdae.fitting.validation import Validate, Validation
from smdae.objectives import OBJECTIVES, Objective
from smdae.protocols import posterior_mean

WEIGHT_SHARE = 0.4  # of the fitted weights in the average; the rest is that of the weights at the start


@dataclass(frozen=True, eq=False)
class RefinementBatches:
    """A source of batches of denoised pictures with new noise, each batch from one picture."""

    views: Sequence[View]
    size: int  # side of the crops, P
    device: torch.device  # the device of the batches
    sigma: float  # the highest level of the noise, white being 1
    objective: Objective = OBJECTIVES["dae"]
    noisy: bool = True
    implicit: bool = False
    kernel: None = None

    def draw(self, n: int, generator: Generator | None = None, progress: float = 0.0, group: Group = ALONE) -> Batch:
        """Return n examples, each process of a group making its rows; arguments are those of `Examples.draw`."""

        def integers(most: int, count: int = 1) -> list[int]:
            device = self.device if generator is None else generator.device
            return torch.randint(most, (count,), generator=generator, device=device).tolist()

        view = self.views[integers(len(self.views))[0]]
        height, width = view.training.denoised.shape[1:]
        tops, lefts = integers(height - self.size + 1, n), integers(width - self.size + 1, n)
        (turns,) = integers(8)
        places = zip(tops, lefts, strict=True)
        denoised = torch.stack([view.training.denoised[:, i : i + self.size, j : j + self.size] for i, j in places])
        denoised = denoised.to(self.device).rot90(turns % 4, (2, 3))
        clean = (denoised.flip(3) if turns > 3 else denoised).contiguous()  # (n, C, P, P)
        e = torch.randn(clean.shape, generator=generator, device=self.device)
        noisy = view.clip(clean + noise_like(clean, view.noise, e))
        rows = group.rows(n)  # making the noise of all examples costs little beside the network
        clean, noisy = clean[rows], noisy[rows]
        scale = 1 / (clean[0].numel() * view.level**2)
        needs = {"clean": clean, "sigma": view.sigma}
        return Batch(noisy, needs, scale, whole=n, treat=lambda model: Reconstructor(view.treat(model)))

    def prefetch(self, n: int, generator: Generator, progress: float = 0.0) -> None:
        """Read nothing: all is in memory."""


@dataclass(frozen=True, eq=False)
class RefinementCrops:
    """Held-out parts of pictures, and new noise for each, by which a fit is judged."""

    parts: tuple[tuple[View, Part, Tensor], ...]  # for each its view, its held-out part and noise, (1, C, h, w)
    device: torch.device  # where to compute
    kind = "PSNR with noise drawn anew"
    levels: tuple[float, ...] = ()

    @classmethod
    def of(cls, views: Sequence[View], generator: Generator, device: torch.device) -> "RefinementCrops":
        """Return the held-out parts of views, each with new noise drawn for it, on a device."""
        return cls(tuple(held_out_in(views, generator, device)), device)

    @torch.no_grad()
    def psnr(self, model: Any | None = None, level: float | None = None, group: Group = ALONE) -> float:
        """Return the mean PSNR in dB of denoised pictures with new noise, against the denoised pictures.

        For shot noise it is the PSNR of the transformed pictures. `model` None stands for no denoising.
        """

        def psnr_of(item: tuple[View, Part, Tensor]) -> float:
            view, part, b = item
            denoised = part.denoised[None].to(self.device)
            noisy = view.clip(denoised + b)
            with products_in("auto", self.device):
                found = noisy if model is None else posterior_mean(view.treat(model), noisy, view.sigma).float()
            return psnr(found, denoised, white=1.0)

        return group.mean(psnr_of, self.parts)

    @torch.no_grad()
    def risk(self, model: Any, group: Group = ALONE) -> float:
        """Return the mean estimated error of the parts, in units of the variance of their noise."""

        def risk_of(item: tuple[View, Part, Tensor]) -> float:
            view, part, b = item
            treat, sigma = view.stronger
            treated = treat(model)
            y, denoised = part.noisy[None].to(self.device), part.denoised[None].to(self.device)
            with products_in("auto", self.device):
                variance = view.noise.sd(denoised).square()
                found = risk(lambda z: posterior_mean(treated, z, sigma).float(), y, b, variance)
            return found.item() / (y.numel() * view.level**2)

        return group.mean(risk_of, self.parts)


def between(start: Mapping[str, Tensor], model: Any) -> Any:
    """Return a copy of a model with 0.4 times its own weights plus 0.6 times those at the start."""
    kept = copy.deepcopy(model)
    own = model.state_dict()
    kept.load_state_dict({name: torch.lerp(first, own[name], WEIGHT_SHARE) for name, first in start.items()})
    return kept


def by_risk(crops: RefinementCrops, start: Mapping[str, Tensor]) -> Validate:
    """Return a validation by minus the risk of the averaged weights, in per cent of the noise variance."""

    def validate(model: Any, group: Group = ALONE) -> Validation:
        return Validation(-100 * crops.risk(between(start, model), group), "-risk")

    return validate


def summary(views: Sequence[View], words: Sequence[str]) -> str:
    """Return the kinds of noise of pictures and their levels: "grain (3), sigma 5 to 9"; the words of a single one."""
    if len(views) == 1:
        return words[0]
    kinds = Counter(text.split(",")[0] for text in words)
    levels = sorted(255 * view.error**0.5 for view in views)
    words_of_kinds = " and ".join(f"{kind} ({count})" for kind, count in kinds.most_common())
    return f"{words_of_kinds}, sigma {levels[0]:.2g} to {levels[-1]:.3g}"
