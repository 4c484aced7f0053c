"""The noise of a picture, looked for twice: in its blocks and, where these tell of grain, in what would be taken out.

Blocks tell the kind of the noise, its level and its correlation (`smdae.estimation`). Texture can pretend to be grain;
so where there may be grain a small network takes it out of a part of the picture, and what it takes decides, and
corrects the level (`second_look`).

Noise may be coarser than the pixels (`coarse`). So where neither tells of noise, or what they tell of has next to no
fine details, the means of 2 x 2 and of 4 x 4 pixels are looked at in the same way. What is found there is noise if the
flattest parts of the picture have next to nothing that is finer than these squares; texture has.

Blotches of colour are looked for by themselves (`blotch_search`). Where there are some, the rest of the noise is looked
for once more, in what is left without them.
"""

import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from smdae.blotches import Blotches
from smdae.checked import refuse_other_types
from smdae.denoising.blotch_search import find_blotches, without_blotches
from smdae.denoising.coarse import enlarged, means, of_pixels
from smdae.denoising.given_noise import level_over
from smdae.denoising.pictures import pictures_of
from smdae.denoising.request import checked_pixels
from smdae.denoising.second_look import NETWORK, features_of, second_look
from smdae.errors import UsageError
from smdae.estimation.blocks import MAX_PIXELS, tiles_of
from smdae.estimation.blotches import means_of_squares
from smdae.estimation.estimate import ERROR_OF_GRAIN, Estimate, Kind, as_planes, estimate
from smdae.estimation.scale import Scale, scale_of, scale_of_integers
from smdae.files.model_file import load
from smdae.noise import Noise

# Side of the squares whose means are looked at, and the least logarithm of the odds that what is found is not texture.
MIN_ODDS = {2: 1.0, 4: 2.5}
MIN_MEANS = 64  # means of squares a side, in which noise can be told from texture
MAX_GREEN = 0.85  # level of green over that of red and blue: of blotches of colour green has half of theirs
MIN_BLOTCHES = 0.5  # level of blotches of colour over that of other noise: fainter ones are left to the network
PART, FLATTEST = 32, 0.2  # side of the parts of a picture, in pixels, and the share of them that are the flattest
# The level of what is finer than the squares, over that of noise. Below the first, the noise of their means is coarse
# noise: it is 0.25 at most then, and 0.4 and more for texture. Below the second, grain that was found among the pixels
# is better taken out of the means: of noise that was enlarged three times (0.16), but not twice (0.18 to 0.25).
MIN_FINE, MIN_FINE_OF_FOUND = 0.3, 0.17


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
        MemoryLimitError: The file takes more memory than there is.
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
    found = find_other_noise(planes, scale, valid, jpeg, kind)
    if kind not in ("auto", "grain") or found.is_drawn or _is_in_all_channels(found.noise):
        return found
    if (blotches := find_blotches(planes, scale, valid)) is None:
        return found
    blotched = noise_with(blotches, planes, scale, valid, found.jpeg, kind)
    other = replace(blotched.noise, blotches=None)
    return blotched if blotches.sigma > MIN_BLOTCHES * other.sigma else found


def _is_in_all_channels(noise: Noise) -> bool:
    """Return whether there is coarse noise that is about as strong in green as in red and blue, so in the brightness.

    Fine grain in all channels may well have blotches of colour beside it.
    """
    if noise.coarseness == 1:
        return False
    red, green, blue = noise.levels if len(noise.levels) == 3 else (1.0, 1.0, 1.0)
    return green > MAX_GREEN * math.hypot(red, blue) / math.sqrt(2)


def noise_with(
    blotches: Blotches, planes: np.ndarray, scale: Scale, valid: np.ndarray | None, jpeg: int | None, kind: Kind
) -> Estimate:
    """Return the noise of a picture that has blotches of colour; arguments as for `find_noise` after `as_planes`."""
    rest = without_blotches(planes, scale, blotches, _network())
    other = find_other_noise(rest, scale, valid, jpeg, kind)
    noise = replace(other.noise, blotches=blotches, level_error=ERROR_OF_GRAIN)
    return Estimate(noise, ERROR_OF_GRAIN, jpeg=other.jpeg)


