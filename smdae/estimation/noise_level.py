"""The level of white noise in an image, from its patches of weak texture.

A patch of P x P pixels that holds only noise has the covariance sigma^2 I. Texture adds variance in some directions and
none in others, so the smallest eigenvalues are those of the noise (Liu, Tanaka and Okutomi, IEEE Transactions on Image
Processing 22(12), 2013). With the mean of each patch subtracted,

    sigma^2 = mean of the K smallest eigenvalues of the covariance of the weakly textured patches,

those whose gradient energy noise of this sigma would exceed only once in a million times. As sigma is needed to select
them, the estimate begins with all patches and selects again a few times.

Two biases are left. Weak texture makes the estimate too large, and the smallest of many sample eigenvalues are too
small. Both were calibrated on photographs:

    estimate / sigma = 1 + (A busy - B) / (1 + (sigma/S)^2) - C / sqrt(number of patches)

`busy` is the share of the patches whose gradient energy is above 5/4 of the mean energy of noise. If the median
eigenvalue is no further above the smallest than chance puts it, there is hardly any texture. Then sigma^2 is the mean
of all eigenvalues but the largest, where as many are left out as it takes for mean and median to agree (Chen, Zhu and
Heng, ICCV 2015).

Black and white cut off the tails of the noise, which lowers its standard deviation near them by a known amount
(`clipped_normal`). Patches of such an image are binned by their mean, sigma is solved for in each bin, and the bins are
averaged, weighted by their number of patches and by how much the standard deviation there still depends on sigma. What
this misses was measured on photographs too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from smdae.estimation import clipped_normal
from smdae.estimation.patches import MEAN_ENERGY, SIDE, Patches

MAX_PATCHES = 120_000
MAX_SIGMA_MISMATCH = 0.2  # relative difference of a given level and an estimate, beyond which they do not agree
MIN_PATCHES = 12 * SIDE**2  # for a covariance
ROUNDS = 3  # of selecting patches. All but the last use every fourth patch, or more of them if these would be too few.
EARLY_STEP, MIN_EARLY_PATCHES = 4, 6_000
MAX_ENERGY = 2.516  # of weakly textured patches, over that of noise: the quantile 1 - 10^-6 of the energy of noise
BUSY_ENERGY = 1.25  # over the mean energy of noise: patches above it are busy
INITIAL_BUSY = 0.5  # the share of busy patches that the first round assumes
K = 3  # smallest eigenvalues that are averaged
A, B, S, C = 0.066, 0.0074, 61 / 255, 4.64  # of the calibration above, fitted to photographs with white noise
# Of (median / smallest - 1) sqrt(n), as standard deviations: up to the first there is noise alone, from the second on
# texture, and between them a mean of both estimates.
NOISE_ALONE, TEXTURE = 8.0, 12.0
DECAY_OF_NOISE = 3.0  # times 1 / sqrt(n): the decay of noise alone, by the spread of sample eigenvalues

# Of images clipped at black and white, fitted to photographs with white noise:
BINS = 16  # of brightness
MIN_SENSITIVITY = 0.02  # of the standard deviation to sigma, in weights
# Share of sigma that is missed at most, the sigma from which on, and how steeply it grows.
MISSED, MISSED_FROM, MISSED_POWER = 0.0435, 58 / 255, 2.5
MISSED_BY_FEWER = 0.0138  # share of sigma missed where a quarter of the patches is used

ERROR, CLIPPED_ERROR = 0.18 / 255, 0.012  # standard error, and what a clipped image adds as a share of sigma
MIN_OVER_ROUNDING = 1.5  # sigma over the standard deviation of rounding, below which there is no noise beside it
NORMAL_MEDIAN = 0.6744897501960817  # of |z|, z standard normal


def is_clipped(pixels: np.ndarray, white: float) -> bool:
    """Return whether values were cut off at 0 and white: integers always; floats if some are at them and none beyond.

    Args:
        pixels: Of any shape, uint8, uint16 or float.
        white: The value of white.
    """
    if pixels.dtype.kind == "u":
        return True
    low, high = float(pixels.min()), float(pixels.max())  # float16 could not be compared with a large white
    return bool(low >= 0 and high <= white and (low == 0 or high == white))


@dataclass(frozen=True)
class Level:
    """The level of the noise in one channel.

    Attributes:
        sigma: Standard deviation, white being 1; 0 if no noise was found.
        decay: How steeply the eigenvalues rise: the root of the mean of the 8th to the 15th smallest over that of the
            K smallest, less 1 and less what white noise has. About 0 for white noise, more for texture and grain.
    """

    sigma: float
    decay: float = 0.0


def mean_decay(levels: Sequence[Level]) -> float:
    """Return the mean decay of the levels of one or more channels."""
    return sum(level.decay for level in levels) / len(levels)


def estimate(pixels: np.ndarray, white: float, most: int = MAX_PATCHES) -> tuple[float, ...]:
    """Return the standard deviation of the noise in each channel, white being 1; 0 if none was found.

    Args:
        pixels: With shape (H, W) or (H, W, C), uint8, uint16 or float.
        white: The value of white in it.
        most: Patches of a channel to use at most; fewer are faster and less accurate.
    """
    return tuple(level.sigma for level in levels(pixels, white, most))


def levels(
    pixels: np.ndarray,
    white: float,
    most: int = MAX_PATCHES,
    valid: np.ndarray | None = None,
    clipped: bool | None = None,
    rounding: float | None = None,
) -> tuple[Level, ...]:
    """Return the level of the noise in each channel.

    Args:
        pixels: With shape (H, W) or (H, W, C), uint8, uint16 or float.
        white: The value of white in it.
        most: Patches of a channel to use at most.
        valid: Which pixels count, with shape (H, W); None for all.
        clipped: Whether black and white have cut off the noise; None to decide by the values.
        rounding: Standard deviation of the rounding error, white being 1; it is subtracted. None for that of integers.
    """
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if clipped is None:
        clipped = is_clipped(pixels, white)
    if rounding is None:
        rounding = 1 / white / 12**0.5 if pixels.dtype.kind == "u" else 0.0
    found = (_of_plane(planes[:, :, c], white, clipped, most, valid) for c in range(planes.shape[2]))
    return tuple(Level(_without(level.sigma, rounding), level.decay) for level in found)


def _without(sigma: float, rounding: float) -> float:
    return math.sqrt(sigma**2 - rounding**2) if sigma > MIN_OVER_ROUNDING * rounding else 0.0


def standard_error(sigma: float, clipped: bool) -> float:
    """Return the standard error of an estimate of sigma, white being 1, as measured on photographs up to half a MP."""
    return math.hypot(ERROR, CLIPPED_ERROR * sigma) if clipped else ERROR


def mad_level(plane: np.ndarray) -> float:
    """Return the median of |d| / 0.6745 over blocks of 2 x 2 pixels, d = (a - b - c + e)/2 (Donoho and Johnstone 1994).

    It serves images too small for eigenvalues, and is 0 if there is no block.

    Args:
        plane: With shape (H, W); the result is in its unit.
    """
    height, width = (side - side % 2 for side in plane.shape)
    if not height or not width:
        return 0.0
    y = plane[:height, :width].astype(np.float64)
    detail = y[::2, ::2] - y[::2, 1::2] - y[1::2, ::2] + y[1::2, 1::2]
    return float(np.median(np.abs(detail)) / 2 / NORMAL_MEDIAN)


def _of_plane(plane: np.ndarray, white: float, clipped: bool, most: int, valid: np.ndarray | None) -> Level:
    """Return the level of one channel, rounding included."""
    available = math.prod(max(length - SIDE + 1, 0) for length in plane.shape)
    if available < MIN_PATCHES:
        return Level(mad_level(plane) / white)
    patches = Patches.of(plane, white, most, valid)
    if len(patches) < MIN_PATCHES:
        return Level(0.0)
    some = patches.every(max(1, min(EARLY_STEP, len(patches) // MIN_EARLY_PATCHES)))
    level = _of_vectors(some.x, INITIAL_BUSY)
    for used in (*[some] * (ROUNDS - 1), patches):
        if level.sigma == 0:
            return Level(0.0)
        selected = _of_weakly_textured(used, level.sigma, clipped)
        if selected is None:
            break
        level = selected
    if not clipped:
        return level
    return Level(_with_missed(level.sigma, available, most), level.decay)


def _of_weakly_textured(patches: Patches, sigma: float, clipped: bool) -> Level | None:
    """Return the level of the patches that noise of standard deviation sigma may explain; None if they are too few."""
    left = clipped_normal.clipped_std(patches.mean, sigma) if clipped else sigma
    energy = patches.energy / (MEAN_ENERGY * left**2)
    weak, busy = np.flatnonzero(energy < MAX_ENERGY), float((energy > BUSY_ENERGY).mean())
    if clipped:
        return _of_bins(patches, weak, busy)
    return _of_vectors(patches.vectors(weak), busy) if len(weak) >= MIN_PATCHES else None


def _with_missed(sigma: float, available: int, most: int) -> float:
    """Return sigma corrected for what is missed in a clipped image, given how many patches there are and are used."""
    missed = MISSED * (1 - math.exp(-((sigma / MISSED_FROM) ** MISSED_POWER)))
    available = min(MAX_PATCHES, available)
    fewer = math.sqrt(available / min(most, available)) - 1
    return sigma * (1 + missed) * (1 + MISSED_BY_FEWER * fewer)


def _of_vectors(x: torch.Tensor, busy: float) -> Level:
    """Return the calibrated level of patches, (n, DIM), where the share `busy` of all patches is busy."""
    n, mean = len(x), x.mean(0).double()
    covariance = (x.T @ x).double() / n - torch.outer(mean, mean)
    values = torch.linalg.eigvalsh(covariance)[1:]  # increasing; the first is 0, as each patch has mean 0
    smallest, next_ones, median = (
        math.sqrt(max(value.item(), 0.0)) for value in (values[:K].mean(), values[7:15].mean(), values.median())
    )
    if not smallest:
        return Level(0.0)
    decay = next_ones / smallest - 1 - DECAY_OF_NOISE / math.sqrt(n)
    sigma = smallest / (1 + (A * busy - B) / (1 + (smallest / S) ** 2) - C / math.sqrt(n))
    gap = (median / smallest - 1) * math.sqrt(n)
    if gap < TEXTURE:
        share = min((TEXTURE - gap) / (TEXTURE - NOISE_ALONE), 1.0)
        sigma += share * (_of_noise_alone(values.numpy()) - sigma)
    return Level(sigma, decay)


def _of_noise_alone(values: np.ndarray) -> float:
    """Return the root of the mean of as many smallest eigenvalues as have a mean no larger than their median.

    Args:
        values: The eigenvalues, increasing, with shape (n,).
    """
    counts = np.arange(1, len(values) + 1)
    means = values.cumsum() / counts
    medians = (values[(counts - 1) // 2] + values[counts // 2]) / 2
    agree = np.flatnonzero((means <= medians) & (counts >= K))
    return math.sqrt(max(float(means[agree[-1] if len(agree) else K - 1]), 0.0))


def _of_bins(patches: Patches, weak: np.ndarray, busy: float) -> Level | None:
    """Return the level of a clipped image from its patches at the index `weak`; None if no bin has enough of them."""
    bins = (patches.mean[weak] * BINS).clip(0, BINS - 1).astype(np.uint8)
    order = np.argsort(bins, kind="stable")
    counts = np.bincount(bins, minlength=BINS)
    sums = np.bincount(bins, patches.mean[weak], BINS)
    parts = patches.vectors(weak[order]).split(counts.tolist())
    of_bins = [_of_vectors(x, busy) if len(x) >= MIN_PATCHES else Level(0.0) for x in parts]
    deviations, decays = np.array([(level.sigma, level.decay) for level in of_bins]).T
    seen = deviations > 0
    if not seen.any():
        return None
    counts = counts[seen]
    sigmas, sensitivity = clipped_normal.unclipped_std(sums[seen] / counts, deviations[seen])
    weights = counts * np.maximum(sensitivity, MIN_SENSITIVITY) ** 2
    return Level(float(np.average(sigmas, weights=weights)), float(np.average(decays[seen], weights=weights)))
