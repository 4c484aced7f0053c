"""Noise that neighbouring pixels or the channels of a pixel share, if that is what a picture holds.

The flattest blocks of each brightness tell the level, the correlation of pixels (`grain`) and that of channels. All of
it may be texture, which `evidence` weighs.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from smdae.curves import Affine, Curve
from smdae.estimation.blocks import Blocks
from smdae.estimation.compression import is_lossy
from smdae.estimation.curve import MAX_SATURATED, Bins, bins_of, overall
from smdae.estimation.evidence import evidence, features
from smdae.estimation.grain import Grain, correlation_of_channels, measured, non_normality, spread, with_unseen
from smdae.estimation.noise_level import Level
from smdae.noise import Noise

__all__ = [
    "FAINTEST",
    "ChannelBlocks",
    "channel_blocks",
    "correlated_noise",
    "curves_of",
    "grain_features",
    "levels_of_compressed",
    "rms",
]

FAINTEST = 1.3 / 255  # sigma, of the range that the picture fills: less is left alone,
FAINTEST_OF_JPEG = 0.6 / 255  # and of what was compressed, which hides noise, less than this
MAX_CHANNEL_SPREAD = 0.1  # how far the levels of channels may be apart to count as one
WEIGHT_THAT_COUNTS = 0.01  # of the largest weight of a bin
MIN_LOG_ODDS = -2.5  # of grain, against texture, that a second look is worth
# What JPEG leaves of faint grain is much like texture, and to take out a little of that does little harm.
FAINT, MIN_LOG_ODDS_OF_FAINT = 6 / 255, -3.0
MIN_DECAY, MAX_EXCESS_OF_WHITE = 0.20, 10.0  # of the smallest eigenvalues; of the level over theirs
# Where there is hardly any texture, as what resizing and turning leave of white noise: the same two, the deviation of
# the weakest blocks, and the scatter and the correlation of the flattest.
ALONE_DECAY, ALONE_EXCESS, ALONE_WEAKEST, ALONE_SCATTER, ALONE_NEAREST = 0.12, 1.3, 0.72, 0.28, 0.1
# Where compression has left independent pixels, and a level above that of the smallest eigenvalues.
LOSSY_WEAKEST, LOSSY_SCATTER, LOSSY_NEAREST, LOSSY_EXCESS = 0.55, 0.30, 0.25, 1.25
# How far from normal blocks of grain are, and the level from which on they are asked: of print it is 0.08 and more.
MAX_NON_NORMALITY, STRONG = 0.06, 3 / 255


@dataclass(frozen=True, eq=False)
class ChannelBlocks:
    """The statistics of the blocks of one channel.

    Attributes:
        bins: By brightness, of the variance.
        weights: Of the bins, with shape (m,).
        level: Of the noise, white being 1.
        scatter: Standard deviation over mean of the energies of the flattest blocks.
        grain: Correlation of the pixels.
        spread: Deviations of all blocks over the usual one of their brightness, at `grain.QUANTILES`.
        share: Of all blocks that tell the level.
    """

    bins: Bins
    weights: np.ndarray
    level: float
    scatter: float
    grain: Grain
    spread: np.ndarray
    share: float


def channel_blocks(blocks: Blocks) -> list[ChannelBlocks] | None:
    """Return the statistics of the blocks of each channel; None where one has too few."""
    found = [_channel(blocks, c) for c in range(blocks.mean.shape[1])]
    known = [one for one in found if one is not None]
    return known if len(known) == len(found) else None


def _channel(blocks: Blocks, c: int) -> ChannelBlocks | None:
    telling = blocks.usable(c, MAX_SATURATED)
    bins = bins_of(blocks, c, blocks.variance[:, c], telling)
    if bins is None:
        return None
    variance, weights, scatter = overall(bins)
    grain = measured(blocks, c, bins, weights)
    level = math.sqrt(variance * grain.factor)
    share = float(bins.share[weights > WEIGHT_THAT_COUNTS * weights.max()].sum())
    return ChannelBlocks(bins, weights, level, scatter, grain, spread(blocks, c, bins, telling), share)


def levels_of_compressed(seen: list[ChannelBlocks], levels: tuple[Level, ...]) -> list[float]:
    """Return the level of white noise in each channel of a JPEG, which took out the finest of it.

    The smallest eigenvalues see no more than that. Blocks see the rest, where it is noise alone that they hold.
    """
    told = [level.sigma for level in levels]
    weakest, scatter, nearest = _evenness(seen)
    are_noise = weakest > LOSSY_WEAKEST and scatter < LOSSY_SCATTER and nearest <= LOSSY_NEAREST
    of_blocks = [one.level for one in seen]
    return of_blocks if are_noise and rms(of_blocks) > LOSSY_EXCESS * rms(told) else told


def grain_features(blocks: Blocks, levels: tuple[Level, ...], jpeg: int | None) -> np.ndarray | None:
    """Return the features that tell grain from texture, (len(evidence.FEATURES),); None where blocks are too few.

    Args:
        blocks: Of the picture.
        levels: That the smallest eigenvalues tell, of each channel.
        jpeg: The quality that it was compressed at; None if it was not.
    """
    seen = channel_blocks(blocks)
    return None if seen is None else _features(seen, _correlation(blocks, seen), levels, jpeg)


def correlated_noise(
    blocks: Blocks, seen: list[ChannelBlocks], levels: tuple[Level, ...], jpeg: int | None, forced: bool
) -> tuple[Noise, float] | None:
    """Return noise whose pixels are correlated, and the log odds of it; None if there is none, or it may be texture.

    The odds are infinite where there is no question of texture.

    Args:
        blocks: Of the picture.
        seen: Of each channel.
        levels: That the smallest eigenvalues tell, of each channel.
        jpeg: The quality that the picture was compressed at; None if it was not.
        forced: Whether it is known to be grain.
    """
    level = rms([one.level for one in seen])
    if level < (FAINTEST_OF_JPEG if is_lossy(jpeg) else FAINTEST) and not forced:
        return None
    channels = _correlation(blocks, seen)
    found = _features(seen, channels, levels, jpeg)
    excess = level / max(rms([one.sigma for one in levels]), 1e-9)
    if forced:
        return _grain(seen, channels, 1.0), math.inf
    # White noise has a floor that all small eigenvalues share, and grain has none, whatever the texture.
    decay = sum(one.decay for one in levels) / len(levels)
    has_floor = decay <= MIN_DECAY and excess <= MAX_EXCESS_OF_WHITE
    least = MIN_LOG_ODDS_OF_FAINT if is_lossy(jpeg) and level < FAINT else MIN_LOG_ODDS
    odds = evidence().log_odds(found)
    if not has_floor and odds > least:
        factor = evidence().level_factor(found)
    elif level > STRONG and decay > ALONE_DECAY and excess > ALONE_EXCESS and _are_noise_alone(seen):
        factor, odds = 1.0, math.inf
    else:
        return None
    if level > STRONG and _non_normality(blocks, seen) > MAX_NON_NORMALITY:
        return None
    return _grain(seen, channels, factor), odds


def _non_normality(blocks: Blocks, seen: list[ChannelBlocks]) -> float:
    """Return how far from normal the blocks of the middle one of the channels are."""
    return float(np.median([non_normality(blocks, c, one.bins, one.weights) for c, one in enumerate(seen)]))


def _evenness(seen: list[ChannelBlocks]) -> np.ndarray:
    """Return the deviation of the weakest blocks, and the scatter and the correlation of the flattest: (3,), means."""
    return np.mean([(one.spread[0], one.scatter, one.grain.nearest) for one in seen], 0)


def _are_noise_alone(seen: list[ChannelBlocks]) -> bool:
    """Return whether blocks are everywhere as strong as those of noise, whose pixels are correlated."""
    weakest, scatter, nearest = _evenness(seen)
    return bool(weakest > ALONE_WEAKEST and scatter < ALONE_SCATTER and nearest > ALONE_NEAREST)


def _features(
    seen: list[ChannelBlocks], channels: np.ndarray, levels: tuple[Level, ...], jpeg: int | None
) -> np.ndarray:
    """Return the features that tell grain from texture: means over the channels."""

    def mean(values: list) -> Any:
        return sum(values) / len(values)

    return features(
        level=rms([one.level for one in seen]),
        white=rms([one.sigma for one in levels]),
        rho=mean([one.grain.rho for one in seen]),
        scatter=mean([one.scatter for one in seen]),
        share=mean([one.share for one in seen]),
        factor=mean([one.grain.factor for one in seen]),
        decay=mean([one.decay for one in levels]),
        shared=_shared(channels),
        spread=mean([one.spread for one in seen]),
        jpeg=jpeg,
        channels=len(seen),
    )


def _grain(seen: list[ChannelBlocks], channels: np.ndarray, factor: float) -> Noise:
    """Return grain whose level is `factor` times that of the blocks and of what they do not see."""
    sigmas = np.array([one.level for one in seen])
    if len(seen) == 3:
        covariance = with_unseen(np.outer(sigmas, sigmas) * channels)
        sigmas = np.sqrt(np.diag(covariance))
        channels = covariance / np.outer(sigmas, sigmas)
        np.fill_diagonal(channels, 1.0)
    rho = sum((one.grain.rho for one in seen), np.zeros(())) / len(seen)
    among = _as_tuples(channels) if len(seen) > 1 else None
    return Noise(curves_of((factor * sigmas).tolist()), grain=_as_tuples(rho), channels=among)


def _correlation(blocks: Blocks, seen: list[ChannelBlocks]) -> np.ndarray:
    """Return the correlation of the channels, (C, C)."""
    middle = seen[len(seen) // 2]
    return correlation_of_channels(blocks, middle.bins, middle.weights) if len(seen) > 1 else np.eye(1)


def _shared(channels: np.ndarray) -> float:
    """Return the mean correlation of two channels; 0 for one."""
    return float(channels[~np.eye(len(channels), dtype=bool)].mean()) if len(channels) > 1 else 0.0


def curves_of(sigmas: list[float]) -> tuple[Curve, ...]:
    """Return one level for all channels if theirs are alike, else one for each."""
    mean = rms(sigmas)
    if all(abs(sigma - mean) <= MAX_CHANNEL_SPREAD * mean for sigma in sigmas):
        return (Affine(read=mean),)
    return tuple(Affine(read=sigma) for sigma in sigmas)


def rms(values: list[float]) -> float:
    """Return the root mean square of numbers."""
    return math.sqrt(sum(value**2 for value in values) / len(values))


def _as_tuples(matrix: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, matrix.tolist()))
