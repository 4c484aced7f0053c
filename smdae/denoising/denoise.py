"""From a noisy array to a clean one of the same shape and dtype.

Pixels go to a scale where white is 1, move along the score, and come back rounded and clipped, floats neither. A gray
model takes the channels of a colour image one by one.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smdae.denoising.steppers import STEPPERS
from smdae.errors import ModelError, SmdaeError, UsageError

__all__ = ["denoise", "move"]


def move(model: Any, noisy: Tensor, sigma: float, stepper: str = "tweedie") -> Tensor:
    """The stepper's last estimate.

    Args:
        model: A score model of images.
        noisy: Images, white being 1, with shape (B, C, H, W).
        sigma: Level of the noise, white being 1.
        stepper: A name of STEPPERS.

    Raises:
        ModelError: The model takes another number of channels.
        SmdaeError: The result is not finite.
    """
    channels = getattr(model, "channels", noisy.shape[1])
    if channels == 1 and noisy.shape[1] > 1:
        planes = noisy.flatten(0, 1)[:, None]
        return move(model, planes, sigma, stepper).reshape(noisy.shape)
    if channels != noisy.shape[1]:
        raise ModelError(
            f"the model takes {channels} channels, the image has {noisy.shape[1]}",
            "fit a gray model, which takes any image channel by channel",
        )
    estimate = noisy
    with torch.no_grad():
        for estimate in STEPPERS[stepper](model, noisy, sigma):  # noqa: B007  the last one is the answer
            pass
    if not estimate.isfinite().all():
        raise SmdaeError("the model's answer has values that are not numbers")
    return estimate


def denoise(
    image: Any,
    model: Any = None,
    sigma: float | None = None,
    *,
    stepper: str = "tweedie",
    stride: int | None = None,
    white: float | None = None,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Denoise one image.

    Args:
        image: With shape (H, W) or (H, W, C); uint8, uint16 or float. White is 255, 65535, or 1 for floats.
        model: A loaded model, the path of a model file, or the name of a bundled one; None for ./model.safetensors.
        sigma: Level of the noise: on the 0 to 255 scale for integers, in the image's own unit for floats; None for the
            level that the model was made for.
        stepper: A name of STEPPERS.
        stride: Pixels between the patches of a patch model: more is faster and a little worse. None: the model's.
        white: The value of white; None for 255, 65535, or 1 for floats.
        device: Where to compute.

    Returns:
        An array of the same shape and dtype; floats are not clipped.

    Raises:
        UsageError: The shape, the dtype, sigma or the stepper is none that can be taken.
        ModelError: The model is missing, broken, or made for other channels.
    """
    from smdae.files.model_file import load

    pixels = np.asarray(image)
    if pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise UsageError(f"an image has shape (H, W) or (H, W, C), not {pixels.shape}")
    if pixels.dtype.newbyteorder("=") not in (np.uint8, np.uint16) and pixels.dtype.kind != "f":
        raise UsageError(f"an image is uint8, uint16 or float, not {pixels.dtype}")
    if stepper not in STEPPERS:
        raise UsageError(f"unknown stepper '{stepper}'; there are {', '.join(STEPPERS)}")
    whole = pixels.dtype.kind == "u"
    if white is None:
        white = float(np.iinfo(pixels.dtype).max) if whole else 1.0
    if not 0 < white < np.inf:
        raise UsageError(f"white is a positive number, not {white}")
    if not np.isfinite(pixels).all():
        raise UsageError("the image has values that are not numbers")
    if model is None or isinstance(model, str | Path):
        model = load(model or "model.safetensors").to(device)
    if sigma is None:
        level = model.level
    elif sigma > 0 and np.isfinite(sigma):
        level = sigma / 255 if whole else sigma / white
    else:
        raise UsageError(f"sigma is a positive number, not {sigma}")
    if stride is not None:
        model = _with_stride(model, stride)
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    with np.errstate(over="ignore"):  # what is too large for float32 has no finite answer, and `move` says so
        planes = np.array(planes.transpose(2, 0, 1), np.float32, order="C")
    noisy = torch.from_numpy(planes).to(device) / white
    estimate = move(model, noisy[None], level, stepper)[0]
    result = (estimate * white).permute(1, 2, 0).cpu().numpy().reshape(pixels.shape)
    if whole:
        result = np.clip(np.rint(result), 0, np.iinfo(pixels.dtype).max)
    return result.astype(pixels.dtype)


def _with_stride(model: Any, stride: int) -> Any:
    if not hasattr(model, "with_stride"):
        raise UsageError("--stride is for models of patches, and this model is none")
    try:
        return model.with_stride(stride)
    except ValueError as error:
        raise UsageError(str(error)) from None
