"""One denoised image with all that is known of it: `smdae.denoise_image`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from smdae.denoising.denoise import carried_out
from smdae.denoising.judgement import Judgement, judge
from smdae.denoising.pages import tasks_of, unscaled
from smdae.denoising.pictures import Given, given
from smdae.denoising.task import Task
from smdae.denoising.uncertainty import deviation_of
from smdae.device import named
from smdae.errors import UsageError
from smdae.estimation.estimate import Kind
from smdae.files.bundle import Identity
from smdae.noise import Noise

__all__ = ["UNJUDGED", "Denoised", "denoise_image", "deviations", "identity_of", "one_task", "refuse_coloured"]

UNJUDGED = Judgement(math.nan, math.inf, ("there was nothing to take out, or a sample was drawn",))


@dataclass(frozen=True, eq=False)
class Denoised:
    """A denoised image.

    Attributes:
        pixels: The result, an array of the shape and dtype of the image, as `denoise` returns it.
        model: Which model it was denoised with: its name, with the version of a bundled one, and its digest.
        noise: What was taken out, in the image's own unit: 0 to 255 for 8 bits, 0 to 65535 for 16, and so on.
        quality: The estimated PSNR in dB, its standard error, and what speaks against believing it: `psnr`, `error`,
            `doubts` and `is_trusted`.
        uncertainty: The posterior standard deviation of each pixel in the image's own unit, float32, with the shape of
            the image less its alpha; 0 where nothing was taken out, NaN where pixels do not count. None unless asked.
    """

    pixels: np.ndarray = field(repr=False)
    model: Identity
    noise: Noise
    quality: Judgement
    uncertainty: np.ndarray | None = field(default=None, repr=False)


def denoise_image(
    image: Any,
    model: Any = None,
    sigma: float | Sequence[float] | None = None,
    *,
    axes: str | None = None,
    noise: Kind | Noise | None = None,
    uncertainty: bool = False,
    device: torch.device | str = "cpu",
    tile: int | None = None,
    adapt: bool = False,
    **how: Any,
) -> Denoised:
    """Denoise one image, and tell with what, of which noise, and how well.

    Args:
        image: With shape (H, W) or (H, W, C); uint8, uint16 or float. White is 255, 65535, or 1 for floats. Or a path.
        model: As for `denoise`.
        sigma: Level of the noise, white being 255 for integers of any depth, and in the image's own unit for floats; a
            number, or one for each channel; None for what is found.
        axes: As for `denoise`; those of pages have one page.
        noise: As for `denoise`.
        uncertainty: Whether the standard deviation of each pixel is wanted: 64 times the work of a network, or more.
        device: Where to compute.
        tile: Side of the tiles in pixels; None for what memory allows.
        adapt: Not taken here, where nothing is fitted: `smdae.adapt` gives a model that is adapted to an image.
        how: Further arguments of `denoise`: strength, luma, chroma, sampler, steps, step_size, seed, stride, ensemble,
            white, black and precision.

    Raises:
        UsageError: As `denoise`, or there is more than one image, or the uncertainty of other than white noise is
            wanted, or `adapt` is.
        InputError, ModelError, DivergedError, MemoryLimitError: As `denoise`.
    """
    if adapt:
        raise UsageError(
            "denoise_image does not adapt the model to the image", "denoise with the model that smdae.adapt returns"
        )
    device = named(device)
    told, task = one_task("denoise_image", image, model, sigma, axes, noise, device, how)
    if uncertainty:
        refuse_coloured(task, "the uncertainty is known")
    pixels = carried_out(task, device, tile=tile)
    judged = judge(task, pixels, task.level_error) if task.changes and task.single else UNJUDGED
    result = task.prepared.restored(pixels).astype(told.pictures[0].dtype, copy=False)
    spread = deviations(told, task, judged, device) if uncertainty else None
    return Denoised(
        told.joined([result]), identity_of(task.loaded), unscaled(task.noise, task.prepared.scale), judged, spread
    )


def identity_of(model: Any) -> Identity:
    """Return which model it is: that of its file, or else its class."""
    from smdae.protocols import has

    found = model.identity if has(model, "identity") else None
    return found if isinstance(found, Identity) else Identity(type(model).__name__)


def one_task(
    caller: str,
    image: Any,
    model: Any,
    sigma: float | Sequence[float] | None,
    axes: str | None,
    noise: Kind | Noise | None,
    device: torch.device | str,
    how: Mapping[str, Any],
) -> tuple[Given, Task]:
    """Return the one picture of an image, and what is to be done with it; arguments as those of `denoise_image`.

    Raises:
        UsageError: There is more than one, which the caller, a public function, does not take; or as `denoise`.
        InputError, ModelError: As `denoise`.
    """
    told = given(image, axes)
    if len(told.pictures) != 1:
        raise UsageError(f"{caller} takes one image, and here are {len(told.pictures)}: call it for each")
    (task,) = tasks_of(told, model, sigma, noise, device, how)
    return told, task


def refuse_coloured(task: Task, what: str) -> None:
    """Raise UsageError for noise that is not white, of which something is not known."""
    if task.changes and task.noise.kind != "white":
        raise UsageError(f"{what} for white noise, and that of this image is {task.noise.kind}")


def deviations(told: Given, task: Task, judged: Judgement | None, device: torch.device | str) -> np.ndarray:
    """Return the standard deviation of each pixel, with the axes of the image, moved towards what was judged."""
    return replace(told, alpha=()).joined([_deviations(task, judged, device)])


def _deviations(task: Task, judged: Judgement | None, device: torch.device | str) -> np.ndarray:
    """Return the standard deviation of each pixel, with shape (H, W) or (H, W, C)."""
    shape = task.prepared.original.shape
    if not task.changes:
        return np.zeros(shape, np.float32)
    spread = deviation_of(task, judged, device)
    if task.prepared.is_shared:
        spread = np.repeat(spread[:, :, None], shape[2], 2)
    if task.prepared.valid is not None:
        spread = np.where(task.prepared.valid if spread.ndim == 2 else task.prepared.valid[:, :, None], spread, np.nan)
    return spread.reshape(shape)
