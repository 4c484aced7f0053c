"""Adapt a network to one noisy array: `smdae.adapt`. The method is in `adaptation`."""

from collections.abc import Sequence
from typing import Any

import torch

from smdae.checked import refuse_other_types
from smdae.denoising.denoise import run_task
from smdae.denoising.denoised import identity_of, one_task, require_white_noise
from smdae.device import named
from smdae.errors import UsageError
from smdae.estimation.estimate import Kind
from smdae.files.bundle import Identity
from smdae.fitting.adaptation import STEPS, adapted, is_adaptable
from smdae.noise import Noise
from smdae.progress import Watch
from smdae.protocols import has

__all__ = ["adapt"]


def adapt(
    image: Any,
    model: Any = None,
    sigma: float | Sequence[float] | None = None,
    *,
    axes: str | None = None,
    noise: Kind | Noise | None = None,
    steps: int = STEPS,
    device: torch.device | str = "cpu",
    watch: Watch | None = None,
    **options: Any,
) -> Any:
    """Adapt a network to the image that it is to denoise; no clean image is needed.

    Args:
        image: With shape (H, W) or (H, W, C); uint8, uint16 or float. White is 255, 65535, or 1 for floats. Or a path.
        model: As for `denoise`; a network. A loaded one is not changed.
        sigma: Level of the noise, white being 255 for integers of any depth, and in the image's own unit for floats; a
            number, or one for each channel; None to estimate it.
        axes: As for `denoise`; an axis of pages has length 1.
        noise: As for `denoise`; it must be white.
        steps: Number of steps, 1 or more.
        device: Where to compute.
        watch: Called with the number of steps done, and with their total.
        options: Further arguments of `denoise`: white and black.

    Returns:
        A model for `denoise(image, model, sigma)`, whose `card["gain"]` is the estimated gain in PSNR, in dB, on a part
        of the image that was held out. If no gain is sure, or there is no noise, the original model.

    Raises:
        UsageError: As `denoise`, or there is more than one image, the noise is not white, or the model is not a
            network.
        InputError, ModelError, DeviceError, MemoryLimitError: As `denoise`.
    """
    device = named(device)
    refuse_other_types({"steps": steps})
    if steps < 1:
        raise UsageError(f"steps is 1 or more, not {steps}")
    _, task = one_task("adapt", image, model, sigma, axes=axes, noise=noise, device=device, options=options)
    if not is_adaptable(task.loaded):
        raise UsageError("networks can be adapted, and this model is not one: leave model out, or name 'natural-gray'")
    require_white_noise(task, "a network can be adapted")
    if not task.changes:
        return task.loaded
    # The result is needed only to find pixels whose noise may have been clipped.
    result = run_task(task, device) if task.scale.may_clip else task.pixels
    better, gain = adapted(task, result, watch or (lambda done, of: None), steps)
    if gain:
        better.identity = Identity(f"{identity_of(task.loaded).name}, adapted")
        better.card = {**(task.loaded.card if has(task.loaded, "card") else {}), "gain": gain}
    return better
