"""Prepare a fit: split and pack the images, make the model, and put together what it is fitted to and judged by."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Generator, nn

from smdae.denoising.treatment import takes_noise
from smdae.errors import InputError, ModelError, UsageError
from smdae.files.model_file import load
from smdae.fitting.distributed import ALONE, Group
from smdae.fitting.example_setup import examples_for
from smdae.fitting.initial_model import notes_on_cost, started_from
from smdae.fitting.noisy import given_white, noise_of, other_kind
from smdae.fitting.patches import Patches
from smdae.fitting.prepared import INITIAL_EXAMPLES, Prepared, lift
from smdae.fitting.refinement import views_of
from smdae.fitting.refinement_batches import RefinementBatches, RefinementCrops, by_risk, summary
from smdae.fitting.setting_rules import MOST_NUMBERS
from smdae.fitting.settings import Settings
from smdae.fitting.splitting import split
from smdae.fitting.state import State
from smdae.fitting.validation import BATCH, Crops, NoisyCrops, Validate, by_denoising, by_objective
from smdae.models import family
from smdae.models.own_checked import made
from smdae.noise import Noise
from smdae.objectives import OBJECTIVES


def _best(models: Iterator[Any], validate: Validate, group: Group) -> Any | None:
    """Return the last model before the first that is no better than the one before it; None if there are none."""
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
    *,
    watch: Callable[[int, int], None] = lambda done, of: None,
    group: Group = ALONE,
    weights: Sequence[float] | None = None,
    module: nn.Module | None = None,
) -> Prepared:
    """Return a fit that is ready to run, with all that belongs to it.

    Args:
        images: Arrays of one dtype, with shape (H, W) or (H, W, C), sides at least the patch size, or `Stored` ones.
        white: The value of white in them.
        settings: The settings of the fit.
        device: Where to compute.
        watch: Called with the number of noisy images whose noise was estimated, and with their total.
        group: The processes that fit together, all with the same images.
        weights: How often each image is drawn, 1 being as often as it has places; None for 1.
        module: A network of the user's own, which is copied; `settings.model` is its name. None for other models.

    Raises:
        UsageError: A network of the user's own cannot be fitted.
        InputError: There is no image, noisy images have no visible noise, or processes have different images.
        ModelError: The model to start from is missing, broken, or of another kind.
        LostError: A process of the group is gone.
    """
    if not images:
        raise InputError("there are no images to fit on")
    device = torch.device(device)
    notes: list[str] = []
    warnings: tuple[str, ...] = ()
    levels: list[float] | None = None
    if settings.noisy and settings.init and settings.sigma == "auto":
        kind = other_kind(images, white)
        if kind is not None:
            settings = _settings_of_refinement(settings, kind)
            return _prepare_refinement(images, white, settings, device, watch=watch, group=group)
    if settings.noisy:
        noise = noise_of(images, white, settings, watch)
        notes.append(f"noise of sigma {noise.text}" + (", estimated" if settings.sigma == "auto" else ""))
        settings, warnings = noise.settled(settings), noise.warnings
        images, levels = noise.among(images)
    patches, held_out, is_held = _split(images, white, settings, device, levels, weights)
    if not group.all_equal([*patches.traits(), *held_out.traits()]):
        raise InputError("the processes do not see the same images", "give each the same files")
    generator = Generator(device).manual_seed(settings.seed)
    row = family(settings.model)
    if row.of_patches and patches.dim > MOST_NUMBERS:  # of arrays in colour, of which the settings know nothing
        raise UsageError(
            f"patches of {patches.dim:,} numbers are too large: at most {MOST_NUMBERS:,} are allowed",
            "give a smaller patch_size",
        )

    profile = None if settings.noise is None else Noise.from_yaml(settings.noise)
    # With signal-dependent noise the mean of a patch matters, so the model may not be invariant to it.
    is_signal_dependent = profile is not None and profile.is_signal_dependent
    free = 0 if is_signal_dependent else patches.free_means
    means = free if row.of_patches else patches.channels
    start = patches.draw(INITIAL_EXAMPLES if row.of_patches else 1, generator)
    if settings.init:
        model = started_from(settings.init, patches.channels, settings).to(device)
    elif module is not None:
        model = made(module, patches.channels, settings.patch_size, settings.levels, device)
    else:
        model = row.start(start, means, settings, generator)
    objective = OBJECTIVES[settings.objective]
    notes += notes_on_cost(model, objective, settings, patches)
    group.broadcast_(model.state_dict().values())
    examples = examples_for(patches, objective, model, settings, generator)
    own = Generator(device).manual_seed(settings.seed + 1)  # so that all objectives are judged with the same noise
    crops: Crops | NoisyCrops
    if settings.noisy:
        crops = NoisyCrops.of(held_out, own)
    else:
        crops = Crops.of(held_out, settings.judged_levels, own, settings.real > 0, profile)
    if not is_held:
        what = "few rows" if settings.patch_size == 1 else "one small image"
        notes.append(f"{what}: nothing is held out, so the figures are on what was fitted")
    if examples.implicit:
        notes.append("clean data hold no noise to remove: the model is a score of the clean density")
    elif is_signal_dependent:
        notes.append("the noise depends on brightness: the clean picture does not follow from this score")
    if examples.implicit or is_signal_dependent:
        validate = by_objective(examples, examples.around(held_out.draw(BATCH, generator), generator))
    else:
        validate = by_denoising(crops, partial(lift, patches=patches, noise=examples.kernel))
    if examples.rounding:
        notes.append(f"8-bit data are dequantised: uniform noise of one {round(white)}th of white")
    if not settings.init:
        others = row.others(start, means, settings, Generator(device).manual_seed(settings.seed))
        if (better := _best(others, validate, group)) is not None:
            model = better
            group.broadcast_(model.state_dict().values())
            notes.append("the noise is far below the contrast: the energy starts as a linear filter")
    state = State.start(model, settings, generator, f"{patches.digest()} {held_out.digest()}")
    return Prepared(state, examples, validate, patches, held_out, crops, tuple(notes), warnings, group)


def _split(
    images: Sequence[np.ndarray],
    white: float,
    settings: Settings,
    device: torch.device,
    levels: list[float] | None,
    weights: Sequence[float] | None,
) -> tuple[Patches, Patches, bool]:
    """Return the patches to fit on, those held out, and whether any are; if not, both are the same."""
    size = settings.patch_size
    fitted, held = split(images, size, settings.hold_out, settings.seed, levels, weights)
    patches = Patches.pack(fitted.images, size, white, levels=fitted.levels, weights=fitted.weights).to(device)
    if not held.images:
        return patches, patches, False
    return patches, Patches.pack(held.images, size, white, levels=held.levels).to(device), True


def _settings_of_refinement(settings: Settings, kind: str) -> Settings:
    """Return the settings of a fit to images whose noise is not white but, in words, of that kind.

    Raises:
        UsageError: A setting is only for white noise.
        ModelError: The network to start from takes white noise alone.
    """
    if settings.objective != "ism" or settings.growth:
        asked = "growth" if settings.growth else f"the objective '{settings.objective}'"
        raise UsageError(f"{kind}, and {asked} is for white noise", "leave it out")
    network = load(str(settings.init))
    if not takes_noise(network):
        raise ModelError(
            f"{kind}, and '{settings.init}' was fitted to white noise alone",
            "start from one of the bundled networks, natural-gray or natural-color",
        )
    low, high = network.noise_range
    return settings.model_copy(update={"objective": "dae", "sigma": (255 * low, 255 * high)})


def _prepare_refinement(
    images: Sequence[np.ndarray],
    white: float,
    settings: Settings,
    device: torch.device,
    *,
    watch: Callable[[int, int], None],
    group: Group,
) -> Prepared:
    """Prepare the fit of a bundled network to images whose noise is not white (`refinement`); arguments of `prepare`.

    Raises:
        InputError: The images have impulses, or processes have different images.
    """
    init = str(settings.init)
    patches = Patches.pack(images, settings.patch_size, white).to(device)
    if not group.all_equal(patches.traits()):
        raise InputError("the processes do not see the same images", "give each the same files")
    model = started_from(init, patches.channels, settings).to(device)
    group.broadcast_(model.state_dict().values())
    views, words = views_of(images, given_white(images, white), model, settings.patch_size, device, watch)
    crops = RefinementCrops.of(views, Generator(device).manual_seed(settings.seed + 1), device)
    noise = summary(views, words)
    notes = [f"noise: {noise}, estimated"]
    if len(views) < len(images):
        notes.append(f"{len(views)} of {len(images)} images are learnt from; the rest shows no noise, or is too many")
    notes.append("what the network makes of the images is learnt again with noise drawn anew")
    examples = RefinementBatches(views, settings.patch_size, device, settings.levels[1])
    state = State.start(model, settings, Generator(device).manual_seed(settings.seed), patches.digest())
    start = {name: weight.clone() for name, weight in model.state_dict().items()}
    return Prepared(
        state,
        examples,
        by_risk(crops, start),
        patches,
        patches,
        crops,
        tuple(notes),
        group=group,
        noise=noise,
        start=start,
    )
