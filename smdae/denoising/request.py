"""The request of a caller: an image's array and its sigma, checked, and the model, loaded."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from smdae.checked import refuse_other_types
from smdae.denoising.preparation import is_gray
from smdae.errors import UsageError
from smdae.files.model_file import load
from smdae.protocols import HasStride, completed, has, offers
from smdae.theirs import TheirModel, is_theirs

__all__ = ["bundled_for", "checked_pixels", "checked_sigma", "checked_white", "resolved_model", "with_stride"]


def checked_pixels(image: Any) -> np.ndarray:
    """Return an image as an array, or raise UsageError for a shape or dtype that cannot be denoised."""
    pixels = np.asarray(image)
    if pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise UsageError(f"an image has shape (H, W) or (H, W, C), not {pixels.shape}")
    if pixels.dtype.newbyteorder("=") not in (np.uint8, np.uint16) and pixels.dtype.kind != "f":
        raise UsageError(
            f"an image is of integers of 8, 16 or 32 bits or of floats, not {pixels.dtype}", "convert it first"
        )
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def checked_white(dtype: np.dtype, white: float | None, black: float | None) -> float:
    """Return the value of white in an image of a type: that which is given, else the largest integer, or 1 for floats.

    Raises:
        UsageError: White or black is not finite, or white is not above black, which is 0 unless given.
    """
    refuse_other_types({"white": white, "black": black})
    for name, value in (("white", white), ("black", black)):
        if value is not None and not np.isfinite(value):
            raise UsageError(f"{name} is a finite number, not {value}")
    limit = float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0
    top, bottom = limit if white is None else white, black or 0.0
    if top <= bottom:
        raise UsageError(f"white is above black, and {top:g} is not above {bottom:g}")
    return top


def resolved_model(model: Any, pixels: np.ndarray, visible: np.ndarray | None, device: torch.device | str) -> Any:
    """Return a loaded model with all that a score model has.

    Args:
        model: A loaded model, an object of the caller's own, the path of a file or the name of a bundled one; None for
            the bundled one that fits.
        pixels: The image, with shape (H, W) or (H, W, C).
        visible: Which pixels are not hidden, with shape (H, W); None for all.
        device: Where a model that is loaded here goes.

    Raises:
        ModelError: It is missing or broken.
        UsageError: It is an object with no score.
    """
    if model is None:
        model = bundled_for(pixels, visible)
    if isinstance(model, str | Path):
        model = load(model).to(device)
    elif is_theirs(model) and has(model, "score"):
        model = TheirModel(model)
    return completed(model)


def bundled_for(pixels: np.ndarray, visible: np.ndarray | None = None) -> str:
    """Return the name of the bundled model for an image, of which some pixels may be hidden."""
    in_colour = pixels.shape[2:] == (3,) and not is_gray(pixels, visible)
    return "natural-color" if in_colour else "natural-gray"


def checked_sigma(sigma: float | Sequence[float], pixels: np.ndarray, white: float, whole: bool) -> tuple[float, ...]:
    """Return sigma as it was given, one number or one for each channel.

    `white` is that of the image, and `whole` whether it is of integers.
    """
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if isinstance(sigma, str) and sigma == "auto":
        raise UsageError("sigma is a number, or None to find it, not 'auto'", "leave sigma out")
    is_row = isinstance(sigma, Sequence | np.ndarray) and not isinstance(sigma, str) and np.ndim(sigma) == 1
    values: tuple[Any, ...] = tuple(cast(Sequence[float], sigma)) if is_row else (sigma,)
    for value in values:
        refuse_other_types({"sigma": value})
    if len(values) not in (1, channels):
        many = "1 channel" if channels == 1 else f"{channels} channels"
        raise UsageError(f"sigma has {len(values)} values, and the image has {many}")
    if not all(0 <= value < math.inf for value in values) or values == (0,):
        raise UsageError(f"sigma is a positive number, not {sigma}")
    _refuse_other_unit(max(values), pixels, white, whole)
    return tuple(float(value) for value in values)


def _refuse_other_unit(sigma: float, pixels: np.ndarray, white: float, whole: bool) -> None:
    """Raise UsageError for a level that no image has: it is told in another unit than its image's."""
    most = 255.0 if whole else white
    meant = sigma * 255 / white if whole else sigma * white / 255
    if sigma <= most:
        return
    if not whole:
        finite = pixels[np.isfinite(pixels)]
        if finite.size and sigma <= float(np.abs(finite).max()):  # of counts, say, with no white told
            return
    unit = "integers of any depth have white 255" if whole else "that of floats is in their own unit"
    did_you = f": did you mean {meant:.4g}?" if meant < most else ""
    raise UsageError(f"sigma {sigma:.4g} is larger than white, {most:g}{did_you} ({unit})")


def with_stride(model: Any, stride: int) -> Any:
    """Return a model of patches with that many pixels between them; raise UsageError for another model or stride."""
    if not offers(model, HasStride):
        raise UsageError("--stride is for models of patches, and this model is none")
    try:
        return model.with_stride(stride)
    except ValueError as error:
        raise UsageError(str(error)) from None
