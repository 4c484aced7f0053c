"""The level of the noise as a function of brightness, from the flattest blocks of each brightness.

Blocks are binned by their mean. Of each bin those with the least texture around them are chosen, and their mean energy
(variance or detail, see `blocks`) is the variance of the noise at that brightness. Where the chosen blocks are flat,
their energies scatter no more than chance makes those of noise scatter; where texture is left, they scatter more and
are too large. So a bin counts by its number of blocks and by how little they scatter.

The variance of shot noise is affine in the mean of the picture, v = a m + b (Foi et al. 2008). `affine_fit` fits this
line by iteratively reweighted least squares, in which bins above the line count least, as texture puts them there.
"""

import math
from dataclasses import dataclass

import numpy as np

from smdae.curves import Affine
from smdae.estimation.blocks import Blocks

MAX_BINS = 48
MIN_BLOCKS = 80  # of a bin
FLAT_SHARE, MIN_FLAT = 0.12, 40  # of the blocks of a bin that are chosen: their share, and their least number
WEAK_SHARE, MIN_WEAK = 0.01, 3  # of the blocks of a bin: the weakest ones
MAX_ENERGY = 3.0  # over the median of the bin: blocks with more hold texture
MAX_SATURATED = 0.1  # share of a block's pixels that may be black or white
SCATTER_OF_NOISE = 0.25  # standard deviation over mean of the energies of flat blocks, by chance
SCATTER_POWER = 8  # a bin's trust falls with this power of its scatter
MAX_VARIANCE = 4.0  # of a bin, over the mean of all: bins with more hold texture
WEIGHT_OF_TEXTURE = 1e-3  # of such a bin, over that of another
INITIAL_SHARE = 0.10  # the mean is first that of the bin at this quantile of the variance
ROUNDS = 12  # of reweighting
MIN_FITTED = 1e-3  # of the largest variance: a fitted line is bounded below by it
FAR_ABOVE = 0.2  # relative distance above the line at which the weight of a bin is halved
MIN_BINS = 3  # to ask whether the variance rises with brightness
CLIPPING_SIGMAS = 2.5  # within so many standard deviations of white, clipping makes variances too small
# A line rises if variance and brightness are correlated, it fits, and levels are so much larger, as a logarithm, in the
# brightest third. Texture grows with brightness too, but seldom as much in its finest details as in all of it.
MIN_CORRELATION, MAX_MISFIT, MIN_RISE, MAX_DIFFERENCE = 0.8, 0.2, 0.75, 0.15
THIRDS = (0.34, 0.66)  # of the weight of the bins, by increasing brightness
LEAST_SHARE = 0.5  # of the least variance of a bin, below which no line goes


@dataclass(frozen=True, eq=False)
class Bins:
    """The noise of one channel in m bins of brightness, white being 1.

    Attributes:
        at: Mean brightness of the chosen blocks, increasing, with shape (m,).
        variance: Their mean energy, the variance of the noise, with shape (m,).
        scatter: Standard deviation over mean of their energies, with shape (m,).
        share: Share of all usable blocks that are in the bin, with shape (m,).
        lowest: Energy of the weakest hundredth of all blocks of the bin, over the mean of the chosen ones, with shape
            (m,): about 0.5 if there is noise alone; smaller if even the chosen ones hold texture.
        chosen: The numbers of the chosen blocks, one array for each bin.
    """

    at: np.ndarray
    variance: np.ndarray
    scatter: np.ndarray
    share: np.ndarray
    lowest: np.ndarray
    chosen: tuple[np.ndarray, ...]

    @property
    def trust(self) -> np.ndarray:
        """Return the weight of each bin, (m,): its share, or less if its energies scatter more than noise."""
        found: np.ndarray = (
            self.share * np.minimum(1, SCATTER_OF_NOISE / np.maximum(self.scatter, 1e-9)) ** SCATTER_POWER
        )
        return found


def bins_of(blocks: Blocks, channel: int, energy: np.ndarray, usable: np.ndarray) -> Bins | None:
    """Return the bins of one channel; None if there are too few usable blocks, or all energies are 0.

    Args:
        blocks: The blocks of the picture.
        channel: Number of the channel.
        energy: The energy of each block, its variance or its detail, with shape (n,).
        usable: Which blocks to use, with shape (n,).
    """
    index = np.flatnonzero(usable)
    if len(index) < MIN_BLOCKS:
        return None
    mean, texture = blocks.mean[:, channel], blocks.texture[:, channel]
    rows: list[tuple[float, float, float, float, float]] = []
    chosen = []
    for members in _by_brightness(mean, index):
        count = max(MIN_FLAT, int(FLAT_SHARE * len(members)))
        flat = members[np.argpartition(texture[members], count - 1)[:count]] if count < len(members) else members
        found = energy[flat]
        kept = flat[found <= MAX_ENERGY * np.median(found)]
        values = energy[kept]
        average = float(values.mean())
        if average <= 0:
            continue
        weak = max(MIN_WEAK, int(WEAK_SHARE * len(members)))
        lowest = float(np.partition(energy[members], weak - 1)[weak - 1]) / average
        rows.append(
            (float(mean[kept].mean()), average, float(values.std()) / average, len(members) / len(index), lowest)
        )
        chosen.append(kept)
    if not rows:
        return None
    at, variance, scattered, share, low = np.array(rows).T
    return Bins(at, variance, scattered, share, low, tuple(chosen))


