"""The noise of a picture, from the picture alone: white, shot or grain, or none.

    white   one level: the smallest eigenvalues of patches of weak texture (`noise_level`)
    shot    a level for each brightness, from the diagonal details of the flattest blocks (`curve`)
    grain   neighbouring pixels correlated: level and correlation of the flattest blocks (`grain`)

A kind is taken where the picture shows it beyond what texture could pretend; else the simpler one is. What is too faint
to be told from texture is left alone. The constants were chosen on synthetic cameras (`benchmarks/cameras.py`), on 26
real pairs of two cameras, and on white noise added to photographs.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from smdae.curves import Affine, Curve
from smdae.errors import InputError, UsageError
from smdae.estimation import noise_level
from smdae.estimation.absence import why_drawn
from smdae.estimation.blocks import SIDE, Blocks, survey
from smdae.estimation.compression import jpeg_quality
from smdae.estimation.curve import Bins, bins_of, overall
from smdae.estimation.grain import Grain, among_channels, measured, weakest, with_unseen
from smdae.estimation.scale import Scale, scale_of
from smdae.estimation.shot import shot_curves, usable
from smdae.noise import Noise

__all__ = ["KINDS", "Estimate", "Kind", "estimate", "estimate_noise"]

Kind = Literal["auto", "white", "shot", "grain"]
KINDS: tuple[Kind, ...] = ("auto", "white", "shot", "grain")

FAINTEST = 1.3 / 255  # sigma, of the range that the picture fills: less is left alone
MAX_DECAY, DECAY_COUNTS = 0.14, 8 / 255  # of eigenvalues, and the sigma up to which they are asked: more is texture
MAX_CHANNEL_SPREAD = 0.1  # how far the levels of channels may be apart to count as one
RANGE_SAMPLE = 1 << 18  # values
SMALLEST = 2 * SIDE  # pixels a side; of smaller pictures only a level is told
MAX_PATCHES = 120_000  # of a gray picture
MAX_PATCHES_OF_COLOUR, SMALL = 20_000, 45_000  # of a channel; pixels of pictures all of whose patches are looked at

GRAIN_NEAREST = 0.25  # correlation of neighbours from which on noise is grain
GRAIN_EXCESS = 1.6  # its level over that which the smallest eigenvalues tell
MIN_DECAY_OF_GRAIN, NO_FLOOR_EXCESS = 0.20, 10.0  # of the eigenvalues; of the level over theirs, if they are nearly 0
SURE_WEAKEST = 0.60  # deviation of the weakest blocks, of the usual one
GRAY_WEAKEST, GRAY_CHANNELS, GRAY_LEVEL = 0.70, 0.90, 8 / 255  # likewise, of strong noise that all channels share
WEIGHT_THAT_COUNTS = 0.01  # of the largest weight of a bin
MIN_SHARE = 0.25  # of the blocks, that tell the level
COARSE_WEAKEST, COARSE_NEAREST, COARSE_SCATTER, COARSE_LEVEL = 0.45, 0.55, 0.45, 8 / 255
JPEG_WEAKEST, JPEG_NEAREST, JPEG_LEVEL = 0.25, 0.50, 6 / 255  # what compression leaves of grain in flat places
MAX_JPEG_QUALITY = 92  # beyond it hardly anything is lost

LUMA_CHANNELS, LUMA_EXCESS, LUMA_WEAKEST, LUMA_SCATTER = 0.5, 1.25, 0.55, 0.30  # noise that the channels share

ERROR_OF_SHOT, ERROR_OF_GRAIN = 0.08, 0.15  # standard error of the level, relative


@dataclass(frozen=True, eq=False)
class Estimate:
    """The noise that was found in a picture.

    Attributes:
        noise: Of it, white being 1.
        error: Standard error of its level, relative.
        reason: Why there is none, in a few words; empty if there is.
        jpeg: The quality that the picture was compressed at, told or found; None if it was not, or if that is unknown.
    """

    noise: Noise
    error: float
    reason: str = ""
    jpeg: int | None = None


@dataclass(frozen=True, eq=False)
class _Channel:
    """The statistics of the blocks of one channel."""

    bins: Bins
    weights: np.ndarray
    level: float
    scatter: float
    grain: Grain
    weakest: float
    share: float


def estimate_noise(image: np.ndarray, white: float | None = None) -> Noise:
    """Return the noise of an image, in the unit of its pixels; its level is 0 where none is found.

    Args:
        image: With shape (H, W) or (H, W, C), uint8, uint16 or float; NaN and infinity do not count.
        white: The value of white; None for that of the dtype or, where the values say otherwise, as of 12 bits in 16,
            for the largest of nearly all values.

    Raises:
        UsageError: The shape, the dtype or white is another.
        InputError: No pixel is a finite number.
    """
    pixels = np.asarray(image)
    if pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise UsageError(f"an image has shape (H, W) or (H, W, C), not {pixels.shape}")
    if pixels.dtype not in (np.uint8, np.uint16) and pixels.dtype.kind != "f":
        raise UsageError(f"an image is uint8, uint16 or float, not {pixels.dtype}")
    if white is not None and not 0 < white < math.inf:
        raise UsageError(f"white is a positive number, not {white}")
    scale = scale_of(pixels, white)
    noise = estimate(pixels, scale).noise.scaled(scale.span)
    return noise.shifted(scale.black) if scale.black else noise


def estimate(
    pixels: np.ndarray,
    scale: Scale,
    valid: np.ndarray | None = None,
    jpeg: int | None = None,
    kind: Kind = "auto",
) -> Estimate:
    """Return what a picture tells of its noise.

    Args:
        pixels: With shape (H, W) or (H, W, C), uint8, uint16 or float.
        scale: What its values mean.
        valid: Which pixels count, with shape (H, W); None for those that are finite.
        jpeg: The quality that it was compressed at; None to find out.
        kind: What kind of noise it is, if that is known.

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
        raise InputError("none of its pixels counts", "all are hidden, masked or not finite")
    if planes.shape[2] > 1 and (planes == planes[:, :, :1]).all():  # gray that is stored as colour
        planes = planes[:, :, :1]
    if jpeg is None:
        jpeg = jpeg_quality(planes)
    return replace(_estimate(planes, scale, valid, jpeg, kind), jpeg=jpeg)


