"""Denoise one image, and return with it the noise, the quality and the uncertainty: `smdae.denoise_image`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from smdae.denoising.denoise import run_task
from smdae.denoising.judgement import Judgement, judge
from smdae.denoising.pages import tasks_of, unscaled
from smdae.denoising.pictures import Pictures, pictures_of
from smdae.denoising.shown import as_html
from smdae.denoising.task import Task
from smdae.denoising.uncertainty import deviation_of
from smdae.device import named
from smdae.errors import UsageError
from smdae.estimation.estimate import Kind
from smdae.files.bundle import Identity
from smdae.noise import Noise
from smdae.protocols import has

NOT_JUDGED = Judgement(math.nan, math.inf, ("there was nothing to take out, or a sample was drawn",))


@dataclass(frozen=True, eq=False)
class Denoised:
    """A denoised image.

    Attributes:
        pixels: The result, an array of the shape and dtype of the image, as `denoise` returns it.
        model: The model used: its name, with the version of a bundled one, and its digest.
        noise: The noise taken out, in the image's own unit: 0 to 255 for 8 bits, 0 to 65535 for 16, and so on.
        quality: The estimated PSNR in dB, its standard error, and reasons not to trust it: `psnr`, `error`, `doubts`
            and `is_trusted`. `psnr` is NaN where it cannot be estimated, nothing was taken out, or the sampler took
            several steps.
        uncertainty: The posterior standard deviation of each pixel in the image's own unit, float32, with the shape of
            the image without alpha; 0 where nothing was taken out, NaN for invalid pixels. None unless asked for.
    """

    pixels: np.ndarray = field(repr=False)
    model: Identity
    noise: Noise
    quality: Judgement
    uncertainty: np.ndarray | None = field(default=None, repr=False)

    def _repr_html_(self) -> str:
        return as_html(self.pixels, str(self.model), self.noise, self.quality, self.uncertainty)


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
    **options: Any,
) -> Denoised:
    """Denoise one image, and return the result with its model, noise and estimated quality.

    Args:
        image: With shape (H, W) or (H, W, C); uint8, uint16 or float. White is 255, 65535, or 1 for floats. Or a path.
        model: As for `denoise`.
        sigma: Level of the noise, white being 255 for integers of any depth, and in the image's own unit for floats; a
            number, or one for each channel; None to estimate it.
        axes: As for `denoise`; an axis of pages has length 1.
        noise: As for `denoise`.
        uncertainty: Whether to compute the standard deviation of each pixel too, which takes a network at least 64
            times the work.
        device: Where to compute.
        tile: Side of the tiles in pixels; None for what memory allows.
        adapt: Must be False: a model adapted to an image comes from `smdae.adapt`.
        options: Further arguments of `denoise`: strength, luma, chroma, sampler, steps, step_size, seed, stride,
            ensemble, white, black and precision.

    Raises:
        UsageError: As `denoise`; or there is more than one image, the uncertainty is asked for and the noise is not
            white, or `adapt` is true.
        InputError, ModelError, DeviceError, DivergedError, MemoryLimitError: As `denoise`.
    """
    if adapt:
        raise UsageError(
            "denoise_image does not adapt the model to the image", "denoise with the model that smdae.adapt returns"
        )
    device = named(device)
    pictures, task = one_task(
        "denoise_image", image, model, sigma, axes=axes, noise=noise, device=device, options=options
    )
    if uncertainty:
        require_white_noise(task, "the uncertainty is known")
    pixels = run_task(task, device, tile=tile)
    judgement = judge(task, pixels, task.level_error) if task.changes and task.is_one_step else NOT_JUDGED
    result = task.prepared.restored(pixels).astype(pictures.arrays[0].dtype, copy=False)
    return Denoised(
        pixels=pictures.joined([result]),
        model=identity_of(task.loaded),
        noise=unscaled(task.noise, task.prepared.scale),
        quality=judgement,
        uncertainty=deviations(pictures, task, judgement, device) if uncertainty else None,
    )


def identity_of(model: Any) -> Identity:
    """Return the name and digest of a model: those of its file, else the name of its class."""
    found = model.identity if has(model, "identity") else None
    return found if isinstance(found, Identity) else Identity(type(model).__name__)


def one_task(
    caller: str,
    image: Any,
    model: Any,
    sigma: float | Sequence[float] | None,
    *,
    axes: str | None,
    noise: Kind | Noise | None,
    device: torch.device | str,
    options: Mapping[str, Any],
) -> tuple[Pictures, Task]:
    """Return the only picture of an image, and its task; arguments are those of `denoise_image`.

    Raises:
        UsageError: There is more than one picture, which `caller`, a public function, does not take; or as `denoise`.
        InputError, ModelError: As `denoise`.
    """
    pictures = pictures_of(image, axes)
    if len(pictures.arrays) != 1:
        raise UsageError(f"{caller} takes one image, not {len(pictures.arrays)}: call it for each")
    (task,) = (task for task in tasks_of(pictures, model, sigma, noise, device, options) if task is not None)
    return pictures, task


def require_white_noise(task: Task, what: str) -> None:
    """Raise UsageError if a task takes out noise that is not white; `what` begins the message."""
    if task.changes and task.noise.kind != "white":
        raise UsageError(f"{what} for white noise, and that of this image is {task.noise.kind}")


def deviations(pictures: Pictures, task: Task, judgement: Judgement | None, device: torch.device | str) -> np.ndarray:
    """Return the posterior standard deviation of each pixel in the image's own unit, calibrated by a judgement, if any.

    It has the axes of the image, without alpha; it is 0 where nothing is taken out, and NaN for invalid pixels.
    """
    return replace(pictures, alpha=()).joined([_deviations(task, judgement, device)])


def _deviations(task: Task, judgement: Judgement | None, device: torch.device | str) -> np.ndarray:
    """Return the standard deviation of each pixel, with shape (H, W) or (H, W, C)."""
    shape = task.prepared.original.shape
    if not task.changes:
        return np.zeros(shape, np.float32)
    spread = deviation_of(task, judgement, device)
    if task.prepared.is_shared:
        spread = np.repeat(spread[:, :, None], shape[2], 2)
    if task.prepared.valid is not None:
        spread = np.where(task.prepared.valid if spread.ndim == 2 else task.prepared.valid[:, :, None], spread, np.nan)
    return spread.reshape(shape)
