"""What each objective is shown: examples x, and the further arguments that its loss needs.

    data     x, clean patches; for `esm` samples of the density fitted to them, smoothed to the model's level
    parzen   x~ = x + sigma eps, and for `esm-parzen` the score of q_sigma there
    pairs    x~ and the x that it came from

Where the model has free means, the densities whose score is a target are those of patches without their means: all that
the model sees, and a better estimate, as patches that differ in brightness alone then count as one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from smdae.densities import Density, Gaussian, GaussianMixture, Parzen
from smdae.errors import DegenerateError, DivergedError
from smdae.fitting.patches import Patches
from smdae.fitting.settings import Settings
from smdae.objectives import Objective

__all__ = ["Batch", "Examples", "among", "known_density"]

RUNAWAY = 1e7  # -J sigma^2 beyond which a model without a floor is taken to fall for ever
TARGET_EXAMPLES = 50_000  # patches that the density for `esm` is fitted to


@dataclass(frozen=True)
class Batch:
    """Examples x, with shape (B, d), and the loss's further arguments by name."""

    x: Tensor
    needs: dict[str, Any]


def known_density(x: Tensor, settings: Settings, sigma: float, generator: Generator) -> Density:
    """The density that `esm` takes for q: fitted to the patches x, (n, d), then smoothed to the level sigma."""
    # Patches without their mean fill only a part of the space: a little variance everywhere makes the fit regular.
    floor = (sigma / 10) ** 2
    if settings.target == "gaussian":
        return Gaussian.fit(x, floor=floor).smoothed(sigma)
    mixture = GaussianMixture.fit(x, min(settings.components, len(x) - 1), floor=floor, generator=generator)
    return mixture.smoothed(sigma)


def paired_noise(like: Tensor, generator: Generator | None) -> Tensor:
    """Standard normal noise of the shape (n, d): the second half is the first with its sign turned.

    Each row is as normal as any, at half the price of the draws, and the errors of the two halves tend to cancel.
    """
    noise = torch.empty_like(like)
    first, second = noise.tensor_split([-(-len(like) // 2)])
    first.normal_(generator=generator)
    torch.neg(first[: len(second)], out=second)
    return noise


def among(patches: Tensor) -> Callable[[int, Generator | None], Tensor]:
    """Draws n of the patches given, each as likely as any, with shape (n, d)."""

    def draw(n: int, generator: Generator | None = None) -> Tensor:
        return patches[torch.randint(len(patches), (n,), generator=generator, device=patches.device)]

    return draw


@dataclass(frozen=True, eq=False)
class Examples:
    """Draws batches for one objective.

    Attributes:
        objective: A row of OBJECTIVES.
        clean: Draws n clean patches, (n, d), with the generator given; of q_sigma's own, if there is one.
        centre: Takes out the means that the model does not see; the identity for other models.
        sigma: Level of the noise, white being 1.
        strength: lambda of `ism-reg`.
        density: What `esm` draws from, or None.
        parzen: q_sigma for `esm-parzen`, or None.
        rounding: Width of the uniform noise added to clean data that was rounded, 0 for none.
    """

    objective: Objective
    clean: Callable[[int, Generator | None], Tensor]
    centre: Callable[[Tensor], Tensor]
    sigma: float
    strength: float = 0.0
    density: Density | None = None
    parzen: Parzen | None = None
    rounding: float = 0.0

    @classmethod
    def of(
        cls,
        patches: Patches,
        objective: Objective,
        model: Any,
        sigma: float,
        settings: Settings,
        generator: Generator,
    ) -> "Examples":
        """Examples for an objective from patches; densities that it needs are fitted or gathered here."""
        centre = getattr(model, "centre", lambda x: x)
        wants_target = "target_score" in objective.needs
        density = parzen = None
        clean: Callable[[int, Generator | None], Tensor] = patches.draw
        if wants_target and objective.samples == "data":
            x = centre(patches.draw(TARGET_EXAMPLES, generator))
            density = known_density(x, settings, sigma, generator)
        if wants_target and objective.samples == "parzen":
            parzen = Parzen(centre(patches.draw(settings.parzen_patches, generator)), sigma)
            clean = among(parzen.patches)
        rounded = objective.samples == "data" and density is None and not patches.flat.is_floating_point()
        rounding = 1 / patches.white if rounded else 0.0
        return cls(objective, clean, centre, sigma, settings.strength, density, parzen, rounding)

    def draw(self, n: int, generator: Generator | None = None) -> Batch:
        """n examples."""
        if self.density is None:
            return self.around(self.clean(n, generator), generator)
        x = self.centre(self.density.sample(n, generator))
        return Batch(x, {"target_score": self.density.score(x)})

    @property
    def implicit(self) -> bool:
        """Whether J is taken at the data themselves, which an implicit objective can fit too well."""
        return self.objective.samples == "data" and self.density is None

    def refuse_degenerate(self, mean: float, model: Any) -> None:
        """Stop a fit that learns nothing any more; `mean` is J over some recent batches.

        Raises:
            DivergedError: J is not finite.
            DegenerateError: J has fallen to where it no longer tells of the data.
        """
        if not math.isfinite(mean):
            raise DivergedError("the fit diverged: its objective is no longer a number", "try a lower --lr")
        if not self.implicit:
            return
        floor = getattr(model, "implicit_floor", -RUNAWAY / self.sigma**2)
        if mean < 0.95 * floor:
            raise DegenerateError(
                f"implicit score matching degenerated: J = {mean:.4g} is within 5 % of its floor {floor:.4g}: the "
                "density is as narrow as the model can make it, whatever the data",
                "fit a smoothed density instead (--objective ism-parzen or dsm), or lower --sigma",
            )

    def around(self, clean: Tensor, generator: Generator | None = None) -> Batch:
        """The examples that belong to given clean patches, (n, d)."""
        if self.density is not None or self.parzen is not None:
            clean = self.centre(clean)
        x = clean
        if self.objective.samples != "data":
            x = torch.add(clean, paired_noise(clean, generator), alpha=self.sigma)
        elif self.rounding:
            uniform = torch.rand(clean.shape, generator=generator, dtype=clean.dtype, device=clean.device)
            x = torch.add(clean, uniform - 0.5, alpha=self.rounding)
        offered = {"clean": clean, "sigma": self.sigma, "strength": self.strength}
        needs = {name: offered[name] for name in self.objective.needs if name in offered}
        source = self.density or self.parzen
        if source is not None:
            x = self.centre(x)
            needs["target_score"] = source.score(x)
        return Batch(x, needs)
