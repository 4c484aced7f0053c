"""The level of the noise as a function of brightness, from the flattest blocks of each brightness.

Blocks are sorted by their mean into bins. In a bin those with the least texture around them are chosen, and their mean
energy is the variance of the noise there, if they are flat: then energies scatter as those of noise do. Where texture
is left they scatter more and are too large, so bins count by how many blocks they have and by how little they scatter.

Shot noise is looked for in two ways. Its variance is affine in the mean of what is seen, v = a m + b (Foi et al. 2008),
fitted by reweighting, with outliers above the line, which texture makes, counting least. Where no line fits, the bins
themselves are the table, smoothed.
"""

from dataclasses import dataclass

import numpy as np

from smdae.estimation.blocks import Blocks

__all__ = ["Bins", "affine_fit", "bins_of", "overall"]

MAX_BINS = 48
MIN_BLOCKS = 80  # in a bin
FLATTEST, MIN_CHOSEN = 0.12, 40  # of a bin's blocks: their share, and how many at least
OUTLIER = 3.0  # energies beyond so many medians are texture
SCATTER_OF_NOISE = 0.25  # standard deviation over mean of the energies of noise in flat blocks
DISTRUST = 8  # power of the scatter by which a bin counts less
MAX_OVER_MEAN = 4.0  # variance of a bin over the mean of all, beyond which it is texture
WEIGHT_OF_TEXTURE = 1e-3
LOWEST_SHARE = 0.10  # of the blocks, in bins of the least variance, from which the mean sets out
ROUNDS = 12


@dataclass(frozen=True, eq=False)
class Bins:
    """The noise of one channel by brightness, white being 1.

    Attributes:
        at: Mean brightness of the chosen blocks, increasing, with shape (m,).
        variance: Of what their planes leave, with shape (m,).
        scatter: Standard deviation over mean of their variances, with shape (m,).
        share: The part of all blocks that the bin holds, with shape (m,).
        chosen: Which blocks were chosen in each bin.
    """

    at: np.ndarray
    variance: np.ndarray
    scatter: np.ndarray
    share: np.ndarray
    chosen: tuple[np.ndarray, ...]

    @property
    def trust(self) -> np.ndarray:
        """Return how much each bin counts, with shape (m,)."""
        return self.share * np.minimum(1, SCATTER_OF_NOISE / np.maximum(self.scatter, 1e-9)) ** DISTRUST


def bins_of(blocks: Blocks, channel: int, energy: np.ndarray, usable: np.ndarray) -> Bins | None:
    """Return the bins of one channel; None where there are too few blocks.

    Args:
        blocks: Of the picture.
        channel: Which one.
        energy: What tells the noise of a block, its variance or its detail, with shape (n,).
        usable: Which blocks may be used, with shape (n,).
    """
    index = np.flatnonzero(usable)
    if len(index) < MIN_BLOCKS:
        return None
    mean, texture = blocks.mean[:, channel], blocks.texture[:, channel]
    rows: list[tuple[float, float, float, float]] = []
    chosen = []
    for members in _by_brightness(mean, index):
        count = max(MIN_CHOSEN, int(FLATTEST * len(members)))
        flat = members[np.argpartition(texture[members], count - 1)[:count]] if count < len(members) else members
        found = energy[flat]
        kept = flat[found <= OUTLIER * np.median(found)]
        values = energy[kept]
        average = float(values.mean())
        if average <= 0:
            continue
        rows.append((float(mean[kept].mean()), average, float(values.std()) / average, len(members) / len(index)))
        chosen.append(kept)
    if not rows:
        return None
    at, variance, scatter, share = np.array(rows).T
    return Bins(at, variance, scatter, share, tuple(chosen))


def _by_brightness(mean: np.ndarray, index: np.ndarray) -> list[np.ndarray]:
    """Return the blocks of an index in groups of increasing brightness, each wide enough and of enough blocks."""
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
    """Return the mean variance over the picture, the weights of the bins in it, and their mean scatter."""
    trust = bins.trust if bins.trust.sum() > 0 else bins.share
    order = np.argsort(bins.variance)
    reached = np.cumsum(bins.share[order]) / bins.share.sum()
    mean = float(bins.variance[order[np.searchsorted(reached, LOWEST_SHARE)]])
    for _ in range(ROUNDS):
        # A bin that texture fills may have many blocks: it is not allowed to speak.
        weights = trust * np.where(bins.variance > MAX_OVER_MEAN * mean, WEIGHT_OF_TEXTURE, 1.0)
        mean = float(np.average(bins.variance, weights=weights))
    return mean, weights, float(np.average(bins.scatter, weights=weights))


def affine_fit(bins: Bins) -> tuple[float, float, float]:
    """Return a, b of variance = a m + b, and the root mean square of the relative misfit, weighed as the fit is."""
    x, v = bins.at, bins.variance
    trust = np.sqrt(bins.trust) + 1e-12  # bins of few blocks are what tells the slope
    fitted = np.full_like(v, np.average(v, weights=trust))
    a, b = 0.0, float(fitted[0])
    weights = trust
    for _ in range(ROUNDS):
        relative = weights / np.maximum(fitted, 1e-3 * v.max()) ** 2
        mx, mv = np.average(x, weights=relative), np.average(v, weights=relative)
        spread = np.average((x - mx) ** 2, weights=relative)
        a = float(np.average((x - mx) * (v - mv), weights=relative) / spread) if spread > 1e-12 else 0.0
        b = float(mv - a * mx)
        fitted = np.maximum(a * x + b, 1e-3 * v.max())
        above = np.maximum(v / fitted - 1, 0)
        weights = trust / (1 + (above / 0.2) ** 2)
    misfit = np.sqrt(np.average((v / fitted - 1) ** 2, weights=weights))
    return a, b, float(misfit)
