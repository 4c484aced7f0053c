"""The noise of a picture, from the picture alone: white, shot or grain, or none.

    white   one level: the smallest eigenvalues of patches of weak texture (`noise_level`), of each channel and, for
            what channels share, of their mean (`shared`)
    shot    a level for each brightness, from the diagonal details of the flattest blocks (`curve`)
    grain   neighbouring pixels correlated: level and correlation of the flattest blocks (`grain`)

A kind is taken where the picture shows it beyond what texture could pretend; else the simpler one is. What is too faint
to be told from texture is left alone. Of grain an estimate says how likely it is, and what there is if it is texture:
`denoising.noise_search` decides, by a second look. The constants were chosen on synthetic cameras
(`benchmarks/cameras.py`), on 26 real pairs of two cameras, and on white noise added to photographs.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from smdae.curves import Affine
from smdae.errors import InputError
from smdae.estimation import noise_level
from smdae.estimation.absence import why_drawn
from smdae.estimation.blocks import SIDE, Blocks, survey
from smdae.estimation.compression import is_lossy, jpeg_quality
from smdae.estimation.correlated import (
    FAINTEST,
    ChannelBlocks,
    channel_blocks,
    correlated_noise,
    curves_of,
    grain_features,
    levels_of_compressed,
    rms,
)
from smdae.estimation.counts import few_counts
from smdae.estimation.scale import Scale
from smdae.estimation.shared import correlation_of_channels
from smdae.estimation.shot import shot_curves
from smdae.noise import Noise

__all__ = ["KINDS", "Estimate", "Kind", "as_planes", "estimate", "grain_features_of"]

Kind = Literal["auto", "white", "shot", "grain"]
KINDS: tuple[Kind, ...] = ("auto", "white", "shot", "grain")

# Of eigenvalues, beyond which there is texture: up to a sigma, and from there on, where texture is rarer.
MAX_DECAY, DECAY_COUNTS, MAX_DECAY_OF_STRONG = 0.14, 8 / 255, 0.40
RANGE_SAMPLE = 1 << 18  # values
SMALLEST = 2 * SIDE  # pixels a side; of smaller pictures only a level is told,
FAINTEST_OF_SMALL = 8 / 255  # and none that is no more than texture has
MAX_PATCHES = 120_000  # of a gray picture
MAX_PATCHES_OF_COLOUR, SMALL = 20_000, 45_000  # of a channel; pixels of pictures all of whose patches are looked at

NEAR_WHITE = 0.25  # correlation of neighbours up to which noise may be shot noise
ERROR_OF_SHOT, ERROR_OF_GRAIN = 0.08, 0.15  # standard error of the level, relative


@dataclass(frozen=True, eq=False)
class Estimate:
    """The noise that was found in a picture.

    Attributes:
        noise: Of it, white being 1.
        error: Standard error of its level, relative.
        reason: Why there is none, in a few words; empty if there is.
        jpeg: The quality that the picture was compressed at, told or found; None if it was not, or if that is unknown.
        odds: Logarithm of the odds that it is grain, and not texture; infinite where that is no question.
        instead: What is found if it is texture; None where that is no question.
    """

    noise: Noise
    error: float
    reason: str = ""
    jpeg: int | None = None
    odds: float = math.inf
    instead: "Estimate | None" = None


def estimate(
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
    planes, valid = as_planes(pixels, scale, valid)
    if jpeg is None:
        jpeg = jpeg_quality(planes)
    found = _estimate(planes, scale, valid, jpeg, kind)
    instead = None if found.instead is None else replace(found.instead, jpeg=jpeg)
    return replace(found, jpeg=jpeg, instead=instead)


def as_planes(
    pixels: np.ndarray, scale: Scale, valid: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a picture as it is looked at, (H, W, C), finite and gray where it is, and which of its pixels count.

    Args:
        pixels: With shape (H, W) or (H, W, C), uint8, uint16 or float.
        scale: What its values mean.
        valid: Which pixels count, with shape (H, W); None for those that are finite.

    Raises:
        InputError: No pixel counts.
    """
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if planes.dtype.kind == "f":
        finite = np.isfinite(planes).all(2)
        if not finite.all():
            valid = finite if valid is None else valid & finite
            planes = np.where(np.isfinite(planes), planes, scale.black)
    if valid is not None and not valid.any():
        raise InputError("none of its pixels is valid", "all are hidden, masked or not finite")
    if planes.shape[2] > 1 and (planes == planes[:, :, :1]).all():  # gray that is stored as colour
        planes = planes[:, :, :1]
    return planes, valid


