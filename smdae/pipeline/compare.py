"""Objectives, models and classical methods compared on arrays, as `smdae compare` does on files: `smdae.compare`."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smdae.comparing.comparison import run
from smdae.comparing.contest import Contest
from smdae.comparing.planning import planned, refuse_models, with_models
from smdae.comparing.record import Record
from smdae.comparing.report import in_notebook, page
from smdae.comparing.sizes import HELD_OUT, HOLD_OUT, QUICK_HELD_OUT, SIGMA, chosen_numbers
from smdae.comparing.text import printable
from smdae.denoising.arrays import as_python
from smdae.device import named
from smdae.errors import InputError, UsageError
from smdae.files.table import rows_called
from smdae.fitting.given import INTEGERS, Images, gathered, images_of, level_for_rows, level_of, rows_of
from smdae.fitting.precision import denormals_flushed
from smdae.fitting.settings import Settings, check, for_rows
from smdae.noise import Noise
from smdae.pipeline.compared import begun
from smdae.pipeline.model_choice import load_denoiser
from smdae.protocols import ImageScoreModel, offers

Row = dict[str, str | bool | int | float | None]


@dataclass(frozen=True, eq=False)
class Compared:
    """The findings of a comparison.

    Attributes:
        settings: What was compared, and of what, by name.
        tables: The rows of each table, by part and table, each a dict of plain values; None for what is no number.
        pictures: PNG files, by part and name.
        models: What the first fit of each objective came to, for `denoise`, by objective; none of fits that diverged.
        left_out: What was asked for and could not be: `what` and `reason`.
        text: The page that the command prints, at most 80 columns wide.
    """

    settings: dict[str, Any]
    tables: dict[str, dict[str, list[Row]]] = field(repr=False)
    pictures: dict[str, dict[str, bytes]] = field(repr=False)
    models: dict[str, Any] = field(repr=False)
    left_out: list[dict[str, str]]
    text: str = field(repr=False)

    def _repr_html_(self) -> str:
        return in_notebook(self.text, self.pictures)


def compare(
    images: Any,
    *,
    objectives: Sequence[str] | None = None,
    models: Mapping[str, Any] | Sequence[str | Path] = (),
    baselines: Sequence[str] = (),
    parts: Sequence[str] | None = None,
    sigma: float | None = None,
    noise: Noise | None = None,
    seeds: int = 1,
    quick: bool = False,
    axes: str | None = None,
    patches: int | None = None,
    max_steps: int | None = None,
    batch: int = 256,
    patch_size: int | None = None,
    hidden: int | None = None,
    lr: float = 0.02,
    seed: int = 0,
    device: torch.device | str = "cpu",
    watch: Callable[[float, str], object] | None = None,
) -> Compared:
    """Fit the same energy with each objective to the same patches, and answer the questions of `smdae compare`.

    Args:
        images: Gray images with shape (H, W) in a list, or one array of them with shape (N, H, W); uint8, uint16 or
            float. One array with shape (N, d) is N examples of d numbers. Or the path of a file or a folder, or a list
            of paths, whose images are read in gray.
        objectives: Names of OBJECTIVES to fit with; None for all.
        models: Names or paths of models to denoise with too, or loaded ones by what they are to be called.
        baselines: Classical methods to denoise with too: nlm, wavelet, tv or bm3d.
        parts: Names of the questions: equivalence, estimator, cost, learning, denoising, learned; None for all.
        sigma: Level of the noise, white being 255 for integers of any depth, and in the images' own unit for floats;
            None for 25 of 255, and for rows a third of their spread.
        noise: The noise to check the theorem with, in the unit of the images; None for grain and shot noise of ours.
        seeds: Number of fits of each objective, for error bars.
        quick: Whether to measure no more than what a minute for everything allows.
        axes: The axes of one array, as for `denoise`.
        patches: Patches that all are fitted on; None for 20,000, quick 5,000.
        max_steps: Steps of each fit; None for 2,000, quick 300.
        batch: Number of patches in a step.
        patch_size: Side of a patch; None for 12, quick 8.
        hidden: Units of the energy; None for 512, quick 128.
        lr: Peak of the learning rate.
        seed: The seed of all random numbers.
        device: Where to compute.
        watch: Called with the share of the work done, 0 to 1, and with what is being done.

    Returns:
        The figures, the pictures, the models and the page; nothing is written.

    Raises:
        UsageError: A name is unknown, a number out of range, or sigma larger than white.
        InputError: There is no usable image.
        ModelError: A model is missing, broken, or not for gray images.
        DeviceError: There is no such device.
        MemoryLimitError: It takes more memory than there is.
    """
    device = named(device)
    images, sigma = gathered(images), as_python(sigma)
    asked = {"patches": patches, "max_steps": max_steps, "patch_size": patch_size, "hidden": hidden}
    numbers = chosen_numbers(asked, quick, seeds)
    plan, left_out = planned(objectives, parts, baselines, seeds, quick)
    plain = {"batch": batch, "lr": lr, "seed": seed, "hold_out": HOLD_OUT}
    plain |= {name: value for name, value in numbers.items() if name != "patches"}
    settings, given = _examples(images, axes, sigma, plain)
    loaded = _loaded(models, device)
    refuse_models(list(loaded), rows_called(given.images) if settings.patch_size == 1 else "")
    plan, colours = with_models(plan, loaded)
    with denormals_flushed():
        held_out = QUICK_HELD_OUT if quick else HELD_OUT
        contest = Contest.of(given.images, given.white, settings, numbers["patches"], device, held_out)
        if noise is not None:
            contest = replace(contest, noise=noise.of_unit())
        record = begun(contest, plan, None, (*left_out, *colours))
        pictures: dict[str, dict[str, bytes]] = {}
        fitted: dict[str, Any] = {}
        for found in run(contest, plan):
            if watch:
                watch(found.share, found.stage)
            course, part = found.course, found.part
            if course is not None and course.outcome != "diverged":
                fitted.setdefault(course.objective, contest.lift(course.model).eval())
            if part is not None:
                record = record.with_part(part.name, plan.of(part.name), part.tables)
                pictures[part.name] = dict(part.pictures)
    return _plainly(replace(record, complete=True), pictures, fitted)


def _examples(images: Any, axes: str | None, sigma: float | None, plain: dict[str, Any]) -> tuple[Settings, Images]:
    """Return the settings of the fits, adapted to the data, and the images or rows themselves."""
    if isinstance(images, np.ndarray) and images.ndim == 2 and axes is None:
        level = SIGMA if sigma is None else sigma if images.dtype in INTEGERS else 255 * sigma
        settings = for_rows(check({"sigma": level, **plain}))
        rows = rows_of(images, settings.seed)
        if sigma is None:
            white, level = level_for_rows(rows.images[0], rows.white)
            return settings.model_copy(update={"sigma": level}), replace(rows, white=white)
        return settings, rows
    found = images_of(images, axes, color=False)
    settings = check({"sigma": SIGMA if sigma is None else level_of(sigma, found), **plain})
    planes = [image[:, :, 0] if image.shape[2:] == (1,) else image for image in found.images]
    if any(plane.ndim != 2 for plane in planes):
        raise InputError("images are compared in gray, and these have 3 channels: give one, or their luma")
    size = settings.patch_size
    small = sum(min(plane.shape) < size for plane in planes)
    if small:
        raise InputError(f"{small} images are smaller than the patch size {size}: leave them out, or give patch_size")
    return settings, replace(found, images=planes)


def _loaded(models: Mapping[str, Any] | Sequence[str | Path], device: torch.device | str) -> dict[str, Any]:
    """Load the models that are given by file or name, and return all by name, on the device."""
    if isinstance(models, str | Path):
        raise UsageError(f"models is a list of names, or a dict of loaded ones: write [{str(models)!r}]")
    named = models if isinstance(models, Mapping) else {str(name): name for name in models}
    loaded: dict[str, Any] = {}
    for name, given in named.items():
        model: Any = load_denoiser(str(given), (), warnings.warn) if isinstance(given, str | Path) else given
        is_module = isinstance(model, torch.nn.Module)
        if not (is_module and offers(model, ImageScoreModel)):
            raise UsageError(f"the model '{name}' was neither loaded nor fitted by smdae, and cannot be compared")
        loaded[printable(name)] = model
    return {name: model.to(device) for name, model in loaded.items()}


def _plainly(record: Record, pictures: dict[str, dict[str, bytes]], models: dict[str, Any]) -> Compared:
    """Return the record of a comparison as plain values."""
    tables = {
        name: {table: [asdict(row) for row in rows] for table, rows in part.tables.items()}
        for name, part in record.parts.items()
    }
    left_out = [asdict(row) for row in record.left_out]
    return Compared(dict(record.settings), tables, pictures, models, left_out, page(record))
