"""Shot noise: noise whose level depends on brightness, and how it is told from white noise.

The levels of the bins of brightness (`curve`) are compared with those that white noise of one sigma leaves after
clipping. It is shot noise if the variance is correlated with brightness and either lies closely on a line that rises or
falls, or the levels differ over brightness by more than chance and texture explain and the variance rises. Texture may
do that too, but has small eigenvalues where its bins are large; so the level that the smallest eigenvalues tell, of the
whole picture or of where the noise is strongest, is not far below that of the bins, and rises as they do. The constants
were chosen as those of `estimate`, and those of the line on 240 photographs with white noise, for none of which it is
taken for shot noise.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import numpy as np
import torch

from smdae.curves import Curve, Table
from smdae.estimation import clipped_normal
from smdae.estimation.blocks import Blocks
from smdae.estimation.curve import (
    CLIPPING_SIGMAS,
    LEAST_SHARE,
    MIN_BINS,
    Bins,
    affine_fit,
    bins_of,
    correlation_with_brightness,
    line_of,
    rise_of_line,
    thirds,
)

MAX_SATURATED = 0.5  # share of a block's pixels that may be black or white
MAX_SCATTER = 0.6  # of the bins that are compared: in others there is too much texture
# Levels differ over brightness if two statistics of log(level / level of clipped white noise) are large: its standard
# deviation, and its mean in the brightest third less that in the darkest, without sign. The limits are the least of
# limit + faint / sigma over these pairs: the weaker the noise is, the more texture may pretend.
SPREAD_LIMITS = ((0.10, 1.1 / 255), (0.04, 1.6 / 255))
RATIO_LIMITS = ((0.14, 0.0), (0.03, 2.8 / 255))
# Correlation of variance and brightness: without sign, of every channel; and with it, where they lie on no line.
LEAST_CORRELATION, MIN_CORRELATION = 0.8, 0.85
MAX_MISFIT = 0.15  # of bins to the line that is taken for their level, relative
# Of a line that shows by itself that levels differ: its least rise or fall between the thirds, as a logarithm; the
# least share of it by which eigenvalues rise; and its largest misfit, relative, and over the misfit to a constant.
MIN_RISE, MIN_SHARE_OF_RISE, MAX_MISFIT_OF_LINE, MAX_MISFIT_SHARE = 0.1, 0.6, 0.1, 0.5
# The same where each bin counts alike, and the most that the bright ones may scatter.
MIN_BINS_OF_RISE, MIN_RISE_OF_BINS, MAX_SCATTER_OF_RISE = 5, 0.3, 0.42
# Sigma of the smallest eigenvalues over the mean level of the bins: texture has large bins and small eigenvalues.
MIN_SIGMA, MIN_SIGMA_OF_THIRD = 0.5, 0.8
MIN_LOWEST = 0.38  # of the bins where the noise is strongest: `Bins.lowest`, of which noise alone has 0.42 or more
SIGMAS_TRIED = 60  # from MIN_TRIED times the smallest to MAX_TRIED times the largest level of the bins
MIN_TRIED, MAX_TRIED = 0.3, 1.5
MAX_LOG_RATIO = 0.5  # beyond it a bin adds no more to the misfit of a sigma

LevelWithin = Callable[[int, float, float], float]  # of a channel, between two values of brightness


def shot_curves(
    blocks: Blocks, level_within: LevelWithin, clipped: bool, *, forced: bool, is_textured: bool = False
) -> tuple[Curve, ...] | None:
    """Return the level of each channel by brightness; None unless it depends on it.

    That of most channels must do so for sure, and that of the others probably.

    Args:
        blocks: The blocks of the picture.
        level_within: Returns the level of a channel, given by its number, from the smallest eigenvalues of the places
            whose brightness is between two values, white being 1.
        clipped: Whether the noise may be clipped at black and white.
        forced: Whether the noise is known to depend on brightness.
        is_textured: Whether texture leaves no block flat. Then bins are too large, so levels must rise, and the curve
            is lowered to what eigenvalues tell of the brightest third.
    """
    curves: list[Curve] = []
    depending = 0
    level_within = cache(level_within)
    for c in range(blocks.mean.shape[1]):
        bins = bins_of(blocks, c, blocks.detail[:, c], blocks.usable(c, MAX_SATURATED))
        if bins is None:
            return None
        compared = _selected(bins, bins.scatter < MAX_SCATTER)
        if not forced and (len(compared.at) < MIN_BINS or _correlation(compared) < LEAST_CORRELATION):
            return None
        of_channel = partial(level_within, c)
        depending += forced or ((_rises(compared) or not is_textured) and _depends(compared, clipped, of_channel))
        curve = _curve(bins)
        curves.append(_lowered(curve, compared, of_channel) if is_textured and len(compared.at) else curve)
    return tuple(curves) if 2 * depending > len(curves) else None


def _rises(bins: Bins) -> bool:
    """Return whether the level is higher in the brightest third than in the darkest."""
    weights, deviation = _weights(bins), np.sqrt(bins.variance)
    dark, bright = thirds(weights)
    return _mean(deviation, weights, bright) > _mean(deviation, weights, dark)


def _depends(compared: Bins, clipped: bool, level_within: Callable[[float, float], float]) -> bool:
    """Return whether levels differ over brightness by more than chance, clipping and texture explain."""
    weights = _weights(compared)
    dark, bright = thirds(weights)
    deviation = np.sqrt(compared.variance)
    everywhere = np.full(len(weights), True)

    def level_of(part: np.ndarray) -> float:
        """Return the level that eigenvalues tell of some bins, or 0 if it is far below that of the bins."""
        low = float(compared.at[part][0]) if part is bright else -math.inf
        high = float(compared.at[part][-1]) if part is dark else math.inf
        level = level_within(low, high)
        least = MIN_SIGMA if part is everywhere else MIN_SIGMA_OF_THIRD
        return level if level > least * _mean(deviation, weights, part) else 0.0

    strong = bright if _rises(compared) else dark
    if float(np.median(compared.lowest[strong])) < MIN_LOWEST:
        return False
    if _rises_bin_by_bin(compared, clipped, level_within):
        return True
    rise = _rise_of_line(compared, clipped)
    if rise:
        of_dark, of_bright = level_of(dark), level_of(bright)
        if min(of_dark, of_bright) > 0 and math.log(of_bright / of_dark) / rise > MIN_SHARE_OF_RISE:
            return True
    if correlation_with_brightness(compared.at, compared.variance, weights) <= MIN_CORRELATION:
        return False
    rise_in = partial(_do_eigenvalues_rise, compared, level_within=level_within)
    if not (rise_in(weights) or rise_in(_alike(compared), least_share=MIN_SIGMA_OF_THIRD)):
        return False
    sigma, log_ratio = _nearest_white(compared.at, compared.variance, weights, clipped)
    spread = math.sqrt(float((weights * log_ratio**2).sum()))
    difference = abs(_mean(log_ratio, weights, bright) - _mean(log_ratio, weights, dark))

    def differ(level: float) -> bool:
        return spread > _limit(SPREAD_LIMITS, level) and difference > _limit(RATIO_LIMITS, level)

    if differ(sigma) and level_of(everywhere) > 0:
        return True
    # Where the dark is large, sigma and the level of all are those of the dark, which may be next to none.
    if not differ(float(deviation.max())):
        return False
    of_bright = level_of(bright)
    return of_bright > 0 and differ(max(sigma, of_bright))


def _do_eigenvalues_rise(
    bins: Bins, weights: np.ndarray, level_within: Callable[[float, float], float], least_share: float = 0.0
) -> bool:
    """Return whether the level of eigenvalues rises from the darkest third to the brightest as that of bins does.

    Texture raises bins, and eigenvalues hardly. In the brightest third these must have the least share of that of bins.
    """
    dark, bright = thirds(weights)
    deviation = np.sqrt(bins.variance)
    of_bright = level_within(float(bins.at[bright][0]), math.inf)
    # There may be too few patches among the dark for a level.
    of_dark = level_within(-math.inf, float(bins.at[dark][-1])) or level_within(-math.inf, math.inf)
    level_of_bright = _mean(deviation, weights, bright)
    if min(of_dark, of_bright) <= 0 or of_bright < least_share * level_of_bright:
        return False
    rise = math.log(level_of_bright / _mean(deviation, weights, dark))
    return math.log(of_bright / of_dark) > MIN_SHARE_OF_RISE * rise


def _rises_bin_by_bin(bins: Bins, clipped: bool, level_within: Callable[[float, float], float]) -> bool:
    """Return whether levels rise along a line of the variance, each bin counting alike.

    So a few bright objects before a large dark ground are seen, which weigh next to nothing otherwise.
    """
    if len(bins.at) < MIN_BINS_OF_RISE:
        return False
    slope, offset, _ = affine_fit(bins)
    line = np.maximum(slope * bins.at + offset, LEAST_SHARE * bins.variance.min())
    if math.sqrt(np.square(bins.variance / line - 1).mean()) > MAX_MISFIT_OF_LINE:
        return False
    alike = _alike(bins)
    dark, bright = thirds(alike)
    deviation = np.sqrt(bins.variance)
    level_of_dark, level_of_bright = (_mean(deviation, alike, part) for part in (dark, bright))
    left = clipped_normal.clipped_std(bins.at, level_of_bright) if clipped else np.full_like(bins.at, level_of_bright)
    log_ratio = np.log(deviation / left)  # below 0 where there is less than clipping leaves of the level of the bright
    rise = _mean(log_ratio, alike, bright) - _mean(log_ratio, alike, dark)
    if rise < MIN_RISE_OF_BINS or float(np.median(bins.lowest[bright])) < MIN_LOWEST:
        return False
    if float(np.median(bins.scatter[bright])) > MAX_SCATTER_OF_RISE:
        return False
    of_dark = level_within(-math.inf, float(bins.at[dark][-1]))
    of_bright = level_within(float(bins.at[bright][0]), math.inf)
    if of_bright < MIN_SIGMA_OF_THIRD * level_of_bright or of_dark < MIN_SIGMA * level_of_dark:
        return False
    return math.log(of_bright / of_dark) > MIN_SHARE_OF_RISE * math.log(level_of_bright / level_of_dark)


def _lowered(curve: Curve, bins: Bins, level_within: Callable[[float, float], float]) -> Curve:
    """Return a curve amplified so that in the brightest third of the bins it is no higher than eigenvalues tell."""
    weights = _weights(bins)
    _, bright = thirds(weights)
    level = _mean(curve.sd(torch.from_numpy(bins.at)).numpy(), weights, bright)
    return curve.amplified(min(1.0, level_within(float(bins.at[bright][0]), math.inf) / level)) if level else curve


def _rise_of_line(bins: Bins, clipped: bool) -> float:
    """Return log(level in the brightest third / in the darkest) on the line of bins; 0 if flat or if there is none."""
    deviation = np.sqrt(bins.variance)
    if clipped:
        free = (bins.at < 1 - CLIPPING_SIGMAS * deviation) & (bins.at > CLIPPING_SIGMAS * deviation)
        bins = _selected(bins, free)
    if len(bins.at) < MIN_BINS or _correlation(bins) < LEAST_CORRELATION:
        return 0.0
    weights = _weights(bins)
    slope, offset, misfit = affine_fit(bins)
    constant = float(np.average(bins.variance, weights=weights))
    of_constant = math.sqrt(float(np.average((bins.variance / constant - 1) ** 2, weights=weights)))
    if misfit > min(MAX_MISFIT_OF_LINE, MAX_MISFIT_SHARE * of_constant):
        return 0.0
    least = LEAST_SHARE * float(bins.variance.min())
    dark, bright = (_mean(bins.at, weights, part) for part in thirds(weights))
    rise = rise_of_line((slope, offset), dark, bright, least)
    return rise if abs(rise) > MIN_RISE else 0.0


def _correlation(bins: Bins) -> float:
    """Return the correlation of variance and brightness, without sign."""
    return abs(correlation_with_brightness(bins.at, bins.variance, _weights(bins)))


def _weights(bins: Bins) -> np.ndarray:
    """Return the weights of bins, (m,), with the sum 1: roots, as few blocks are very dark or bright."""
    weights = np.sqrt(bins.share * bins.trust)
    found: np.ndarray = weights / weights.sum()
    return found


def _alike(bins: Bins) -> np.ndarray:
    """Return weights of bins, (m,), that are all the same, with the sum 1."""
    return np.full(len(bins.at), 1 / len(bins.at))


def _mean(values: np.ndarray, weights: np.ndarray, part: np.ndarray) -> float:
    """Return the mean over a part of the bins, all (m,)."""
    return float(np.average(values[part], weights=weights[part]))


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


def _curve(bins: Bins) -> Curve:
    """Return the level by brightness: a line of the variance in m or m^2 if bins lie on one, else a table of them.

    Photons and read noise give a line in m, gains that vary from pixel to pixel (speckle) one in m^2. A line averages
    over all bins, of which each is off by chance and by some texture.
    """
    free = bins.at < 1 - CLIPPING_SIGMAS * np.sqrt(bins.variance)
    if free.sum() < MIN_BINS:
        return _table(bins.at, bins.variance)
    unclipped = _selected(bins, free)
    slope, offset, misfit = affine_fit(unclipped)
    of_square = affine_fit(replace(unclipped, at=unclipped.at**2))
    if min(misfit, of_square[2]) > MAX_MISFIT:
        fitted = np.maximum(slope * bins.at + offset, 0)
        return _table(bins.at, np.where(free, bins.variance, np.maximum(bins.variance, fitted)))
    least = LEAST_SHARE * float(unclipped.variance.min())
    if of_square[2] < misfit:
        return _table(bins.at, np.maximum(of_square[0] * bins.at**2 + of_square[1], least))
    if slope <= 0:
        return _table(bins.at, np.maximum(slope * bins.at + offset, least))
    return line_of(slope, offset, least)


def _table(at: np.ndarray, variance: np.ndarray) -> Table:
    return Table(tuple(at.tolist()), tuple(np.sqrt(variance).tolist()))


def _selected(bins: Bins, kept: np.ndarray) -> Bins:
    chosen = tuple(one for one, keep in zip(bins.chosen, kept, strict=True) if keep)
    return Bins(bins.at[kept], bins.variance[kept], bins.scatter[kept], bins.share[kept], bins.lowest[kept], chosen)