def _by_brightness(mean: np.ndarray, index: np.ndarray) -> list[np.ndarray]:
    """Return the blocks at an index in groups of increasing mean, each of a least width and number of blocks."""
    order = index[np.argsort(mean[index], kind="stable")]
    values = mean[order]
    width = max((values[-1] - values[0]) / MAX_BINS, 1e-9)
    cuts, first = [], 0
    for last in np.searchsorted(values, values[0] + width * np.arange(1, MAX_BINS + 1)):
        if last - first >= MIN_BLOCKS and len(order) - last >= MIN_BLOCKS:
            cuts.append(int(last))
            first = int(last)
    return np.split(order, cuts)


def overall(bins: Bins) -> tuple[float, np.ndarray, float]:
    """Return the mean variance of all bins, the weights of the bins in this mean, (m,), and their mean scatter."""
    trust = bins.trust if bins.trust.sum() > 0 else bins.share
    order = np.argsort(bins.variance)
    reached = np.cumsum(bins.share[order]) / bins.share.sum()
    mean = float(bins.variance[order[np.searchsorted(reached, INITIAL_SHARE)]])
    for _ in range(ROUNDS):
        # A bin full of texture may have very many blocks: it must hardly count.
        weights = trust * np.where(bins.variance > MAX_VARIANCE * mean, WEIGHT_OF_TEXTURE, 1.0)
        mean = float(np.average(bins.variance, weights=weights))
    return mean, weights, float(np.average(bins.scatter, weights=weights))


def affine_fit(bins: Bins) -> tuple[float, float, float]:
    """Return a and b of variance = a m + b, and the root mean square of the relative misfit, weighted as in the fit."""
    x, v = bins.at, bins.variance
    trust = np.sqrt(bins.trust) + 1e-12  # the root, as the slope depends on the few blocks at the ends
    fitted = np.full_like(v, np.average(v, weights=trust))
    a, b = 0.0, float(fitted[0])
    weights = trust
    for _ in range(ROUNDS):
        relative = weights / np.maximum(fitted, MIN_FITTED * v.max()) ** 2
        mx, mv = np.average(x, weights=relative), np.average(v, weights=relative)
        spread = np.average((x - mx) ** 2, weights=relative)
        a = float(np.average((x - mx) * (v - mv), weights=relative) / spread) if spread > 1e-12 else 0.0
        b = float(mv - a * mx)
        fitted = np.maximum(a * x + b, MIN_FITTED * v.max())
        above = np.maximum(v / fitted - 1, 0)
        weights = trust / (1 + (above / FAR_ABOVE) ** 2)
    misfit = np.sqrt(np.average((v / fitted - 1) ** 2, weights=weights))
    return a, b, float(misfit)


def correlation_with_brightness(at: np.ndarray, variance: np.ndarray, weights: np.ndarray) -> float:
    """Return the correlation of variance and brightness away from white, all (m,); 0 if there are too few bins.

    It is 1 for photons and near 0 for texture.
    """
    free = at < 1 - CLIPPING_SIGMAS * np.sqrt(variance)
    if free.sum() < MIN_BINS:
        return 0.0
    covariance = np.cov(at[free], variance[free], aweights=weights[free] + 1e-12, ddof=0)
    return float(covariance[0, 1] / math.sqrt(max(covariance[0, 0] * covariance[1, 1], 1e-30)))


def rising_line(bins: Bins, detail: Bins | None) -> Affine | None:
    """Return the noise whose variance is a line fitted to the bins; None unless they clearly lie on a rising line.

    Its variance is nowhere much below the least of the bins.

    Args:
        bins: The variances.
        detail: The same of the finest details alone, which must rise as much.
    """
    if detail is None or min(len(bins.at), len(detail.at)) < MIN_BINS:
        return None
    slope, offset, misfit = affine_fit(bins)
    weights = np.sqrt(bins.trust) + 1e-12
    if slope <= 0 or misfit > MAX_MISFIT:
        return None
    if correlation_with_brightness(bins.at, bins.variance, weights) < MIN_CORRELATION:
        return None
    least = LEAST_SHARE * float(bins.variance.min())
    dark, bright = (float(np.average(bins.at[part], weights=weights[part])) for part in thirds(weights / weights.sum()))
    rise = rise_of_line((slope, offset), dark, bright, least)
    of_detail = rise_of_line(affine_fit(detail)[:2], dark, bright, LEAST_SHARE * float(detail.variance.min()))
    if min(rise, of_detail) < MIN_RISE or abs(rise - of_detail) > MAX_DIFFERENCE:
        return None
    return line_of(slope, offset, least)


def line_of(slope: float, offset: float, least: float) -> Affine:
    """Return the curve of a variance slope m + offset, with a positive slope, that is never below a least variance."""
    if offset > least:
        return Affine(slope, 0.0, math.sqrt(offset))
    return Affine(slope, (least - offset) / slope, math.sqrt(least))


def thirds(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which bins are the darkest third, and which the brightest, both (m,), by weights (m,) with the sum 1."""
    reached = np.cumsum(weights)
    return reached <= max(THIRDS[0], weights[0]), reached >= min(THIRDS[1], 1 - 1e-9)


def rise_of_line(line: tuple[float, float], dark: float, bright: float, least: float) -> float:
    """Return the logarithm of the level at a bright value over that at a dark one, on a line bounded below."""
    slope, offset = line
    return math.log(max(slope * bright + offset, least) / max(slope * dark + offset, least)) / 2
