"""A fit from images to model: what the command line drives step by step, and what `smdae.fit` does in one call."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Generator, nn

from smdae.errors import InputError, ModelError, UsageError
from smdae.fitting import loop
from smdae.fitting.distributed import ALONE, Group
from smdae.fitting.examples import Examples
from smdae.fitting.given import images_of, level_of
from smdae.fitting.noisy import noise_of
from smdae.fitting.patches import Patches
from smdae.fitting.precision import denormals_flushed
from smdae.fitting.settings import Settings, check, for_rows
from smdae.fitting.splitting import split
from smdae.fitting.state import State
from smdae.fitting.validation import BATCH, Crops, NoisyCrops, Validate, by_denoising, by_objective
from smdae.models import Patchwise, family, takes_patches
from smdae.models.own import OwnModel, made, name_of
from smdae.models.wiener import Wiener, without_means
from smdae.named import is_named
from smdae.noise import Noise
from smdae.objectives import OBJECTIVES, Objective
from smdae.patch_noise import PatchNoise
from smdae.protocols import HasDivergence, HasKinks, offers

__all__ = ["Prepared", "fit", "prepare"]

INITIAL_EXAMPLES = 20_000  # patches that the start and the Wiener filter are made from
MAX_EXACT = 4096  # dimensions in which a divergence is taken one by one
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
        notes: What the user should know about this fit.
        warnings: What may be wrong with it.
        group: Processes that fit it together.
    """

    state: State
    examples: Examples
    validate: Validate
    patches: Patches
    held_out: Patches
    crops: Crops | NoisyCrops
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    group: Group = ALONE

    def run(self) -> Any:
        """The fit's reports, see `loop.run`."""
        return loop.run(self.state, self.examples, self.validate, self.group)

    def lift(self, model: Any) -> Any:
        """The image model of what is fitted."""
        return lift(model, self.patches, self.examples.kernel)

    @property
    def denoises(self) -> bool:
        """Whether what is fitted tells the clean picture: a score of it, or of varying noise, does not."""
        kernel = self.examples.kernel
        return not self.examples.implicit and not (kernel is not None and kernel.is_signal_dependent)

    def fitted(self) -> Any:
        """The image model with the best weights so far, in eval mode."""
        state = self.state
        state.average.load_state_dict(state.best)
        return self.lift(state.average).eval()

    def wiener(self) -> Patchwise | None:
        """The linear filter of the images fitted on, for images; None where they are not clean."""
        if self.state.settings.noisy:
            return None
        generator = Generator(self.patches.device).manual_seed(self.state.settings.seed)
        patches = replace(self.patches, size=min(WIENER_SIZE, self.patches.size))
        centre = partial(without_means, groups=patches.free_means) if patches.free_means else lambda x: x
        filter_ = Wiener(centre(patches.draw(INITIAL_EXAMPLES, generator)), self.examples.sigma, centre)
        return Patchwise(filter_, patches.channels, patches.size)


def lift(model: Any, patches: Patches, noise: PatchNoise | None = None) -> Any:
    """The image model of what is fitted to patches: itself, unless it is a model of patches."""
    return Patchwise(model, patches.channels, patches.size, noise=noise) if takes_patches(model) else model


def started_from(init: str, channels: int, settings: Settings) -> Any:
    """The model to fit, with the shape and the weights of another, a file or the name of a bundled one.

    Raises:
        ModelError: The other is missing, broken, or of another kind.
    """
    from smdae.files.model_file import load

    # Who names a module to be fitted has it imported.
    image_model = load(init, imports=[settings.model] if is_named(settings.model) else ())
    model = image_model.patch if isinstance(image_model, Patchwise) else image_model
    row = family(settings.model)
    kind: Any = row.fits
    own = {"channels": channels} | ({"size": settings.patch_size} if takes_patches(model) else {})
    theirs = {name: image_model.settings().get(name) for name in own}
    if not isinstance(model, kind) or theirs != own:
        shape = ", ".join(f"{name} {value}" for name, value in theirs.items())
        raise ModelError(
            f"cannot start from '{init}', a '{image_model.card.get('model')}' of {shape}: to be fitted is a "
            f"'{settings.model}' of {', '.join(f'{name} {value}' for name, value in own.items())}",
            "fit with the model, channels and patch size that it has",
        )
    if settings.clipped and not model.clips:
        raise ModelError(f"cannot start from '{init}': it was fitted without clipped pictures", "leave clipped out")
    if settings.real and not model.takes_noise:
        raise ModelError(f"cannot start from '{init}': it was fitted to white noise alone", "leave real out")
    if isinstance(model, OwnModel):
        started = OwnModel(model.module, model.name, channels, settings.patch_size, model.flat, settings.levels)
        return started.train().requires_grad_(True)
    described = model.settings()
    levels = {"levels": settings.levels} if "levels" in described else {"level": settings.levels[1]}
    started = kind(**(described | levels))
    started.load_state_dict(model.state_dict())
    return started


