"""A fit made ready: images are split and packed, a model is made, and what it learns from is put together."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Generator, nn

from smdae.denoising.treatment import takes_noise
from smdae.errors import InputError, ModelError, UsageError
from smdae.fitting import loop
from smdae.fitting.distributed import ALONE, Group
from smdae.fitting.draws import Shown
from smdae.fitting.example_setup import examples_for
from smdae.fitting.initial_model import notes_on_cost, started_from
from smdae.fitting.noisy import noise_of, other_kind, told_white
from smdae.fitting.patches import Patches
from smdae.fitting.redrawn import views_of
from smdae.fitting.redrawn_examples import Redrawn, RedrawnCrops, between, by_risk, summary
from smdae.fitting.setting_rules import MOST_NUMBERS
from smdae.fitting.settings import Settings
from smdae.fitting.splitting import split
from smdae.fitting.state import State
from smdae.fitting.validation import BATCH, Crops, NoisyCrops, Validate, by_denoising, by_objective
from smdae.models import Patchwise, family, takes_patches
from smdae.models.energy import without_means
from smdae.models.own import made
from smdae.models.wiener import Wiener
from smdae.noise import Noise
from smdae.objectives import OBJECTIVES
from smdae.patch_noise import PatchNoise

__all__ = ["Prepared", "lift", "prepare"]

INITIAL_EXAMPLES = 20_000  # patches that the start and the Wiener filter are made from
WIENER_SIZE = 12  # side of the Wiener filter's patches, at most


@dataclass(frozen=True)
class Prepared:
    """A fit ready to run.

    Attributes:
        state: Model, average, optimiser and generator at the start.
        examples: What batches are drawn from.
        validate: Measures a model on held-out images.
        patches: The images fitted on.
        held_out: The images held out; empty if there is but one small image.
        crops: Clean and noisy crops of the held-out images, or noisy ones alone.
        noise: What noise there is in noisy images that have other noise than white; empty for all else.
        start: The weights that the network for such images set out from, between which and its own lie those kept.
        notes: What the user should know about this fit.
        warnings: What may be wrong with it.
        group: Processes that fit it together.
    """

    state: State
    examples: Shown
    validate: Validate
    patches: Patches
    held_out: Patches
    crops: Crops | NoisyCrops | RedrawnCrops
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    group: Group = ALONE
    noise: str = ""
    start: Mapping[str, torch.Tensor] | None = None

    def run(self) -> Any:
        """Return the generator of the fit's reports, see `loop.run`."""
        return loop.run(self.state, self.examples, self.validate, self.group)

    def lift(self, model: Any) -> Any:
        """Return the image model of a model that is fitted."""
        return lift(model, self.patches, self.examples.kernel)

    @property
    def gained(self) -> bool:
        """Return whether a validation was better than that of the start, whose weights are kept otherwise."""
        record = self.state.record
        return record["best"] is not None and record["best"] > record["before"]

    @property
    def denoises(self) -> bool:
        """Return whether the fitted model denoises, that is whether Tweedie's formula gives the clean mean.

        It does not for a score of clean data, nor for noise that depends on brightness.
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

    def wiener(self) -> Patchwise | None:
        """Return the Wiener filter of the images fitted on, as an image model; None if these are noisy."""
        if self.state.settings.noisy:
            return None
        generator = Generator(self.patches.device).manual_seed(self.state.settings.seed)
        patches = replace(self.patches, size=min(WIENER_SIZE, self.patches.size))
        centre = partial(without_means, groups=patches.free_means) if patches.free_means else lambda x: x
        filter_ = Wiener(centre(patches.draw(INITIAL_EXAMPLES, generator)), self.examples.sigma, centre)
        return Patchwise(filter_, patches.channels, patches.size)


def lift(model: Any, patches: Patches, noise: PatchNoise | None = None) -> Any:
    """Return the image model of a model that is fitted to patches; a network is one already."""
    return Patchwise(model, patches.channels, patches.size, noise=noise) if takes_patches(model) else model


def _best(models: Iterator[Any], validate: Validate, group: Group) -> Any | None:
    """Return the last of the models that was better than the one before; None if there is none at all."""
    best, value = next(models, None), -math.inf
    if best is not None:
        value = validate(best, group).value
    for model in models:
        if (figure := validate(model, group).value) <= value:
            break
        best, value = model, figure
    return best


def prepare(
    images: Sequence[np.ndarray],
    white: float,
    settings: Settings,
    device: torch.device | str = "cpu",
    watch: Callable[[int, int], None] = lambda done, of: None,
    group: Group = ALONE,
    weights: Sequence[float] | None = None,
    module: nn.Module | None = None,
) -> Prepared:
    """Make a fit ready.

    Args:
        images: Arrays of one dtype, with shape (H, W) or (H, W, C), sides at least the patch size, or `Stored` ones.
        white: The value of white in them.
        settings: What to fit and how.
        device: Where to compute.
        watch: Told of how many noisy images the noise is estimated, and of how many it has to be.
        group: Processes that fit it together, all from the same images.
        weights: How often each image is drawn, 1 being as often as it has places; None for 1.
        module: A network of the user's own, where it is at hand: it is copied, and `settings.model` is what it is
            called.

    Raises:
        UsageError: A network of the user's own cannot be fitted.
        InputError: There is no image, or no noise in what should be noisy, or processes have different images.
        ModelError: The model to start from is missing, broken, or of another kind.
    """
    if not images:
        raise InputError("there are no images to fit on")
    notes: list[str] = []
    warnings: tuple[str, ...] = ()
    size = settings.patch_size
    levels: list[float] | None = None
    if settings.noisy and settings.init and settings.sigma == "auto":
        found = other_kind(images, white)
        if found is not None:
            return _redrawn(images, white, settings, settings.init, found, torch.device(device), watch, group)
    if settings.noisy:
        noise = noise_of(images, white, settings, watch)
        notes.append(f"noise of sigma {noise.text}" + (", estimated" if settings.sigma == "auto" else ""))
        settings, warnings = noise.settled(settings), noise.warnings
        images, levels = noise.among(images)
    fitted, held = split(images, size, settings.hold_out, settings.seed, levels, weights)
    patches = Patches.pack(fitted.images, size, white, levels=fitted.levels, weights=fitted.weights).to(device)
    held_out = Patches.pack(held.images, size, white, levels=held.levels).to(device) if held.images else patches
    if not group.all_equal([*patches.traits(), *held_out.traits()]):
        raise InputError("the processes do not see the same images", "give each the same files")
    generator = Generator(device).manual_seed(settings.seed)
    objective = OBJECTIVES[settings.objective]
    row = family(settings.model)
    if row.of_patches and patches.dim > MOST_NUMBERS:  # of arrays in colour, of which the settings know nothing
        raise UsageError(
            f"patches of {patches.dim:,} numbers are too large: {MOST_NUMBERS:,} is most", "give a smaller patch_size"
        )

    kind = None if settings.noise is None else Noise.from_yaml(settings.noise)
    # Where the noise depends on brightness, no brightness is like another.
    free = 0 if kind is not None and kind.is_signal_dependent else patches.free_means
    means = free if row.of_patches else patches.channels
    seen = patches.draw(INITIAL_EXAMPLES if row.of_patches else 1, generator)
    if settings.init:
        model = started_from(settings.init, patches.channels, settings).to(device)
    elif module is not None:
        model = made(module, patches.channels, size, settings.levels, device)
    else:
        model = row.start(seen, means, settings, generator)
    notes += notes_on_cost(model, objective, settings, patches)
    group.broadcast_(model.state_dict().values())
    examples = examples_for(patches, objective, model, settings, generator)
    # The same noise on the held-out images whatever the objective has drawn before.
    judges = Generator(device).manual_seed(settings.seed + 1)
    crops: Crops | NoisyCrops
    crops = (
        NoisyCrops.of(held_out, judges)
        if settings.noisy
        else Crops.of(held_out, settings.judged_levels, judges, settings.real > 0, kind)
    )
    if not held.images:
        what = "few rows" if size == 1 else "one small image"
        notes.append(f"{what}: nothing is held out, the figures are on what was fitted")
    if examples.implicit:
        validate = by_objective(examples, examples.around(held_out.draw(BATCH, generator), generator))
        notes.append("clean data hold no noise to remove: the model is a score of the clean density")
    elif kind is not None and kind.is_signal_dependent:
        validate = by_objective(examples, examples.around(held_out.draw(BATCH, generator), generator))
        notes.append("the noise depends on brightness: the model is a score, which does not tell the clean picture")
    else:
        validate = by_denoising(crops, partial(lift, patches=patches, noise=examples.kernel))
    if examples.rounding:
        notes.append(f"8-bit data are dequantised: uniform noise of one {round(white)}th of white")
    if not settings.init:
        others = row.others(seen, means, settings, Generator(device).manual_seed(settings.seed))
        if (better := _best(others, validate, group)) is not None:
            model = better
            group.broadcast_(model.state_dict().values())
            notes.append("the noise is far below the contrast: the energy starts as a linear filter")
    state = State.start(model, settings, generator, f"{patches.digest()} {held_out.digest()}")
    return Prepared(state, examples, validate, patches, held_out, crops, tuple(notes), warnings, group)


def _redrawn(
    images: Sequence[np.ndarray],
    white: float,
    settings: Settings,
    init: str,
    found: str,
    device: torch.device,
    watch: Callable[[int, int], None],
    group: Group,
) -> Prepared:
    """Make the fit ready of a network that takes noise to images whose noise is not white; arguments of `prepare`.

    Raises:
        UsageError: A setting is for white noise.
        ModelError: The network to start from takes white noise alone.
        InputError: The images have impulses, or processes have different images.
    """
    from smdae.files.model_file import load

    if settings.objective != "ism" or settings.growth:
        asked = "growth" if settings.growth else f"the objective '{settings.objective}'"
        raise UsageError(f"{found}, and {asked} is for white noise", "leave it out")
    start = load(init)
    if not takes_noise(start):
        raise ModelError(
            f"{found}, and '{init}' was fitted to white noise alone",
            "start from one of the bundled networks, natural-gray or natural-color",
        )
    low, high = start.noise_range
    settings = settings.model_copy(update={"objective": "dae", "sigma": (255 * low, 255 * high)})
    patches = Patches.pack(images, settings.patch_size, white).to(device)
    if not group.all_equal(patches.traits()):
        raise InputError("the processes do not see the same images", "give each the same files")
    model = started_from(init, patches.channels, settings).to(device)
    group.broadcast_(model.state_dict().values())
    views, words = views_of(images, told_white(images, white), model, settings.patch_size, device, watch)
    crops = RedrawnCrops.of(views, Generator(device).manual_seed(settings.seed + 1), device)
    noise = summary(views, words)
    notes = [f"noise: {noise}, estimated"]
    if len(views) < len(images):
        notes.append(f"{len(views)} of {len(images)} images are learnt from; the rest shows no noise, or is too many")
    notes.append("what the network makes of the images is learnt again with noise drawn anew")
    examples = Redrawn(views, settings.patch_size, device, high)
    state = State.start(model, settings, Generator(device).manual_seed(settings.seed), patches.digest())
    first = {name: weight.clone() for name, weight in model.state_dict().items()}
    validate = by_risk(crops, first)
    return Prepared(state, examples, validate, patches, patches, crops, tuple(notes), (), group, noise, first)
