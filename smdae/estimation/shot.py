"""Noise that depends on brightness: told from white noise by the levels of blocks of each brightness.

The constants were chosen as those of `estimate`.
"""

import math
from collections.abc import Sequence

import numpy as np

from smdae.curves import Affine, Curve, Table
from smdae.estimation import clipped_normal
from smdae.estimation.blocks import Blocks
from smdae.estimation.curve import Bins, affine_fit, bins_of

__all__ = ["shot_curves"]

MAX_SATURATED_SHOT = 0.5  # of a block, where the level is asked for by brightness
# Deviation of levels over brightness, as a logarithm, beyond which it is no chance; the least that holds for a sigma.
SHOT_SPREAD, SHOT_SPREAD_FAINT = (0.10, 0.04), (1.1 / 255, 1.6 / 255)
# Of the level in the brightest third to that in the darkest, or back, as a logarithm; likewise.
SHOT_RATIO, SHOT_RATIO_FAINT = (0.14, 0.03), (0.0, 2.8 / 255)
SHOT_FLOOR = 0.5  # of the mean level of all blocks, that the smallest eigenvalues tell: of texture they tell less
MIN_RISE = 0.85  # of the variance with brightness, as a correlation
MAX_SCATTER = 0.6  # of bins that are asked whether noise is shot
CLIPPING_SIGMAS = 2.5  # from white, within which a level is what clipping leaves


def shot_curves(blocks: Blocks, sigmas: Sequence[float], clipped: bool, forced: bool) -> tuple[Curve, ...] | None:
    """Return the level of each channel by brightness; None if it may be one level.

    Args:
        blocks: Of the picture.
        sigmas: The level of each channel that the smallest eigenvalues tell, white being 1.
        clipped: Whether black and white may have cut the noise off.
        forced: Whether the noise is known to depend on brightness.
    """
    curves: list[Curve] = []
    for c, sigma in enumerate(sigmas):
        bins = bins_of(blocks, c, blocks.detail[:, c], blocks.usable(c, MAX_SATURATED_SHOT))
        if bins is None:
            return None
        mean = float(np.average(np.sqrt(bins.variance), weights=bins.share))
        depends = sigma > SHOT_FLOOR * mean and _depends(bins, clipped)
        curves.append(_table(bins) if forced or depends else Affine(read=sigma))
    if not all(isinstance(curve, Table) for curve in curves):
        return None
    return tuple(curves)


def _depends(bins: Bins, clipped: bool) -> bool:
    """Return whether levels differ over brightness more than those of clipped white noise do by chance and texture."""
    asked = bins.scatter < MAX_SCATTER
    if asked.sum() < 3:
        return False
    at, variance = bins.at[asked], bins.variance[asked]
    weights = np.sqrt(bins.share[asked] * bins.trust[asked])  # bins of few blocks are what tells
    weights = weights / weights.sum()
    best, off, sigma = math.inf, np.zeros_like(at), 0.0
    for tried in np.geomspace(0.3 * math.sqrt(variance.min()), 1.5 * math.sqrt(variance.max()), 60):
        left = clipped_normal.clipped_std(at, tried) if clipped else np.full_like(at, tried)
        ratio = np.log(variance / left**2) / 2
        cost = float((weights * np.minimum(np.abs(ratio), 0.5)).sum())
        if cost < best:
            best, off, sigma = cost, ratio, float(tried)
    spread = math.sqrt(float((weights * off**2).sum()))
    reached = np.cumsum(weights)
    dark, bright = reached <= max(0.34, weights[0]), reached >= min(0.66, 1 - 1e-9)
    ratio = abs(float(np.average(off[bright], weights=weights[bright]) - np.average(off[dark], weights=weights[dark])))
    varies = spread > _least(SHOT_SPREAD, SHOT_SPREAD_FAINT, sigma) and ratio > _least(
        SHOT_RATIO, SHOT_RATIO_FAINT, sigma
    )
    return varies and _rise(at, variance, weights) > MIN_RISE


def _least(limits: tuple[float, ...], faint: tuple[float, ...], sigma: float) -> float:
    """Return the least of limit + faint / sigma: strong noise hides the texture that would pretend something."""
    return min(limit + more / max(sigma, 1e-9) for limit, more in zip(limits, faint, strict=True))


def _rise(at: np.ndarray, variance: np.ndarray, weights: np.ndarray) -> float:
    """Return the correlation of variance with brightness: 1 for photons, near 0 for texture; not near white."""
    free = at < 1 - CLIPPING_SIGMAS * np.sqrt(variance)
    if free.sum() < 3:
        return 0.0
    covariance = np.cov(at[free], variance[free], aweights=weights[free] + 1e-12)
    return float(covariance[0, 1] / math.sqrt(max(covariance[0, 0] * covariance[1, 1], 1e-30)))


def _table(bins: Bins) -> Table:
    """Return the levels of bins as a table; near white, where clipping hides noise, as a line goes on from the rest."""
    deviation = np.sqrt(bins.variance)
    free = bins.at < 1 - CLIPPING_SIGMAS * deviation
    if not free.all() and free.sum() >= 3:
        gain, offset, _ = affine_fit(_only(bins, free))
        fitted = np.sqrt(np.maximum(gain * bins.at + offset, 0))
        deviation = np.where(free, deviation, np.maximum(deviation, fitted))
    return Table(tuple(bins.at.tolist()), tuple(deviation.tolist()))


def _only(bins: Bins, kept: np.ndarray) -> Bins:
    chosen = tuple(one for one, keep in zip(bins.chosen, kept, strict=True) if keep)
    return Bins(bins.at[kept], bins.variance[kept], bins.scatter[kept], bins.share[kept], chosen)