def _estimate(planes: np.ndarray, scale: Scale, valid: np.ndarray | None, jpeg: int | None, kind: Kind) -> Estimate:
    """Return what planes, (H, W, C), that are finite and not all alike tell of their noise."""
    clipped = scale.standard and scale.clip is not None
    levels = _white_levels(planes, scale, valid, clipped)
    faintest = FAINTEST * _range(planes, scale)
    if min(planes.shape[:2]) < SMALLEST:
        return _white(levels, clipped, faintest)
    blocks = survey(planes, scale, valid)
    compressed = jpeg is not None and jpeg <= MAX_JPEG_QUALITY
    drawn = why_drawn(planes, blocks, compressed)
    if drawn:
        return _none(drawn)
    if kind == "white":
        return _white(levels, clipped, faintest=0.0)
    seen = [channel for channel in (_channel(blocks, c) for c in range(planes.shape[2])) if channel is not None]
    known = len(seen) == planes.shape[2]
    found = None
    if known and kind in ("auto", "grain"):
        found = _correlated(blocks, seen, levels, compressed, forced=kind == "grain")
    if found is None and kind in ("auto", "shot"):
        near_white = not known or sum(one.grain.nearest for one in seen) <= GRAIN_NEAREST * len(seen)
        if near_white or kind == "shot":
            curves = shot_curves(blocks, [level.sigma for level in levels], clipped, forced=kind == "shot")
            found = None if curves is None else Estimate(Noise(curves), ERROR_OF_SHOT)
    return found or _white(levels, clipped, faintest)