def find_other_noise(
    planes: np.ndarray, scale: Scale, valid: np.ndarray | None, jpeg: int | None, kind: Kind
) -> Estimate:
    """Return the noise of a picture but for blotches of colour; arguments as for `find_noise` after `as_planes`."""
    found = _found(planes, scale, valid, jpeg, kind)
    may_be_coarse = found.noise.kind == "grain" or (found.noise.is_none and not found.is_drawn)
    if kind not in ("auto", "grain") or not may_be_coarse or min(planes.shape[:2]) < min(MIN_ODDS) * MIN_MEANS:
        return found
    if not found.noise.is_none and _has_fine_details(planes, scale, valid, found.noise, MIN_FINE_OF_FOUND):
        return found
    coarse = _coarse(planes, scale, valid)
    return found if coarse is None else replace(coarse, jpeg=found.jpeg)


def _coarse(planes: np.ndarray, scale: Scale, valid: np.ndarray | None) -> Estimate | None:
    """Return the noise that is coarser than the pixels; None if there is none.

    Args:
        planes: The picture, with shape (H, W, C), finite.
        scale: The scale of its values.
        valid: Which pixels count, with shape (H, W); None for all.
    """
    coarse = None
    of_means = replace(scale, clip=None)  # no mean is clipped where only some of its pixels are
    for side, least_odds in MIN_ODDS.items():
        if min(planes.shape[:2]) < side * MIN_MEANS:
            break
        small, counting = means_of_squares(planes, valid, side)
        found = _found(small, of_means, counting, None, "auto")
        # Noise that is smooth among the pixels leaves means that are correlated still.
        if found.noise.kind != "grain" or found.odds < least_odds:
            continue
        noise = of_pixels(found.noise, side)
        if _has_fine_details(planes, scale, valid, noise, MIN_FINE):
            break
        coarse = replace(found, noise=noise)
        if _has_fine_details(small, of_means, counting, found.noise, MIN_FINE_OF_FOUND):
            break
    return coarse


def _has_fine_details(planes: np.ndarray, scale: Scale, valid: np.ndarray | None, noise: Noise, share: float) -> bool:
    """Return whether details finer than 2 x 2 pixels, or than the coarseness of noise, reach a share of its level."""
    level = level_over(noise, planes, scale)
    return _fine_level(planes, scale, valid, max(2, noise.coarseness)) >= share * level


def _fine_level(planes: np.ndarray, scale: Scale, valid: np.ndarray | None, side: int) -> float:
    """Return the root mean square of what is finer than side x side pixels in the flattest parts, white being 1."""
    levels = []
    for rows, columns in tiles_of(planes.shape[0], planes.shape[1], MAX_PIXELS):
        tile = scale.to_unit(planes[rows, columns])
        y = torch.from_numpy(tile).permute(2, 0, 1)[None]  # (1, C, h, w)
        fine = y - enlarged(means(y, side), side, y.shape[-2:])
        squares = F.avg_pool2d(fine.square().mean(1, keepdim=True), PART)[0, 0]
        if valid is not None:
            counts = torch.from_numpy(valid[rows, columns]).float()[None, None]
            squares = squares[F.avg_pool2d(counts, PART)[0, 0] == 1]
        levels.append(squares.flatten())
    fine = torch.cat(levels)
    return float(fine.quantile(FLATTEST).sqrt()) if fine.numel() else math.inf


def _found(planes: np.ndarray, scale: Scale, valid: np.ndarray | None, jpeg: int | None, kind: Kind) -> Estimate:
    """Return the noise that blocks and the second look find; arguments as for `find_noise`."""
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
