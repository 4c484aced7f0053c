"""Shot noise: noise whose level depends on brightness, and how it is told from white noise.

The levels of the bins of brightness (`curve`) are compared with those that white noise of one sigma leaves after
clipping. It is shot noise if they differ over brightness by more than chance and texture explain, and if the variance
rises with brightness. The constants were chosen as those of `estimate`.
"""

import math
from collections.abc import Sequence

import numpy as np

from smdae.curves import Affine, Curve, Table
from smdae.estimation import clipped_normal
from smdae.estimation.blocks import Blocks
from smdae.estimation.curve import (
    CLIPPING_SIGMAS,
    MIN_BINS,
    THIRDS,
    Bins,
    affine_fit,
    bins_of,
    correlation_with_brightness,
)

__all__ = ["shot_curves"]

MAX_SATURATED = 0.5  # share of a block's pixels that may be black or white
MAX_SCATTER = 0.6  # of the bins that are compared: in others there is too much texture
# Levels differ over brightness if two statistics of log(level / level of clipped white noise) are large: its standard
# deviation, and its mean in the brightest third less that in the darkest, without sign. The limits are the least of
# limit + faint / sigma over these pairs: the weaker the noise is, the more texture may pretend.
SPREAD_LIMITS = ((0.10, 1.1 / 255), (0.04, 1.6 / 255))
RATIO_LIMITS = ((0.14, 0.0), (0.03, 2.8 / 255))
MIN_CORRELATION = 0.85  # of variance and brightness
# Sigma of the smallest eigenvalues over the mean level of the bins: texture has large bins and small eigenvalues.
MIN_SIGMA = 0.5
SIGMAS_TRIED = 60  # from MIN_TRIED times the smallest to MAX_TRIED times the largest level of the bins
MIN_TRIED, MAX_TRIED = 0.3, 1.5
MAX_LOG_RATIO = 0.5  # beyond it a bin adds no more to the misfit of a sigma


def shot_curves(blocks: Blocks, sigmas: Sequence[float], clipped: bool, forced: bool) -> tuple[Curve, ...] | None:
    """Return the level of each channel by brightness; None unless that of every channel depends on it.

    Args:
        blocks: The blocks of the picture.
        sigmas: The level of each channel from the smallest eigenvalues, white being 1.
        clipped: Whether the noise may be clipped at black and white.
        forced: Whether the noise is known to depend on brightness.
    """
    curves: list[Curve] = []
    for c, sigma in enumerate(sigmas):
        bins = bins_of(blocks, c, blocks.detail[:, c], blocks.usable(c, MAX_SATURATED))
        if bins is None:
            return None
        mean = float(np.average(np.sqrt(bins.variance), weights=bins.share))
        depends = sigma > MIN_SIGMA * mean and _depends(bins, clipped)
        curves.append(_table(bins) if forced or depends else Affine(read=sigma))
    if not all(isinstance(curve, Table) for curve in curves):
        return None
    return tuple(curves)


def _depends(bins: Bins, clipped: bool) -> bool:
    """Return whether levels differ over brightness by more than chance, clipping and texture explain."""
    compared = bins.scatter < MAX_SCATTER
    if compared.sum() < MIN_BINS:
        return False
    at, variance = bins.at[compared], bins.variance[compared]
    weights = np.sqrt(bins.share[compared] * bins.trust[compared])  # the root, as few blocks are very dark or bright
    weights = weights / weights.sum()
    sigma, log_ratio = _nearest_white(at, variance, weights, clipped)
    spread = math.sqrt(float((weights * log_ratio**2).sum()))
    reached = np.cumsum(weights)
    dark, bright = reached <= max(THIRDS[0], weights[0]), reached >= min(THIRDS[1], 1 - 1e-9)
    of_dark, of_bright = (float(np.average(log_ratio[part], weights=weights[part])) for part in (dark, bright))
    if spread <= _limit(SPREAD_LIMITS, sigma) or abs(of_bright - of_dark) <= _limit(RATIO_LIMITS, sigma):
        return False
    return correlation_with_brightness(at, variance, weights) > MIN_CORRELATION


def _nearest_white(
    at: np.ndarray, variance: np.ndarray, weights: np.ndarray, clipped: bool
) -> tuple[float, np.ndarray]:
    """Return the sigma of white noise nearest to the bins, and log(level / what clipping leaves of it), (m,)."""
    best, log_ratio, sigma = math.inf, np.zeros_like(at), 0.0
    lowest, highest = MIN_TRIED * math.sqrt(variance.min()), MAX_TRIED * math.sqrt(variance.max())
    for tried in np.geomspace(lowest, highest, SIGMAS_TRIED):
        left = clipped_normal.clipped_std(at, tried) if clipped else np.full_like(at, tried)
        ratio = np.log(variance / left**2) / 2
        misfit = float((weights * np.minimum(np.abs(ratio), MAX_LOG_RATIO)).sum())
        if misfit < best:
            best, log_ratio, sigma = misfit, ratio, float(tried)
    return sigma, log_ratio


def _limit(limits: tuple[tuple[float, float], ...], sigma: float) -> float:
    """Return the least of limit + faint / sigma."""
    return min(limit + faint / max(sigma, 1e-9) for limit, faint in limits)


def _table(bins: Bins) -> Table:
    """Return the levels of bins as a table, near white by a line fitted to the rest, as clipping hides noise there."""
    deviation = np.sqrt(bins.variance)
    free = bins.at < 1 - CLIPPING_SIGMAS * deviation
    if not free.all() and free.sum() >= MIN_BINS:
        gain, offset, _ = affine_fit(_selected(bins, free))
        fitted = np.sqrt(np.maximum(gain * bins.at + offset, 0))
        deviation = np.where(free, deviation, np.maximum(deviation, fitted))
    return Table(tuple(bins.at.tolist()), tuple(deviation.tolist()))


def _selected(bins: Bins, kept: np.ndarray) -> Bins:
    chosen = tuple(one for one, keep in zip(bins.chosen, kept, strict=True) if keep)
    return Bins(bins.at[kept], bins.variance[kept], bins.scatter[kept], bins.share[kept], chosen)
