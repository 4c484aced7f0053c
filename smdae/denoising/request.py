"""Check what a caller asks for: the array, white and sigma; and load the model."""

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

TO_CONVERT = "convert it first, as by .astype(numpy.uint8) where white is 255"


def checked_pixels(image: Any) -> np.ndarray:
    """Return an image as an array in the byte order of the machine.

    Raises:
        UsageError: It does not have shape (H, W) or (H, W, C), is empty, or is not uint8, uint16 or float.
    """
    pixels = np.asarray(image)
    if pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise UsageError(f"an image has shape (H, W) or (H, W, C), not {pixels.shape}")
    if pixels.dtype.newbyteorder("=") not in (np.uint8, np.uint16) and pixels.dtype.kind != "f":
        raise UsageError(f"an image has integers of 8, 16 or 32 bits or floats, not {pixels.dtype}", TO_CONVERT)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def checked_white(dtype: np.dtype, white: float | None, black: float | None) -> float:
    """Return the value of white: the given one, else the largest of an integer dtype, or 1 for floats.

    Raises:
        UsageError: White or black is not finite, or white is not above black, which is 0 unless given.
    """
    refuse_other_types({"white": white, "black": black})
    for name, value in (("white", white), ("black", black)):
        if value is not None and not np.isfinite(value):
            raise UsageError(f"{name} is a finite number, not {value}")
    limit = float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0
    high, low = limit if white is None else white, black or 0.0
    if high <= low:
        raise UsageError(f"white must be above black, and {high:g} is not above {low:g}")
    return high


def resolved_model(model: Any, pixels: np.ndarray, visible: np.ndarray | None, device: torch.device | str) -> Any:
    """Return a loaded model as an `ImageScoreModel`.

    Args:
        model: A loaded model, an object of the caller's own, the path of a file or the name of a bundled one; None for
            the bundled one that fits.
        pixels: The image, with shape (H, W) or (H, W, C).
        visible: Which pixels are not hidden, with shape (H, W); None for all.
        device: Where to put a model that is loaded here.

    Raises:
        ModelError: It is missing or broken.
        UsageError: It is an object without a score, or was fitted to rows of numbers.
    """
    if model is None:
        model = bundled_for(pixels, visible)
    if isinstance(model, str | Path):
        model = load(model).to(device)
    elif is_theirs(model) and has(model, "score"):
        model = TheirModel(model)
    if isinstance(model, torch.nn.Module) and "rows" in (vars(model).get("card") or {}):
        raise UsageError("the model was fitted to rows of numbers, not to images", "model.score(rows) is its score")
    return completed(model)


def bundled_for(pixels: np.ndarray, visible: np.ndarray | None = None) -> str:
    """Return the name of the bundled model for an image: natural-color, or natural-gray; hidden pixels are ignored."""
    in_colour = pixels.shape[2:] == (3,) and not is_gray(pixels, visible)
    return "natural-color" if in_colour else "natural-gray"


def checked_sigma(
    sigma: float | Sequence[float], pixels: np.ndarray, white: float, is_integer: bool
) -> tuple[float, ...]:
    """Return sigma as a tuple of one number or one for each channel, in the unit it was given in.

    Args:
        sigma: One number, or one for each channel; 0 for some of them.
        pixels: The image, with shape (H, W) or (H, W, C).
        white: The value of white in the image.
        is_integer: Whether its values are integers, so that white is 255 in the unit of sigma.

    Raises:
        UsageError: Sigma is negative, 0 or not finite, has another number of values, or is larger than white.
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
    _refuse_other_unit(max(values), pixels, white, is_integer)
    return tuple(float(value) for value in values)


def _refuse_other_unit(sigma: float, pixels: np.ndarray, white: float, is_integer: bool) -> None:
    """Raise UsageError for a level above white, which must have been given in another unit than the image's."""
    most = 255.0 if is_integer else white
    meant = sigma * 255 / white if is_integer else sigma * white / 255
    if sigma <= most:
        return
    if not is_integer:
        finite = pixels[np.isfinite(pixels)]
        if finite.size and sigma <= float(np.abs(finite).max()):  # such as photon counts, whose white was not given
            return
    unit = "for integers of any depth white is 255" if is_integer else "for floats sigma is in their own unit"
    did_you = f": did you mean {meant:.4g}?" if meant < most else ""
    raise UsageError(f"sigma {sigma:.4g} is larger than white, {most:g}{did_you} ({unit})")


def with_stride(model: Any, stride: int) -> Any:
    """Return a model of patches with that many pixels between them; raise UsageError for another model or stride."""
    if not offers(model, HasStride):
        raise UsageError("--stride is for models of patches, and this model is not one", "leave it out")
    try:
        return model.with_stride(stride)
    except ValueError as error:
        raise UsageError(str(error)) from None