def _costs(model: Any, objective: Objective, settings: Settings, patches: Patches) -> list[str]:
    """Return what is to be said of how a network of the user's own is seen, and of divergences one by one.

    Raises:
        UsageError: They take too many derivatives, or miss what they are of.
    """
    notes = []
    if isinstance(model, OwnModel):
        if model.flat and settings.growth:
            raise UsageError(f"growth is for networks that take images, and '{model.name}' takes flat patches")
        seen = f"flat patches of {patches.dim:,} numbers" if model.flat else "images"
        if settings.noise is not None and not model.flat:
            raise UsageError(f"noise is for models of patches, and '{model.name}' takes images")
        notes.append(f"'{model.name}' takes {'rows' if model.flat and patches.size == 1 else seen}")
    by_probes = "probes" in objective.options and settings.probes == 0 and not offers(model, HasDivergence)
    by_entries = "reg_lambda" in objective.needs and isinstance(model, OwnModel)
    if not (by_probes or by_entries):
        return notes
    if offers(model, HasKinks) and model.kinked:
        raise UsageError(
            f"the exact divergence of '{settings.model}' misses the kinks of its ReLUs",
            "give it smooth layers, such as SiLU, or --probes 1, which takes differences",
        )
    if patches.dim > MAX_EXACT:
        raise UsageError(
            f"an exact divergence in {patches.dim:,} dimensions takes {patches.dim:,} derivatives an example, and "
            f"{MAX_EXACT:,} is most",
            "--probes 1 takes one, with some variance",
        )
    return [*notes, f"the exact divergence takes {patches.dim:,} derivatives an example; --probes 1 takes one"]


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
    notes += _costs(model, objective, settings, patches)
    group.broadcast_(model.state_dict().values())
    examples = Examples.of(patches, objective, model, settings, generator)
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


def fit(
    patches: Any,
    objective: str = "dsm",
    model: str | nn.Module = "energy",
    sigma: float | tuple[float, float] = 25.0,
    *,
    axes: str | None = None,
    device: torch.device | str = "cpu",
    **settings: Any,
) -> Any:
    """Fit a score model to patches or images and return it in eval mode.

    Args:
        patches: Images with shape (H, W) or (H, W, 3) in a list, or one array of them with shape (N, H, W) or
            (N, H, W, 3); uint8, uint16 or float. Of three axes the last is that of colours if it has 1 or 3 numbers.
            One array with shape (N, d) is N examples of d numbers. Or the path of a file or a folder, or a list of
            paths, whose images are read in gray unless `color=True` is set.
        objective: A name of OBJECTIVES.
        model: A name of MODELS; a module of yours with `score(x, sigma)` or `energy(x)`, which is copied; or
            module:name of one, or of what makes it.
        sigma: Level of the noise, or the lowest and the highest: white being 255 for integers of any depth, and in the
            images' own unit for floats.
        axes: A letter for each axis of an array in another order: H or Y, W or X, C or S for colours, and N, T or Z
            for images, as for `denoise`.
        device: Where to compute.
        settings: Further settings, see `Settings`; `noise` may be a `Noise`, which has its own level.

    Raises:
        InputError: There is no usable image.
        UsageError: A setting is unknown or out of range, or sigma is larger than white.
        DivergedError: The fit ran away.
    """
    module = model if isinstance(model, nn.Module) else None
    name = model if isinstance(model, str) else name_of(model)
    if isinstance(settings.get("noise"), Noise):
        settings["noise"] = settings["noise"].of_unit().to_yaml()
    has_level = "noise" not in settings
    if isinstance(patches, np.ndarray) and patches.ndim == 2 and axes is None:
        of_level = {"sigma": sigma} if has_level else {}
        return _fit_rows(patches, of_level, device, module, {"objective": objective, "model": name, **settings})
    found = images_of(patches, axes, bool(settings.get("color")))
    images, white = found.images, found.white
    of_level = {"sigma": level_of(sigma, found)} if has_level else {}
    options = {"patch_size": min(12, *(min(image.shape[:2]) for image in images)), **settings}
    chosen = check({"objective": objective, "model": name, **of_level, **options})
    small = [image for image in images if min(image.shape[:2]) < chosen.patch_size]
    if small:
        raise InputError(f"{len(small)} images are smaller than the patch size {chosen.patch_size}")
    return _run(images, white, chosen, device, module)


def _on_255(level: Any) -> Any:
    """A level, or the lowest and the highest, on the 0 to 255 scale, white being 1 before."""
    return tuple(255 * end for end in level) if isinstance(level, tuple) else 255 * level


def _run(
    images: Sequence[np.ndarray],
    white: float,
    settings: Settings,
    device: torch.device | str,
    module: nn.Module | None,
) -> Any:
    with denormals_flushed():
        prepared = prepare(images, white, settings, device, module=module)
        for _ in prepared.run():
            pass
    model = prepared.fitted()
    model.card = _card(prepared, model)
    return model


def _card(prepared: Prepared, model: Any) -> dict[str, Any]:
    """Return what a notebook shows of a model, and what `model_file.encode` needs to keep it."""
    state, patches = prepared.state, prepared.patches
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
        "stopped_by": loop.ending(state),
        "held_out": {"before": state.record["before"], "after": state.record["best"]},
    }


def _fit_rows(
    rows: np.ndarray,
    of_level: dict[str, Any],
    device: torch.device | str,
    module: nn.Module | None,
    options: dict[str, Any],
) -> Any:
    """Return the model fitted to rows of numbers, (N, d)."""
    from smdae.files.table import one_table

    if rows.dtype.kind not in "iuf" or rows.shape[1] == 0:
        raise InputError(f"rows are numbers with shape (N, d), not {rows.dtype} with shape {rows.shape}")
    whole = rows.dtype in (np.uint8, np.uint16)
    white = float(np.iinfo(rows.dtype).max) if whole else 1.0
    chosen = check(options | {key: level if whole else _on_255(level) for key, level in of_level.items()})
    chosen = for_rows(chosen)
    table = one_table(rows if whole else rows.astype(np.float32), "the rows", chosen.seed)
    return _run([table], white, chosen, device, module)
