"""The noise of a picture, looked for twice: in its blocks and, where these tell of grain, in what would be taken out.

Blocks tell the kind of the noise, its level and its correlation (`smdae.estimation`). Texture can pretend to be grain;
so where there may be grain a small network takes it out of a part of the picture, and what it takes decides, and
corrects the level (`second_look`).
"""

import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from smdae.checked import refuse_other_types
from smdae.denoising.pictures import pictures_of
from smdae.denoising.request import checked_pixels
from smdae.denoising.second_look import NETWORK, features_of, second_look
from smdae.errors import UsageError
from smdae.estimation.estimate import Estimate, Kind, as_planes, estimate
from smdae.estimation.scale import Scale, scale_of, scale_of_integers
from smdae.files.model_file import load
from smdae.noise import Noise

__all__ = ["estimate_noise", "find_noise"]


def estimate_noise(image: Any, white: float | None = None, *, axes: str | None = None) -> Noise:
    """Return the noise of an image, in the unit of its pixels; its level is 0 where none is found.

    Args:
        image: With shape (H, W) or (H, W, C), integers of 8, 16 or 32 bits or floats; NaN and infinity do not count,
            nor do pixels that alpha hides. Or the path of a file.
        white: The value of white; None for that of the dtype or, where the values say otherwise, as of 12 bits in 16,
            for the largest of nearly all values.
        axes: As for `denoise`; an axis of pages has length 1.

    Raises:
        UsageError: The shape, the dtype or white is another, or there is more than one image.
        InputError: The file cannot be read, or no pixel is a finite number.
    """
    pictures = pictures_of(image, axes)
    if len(pictures.arrays) != 1:
        raise UsageError(f"estimate_noise takes one image, not {len(pictures.arrays)}: call it for each")
    pixels = checked_pixels(pictures.arrays[0])
    refuse_other_types({"white": white})
    if white is not None and not 0 < white < math.inf:
        raise UsageError(f"white is a positive number, not {white}")
    valid = pictures.alpha[0] > 0 if pictures.alpha else None
    if pictures.stored is not None and white is None:
        scale = scale_of_integers(pixels, pictures.stored.name)
    else:
        scale = scale_of(pixels, white)
    noise = find_noise(pixels, scale, valid, pictures.quality).noise.scaled(scale.span)
    return noise.shifted(scale.black) if scale.black else noise


def find_noise(
    pixels: np.ndarray,
    scale: Scale,
    valid: np.ndarray | None = None,
    jpeg: int | None = None,
    kind: Kind = "auto",
) -> Estimate:
    """Return the noise that is found in a picture.

    Args:
        pixels: With shape (H, W) or (H, W, C), uint8, uint16 or float.
        scale: What its values mean.
        valid: Which pixels count, with shape (H, W); None for those that are finite.
        jpeg: The quality that it was compressed at; None to find out.
        kind: What kind of noise it is, if that is known.

    Raises:
        InputError: No pixel counts.
    """
    planes, valid, scale = as_planes(pixels, scale, valid)
    found = estimate(planes, scale, valid, jpeg, kind)
    if found.instead is None:
        return found
    features = features_of(planes, scale, valid, found.noise, found.odds, found.jpeg, _network())
    if features is None:
        return replace(found, instead=None) if found.odds > 0 else found.instead
    odds, factor = second_look().log_odds(features), second_look().level_factor(features)
    if odds <= 0:
        return found.instead
    return replace(found, noise=found.noise.amplified(factor), odds=odds, instead=None)


@cache
def _network() -> Any:
    return load(NETWORK)