def _estimate(planes: np.ndarray, scale: Scale, valid: np.ndarray | None, jpeg: int | None, kind: Kind) -> Estimate:
    """Return the noise that is found in planes, (H, W, C), which are finite and not all alike."""
    levels = _white_levels(planes, scale, valid)
    if min(planes.shape[:2]) < SMALLEST:
        return _white(levels, scale.may_clip, max(FAINTEST * _range(planes, scale), FAINTEST_OF_SMALL))
    blocks = survey(planes, scale, valid)
    drawn = why_drawn(planes, blocks, is_lossy(jpeg))
    if drawn:
        return _none(drawn)
    if kind == "white":
        return _white(levels, scale.may_clip, faintest=0.0, known=True)
    photons = few_counts(planes, blocks, scale) if kind in ("auto", "shot") else None
    if photons is not None:
        return Estimate(Noise(photons), ERROR_OF_SHOT)
    seen = channel_blocks(blocks)
    if seen is not None and kind in ("auto", "grain"):
        correlated = correlated_noise(blocks, seen, levels, jpeg, forced=kind == "grain")
        if correlated is not None:
            grain, odds = correlated
            instead = None if math.isinf(odds) else _independent(planes, blocks, seen, levels, scale, valid, jpeg, kind)
            return Estimate(grain, ERROR_OF_GRAIN, odds=odds, instead=instead)
    return _independent(planes, blocks, seen, levels, scale, valid, jpeg, kind)


def _independent(
    planes: np.ndarray,
    blocks: Blocks,
    seen: list[ChannelBlocks] | None,
    levels: tuple[noise_level.Level, ...],
    scale: Scale,
    valid: np.ndarray | None,
    jpeg: int | None,
    kind: Kind,
) -> Estimate:
    """Return the noise of a picture if its neighbouring pixels are independent: shot or white, or none."""
    near_white = seen is None or sum(one.grain.nearest for one in seen) <= NEAR_WHITE * len(seen)
    if kind == "shot" or (kind == "auto" and near_white):
        curves = shot_curves(blocks, [level.sigma for level in levels], scale.may_clip, forced=kind == "shot")
        if curves is not None:
            return Estimate(Noise(curves), ERROR_OF_SHOT)
    found = _white(levels, scale.may_clip, FAINTEST * _range(planes, scale))
    if found.noise.is_none or kind != "auto":
        return found
    shared = correlation_of_channels(planes, levels, scale, valid, scale.may_clip)
    if shared is None:
        return found
    curves = found.noise.curves
    if is_lossy(jpeg) and seen is not None:
        curves = curves_of(levels_of_compressed(seen, levels))
    return replace(found, noise=Noise(curves, channels=shared))


def grain_features_of(pixels: np.ndarray, scale: Scale) -> np.ndarray | None:
    """Return the features that tell grain from texture, with shape (len(FEATURES),); None where there are none.

    Args:
        pixels: With shape (H, W) or (H, W, C), uint8 or uint16.
        scale: What its values mean.
    """
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    jpeg, blocks = jpeg_quality(planes), survey(planes, scale, None)
    if why_drawn(planes, blocks, is_lossy(jpeg)):
        return None
    levels = _white_levels(planes, scale, None)
    return grain_features(blocks, levels, jpeg)


def _range(planes: np.ndarray, scale: Scale) -> float:
    """Return how much of the scale a picture of more than 8 bits fills: noise is faint beside what is there."""
    if planes.dtype == np.uint8:
        return 1.0
    some = planes.reshape(-1)[:: max(1, planes.size // RANGE_SAMPLE)]
    low, high = np.quantile(scale.to_unit(some), (0.001, 0.999))
    return float(np.clip(high - low, 1e-6, 1.0))


def _white_levels(planes: np.ndarray, scale: Scale, valid: np.ndarray | None) -> tuple[noise_level.Level, ...]:
    """Return the level that the smallest eigenvalues tell of each channel."""
    pixels = planes.shape[0] * planes.shape[1]
    most = MAX_PATCHES if planes.shape[2] == 1 or pixels <= SMALL else MAX_PATCHES_OF_COLOUR
    rounding = 1 / scale.span / math.sqrt(12) if planes.dtype.kind == "u" else 0.0
    if scale.black:
        return noise_level.levels(scale.to_unit(planes), 1.0, most, valid, scale.may_clip, rounding)
    return noise_level.levels(planes, scale.span, most, valid, scale.may_clip, rounding)


def _none(reason: str) -> Estimate:
    return Estimate(Noise((Affine(),)), 0.0, reason)


def _white(levels: tuple[noise_level.Level, ...], clipped: bool, faintest: float, known: bool = False) -> Estimate:
    """Return white noise, if there is enough of it to be told from texture.

    Args:
        levels: Of each channel.
        clipped: Whether black and white may have cut the noise off.
        faintest: The level up to which there is none to speak of.
        known: Whether the noise is known to be white, so that strong texture does not speak against it.
    """
    mean = rms([level.sigma for level in levels])
    if mean <= faintest:
        faint = f"no more than sigma {255 * mean:.1f}" if mean else "none is to be seen"
        return _none(faint)
    decay = sum(level.decay for level in levels) / len(levels)
    strong = math.inf if known else MAX_DECAY_OF_STRONG
    if decay > (MAX_DECAY if mean < DECAY_COUNTS else strong):
        return _none("what there is looks like texture")
    error = noise_level.standard_error(mean, clipped) / mean
    return Estimate(Noise(curves_of([level.sigma for level in levels])), error)
