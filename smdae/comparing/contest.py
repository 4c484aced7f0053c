"""What all contestants have in common, so that whatever differs in the end is the objective's.

    data      N clean patches, drawn once; pairs, Parzen density and the known density of `esm` are made of these alone
    start     one theta, set from these patches
    chance    one seed: contestants that see noisy patches see the same ones, in the same order
    effort    the same number of steps of the same size
    judges    M patches and some crops of images held out, with fixed noise

Patches have their mean taken out: it is all that the model sees, and the Parzen density of such patches is denser.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.densities import Density, Parzen
from smdae.fitting.draws import among
from smdae.fitting.examples import Batch, Examples, arguments, known_density
from smdae.fitting.patches import Patches, split
from smdae.fitting.settings import Settings
from smdae.fitting.validation import Crops
from smdae.models import MODELS, EnergyModel, Patchwise
from smdae.models.wiener import Wiener
from smdae.objectives import OBJECTIVES

__all__ = ["Contest", "applicable"]

HELD_OUT = 10_000  # patches, M
JUDGES = 1  # added to the seed for all that is held out


def applicable(model: Any = EnergyModel) -> tuple[str, ...]:
    """The objectives that a model can be fitted with, by name."""
    return tuple(name for name, row in OBJECTIVES.items() if all(hasattr(model, need) for need in row.requires))


@dataclass(frozen=True, eq=False)
class Contest:
    """The common ground.

    Attributes:
        settings: Of every fit, but for the objective.
        origin: The model at the start; never changed.
        patches: Clean patches to fit on, with shape (N, d).
        held_out: Clean patches to judge by, with shape (M, d).
        crops: Clean and noisy crops of the held-out images.
        images: How many images are fitted on, and how many held out; nothing is held out of one small image.
        places: How many different patches the images have.
        rounding: Width of the uniform noise added where a density of the data themselves is fitted.
    """

    settings: Settings
    origin: EnergyModel
    patches: Tensor
    held_out: Tensor
    crops: Crops
    images: tuple[int, int]
    places: int
    rounding: float

    @classmethod
    def of(
        cls,
        images: Sequence[np.ndarray],
        white: float,
        settings: Settings,
        patches: int,
        device: torch.device | str = "cpu",
    ) -> "Contest":
        """A contest on N = `patches` patches of images, arrays of one dtype with shape (H, W), sides at least P."""
        first, rest = (part.images for part in split(images, settings.patch_size, settings.hold_out, settings.seed))
        source = Patches.pack(first, settings.patch_size, white).to(device)
        held = Patches.pack(rest or first, settings.patch_size, white).to(device)
        generator = Generator(device).manual_seed(settings.seed)
        drawn = source.draw(patches, generator)
        model = MODELS[settings.model].start(drawn, source.channels, settings, generator).requires_grad_(False)
        judges = Generator(device).manual_seed(settings.seed + JUDGES)
        return cls(
            settings,
            model,
            model.centre(drawn),
            model.centre(held.draw(HELD_OUT, judges)),
            Crops.of(held, settings.judged_levels, judges),
            (len(first), len(rest)),
            source.places,
            1 / white if source.images.rounded else 0.0,
        )

    @property
    def sigma(self) -> float:
        """Level of the noise, white being 1."""
        return self.settings.levels[1]

    @property
    def device(self) -> torch.device:
        return self.patches.device

    @property
    def dim(self) -> int:
        """Numbers in a patch, d."""
        return self.patches.shape[1]

    def generator(self, seed: int = 0) -> Generator:
        """A fresh source of chance; those of equal seeds are equal."""
        return Generator(self.device).manual_seed(self.settings.seed + seed)

    def model(self) -> EnergyModel:
        """A copy of the model at the start, free to change."""
        return copy.deepcopy(self.origin).requires_grad_(True)

    @cached_property
    def known(self) -> Density:
        """The density that `esm` takes for the truth, fitted to the patches."""
        return known_density(self.patches, self.settings, self.sigma, self.generator())

    def examples(self, name: str, patches: Tensor | None = None) -> Examples:
        """What an objective is shown: of these patches, or of others, with shape (n, d)."""
        objective, data = OBJECTIVES[name], self.patches if patches is None else patches
        wants_target = "target_score" in objective.needs
        known = self.known if wants_target and objective.samples == "data" else None
        parzen = Parzen(data, self.sigma) if wants_target and objective.samples == "parzen" else None
        rounding = self.rounding if objective.samples == "data" and known is None else 0.0
        return Examples(
            objective,
            arguments(objective, self.origin),
            (among(data),),
            self.origin.centre,
            self.settings.levels,
            strength=self.settings.strength,
            probes=self.settings.probes,
            density=known,
            parzen=parzen,
            rounding=rounding,
        )

    def held_out_batch(self, name: str) -> Batch:
        """The held-out examples of an objective, M of them, the noise of each the same for all objectives.

        The Parzen density is then that of the held-out patches: its objective differs from `dsm` on the same patches by
        a constant only when density and samples belong together. `esm` gets fresh samples of its known density.
        """
        examples = self.examples(name, self.held_out)
        if examples.density is not None:
            return examples.draw(len(self.held_out), self.generator(JUDGES))
        return examples.around(self.held_out, self.generator(JUDGES))

    def lift(self, patch_model: Any) -> Patchwise:
        """An image model of a model of these patches."""
        return Patchwise(patch_model, 1, self.settings.patch_size)

    def wiener(self) -> Wiener:
        """The linear filter of the patches fitted on."""
        return Wiener(self.patches, self.sigma, self.origin.centre)
