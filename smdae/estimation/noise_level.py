"""The level of the noise in an image, from its patches of weak texture.

Patches of P x P pixels that hold nothing but noise have the covariance sigma^2 I; texture adds to some directions and
leaves others alone, so the smallest eigenvalues tell the noise (Liu, Tanaka and Okutomi 2013). With the means of
patches taken out,

    sigma^2 = mean of the K smallest eigenvalues of the covariance of the patches whose gradient energy is no more than
              what noise alone exceeds once in a million times

starting with all patches and choosing again a few times. What is left of the texture makes the estimate a little too
large, and the smallest of many eigenvalues of a sample are too small: both are calibrated on photographs,

    sigma^ / sigma = 1 + (A busy - B) / (1 + (sigma/S)^2) - C / sqrt(number of patches)

with `busy` the part of all patches whose gradient energy is more than 5/4 of the noise's mean. Where the middle one of
the eigenvalues is no further from the smallest than chance has it, there is hardly any texture; then sigma^2 is the
mean of all eigenvalues but the largest, as many of these being left out as makes mean and median equal (Chen, Zhu and
Heng 2015).

Black and white cut off the tails of the noise: of clean values near them less than sigma is left, and by how much is
known (`clipped_normal`). Patches are sorted by their mean into bins; mean and deviation of each give its sigma; bins
are averaged, each by its number of patches and by how much the deviation tells of sigma there; what is still missing
was measured on photographs.

Of noise the smallest eigenvalues are nearly alike, of texture they go on falling: `decay` is how far the ninth to the
sixteenth lie above the smallest, as deviations, less what a sample of noise of that size has.

Exactly constant patches, as of bars and of what is overexposed, tell neither of noise nor of its absence and are left
out.

Noise that is correlated, by resizing, demosaicing or strong compression, shrinks less than white noise when pixels are
averaged by four: `coarseness` is the level found then over the half that white noise has, in the part of the image
where it is least, as there texture is least.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from smdae.estimation import clipped_normal

__all__ = ["COARSE", "Level", "coarseness", "estimate", "is_clipped", "levels", "mad_level", "uncertainty"]

P, D = 7, 49  # side of a patch, and its pixels
K = 3
MOST_PATCHES = 120_000
FINE, COARSER = 30_000, 4_000  # of them to tell how coarse the grain is
ROUNDS = 3
THIN, SOME = 4, 6_000  # all but the last round look at every fourth patch, and at no fewer than so many
BINS = 16
MIN_PATCHES = 12 * D  # patches that a covariance is taken of
UNLIKELY = 2.516  # the energy that noise exceeds once in a million times, over its mean
BUSY = 1.25  # the energy over the noise's mean beyond which a patch is busy
A, B, S, C = 0.066, 0.0074, 61 / 255, 4.64
LEAST_TOLD = 0.02  # of sigma, by a deviation
CUT, CUT_FROM, CUT_POWER = 0.0435, 58 / 255, 2.5  # what the bins of a clipped image miss at most, whence, and how fast
MISSED_BY_FEWER = 0.0138  # of sigma, that bins of a clipped image miss where a quarter of its patches is looked at
NORMAL_MEDIAN = 0.6744897501960817  # of |z|, z standard normal
ERROR, CLIPPED_ERROR = 0.18 / 255, 0.012
COARSE = 1.45  # the coarseness beyond which noise is not white
GAPS = 8.0, 12.0  # of the middle eigenvalue over the smallest, times the root of the number: of noise, and of texture
DECAY_OF_NOISE = 3.0  # over the root of the number of patches
PARTS = 3  # parts a side that coarseness is looked for in
MOST_SEEN = 768  # pixels a side, from the middle, that it is looked for in


def is_clipped(pixels: np.ndarray, white: float) -> bool:
    """Return whether values were cut off at 0 and white: integers always; floats if they touch one and pass none."""
    if pixels.dtype.kind == "u":
        return True
    low, high = float(pixels.min()), float(pixels.max())  # of which float16 could not be compared with a large white
    return bool(low >= 0 and high <= white and (low == 0 or high == white))


@dataclass(frozen=True)
class Level:
    """The level of one channel.

    Attributes:
        sigma: Standard deviation of the noise, white being 1; 0 where there is none to see.
        decay: How far the eigenvalues beside the smallest rise above what those of white noise do.
    """

    sigma: float
    decay: float = 0.0


def estimate(pixels: np.ndarray, white: float, most: int = MOST_PATCHES) -> tuple[float, ...]:
    """Return the standard deviation of the noise in each channel, white being 1; 0 where there is none to see.

    Args:
        pixels: With shape (H, W) or (H, W, C), uint8, uint16 or float.
        white: The value of white in it.
        most: Patches of a channel to look at; fewer are faster and tell less well.
    """
    return tuple(level.sigma for level in levels(pixels, white, most))


def levels(
    pixels: np.ndarray,
    white: float,
    most: int = MOST_PATCHES,
    valid: np.ndarray | None = None,
    clipped: bool | None = None,
    rounding: float | None = None,
) -> tuple[Level, ...]:
    """Return the level of each channel.

    Args:
        pixels: With shape (H, W) or (H, W, C), uint8, uint16 or float.
        white: The value of white in it.
        most: Patches of a channel to look at.
        valid: Which pixels count, with shape (H, W); None for all.
        clipped: Whether black and white have cut the noise off; None to see from the values.
        rounding: Deviation of what rounding added, white being 1; None for that of integers.
    """
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if clipped is None:
        clipped = is_clipped(pixels, white)
    # Rounding to whole numbers is noise too, and none that anybody wants to be told of.
    if rounding is None:
        rounding = 1 / white / 12**0.5 if pixels.dtype.kind == "u" else 0.0
    found = (_of_plane(planes[:, :, c], white, clipped, most, valid) for c in range(planes.shape[2]))
    return tuple(Level(_without(level.sigma, rounding), level.decay) for level in found)


def _without(sigma: float, rounding: float) -> float:
    return math.sqrt(sigma**2 - rounding**2) if sigma > 1.5 * rounding else 0.0


def uncertainty(sigma: float, clipped: bool) -> float:
    """Return the standard error of an estimate, white being 1, measured on photographs up to half a megapixel."""
    return math.hypot(ERROR, CLIPPED_ERROR * sigma) if clipped else ERROR


def coarseness(pixels: np.ndarray, white: float) -> float:
    """Return the sd of the noise at half the size over that of white noise: 1 if it is white, more if correlated.

    Args:
        pixels: With shape (H, W) or (H, W, C), uint8, uint16 or float.
        white: The value of white in it.
    """
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    rows, columns = (
        slice(max(0, (side - MOST_SEEN) // 2), max(0, (side - MOST_SEEN) // 2) + MOST_SEEN) for side in planes.shape[:2]
    )
    planes = planes[rows, columns]
    height, width = (side - side % (2 * PARTS) for side in planes.shape[:2])
    if min(height, width) < PARTS * 2 * (P + math.isqrt(MIN_PATCHES) + 1):
        return 1.0
    found = []
    for plane in np.moveaxis(planes[:height, :width].astype(np.float32) / white, 2, 0):
        fine = estimate(plane, 1.0, FINE)[0]
        coarse = plane.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
        parts = (part for band in np.split(coarse, PARTS) for part in np.split(band, PARTS, 1))
        found.append(2 * min(estimate(part, 1.0, COARSER)[0] for part in parts) / fine if fine else 1.0)
    return sum(found) / len(found)


def mad_level(plane: np.ndarray) -> float:
    """Return median |c| / 0.6745, c = (a - b - c + d)/2 over blocks of 2 x 2 pixels (Donoho and Johnstone 1994).

    For images too small for anything better; 0 where there is no block.
    """
    height, width = (side - side % 2 for side in plane.shape)
    if not height or not width:
        return 0.0
    y = plane[:height, :width].astype(np.float64)
    detail = y[::2, ::2] - y[::2, 1::2] - y[1::2, ::2] + y[1::2, 1::2]
    return float(np.median(np.abs(detail)) / 2 / NORMAL_MEDIAN)


@dataclass(frozen=True)
class _Patches:
    """Patches with their mean taken out, (n, D); their means, (n,); and their mean squared gradient, (n,)."""

    x: torch.Tensor
    mean: np.ndarray
    energy: np.ndarray

    @classmethod
    def of(cls, plane: np.ndarray, white: float, most: int, valid: np.ndarray | None = None) -> "_Patches":
        rows, columns = (side - P + 1 for side in plane.shape)
        every = max(1, math.ceil(math.sqrt(rows * columns / most)))
        if every > P:  # of a large image only the patches are turned into floats
            plane = _tiled(plane, every)
            valid = None if valid is None else _tiled(valid, every)
            every = P
        y = torch.from_numpy(plane.astype(np.float32)) / white
        x = y.unfold(0, P, every).unfold(1, P, every).reshape(-1, D)
        mean = F.avg_pool2d(y[None], P, every).flatten()
        across, down = (y.diff(dim=axis).square()[None] for axis in (1, 0))
        energy = F.avg_pool2d(across, (P, P - 1), every) + F.avg_pool2d(down, (P - 1, P), every)
        patches = cls(x.sub_(mean[:, None]), mean.numpy(), energy.flatten().numpy())
        counts = patches.energy > 0
        if valid is not None:
            hidden = torch.from_numpy(~valid)[None].float()
            counts &= (F.max_pool2d(hidden, P, every) == 0).flatten().numpy()
        return patches if counts.all() else patches.among(np.flatnonzero(counts))

    def among(self, index: np.ndarray) -> "_Patches":
        """Return those of an index."""
        return _Patches(self.chosen(index), self.mean[index], self.energy[index])

    def thinned(self, by: int) -> "_Patches":
        """Return every `by`-th patch."""
        return _Patches(self.x[::by], self.mean[::by], self.energy[::by])

    def chosen(self, index: np.ndarray) -> torch.Tensor:
        """Return the patches at an index, with shape (n, D)."""
        return self.x.index_select(0, torch.from_numpy(index))


def _tiled(plane: np.ndarray, every: int) -> np.ndarray:
    """Return the patches that lie `every` pixels apart side by side, with shape (P h, P w)."""
    windows = np.lib.stride_tricks.sliding_window_view(plane, (P, P))[::every, ::every]
    rows, columns = windows.shape[:2]
    return windows.swapaxes(1, 2).reshape(rows * P, columns * P)


def _level(x: torch.Tensor, busy: float) -> Level:
    """Return the `Level` of patches, (n, D), calibrated, where the part `busy` of all have texture."""
    n, mean = len(x), x.mean(0).double()
    covariance = (x.T @ x).double() / n - torch.outer(mean, mean)
    values = torch.linalg.eigvalsh(covariance)  # the first is that of the means
    raw = math.sqrt(max(values[1 : K + 1].mean().item(), 0.0))
    beside = math.sqrt(max(values[8:16].mean().item(), 0.0))
    decay = beside / raw - 1 - DECAY_OF_NOISE / math.sqrt(n) if raw else 0.0
    level = raw / (1 + (A * busy - B) / (1 + (raw / S) ** 2) - C / math.sqrt(n))
    middle = math.sqrt(max(values[1:].median().item(), 0.0))
    gap = (middle / raw - 1) * math.sqrt(n) if raw else math.inf
    if gap < GAPS[1]:
        plain = min((GAPS[1] - gap) / (GAPS[1] - GAPS[0]), 1.0)
        level += plain * (_of_noise_alone(values[1:].numpy()) - level)
    return Level(level, decay)


def _of_noise_alone(values: np.ndarray) -> float:
    """Return the sd of the noise from increasing eigenvalues, (n,): the smallest ones whose mean is their median."""
    counts = np.arange(1, len(values) + 1)
    means = values.cumsum() / counts
    medians = (values[(counts - 1) // 2] + values[counts // 2]) / 2
    agree = np.flatnonzero((means <= medians) & (counts >= K))
    return math.sqrt(max(float(means[agree[-1] if len(agree) else K - 1]), 0.0))


MEAN_ENERGY = 2 * 2  # of noise with sigma 1: two directions


def _of_plane(plane: np.ndarray, white: float, clipped: bool, most: int, valid: np.ndarray | None) -> Level:
    """Return the level of one channel."""
    if min(plane.shape) < P or (plane.shape[0] - P + 1) * (plane.shape[1] - P + 1) < MIN_PATCHES:
        return Level(mad_level(plane) / white)
    every = _Patches.of(plane, white, most, valid)
    if len(every.x) < MIN_PATCHES:
        return Level(0.0)
    some = every.thinned(max(1, min(THIN, len(every.x) // SOME)))
    level = _level(some.x, 0.5)
    for patches in (*[some] * (ROUNDS - 1), every):
        sigma = level.sigma
        if sigma == 0:
            return Level(0.0)
        left = clipped_normal.clipped_std(patches.mean, sigma) if clipped else sigma
        energy = patches.energy / (MEAN_ENERGY * left**2)
        weak, busy = np.flatnonzero(energy < UNLIKELY), float((energy > BUSY).mean())
        if clipped:
            found = _by_bins(patches, weak, busy)
        else:
            found = _level(patches.chosen(weak), busy) if len(weak) >= MIN_PATCHES else None
        if found is None:
            break
        level = found
    sigma = level.sigma
    if not clipped:
        return level
    missing = CUT * (1 - math.exp(-((sigma / CUT_FROM) ** CUT_POWER)))
    available = min(MOST_PATCHES, (plane.shape[0] - P + 1) * (plane.shape[1] - P + 1))
    thinned = math.sqrt(available / min(most, available)) - 1
    return Level(sigma * (1 + missing) * (1 + MISSED_BY_FEWER * thinned), level.decay)


def _by_bins(patches: _Patches, weak: np.ndarray, busy: float) -> Level | None:
    """Return the level of a clipped image; None if no bin has enough patches."""
    bins = (patches.mean[weak] * BINS).clip(0, BINS - 1).astype(np.uint8)
    order = np.argsort(bins, kind="stable")
    counts = np.bincount(bins, minlength=BINS)
    sums = np.bincount(bins, patches.mean[weak], BINS)
    parts = patches.chosen(weak[order]).split(counts.tolist())
    of_bins = [_level(x, busy) if len(x) >= MIN_PATCHES else Level(0.0) for x in parts]
    deviations, decays = np.array([(level.sigma, level.decay) for level in of_bins]).T
    seen = deviations > 0
    if not seen.any():
        return None
    counts = counts[seen]
    sigmas, told = clipped_normal.unclipped_std(sums[seen] / counts, deviations[seen])
    weights = counts * np.maximum(told, LEAST_TOLD) ** 2
    return Level(float(np.average(sigmas, weights=weights)), float(np.average(decays[seen], weights=weights)))
