"""The quality and the uncertainty of a denoised array, estimated without a clean one.

PSNR by Stein's estimate of the error (`judgement`), the variance of each pixel by the Jacobian of the posterior mean,
sigma^2 dD/dy (`uncertainty`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from smdae.denoising.denoise import carried_out
from smdae.denoising.denoised import UNJUDGED, deviations, one_task, refuse_coloured
from smdae.denoising.judgement import Judgement, judge
from smdae.device import named
from smdae.errors import UsageError
from smdae.estimation.estimate import Kind
from smdae.noise import Noise

__all__ = ["estimate_psnr", "posterior_variance"]


def estimate_psnr(
    image: Any,
    model: Any = None,
    sigma: float | Sequence[float] | None = None,
    *,
    axes: str | None = None,
    noise: Kind | Noise | None = None,
    device: torch.device | str = "cpu",
    tile: int | None = None,
    **how: Any,
) -> Judgement:
    """Estimate the PSNR of what `denoise` makes of an image, without the clean one.

    The image is denoised for it; `denoise_image` returns result and estimate at once.

    Args:
        image: With shape (H, W) or (H, W, C); uint8, uint16 or float. White is 255, 65535, or 1 for floats. Or a path.
        model: As for `denoise`.
        sigma: Level of the noise, white being 255 for integers of any depth, and in the image's own unit for floats; a
            number, or one for each channel; None for what is found.
        axes: As for `denoise`; those of pages have one page.
        noise: As for `denoise`.
        device: Where to compute.
        tile: Side of the tiles in pixels; None for what memory allows.
        how: Further arguments of `denoise`: strength, luma, chroma, stride, ensemble, white, black and precision.

    Returns:
        The estimate: `psnr` in dB, `error`, its standard error in dB, `doubts`, what speaks against believing it, a few
        words each, and `is_trusted`, whether there are none. Where nothing was to be taken out psnr is NaN.

    Raises:
        UsageError: As `denoise`, or there is more than one image, or a sampler of many steps is asked for.
        InputError, ModelError, MemoryLimitError: As `denoise`.
    """
    device = named(device)
    _, task = one_task("estimate_psnr", image, model, sigma, axes, noise, device, how)
    if not task.single:
        raise UsageError(f"the PSNR is estimated of one step, and '{task.sampler}' takes many: leave sampler out")
    if not task.changes:
        return UNJUDGED
    return judge(task, carried_out(task, device, tile=tile), task.level_error)


def posterior_variance(
    image: Any,
    model: Any = None,
    sigma: float | Sequence[float] | None = None,
    *,
    axes: str | None = None,
    noise: Kind | Noise | None = None,
    calibrate: bool = True,
    device: torch.device | str = "cpu",
    **how: Any,
) -> np.ndarray:
    """Return the posterior variance of each pixel: how far the clean one may be from what `denoise` returns.

    It takes 64 passes of a network over the image, or 64 for each channel where it sees them together.

    Args:
        image: With shape (H, W) or (H, W, C); uint8, uint16 or float. White is 255, 65535, or 1 for floats. Or a path.
        model: As for `denoise`.
        sigma: Level of the noise, white being 255 for integers of any depth, and in the image's own unit for floats; a
            number, or one for each channel; None for what is found.
        axes: As for `denoise`; those of pages have one page.
        noise: As for `denoise`; it has to be white.
        calibrate: Whether the mean variance is moved towards the error that is estimated of the same result, where
            nothing speaks against that; else it is what the model itself says.
        device: Where to compute.
        how: Further arguments of `denoise`: stride, ensemble, white, black and precision.

    Returns:
        The variance in the square of the image's own unit, float32, with the shape of the image less its alpha; 0 where
        nothing is taken out, NaN where pixels do not count.

    Raises:
        UsageError: As `denoise`, or there is more than one image, or the noise is not white.
        InputError, ModelError, MemoryLimitError: As `denoise`.
    """
    device = named(device)
    told, task = one_task("posterior_variance", image, model, sigma, axes, noise, device, how)
    refuse_coloured(task, "the posterior variance is known")
    is_judged = calibrate and task.changes and task.single and task.strengths.is_all
    judged = judge(task, carried_out(task, device), task.level_error) if is_judged else None
    return np.square(deviations(told, task, judged, device))
