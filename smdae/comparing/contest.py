"""The contest: all that the fits have in common, so that whatever differs in the end is the objective's.

    data      N clean patches, drawn once, from which pairs, Parzen density and the known density of `esm` are made
    start     one theta a seed, set from these patches
    chance    one seed: contestants that see noisy patches see the same ones, in the same order
    effort    the same number of steps of the same size
    judges    M patches and some images held out, with fixed noise

Patches have their mean taken out: it is all that the model sees, and the Parzen density of such patches is denser.
Examples may come from a density instead, whose score is known; there are no images to denoise then.
"""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.comparing.sizes import HELD_OUT
from smdae.densities import Density, Parzen
from smdae.fitting.draws import among
from smdae.fitting.example_setup import arguments, known_density
from smdae.fitting.examples import Batch, Examples
from smdae.fitting.patches import Patches
from smdae.fitting.settings import Settings
from smdae.fitting.splitting import split
from smdae.fitting.validation import Crops
from smdae.models import MODELS, EnergyModel, Patchwise
from smdae.models.wiener import Wiener
from smdae.noise import Noise
from smdae.objectives import OBJECTIVES

__all__ = ["Contest", "applicable"]

HELD_OUT_SEED_OFFSET = 1  # added to the seed for all that is held out
SEED_STRIDE = 1 << 32  # between the seeds of fits


def applicable(model: Any = EnergyModel) -> tuple[str, ...]:
    """Return the names of the objectives that a model can be fitted with."""
    return tuple(name for name, row in OBJECTIVES.items() if not row.lacking(model))


