"""The quality and the uncertainty of a denoised array, estimated without a clean one.

PSNR by Stein's estimate of the error (`judgement`), the variance of each pixel by the Jacobian of the posterior mean,
sigma^2 dD/dy (`uncertainty`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from smdae.denoising.denoise import run_task
from smdae.denoising.denoised import NOT_JUDGED, deviations, one_task, require_white_noise
from smdae.denoising.judgement import Judgement, judge
from smdae.device import named
from smdae.errors import UsageError
from smdae.estimation.estimate import Kind
from smdae.noise import Noise


def estimate_psnr(
    image: Any,
    model: Any = None,
    sigma: float | Sequence[float] | None = None,
    *,
    axes: str | None = None,
    noise: Kind | Noise | None = None,
    device: torch.device | str = "cpu",
    tile: int | None = None,
    **options: Any,
) -> Judgement:
    """Estimate the PSNR that `denoise` reaches on an image, without the clean one.

    The image is denoised to find it; `denoise_image` returns both the result and the estimate.

    Args:
        image: With shape (H, W) or (H, W, C); uint8, uint16 or float. White is 255, 65535, or 1 for floats. Or a path.
        model: As for `denoise`.
        sigma: Level of the noise, white being 255 for integers of any depth, and in the image's own unit for floats; a
            number, or one for each channel; None to estimate it.
        axes: As for `denoise`; an axis of pages has length 1.
        noise: As for `denoise`.
        device: Where to compute.
        tile: Side of the tiles in pixels; None for what memory allows.
        options: Further arguments of `denoise`: strength, luma, chroma, stride, ensemble, white, black and precision.

    Returns:
        The estimate: `psnr` in dB, its standard `error` in dB, `doubts`, the reasons not to trust it, and `is_trusted`,
        whether there are none. If there was no noise to take out, or there is no estimate, psnr is NaN.

    Raises:
        UsageError: As `denoise`, or there is more than one image, or a sampler of many steps is asked for.
        InputError, ModelError, DeviceError, MemoryLimitError: As `denoise`.
    """
    device = named(device)
    _, task = one_task("estimate_psnr", image, model, sigma, axes=axes, noise=noise, device=device, options=options)
    if not task.is_one_step:
        raise UsageError(
            f"the PSNR can be estimated for one step only, and '{task.walk.sampler}' takes several: leave sampler out"
        )
    if not task.changes:
        return NOT_JUDGED
    return judge(task, run_task(task, device, tile=tile), task.level_error)


def posterior_variance(
    image: Any,
    model: Any = None,
    sigma: float | Sequence[float] | None = None,
    *,
    axes: str | None = None,
    noise: Kind | Noise | None = None,
    calibrate: bool = True,
    device: torch.device | str = "cpu",
    **options: Any,
) -> np.ndarray:
    """Return the posterior variance of each pixel: the expected squared error of what `denoise` returns.

    A network takes 64 passes over the image, or 64 for each channel if it processes channels together.

    Args:
        image: With shape (H, W) or (H, W, C); uint8, uint16 or float. White is 255, 65535, or 1 for floats. Or a path.
        model: As for `denoise`.
        sigma: Level of the noise, white being 255 for integers of any depth, and in the image's own unit for floats; a
            number, or one for each channel; None to estimate it.
        axes: As for `denoise`; an axis of pages has length 1.
        noise: As for `denoise`; it must be white.
        calibrate: Whether to move the mean variance towards the estimated error of the result, if that is trusted;
            otherwise the variance is that of the model alone.
        device: Where to compute.
        options: Further arguments of `denoise`: stride, ensemble, white, black and precision.

    Returns:
        The variance in the square of the image's own unit, float32, with the shape of the image without alpha; 0 where
        nothing is taken out, NaN for invalid pixels.

    Raises:
        UsageError: As `denoise`, or there is more than one image, or the noise is not white.
        InputError, ModelError, DeviceError, MemoryLimitError: As `denoise`.
    """
    device = named(device)
    pictures, task = one_task(
        "posterior_variance", image, model, sigma, axes=axes, noise=noise, device=device, options=options
    )
    require_white_noise(task, "the posterior variance is known")
    is_judged = calibrate and task.changes and task.is_one_step and task.strengths.is_all
    judgement = judge(task, run_task(task, device), task.level_error) if is_judged else None
    found: np.ndarray = np.square(deviations(pictures, task, judgement, device))
    return found
