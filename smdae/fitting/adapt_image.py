"""A network adapted to one noisy array: `smdae.adapt`; how, see `adaptation`."""

from collections.abc import Sequence
from typing import Any

import torch

from smdae.checked import refuse_other_types
from smdae.denoising.denoise import carried_out
from smdae.denoising.denoised import identity_of, one_task, refuse_coloured
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
    **how: Any,
) -> Any:
    """Adapt a network to the very image that it is to denoise, which needs no clean one.

    Args:
        image: With shape (H, W) or (H, W, C); uint8, uint16 or float. White is 255, 65535, or 1 for floats. Or a path.
        model: As for `denoise`; a network. One that is given loaded stays as it is.
        sigma: Level of the noise, white being 255 for integers of any depth, and in the image's own unit for floats; a
            number, or one for each channel; None for what is found.
        axes: As for `denoise`; those of pages have one page.
        noise: As for `denoise`; it has to be white.
        steps: Of the fit, 1 or more.
        device: Where to compute.
        watch: Called with the number of steps done and of all.
        how: Further arguments of `denoise`: white and black.

    Returns:
        A model for `denoise(image, model, sigma)`, whose `card["gain"]` is what it gains in PSNR on a part of the image
        that was held out, estimated, in dB. Where no gain is sure, or there is no noise, the model as it was.

    Raises:
        UsageError: As `denoise`, or there is more than one image, the noise is not white, or the model is no network.
        InputError, ModelError, MemoryLimitError: As `denoise`.
    """
    device = named(device)
    refuse_other_types({"steps": steps})
    if steps < 1:
        raise UsageError(f"steps is 1 or more, not {steps}")
    _, task = one_task("adapt", image, model, sigma, axes, noise, device, how)
    if not is_adaptable(task.loaded):
        raise UsageError("networks can be adapted, and this model is none: leave model out, or name 'natural-gray'")
    refuse_coloured(task, "a network can be adapted")
    if not task.changes:
        return task.loaded
    # Of what was denoised only this is asked, where black and white may have cut noise off.
    result = carried_out(task, device) if task.is_clipped else task.pixels
    better, gain = adapted(task, result, watch or (lambda done, of: None), steps)
    if gain:
        better.identity = Identity(f"{identity_of(task.loaded).name}, adapted")
        better.card = {**(task.loaded.card if has(task.loaded, "card") else {}), "gain": gain}
    return better
