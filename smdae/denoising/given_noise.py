"""The level of noise in a picture, and the refusal of noise that cannot be that of the picture."""

import math

import numpy as np
import torch
from torch import Tensor

from smdae.denoising.preparation import Prepared
from smdae.errors import UsageError
from smdae.estimation.scale import Scale
from smdae.noise import Noise

LEVEL_SAMPLE = 1 << 17  # pixels over which a level is averaged
MOST_WHITES = 16  # by which white is larger in a picture than in noise of the same kind of pictures
LEAST_GIVEN = 1e-9  # level of noise, white being 1, of which no float32 picture can hold any
OTHER_UNIT = "is it in the unit of other pictures? 'smdae info' tells the range of a noise profile"
FAINTEST_GIVEN = 0.3 / 255  # level of noise, white being 1, below which it may have been given in another unit


def rms_level(prepared: Prepared, noise: Noise) -> float:
    """Return the root mean square level of noise over all pixels and channels of a picture, white being 1."""
    return level_over(noise, prepared.pixels, prepared.scale)


def level_over(noise: Noise, pixels: np.ndarray, scale: Scale) -> float:
    """Return the root mean square level of noise over pixels of that scale, (H, W) or (H, W, C), white being 1."""
    return noise.sd(_sample(pixels, scale)).square().mean().sqrt().item()


def _faintest(prepared: Prepared, noise: Noise) -> float:
    """Return the least of the largest levels of the channels of a picture that have noise; infinity if none has."""
    levels = noise.sd(_sample(prepared.pixels, prepared.scale)).amax((0, 2, 3)).tolist()
    curves = noise.curves * (len(levels) // len(noise.curves))
    return min((level for level, curve in zip(levels, curves, strict=True) if curve.level != 0), default=math.inf)


def _sample(pixels: np.ndarray, scale: Scale) -> Tensor:
    """Return some pixels of a picture, white being 1, (1, C, 1, n), float64."""
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    some = planes.reshape(-1, planes.shape[2])[:: max(1, planes.shape[0] * planes.shape[1] // LEVEL_SAMPLE)]
    return torch.from_numpy(scale.to_unit(some)).double().T[None, :, None]


def refuse_other_unit(noise: Noise, given: Noise, prepared: Prepared) -> None:
    """Raise UsageError for noise, also as it was given, that is larger than all a picture spans, or next to nothing."""
    scale, level = prepared.scale, rms_level(prepared, noise)
    if level >= 1:
        raise UsageError(
            f"noise of level {level * scale.span:.4g} is larger than the range of the picture, "
            f"{scale.black:.4g} to {scale.white:.4g}",
            OTHER_UNIT,
        )
    if _faintest(prepared, noise) < LEAST_GIVEN:
        raise UsageError(
            f"noise of level {given.sigma:.4g} is next to nothing from {scale.black:.4g} to {scale.white:.4g}",
            OTHER_UNIT,
        )
    is_of_less = given.white < scale.white / MOST_WHITES and given.sigma <= given.white
    if scale.standard and is_of_less and 0 < level < FAINTEST_GIVEN:
        raise UsageError(
            f"noise of level {given.sigma:.4g}, given for white {given.white:g}, is far too small for a picture "
            f"whose white is {scale.white:g}",
            OTHER_UNIT,
        )