def _range(planes: np.ndarray, scale: Scale) -> float:
    """Return how much of the scale a picture of more than 8 bits fills: noise is faint beside what is there."""
    if planes.dtype == np.uint8:
        return 1.0
    some = planes.reshape(-1)[:: max(1, planes.size // RANGE_SAMPLE)]
    low, high = np.quantile(scale.to_unit(some), (0.001, 0.999))
    return float(np.clip(high - low, 1e-6, 1.0))


def _white_levels(
    planes: np.ndarray, scale: Scale, valid: np.ndarray | None, clipped: bool
) -> tuple[noise_level.Level, ...]:
    """Return the level that the smallest eigenvalues tell of each channel."""
    pixels = planes.shape[0] * planes.shape[1]
    most = MAX_PATCHES if planes.shape[2] == 1 or pixels <= SMALL else MAX_PATCHES_OF_COLOUR
    rounding = 1 / scale.span / math.sqrt(12) if planes.dtype.kind == "u" else 0.0
    if scale.black:
        return noise_level.levels(scale.to_unit(planes), 1.0, most, valid, clipped, rounding)
    return noise_level.levels(planes, scale.span, most, valid, clipped, rounding)


def _none(reason: str) -> Estimate:
    return Estimate(Noise((Affine(),)), 0.0, reason)


def _rms(values: list[float]) -> float:
    return math.sqrt(sum(value**2 for value in values) / len(values))


def _white(levels: tuple[noise_level.Level, ...], clipped: bool, faintest: float) -> Estimate:
    """Return white noise, if there is enough of it to be told from texture."""
    sigmas = [level.sigma for level in levels]
    mean = _rms(sigmas)
    if mean <= faintest:
        faint = f"no more than sigma {255 * mean:.1f}" if mean else "none is to be seen"
        return _none(faint)
    if mean < DECAY_COUNTS and sum(level.decay for level in levels) / len(levels) > MAX_DECAY:
        return _none("what there is looks like texture")
    error = noise_level.uncertainty(mean, clipped) / mean
    if all(abs(sigma - mean) <= MAX_CHANNEL_SPREAD * mean for sigma in sigmas):
        return Estimate(Noise.gaussian(mean), error)
    return Estimate(Noise(tuple(Affine(read=sigma) for sigma in sigmas)), error)


def _channel(blocks: Blocks, c: int) -> _Channel | None:
    """Return the statistics of a channel's blocks that tell correlated noise; None where there are too few."""
    telling = usable(blocks, c)
    bins = bins_of(blocks, c, blocks.variance[:, c], telling)
    if bins is None:
        return None
    variance, weights, scatter = overall(bins)
    grain = measured(blocks, c, bins, weights)
    level = math.sqrt(variance * grain.factor)
    share = float(bins.share[weights > WEIGHT_THAT_COUNTS * weights.max()].sum())
    return _Channel(bins, weights, level, scatter, grain, weakest(blocks, c, bins, telling), share)


def _correlated(
    blocks: Blocks, seen: list[_Channel], levels: tuple[noise_level.Level, ...], compressed: bool, forced: bool
) -> Estimate | None:
    """Return the estimate of correlated noise; None if there is no correlation, or it may be texture."""
    level = _rms([channel.level for channel in seen])
    nearest, scatter, weak = (
        sum(values) / len(seen)
        for values in zip(*((one.grain.nearest, one.scatter, one.weakest) for one in seen), strict=True)
    )
    excess = level / max(_rms([one.sigma for one in levels]), 1e-9)
    if level < FAINTEST and not compressed and not forced:
        return None
    # White noise has a floor that all small eigenvalues share, and grain has none, whatever the texture.
    has_no_floor = excess > NO_FLOOR_EXCESS or sum(one.decay for one in levels) / len(levels) > MIN_DECAY_OF_GRAIN
    could_be_grain = forced or (nearest > GRAIN_NEAREST and excess > GRAIN_EXCESS and has_no_floor)
    could_be_luma = nearest <= GRAIN_NEAREST and excess > LUMA_EXCESS and weak > LUMA_WEAKEST and scatter < LUMA_SCATTER
    if not could_be_grain and not could_be_luma:
        return None
    shared = 0.0
    channels = None
    if len(seen) > 1:
        middle = seen[len(seen) // 2]
        matrix = among_channels(blocks, middle.bins, middle.weights)
        channels = tuple(map(tuple, matrix.tolist()))
        shared = float(matrix[~np.eye(len(matrix), dtype=bool)].mean())
    needed = GRAY_WEAKEST if shared > GRAY_CHANNELS and level > GRAY_LEVEL else SURE_WEAKEST
    is_grain = forced or (
        could_be_grain
        and sum(one.share for one in seen) / len(seen) > MIN_SHARE
        and (
            weak > needed
            or (
                weak > COARSE_WEAKEST and nearest > COARSE_NEAREST and scatter < COARSE_SCATTER and level < COARSE_LEVEL
            )
            or (compressed and weak > JPEG_WEAKEST and nearest > JPEG_NEAREST and level < JPEG_LEVEL)
        )
    )
    if is_grain:
        rho = sum((one.grain.rho for one in seen), np.zeros(())) / len(seen)
        sigmas = [one.level for one in seen]
        if channels is not None and len(sigmas) == 3:
            covariance = with_unseen(np.outer(sigmas, sigmas) * np.array(channels))
            sigmas = np.sqrt(np.diag(covariance)).tolist()
            matrix = covariance / np.outer(sigmas, sigmas)
            np.fill_diagonal(matrix, 1.0)
            channels = tuple(map(tuple, matrix.tolist()))
        curves = _levels_of(sigmas)
        return Estimate(Noise(curves, grain=tuple(map(tuple, rho.tolist())), channels=channels), ERROR_OF_GRAIN)
    if could_be_luma and shared > LUMA_CHANNELS:
        return Estimate(Noise(_levels_of([one.level for one in seen]), channels=channels), ERROR_OF_GRAIN)
    return None


def _levels_of(sigmas: list[float]) -> tuple[Curve, ...]:
    """Return one level for all channels if theirs are alike, else one for each."""
    mean = _rms(sigmas)
    if all(abs(sigma - mean) <= MAX_CHANNEL_SPREAD * mean for sigma in sigmas):
        return (Affine(read=mean),)
    return tuple(Affine(read=sigma) for sigma in sigmas)
