"""A fit ready to run: the state, the batches, the judge, and the image model that comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Generator

from smdae.fitting import loop
from smdae.fitting.distributed import ALONE, Group
from smdae.fitting.draws import BatchSource
from smdae.fitting.patches import Patches
from smdae.fitting.refinement_batches import RefinementCrops, between
from smdae.fitting.state import State
from smdae.fitting.validation import Crops, NoisyCrops, Validate
from smdae.models import Patchwise, takes_patches
from smdae.models.energy import without_means
from smdae.models.wiener import Wiener
from smdae.patch_noise import PatchNoise

INITIAL_EXAMPLES = 20_000  # patches from which the initial model and the Wiener filter are made
WIENER_SIZE = 12  # largest side of the Wiener filter's patches


@dataclass(frozen=True)
class Prepared:
    """A fit ready to run."""

    state: State  # the settings, model, average of its weights, optimiser and random generator; the fit changes them
    examples: BatchSource  # the source of batches: `draw(n, generator)` returns one of n examples
    validate: Validate  # a function of a model that returns its `Validation` on held-out images: a figure and its name
    patches: Patches  # the images to fit on, as a source of patches
    held_out: Patches  # the images held out, likewise; those to fit on if there is only one small image
    crops: Crops | NoisyCrops | RefinementCrops  # of the held-out images; the last get new noise each time
    notes: tuple[str, ...]  # what the user should know about this fit, a line each
    warnings: tuple[str, ...] = ()  # what may be wrong with it, a line each
    group: Group = ALONE  # the processes that fit together
    noise: str = ""  # in a fit to images whose noise is not white, that noise in words; else empty
    start: Mapping[str, torch.Tensor] | None = None  # in such a fit, the weights at the start by name; else None

    def run(self) -> Any:
        """Return a generator that runs the fit and yields its reports, see `loop.run`, whose errors it raises."""
        return loop.run(self.state, self.examples, self.validate, self.group)

    def lift(self, model: Any) -> Any:
        """Return the image model of the fitted model."""
        return lift(model, self.patches, self.examples.kernel)

    @property
    def gained(self) -> bool:
        """Return whether some validation was better than that of the weights at the start."""
        record = self.state.record
        return record["best"] is not None and record["best"] > record["before"]

    @property
    def denoises(self) -> bool:
        """Return whether Tweedie's formula with the fitted score gives the clean mean.

        It does not for a score of clean data, nor for signal-dependent noise.
        """
        kernel = self.examples.kernel
        return not self.examples.implicit and not (kernel is not None and kernel.is_signal_dependent)

    def fitted(self) -> Any:
        """Return the image model with the best weights so far, in eval mode."""
        state = self.state
        state.average.load_state_dict(state.best)
        if self.start is not None:
            return between(self.start, state.average).eval()
        return self.lift(state.average).eval()

    def card(self, model: Any, stopped_by: str) -> dict[str, Any]:
        """Return what the card of the fitted image model always holds: its settings, and of what steps it came."""
        state, patches = self.state, self.patches
        return {
            "model": state.settings.model,
            "settings": model.settings(),
            "objective": state.settings.objective,
            "sigma": state.settings.sigma,
            "channels": patches.channels,
            "patch_size": patches.size,
            **({"rows": patches.places} if patches.size == 1 else {"images": len(patches)}),
            "steps": state.record["step"],
            "seconds": round(state.record["seconds"], 1),
            "stopped_by": stopped_by,
        }

    def wiener(self) -> Patchwise | None:
        """Return the Wiener filter for the images to fit on, as an image model; None if these are noisy."""
        if self.state.settings.noisy:
            return None
        generator = Generator(self.patches.device).manual_seed(self.state.settings.seed)
        patches = replace(self.patches, size=min(WIENER_SIZE, self.patches.size))
        centre = partial(without_means, groups=patches.free_means) if patches.free_means else lambda x: x
        filter_ = Wiener(centre(patches.draw(INITIAL_EXAMPLES, generator)), self.examples.sigma, centre)
        return Patchwise(filter_, patches.channels, patches.size)


def lift(model: Any, patches: Patches, noise: PatchNoise | None = None) -> Any:
    """Return a model of patches as an image model; a network is one already."""
    return Patchwise(model, patches.channels, patches.size, noise=noise) if takes_patches(model) else model