@dataclass(frozen=True, eq=False)
class Contest:
    """The data, the starting model and the settings that all fits share.

    Attributes:
        settings: Of every fit, but for the objective.
        origin: The model at the start of the first fit; never changed.
        patches: Clean patches to fit on, with shape (N, d).
        held_out: Clean patches to judge by, with shape (M, d).
        judges: The held-out images, None where examples are rows of numbers or come from a density.
        crops: Clean and noisy crops of these, None likewise.
        images: How many images are fitted on, and how many held out; nothing is held out of one small image.
        places: How many different patches the images have, None where examples come from a density.
        rounding: Width of the uniform noise added where a density of the data themselves is fitted.
        target: The density that examples come from, None where they come from images.
        noise: A kernel of the user's own for the theorem, white being 1; None for those of ours.
    """

    settings: Settings
    origin: EnergyModel
    patches: Tensor
    held_out: Tensor
    judges: Patches | None = None
    crops: Crops | None = None
    images: tuple[int, int] = (0, 0)
    places: int | None = None
    rounding: float = 0.0
    target: Density | None = None
    noise: Noise | None = None
    _batches: dict[str, Batch] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        images: Sequence[np.ndarray],
        white: float,
        settings: Settings,
        patches: int,
        device: torch.device | str = "cpu",
        held_out: int = HELD_OUT,
    ) -> "Contest":
        """Return a contest on N = `patches` patches of images, arrays of one dtype with shape (H, W), sides at least P.

        M = `held_out` patches of those held out are the judges. Rows of numbers are patches of side 1 of one image
        with shape (1, n, d), and each is taken but once.
        """
        first, rest = (part.images for part in split(images, settings.patch_size, settings.hold_out, settings.seed))
        source = Patches.pack(first, settings.patch_size, white).to(device)
        held = Patches.pack(rest or first, settings.patch_size, white).to(device)
        generator = Generator(device).manual_seed(settings.seed)
        are_rows = settings.patch_size == 1
        patches = min(patches, source.places) if are_rows else patches
        drawn = source.draw(patches, generator)
        model = MODELS[settings.model].start(drawn, source.free_means, settings, generator).requires_grad_(False)
        chance = Generator(device).manual_seed(settings.seed + HELD_OUT_SEED_OFFSET)
        return cls(
            settings,
            model,
            model.centre(drawn),
            model.centre(held.draw(held_out, chance)),
            None if are_rows else held,
            None if are_rows else Crops.of(held, settings.judged_levels, chance),
            (len(first), len(rest)),
            source.places,
            1 / white if source.images.rounded else 0.0,
        )

    @classmethod
    def of_density(
        cls,
        target: Density,
        settings: Settings,
        patches: int,
        device: torch.device | str = "cpu",
        held_out: int = HELD_OUT,
    ) -> "Contest":
        """Return a contest on N = `patches` samples of a density, and M = `held_out` others to judge by."""
        generator = Generator(device).manual_seed(settings.seed)
        drawn = target.sample(patches, generator)
        held = target.sample(held_out, Generator(device).manual_seed(settings.seed + HELD_OUT_SEED_OFFSET))
        model = MODELS[settings.model].start(drawn, 0, settings, generator).requires_grad_(False)
        return cls(settings, model, drawn, held, target=target)

    @property
    def sigma(self) -> float:
        """Return the level of the noise, white being 1."""
        return self.settings.levels[1]

    @property
    def device(self) -> torch.device:
        """Return the device of the patches."""
        return self.patches.device

    @property
    def dim(self) -> int:
        """Return how many numbers a patch has, d."""
        return self.patches.shape[1]

    @cached_property
    def digest(self) -> str:
        """Return a hash of the settings and the data, by which a contest is recognised."""
        data = hashlib.sha256(self.settings.model_dump_json().encode())
        for tensor in (self.patches, self.held_out):
            data.update(tensor.cpu().numpy().tobytes())
        data.update(self.noise.to_yaml().encode() if self.noise else b"")
        return data.hexdigest()[:16]

    def generator(self, seed: int = 0) -> Generator:
        """Return a new generator; those of equal seeds draw the same."""
        return Generator(self.device).manual_seed((self.settings.seed + seed) % 2**63)

    def chance_of(self, seed: int) -> Generator:
        """Return the generator of a fit, the first of them number 0."""
        return self.generator(seed * SEED_STRIDE)

    def model(self, seed: int = 0) -> EnergyModel:
        """Return the model at the start of a fit, a copy that may be changed."""
        if seed == 0:
            return copy.deepcopy(self.origin).requires_grad_(True)
        channels = self.origin.free_means
        return MODELS[self.settings.model].start(self.patches, channels, self.settings, self.chance_of(seed))

    @cached_property
    def known(self) -> Density:
        """Return the density that `esm` takes for the truth: that of the examples, or one fitted to the patches."""
        return self.target or known_density(self.patches, self.settings, self.sigma, self.generator())

    def examples(self, name: str, patches: Tensor | None = None) -> Examples:
        """Return the source of an objective's examples: made of the contest's patches, or of others, (n, d)."""
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
            reg_lambda=self.settings.reg_lambda,
            probes=self.settings.probes,
            density=known,
            parzen=parzen,
            rounding=rounding,
        )

    def held_out_batch(self, name: str) -> Batch:
        """Return the held-out examples of an objective, M of them, with the same noise for all objectives.

        The Parzen density is then that of the held-out patches: its objective differs from `dsm` on the same patches by
        a constant only when density and samples belong together. `esm` gets fresh samples of its known density.
        """
        if name not in self._batches:
            examples, chance = self.examples(name, self.held_out), self.generator(HELD_OUT_SEED_OFFSET)
            known = examples.density is not None
            made = examples.draw(len(self.held_out), chance) if known else examples.around(self.held_out, chance)
            self._batches[name] = made
        return self._batches[name]

    @cached_property
    def smoothed(self) -> Batch:
        """Return M samples of q_sigma of the patches fitted on, with its score, for the Fisher divergence to it."""
        return self.examples("esm-parzen").draw(len(self.held_out), self.generator(HELD_OUT_SEED_OFFSET))

    def lift(self, patch_model: Any) -> Patchwise:
        """Return the image model of a model of these patches; rows of numbers are one-pixel images with d channels."""
        channels, size = (1, self.settings.patch_size) if self.judges is not None else (self.dim, 1)
        return Patchwise(patch_model, channels, size)

    def wiener(self) -> Wiener:
        """Return the Wiener filter of the patches fitted on."""
        return Wiener(self.patches, self.sigma, self.origin.centre)
