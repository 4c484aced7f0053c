"""Whether a picture holds grain, and which: noise correlated between neighbouring pixels.

The flattest blocks of each brightness give its level, its correlation between pixels (`grain`) and that between
channels. All of this might be texture; `evidence` gives the odds.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from smdae.curves import Affine, Curve
from smdae.estimation.blocks import Blocks
from smdae.estimation.compression import is_lossy
from smdae.estimation.curve import MAX_SATURATED, Bins, bins_of, overall, rising_line
from smdae.estimation.evidence import evidence, features
from smdae.estimation.grain import Grain, correlation_of_channels, measured, non_normality, spread, with_unseen
from smdae.estimation.noise_level import Level, mean_decay
from smdae.noise import Noise

# These were chosen as those of `estimate`.
FAINTEST = 1.3 / 255  # sigma below which noise is left alone, white being the range that the picture fills
FAINTEST_OF_JPEG = 0.6 / 255  # the same for JPEGs, which hide a part of the noise
MAX_CHANNEL_DIFFERENCE = 0.1  # of the levels of channels from their mean, relative, if one level stands for all
MIN_WEIGHT = 0.01  # of a bin, over the largest: smaller ones do not count in `ChannelBlocks.share`
MIN_LOG_ODDS = -4.5  # of grain against texture: below it there is no grain; above, a second look decides
# White noise has small eigenvalues that are alike and near the level of the blocks. There is no grain if neither limit
# is exceeded, of any noise or, with less excess, of noise of STRONG_WHITE and more: fainter noise of such decay is not
# white (`estimate`). Decay is that of `noise_level`; excess is the level of the blocks over that of the eigenvalues.
MAX_DECAY_OF_WHITE, MAX_EXCESS_OF_WHITE = 0.14, 10.0
MAX_DECAY_IF_STRONG, MAX_EXCESS_IF_STRONG, STRONG_WHITE = 0.20, 1.6, 8 / 255
# Where there is hardly any texture, as in white noise that was resized or rotated, these show grain without a second
# look: decay, excess, weakest block, scatter, and correlation of neighbours. With more excess than white noise ever has
# (1.4), and a level that rises with brightness, a second look decides whatever the decay.
ALONE_DECAY, ALONE_EXCESS, ALONE_WEAKEST, ALONE_SCATTER, ALONE_NEAREST = 0.12, 1.3, 0.72, 0.28, 0.1
ALONE_EXCESS_OF_ANY_DECAY = 1.8
# Where these hold in a JPEG, its blocks hold white noise alone: weakest block, scatter, correlation, excess.
LOSSY_WEAKEST, LOSSY_SCATTER, LOSSY_NEAREST, LOSSY_EXCESS = 0.55, 0.30, 0.25, 1.25
# Blocks farther from normal may be print, which has 0.08 and more, or dark noise that was cut off at black: above a
# level these are grain only if a second look says so.
MAX_NON_NORMALITY, STRONG = 0.06, 3 / 255


@dataclass(frozen=True, eq=False)
class ChannelBlocks:
    """The noise of one channel, as its blocks show it.

    Attributes:
        bins: Their variances by brightness.
        weights: Weight of each bin, with shape (m,).
        level: Standard deviation of the noise, white being 1.
        scatter: Standard deviation over mean of the variances of the flattest blocks.
        grain: Correlation of the pixels.
        spread: Quantiles of the standard deviations of the blocks over the usual one, see `grain.spread`.
        share: Share of the blocks that are in bins with a weight that counts.
        rising: The variances on a line, if they clearly rise with brightness; else None.
    """

    bins: Bins
    weights: np.ndarray
    level: float
    scatter: float
    grain: Grain
    spread: np.ndarray
    share: float
    rising: Affine | None


def channel_blocks(blocks: Blocks) -> list[ChannelBlocks] | None:
    """Return the noise of each channel, as its blocks show it; None if a channel has too few blocks."""
    found = [_channel(blocks, c) for c in range(blocks.mean.shape[1])]
    known = [one for one in found if one is not None]
    return known if len(known) == len(found) else None


def _channel(blocks: Blocks, c: int) -> ChannelBlocks | None:
    usable = blocks.usable(c, MAX_SATURATED)
    bins = bins_of(blocks, c, blocks.variance[:, c], usable)
    if bins is None:
        return None
    variance, weights, scatter = overall(bins)
    grain = measured(blocks, c, bins, weights)
    level = math.sqrt(variance * grain.factor)
    share = float(bins.share[weights > MIN_WEIGHT * weights.max()].sum())
    rising = rising_line(bins, bins_of(blocks, c, blocks.detail[:, c], usable))
    return ChannelBlocks(bins, weights, level, scatter, grain, spread(blocks, c, bins, usable), share, rising)


def levels_of_compressed(seen: list[ChannelBlocks], levels: tuple[Level, ...]) -> list[float]:
    """Return the level of white noise in each channel of a JPEG, white being 1.

    JPEG removes the finest noise, so the smallest eigenvalues are too small. The levels of the blocks are returned if
    these hold noise alone and clearly more of it, else those of the eigenvalues.

    Args:
        seen: The noise of each channel, as its blocks show it.
        levels: The levels from the smallest eigenvalues, of each channel.
    """
    of_eigenvalues, of_blocks = [level.sigma for level in levels], [one.level for one in seen]
    weakest, scatter, nearest = _evenness(seen)
    are_noise = weakest > LOSSY_WEAKEST and scatter < LOSSY_SCATTER and nearest <= LOSSY_NEAREST
    return of_blocks if are_noise and rms(of_blocks) > LOSSY_EXCESS * rms(of_eigenvalues) else of_eigenvalues


def grain_features(blocks: Blocks, levels: tuple[Level, ...], jpeg: int | None) -> np.ndarray | None:
    """Return the features that tell grain from texture, with shape (len(evidence.FEATURES),).

    Args:
        blocks: The blocks of the picture.
        levels: The level of each channel, found from the smallest eigenvalues.
        jpeg: Quality at which the picture was compressed, 1 to 100; None if it was not.

    Returns:
        None if a channel has too few usable blocks.
    """
    seen = channel_blocks(blocks)
    return None if seen is None else _features(seen, _correlation(blocks, seen), levels, jpeg)


def correlated_noise(
    blocks: Blocks, seen: list[ChannelBlocks], levels: tuple[Level, ...], jpeg: int | None, forced: bool
) -> tuple[Noise, float] | None:
    """Return grain and the logarithm of its odds against texture; None if there is none, or it is rather texture.

    The odds are infinite if it cannot be texture.

    Args:
        blocks: The blocks of the picture.
        seen: The noise of each channel, as its blocks show it.
        levels: The levels from the smallest eigenvalues, of each channel.
        jpeg: Quality at which the picture was compressed; None if it was not.
        forced: Whether the noise is known to be grain.
    """
    if forced:
        return _grain(seen, _correlation(blocks, seen), 1.0), math.inf
    level = rms([one.level for one in seen])
    if level < (FAINTEST_OF_JPEG if is_lossy(jpeg) else FAINTEST):
        return None
    channels = _correlation(blocks, seen)
    found = _features(seen, channels, levels, jpeg)
    white = rms([one.sigma for one in levels])
    excess = level / max(white, 1e-9)
    decay = mean_decay(levels)
    is_white = (decay <= MAX_DECAY_OF_WHITE and excess <= MAX_EXCESS_OF_WHITE) or (
        decay <= MAX_DECAY_IF_STRONG and excess <= MAX_EXCESS_IF_STRONG and white >= STRONG_WHITE
    )
    odds = evidence().log_odds(found)
    if not is_white and odds > MIN_LOG_ODDS:
        factor = evidence().level_factor(found)
    elif level > STRONG and decay > ALONE_DECAY and excess > ALONE_EXCESS and _are_noise_alone(seen):
        factor, odds = 1.0, math.inf
    elif level > STRONG and excess > ALONE_EXCESS_OF_ANY_DECAY and _are_noise_alone(seen) and _all_rise(seen):
        factor = evidence().level_factor(found)
    else:
        return None
    if level > STRONG and _non_normality(blocks, seen) > MAX_NON_NORMALITY:
        if math.isinf(odds):
            return None
        odds = min(odds, 0.0)
    return _grain(seen, channels, factor), odds


def _non_normality(blocks: Blocks, seen: list[ChannelBlocks]) -> float:
    """Return the median over the channels of how far from normal their blocks are."""
    return float(np.median([non_normality(blocks, c, one.bins, one.weights) for c, one in enumerate(seen)]))


def _evenness(seen: list[ChannelBlocks]) -> np.ndarray:
    """Return the lowest of `spread`, the scatter and the correlation of neighbours, means over channels, (3,)."""
    found: np.ndarray = np.mean([(one.spread[0], one.scatter, one.grain.nearest) for one in seen], 0)
    return found


def _all_rise(seen: list[ChannelBlocks]) -> bool:
    """Return whether the level of every channel clearly rises with brightness."""
    return all(one.rising is not None for one in seen)


def _are_noise_alone(seen: list[ChannelBlocks]) -> bool:
    """Return whether all blocks are as strong as those of noise without texture, and neighbours correlated."""
    weakest, scatter, nearest = _evenness(seen)
    return bool(weakest > ALONE_WEAKEST and scatter < ALONE_SCATTER and nearest > ALONE_NEAREST)


def _features(
    seen: list[ChannelBlocks], channels: np.ndarray, levels: tuple[Level, ...], jpeg: int | None
) -> np.ndarray:
    """Return the features that tell grain from texture, most of them means over the channels."""

    def mean(values: list[Any]) -> Any:
        return sum(values) / len(values)

    return features(
        level=rms([one.level for one in seen]),
        white=rms([one.sigma for one in levels]),
        rho=mean([one.grain.rho for one in seen]),
        scatter=mean([one.scatter for one in seen]),
        share=mean([one.share for one in seen]),
        factor=mean([one.grain.factor for one in seen]),
        decay=mean_decay(levels),
        channel_correlation=_mean_correlation(channels),
        spread=mean([one.spread for one in seen]),
        jpeg=jpeg,
        channels=len(seen),
    )


def _grain(seen: list[ChannelBlocks], channels: np.ndarray, factor: float) -> Noise:
    """Return grain with `factor` times the level of the blocks, corrected in colour for what these do not see."""
    sigmas = np.array([one.level for one in seen])
    if len(seen) == 3:
        covariance = with_unseen(np.outer(sigmas, sigmas) * channels)
        sigmas = np.sqrt(np.diag(covariance))
        channels = covariance / np.outer(sigmas, sigmas)
        np.fill_diagonal(channels, 1.0)
    rho = sum((one.grain.rho for one in seen), np.zeros(())) / len(seen)
    shared = _as_tuples(channels) if len(seen) > 1 else None
    return Noise(_levels(seen, (factor * sigmas).tolist()), grain=_as_tuples(rho), channels=shared)


def _levels(seen: list[ChannelBlocks], sigmas: list[float]) -> tuple[Curve, ...]:
    """Return a curve of the level over brightness for each channel.

    They are lines if the level of every channel clearly rises with brightness, as that of photons does, and otherwise
    constant.

    Args:
        seen: What the blocks of each channel say.
        sigmas: The levels that the channels are to have at the brightness of the flattest blocks.
    """
    rising = [one.rising for one in seen if one.rising is not None]
    if not _all_rise(seen):
        return curves_of(sigmas)
    levels = [math.sqrt(overall(one.bins)[0]) for one in seen]  # of the blocks
    return tuple(line.amplified(s / level) for line, s, level in zip(rising, sigmas, levels, strict=True))


def _correlation(blocks: Blocks, seen: list[ChannelBlocks]) -> np.ndarray:
    """Return the correlation of the channels, (C, C), on the flattest blocks of the middle one."""
    middle = seen[len(seen) // 2]
    return correlation_of_channels(blocks, middle.bins, middle.weights) if len(seen) > 1 else np.eye(1)


def _mean_correlation(channels: np.ndarray) -> float:
    """Return the mean correlation between two channels; 0 if there is one channel."""
    return float(channels[~np.eye(len(channels), dtype=bool)].mean()) if len(channels) > 1 else 0.0


def curves_of(sigmas: list[float]) -> tuple[Curve, ...]:
    """Return one curve at the root mean square of the levels if these are alike, else a curve for each channel."""
    mean = rms(sigmas)
    if all(abs(sigma - mean) <= MAX_CHANNEL_DIFFERENCE * mean for sigma in sigmas):
        return (Affine(read=mean),)
    return tuple(Affine(read=sigma) for sigma in sigmas)


def rms(values: list[float]) -> float:
    """Return the root of the mean square of numbers."""
    return math.sqrt(sum(value**2 for value in values) / len(values))


def _as_tuples(matrix: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, matrix.tolist()))
