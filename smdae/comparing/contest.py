"""The contest: all that the fits have in common, so that any difference between them is due to the objective.

    data      N clean patches, drawn once, from which pairs, Parzen density and the known density of `esm` are made
    start     one theta for each seed, initialised from these patches
    noise     one seed: contestants with noisy patches get the same ones, in the same order
    effort    the same number of steps with the same batch size
    held out  M patches and some images to judge by, with fixed noise

The mean of each patch is taken out: the model does not see it, and the Parzen density of such patches is denser.
Examples may come from a density with a known score instead; then there are no images to denoise.
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
from smdae.fitting.draws import Batch, among
from smdae.fitting.example_setup import arguments, known_density
from smdae.fitting.examples import Examples, Stage
from smdae.fitting.patches import Patches
from smdae.fitting.settings import Settings
from smdae.fitting.splitting import split
from smdae.fitting.validation import Crops
from smdae.models import MODELS, EnergyModel, Patchwise
from smdae.models.wiener import Wiener
from smdae.noise import Noise
from smdae.objectives import OBJECTIVES

HELD_OUT_SEED_OFFSET = 1  # added to the seed for all that is held out
SEED_STRIDE = 1 << 32  # between the seeds of fits


def applicable() -> tuple[str, ...]:
    """Return the names of the objectives that the energy can be fitted with."""
    return tuple(name for name, row in OBJECTIVES.items() if not row.lacking(EnergyModel))


@dataclass(frozen=True, eq=False)
class Contest:
    """The data, the starting model and the settings that all fits share."""

    settings: Settings  # the settings of every fit, except the objective
    origin: EnergyModel  # the model at the start of the first fit; never changed
    patches: Tensor  # clean patches to fit on, with shape (N, d)
    held_out: Tensor  # clean patches to judge by, with shape (M, d)
    held_out_images: Patches | None = None  # those held out; None if examples are rows or come from a density
    crops: Crops | None = None  # clean and noisy crops of these; None likewise
    images: tuple[int, int] = (0, 0)  # numbers of images to fit on and held out; nothing is held out of one small image
    places: int | None = None  # the number of different patches in the images; None if examples come from a density
    rounding: float = 0.0  # width of the uniform noise added where the density of the data itself is fitted
    target: Density | None = None  # the density that examples come from; None if they come from images
    noise: Noise | None = None  # the user's own, for the equivalence under other kernels; None for the built-in ones
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

        It is judged by M = `held_out` patches of the held-out images, or of the image itself if there is one small
        image alone. Rows of numbers are patches of side 1 of one image with shape (1, n, d), each taken once. `white`
        is the value of white in the images.
        """
        first, rest = (part.images for part in split(images, settings.patch_size, settings.hold_out, settings.seed))
        source = Patches.pack(first, settings.patch_size, white).to(device)
        held = Patches.pack(rest or first, settings.patch_size, white).to(device)
        generator = Generator(device).manual_seed(settings.seed)
        are_rows = settings.patch_size == 1
        patches = min(patches, source.places) if are_rows else patches
        clean = source.draw(patches, generator)
        model = MODELS[settings.model].start(clean, source.free_means, settings, generator).requires_grad_(False)
        own = Generator(device).manual_seed(settings.seed + HELD_OUT_SEED_OFFSET)
        return cls(
            settings=settings,
            origin=model,
            patches=model.centre(clean),
            held_out=model.centre(held.draw(held_out, own)),
            held_out_images=None if are_rows else held,
            crops=None if are_rows else Crops.of(held, settings.judged_levels, own),
            images=(len(first), len(rest)),
            places=source.places,
            rounding=1 / white if source.images.rounded else 0.0,
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
        """Return the dimension of a patch, d."""
        return self.patches.shape[1]

    @cached_property
    def digest(self) -> str:
        """Return a hash of the settings and the data, by which a later run recognises the contest."""
        data = hashlib.sha256(self.settings.model_dump_json().encode())
        for tensor in (self.patches, self.held_out):
            data.update(tensor.cpu().numpy().tobytes())
        data.update(self.noise.to_yaml().encode() if self.noise else b"")
        return data.hexdigest()[:16]

    def generator(self, seed: int = 0) -> Generator:
        """Return a new generator; generators of equal seeds draw the same numbers."""
        return Generator(self.device).manual_seed((self.settings.seed + seed) % 2**63)

    def generator_of_fit(self, seed: int) -> Generator:
        """Return the generator of a fit by its number, from 0."""
        return self.generator(seed * SEED_STRIDE)

    def model(self, seed: int = 0) -> EnergyModel:
        """Return a new model at the start of the fit of that number, from 0: the first starts at `origin`."""
        if seed == 0:
            return copy.deepcopy(self.origin).requires_grad_(True)
        found: EnergyModel = MODELS[self.settings.model].start(
            self.patches, self.origin.free_means, self.settings, self.generator_of_fit(seed)
        )
        return found

    @cached_property
    def known(self) -> Density:
        """Return the density q of `esm`: that of the examples, or one fitted to the patches."""
        return self.target or known_density(self.patches, self.settings, self.sigma, self.generator())

    def examples(self, name: str, patches: Tensor | None = None) -> Examples:
        """Return the source of an objective's examples: made of the contest's patches, or of those given, (n, d)."""
        objective, data = OBJECTIVES[name], self.patches if patches is None else patches
        wants_target = "target_score" in objective.needs
        known = self.known if wants_target and objective.samples == "data" else None
        parzen = Parzen(data, self.sigma) if wants_target and objective.samples == "parzen" else None
        rounding = self.rounding if objective.samples == "data" and known is None else 0.0
        return Examples(
            objective,
            arguments(objective, self.origin, self.settings),
            self.settings,
            (Stage(among(data)),),
            self.origin.centre,
            density=known,
            parzen=parzen,
            rounding=rounding,
        )

    def held_out_batch(self, name: str) -> Batch:
        """Return the M held-out examples of an objective, with the same noise for all objectives.

        `esm-parzen` gets the Parzen density of the held-out patches, since it differs from `dsm` by a constant only for
        the density of the samples themselves. `esm` gets new samples of its known density.
        """
        if name not in self._batches:
            examples, generator = self.examples(name, self.held_out), self.generator(HELD_OUT_SEED_OFFSET)
            self._batches[name] = examples.made_of(self.held_out, generator)
        return self._batches[name]

    @cached_property
    def smoothed(self) -> Batch:
        """Return M samples of q_sigma of the patches fitted on, with its score, for the Fisher divergence to it."""
        return self.examples("esm-parzen").draw(len(self.held_out), self.generator(HELD_OUT_SEED_OFFSET))

    def lift(self, patch_model: Any) -> Patchwise:
        """Return the image model of a model of these patches; rows of numbers are one-pixel images with d channels."""
        channels, size = (1, self.settings.patch_size) if self.held_out_images is not None else (self.dim, 1)
        return Patchwise(patch_model, channels, size)

    def wiener(self) -> Wiener:
        """Return the Wiener filter of the patches fitted on."""
        return Wiener(self.patches, self.sigma, self.origin.centre)
