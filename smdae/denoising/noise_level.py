"""The level of the noise in an image, from its patches of weak texture.

Patches of P x P pixels that hold nothing but noise have the covariance sigma^2 I; texture adds to some directions and
leaves others alone, so the smallest eigenvalues tell the noise (Liu, Tanaka and Okutomi 2013). With the means of
patches taken out,

    sigma^2 = mean of the K smallest eigenvalues of the covariance of the patches whose gradient energy is no more than
              what noise alone exceeds once in a million times

starting with all patches and choosing again a few times. What is left of the texture makes the estimate a little too
large, and the smallest of many eigenvalues of a sample are too small: both are calibrated on photographs,

    sigma^ / sigma = 1 + (A busy - B) / (1 + (sigma/S)^2) - C / sqrt(number of patches)

with `busy` the part of all patches whose gradient energy is more than 5/4 of the noise's mean.

Black and white cut off the tails of the noise: of clean values near them less than sigma is left, and by how much is
known, for a normal of mean mu and width sigma clipped to [0, 1] has mean m(mu, sigma) and deviation s(mu, sigma).
Patches are sorted by their mean into bins; s and m of each give its sigma; and bins are averaged, each by its number of
patches and by how much s tells of sigma there.

Noise that is correlated, by resizing, demosaicing or strong compression, shrinks less than white noise when pixels are
averaged by four: `coarseness` is the level found then over the half that white noise has, in the part of the image
where it is least, as there texture is least.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["COARSE", "by_details", "coarseness", "estimate", "is_clipped", "uncertainty"]

P, D = 7, 49  # side of a patch, and its pixels
K = 3
MOST_PATCHES = 120_000
FINE, COARSER = 30_000, 4_000  # of them to tell how coarse the grain is
ROUNDS = 3
BINS = 16
FEWEST = 12 * D  # patches that a covariance is taken of
UNLIKELY = 2.516  # the energy that noise exceeds once in a million times, over its mean
BUSY = 1.25  # the energy over the noise's mean beyond which a patch is busy
A, B, S, C = 0.066, 0.0074, 61 / 255, 4.64
CUT, CUT_FROM = 0.021, 45 / 255  # what the bins of a clipped image miss at most, and whence
NORMAL_MEDIAN = 0.6744897501960817  # of |z|, z standard normal
ERROR, CLIPPED_ERROR = 0.18 / 255, 0.012
COARSE = 1.45  # the coarseness beyond which noise is not white
PARTS = 3  # parts a side that coarseness is looked for in
MOST_SEEN = 768  # pixels a side, from the middle, that it is looked for in
CLOSE = 1e-6  # of a sigma that is sought
CLEAN_VALUES = np.linspace(-1.0, 2.0, 601)


def is_clipped(pixels: np.ndarray, white: float) -> bool:
    """Whether noise has gone no further than black and white: of integers, and of floats that touch and do not pass."""
    if pixels.dtype.kind == "u":
        return True
    low, high = pixels.min(), pixels.max()
    return bool(low >= 0 and high <= white and (low == 0 or high == white))


def estimate(pixels: np.ndarray, white: float, most: int = MOST_PATCHES) -> tuple[float, ...]:
    """The standard deviation of the noise in each channel, white being 1; 0 where there is none to see.

    Args:
        pixels: With shape (H, W) or (H, W, C), uint8, uint16 or float.
        white: The value of white in it.
        most: Patches of a channel to look at; fewer are faster and tell less well.
    """
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    clipped = is_clipped(pixels, white)
    # Rounding to whole numbers is noise too, and none that anybody wants to be told of.
    rounding = 1 / white / 12**0.5 if pixels.dtype.kind == "u" else 0.0
    return tuple(_without(_of_plane(planes[:, :, c], white, clipped, most), rounding) for c in range(planes.shape[2]))


def _without(sigma: float, rounding: float) -> float:
    return math.sqrt(sigma**2 - rounding**2) if sigma > 1.5 * rounding else 0.0


def uncertainty(sigma: float, clipped: bool) -> float:
    """The standard error of an estimate, white being 1, as measured on photographs of half a megapixel or less."""
    return math.hypot(ERROR, CLIPPED_ERROR * sigma) if clipped else ERROR


def coarseness(pixels: np.ndarray, white: float) -> float:
    """How coarse the grain of the noise is: 1 for white noise, more for correlated noise; of channels the mean.

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
    if min(height, width) < PARTS * 2 * (P + math.isqrt(FEWEST) + 1):
        return 1.0
    found = []
    for plane in np.moveaxis(planes[:height, :width].astype(np.float32) / white, 2, 0):
        fine = estimate(plane, 1.0, FINE)[0]
        coarse = plane.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
        parts = (part for band in np.split(coarse, PARTS) for part in np.split(band, PARTS, 1))
        found.append(2 * min(estimate(part, 1.0, COARSER)[0] for part in parts) / fine if fine else 1.0)
    return sum(found) / len(found)


def by_details(plane: np.ndarray) -> float:
    """median |c| / 0.6745, c = (a - b - c + d)/2 over blocks of 2 x 2 pixels (Donoho and Johnstone 1994).

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
    """Patches with their mean taken out, (n, D); their means, (n,); and their gradient energy, (n,)."""

    x: torch.Tensor
    mean: np.ndarray
    energy: np.ndarray

    @classmethod
    def of(cls, plane: np.ndarray, white: float, most: int) -> "_Patches":
        rows, columns = (side - P + 1 for side in plane.shape)
        every = max(1, math.ceil(math.sqrt(rows * columns / most)))
        windows = np.lib.stride_tricks.sliding_window_view(plane, (P, P))[::every, ::every]
        x = torch.from_numpy(windows.reshape(-1, P, P).astype(np.float32)) / white
        energy = x.diff(dim=1).square().sum((1, 2)) + x.diff(dim=2).square().sum((1, 2))
        mean = x.mean((1, 2))
        return cls((x - mean[:, None, None]).flatten(1), mean.numpy(), energy.numpy())

    def deviation(self, chosen: np.ndarray | slice, busy: float) -> float:
        """The calibrated sigma of some of them, where the part `busy` of all have texture."""
        x = self.x[torch.from_numpy(chosen)] if isinstance(chosen, np.ndarray) else self.x[chosen]
        n = len(x)
        x = x - x.mean(0)
        values = torch.linalg.eigvalsh((x.T @ x).double() / n)[1 : K + 1]  # the first is that of the means
        raw = math.sqrt(max(values.mean().item(), 0.0))
        return raw / (1 + (A * busy - B) / (1 + (raw / S) ** 2) - C / math.sqrt(n))


MEAN_ENERGY = 2 * 2 * P * (P - 1)  # of noise with sigma 1


def _of_plane(plane: np.ndarray, white: float, clipped: bool, most: int) -> float:
    """Sigma in one channel, white being 1."""
    if min(plane.shape) < P or (plane.shape[0] - P + 1) * (plane.shape[1] - P + 1) < FEWEST:
        return by_details(plane) / white
    patches = _Patches.of(plane, white, most)
    sigma = patches.deviation(slice(None), 0.5)
    for _ in range(ROUNDS):
        if sigma == 0:
            return 0.0
        left = _left(patches.mean, sigma) if clipped else sigma
        energy = patches.energy / (MEAN_ENERGY * left**2)
        weak, busy = energy < UNLIKELY, float((energy > BUSY).mean())
        if clipped:
            found = _by_bins(patches, weak, busy)
        else:
            found = patches.deviation(weak, busy) if weak.sum() >= FEWEST else None
        if found is None:
            break
        sigma = found
    return sigma * (1 + CUT * (1 - math.exp(-((sigma / CUT_FROM) ** 3)))) if clipped else sigma


def _by_bins(patches: _Patches, weak: np.ndarray, busy: float) -> float | None:
    """Sigma of a clipped image; None if no bin has enough patches."""
    bins = np.clip((patches.mean * BINS).astype(int), 0, BINS - 1)
    values, weights = [], []
    for index in range(BINS):
        chosen = weak & (bins == index)
        if chosen.sum() < FEWEST:
            continue
        mean = float(patches.mean[chosen].mean())
        sigma = _before_clipping(mean, patches.deviation(chosen, busy))
        if sigma == 0:
            continue
        here, there = (float(_left(np.array(mean), s)) for s in (sigma, 1.02 * sigma))
        told = max((there - here) / (0.02 * here), 0.02)  # d log s / d log sigma
        values.append(sigma)
        weights.append(chosen.sum() * told**2)
    return float(np.average(values, weights=weights)) if values else None


def _clipped_moments(mu: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """m(mu, sigma) and s(mu, sigma)."""
    a, b = -mu / sigma, (1 - mu) / sigma
    below, above = (torch.special.ndtr(torch.from_numpy(z)).numpy() for z in (a, -b))
    at_a, at_b = (np.exp(-z * z / 2) / math.sqrt(2 * math.pi) for z in (a, b))
    within = 1 - below - above
    mean = mu * within + sigma * (at_a - at_b) + above
    square = (mu**2 + sigma**2) * within + 2 * mu * sigma * (at_a - at_b) + sigma**2 * (a * at_a - b * at_b) + above
    return mean, np.sqrt(np.maximum(square - mean**2, 1e-12))


def _left(mean: np.ndarray, sigma: float) -> np.ndarray:
    """The deviation that clipping leaves of noise sigma, where the mean of the clipped values is `mean`."""
    means, deviations = _clipped_moments(CLEAN_VALUES, sigma)
    return np.interp(mean, means, deviations)


def _before_clipping(mean: float, deviation: float) -> float:
    """The sigma of which clipping leaves `deviation`, by the rule of false position, of Illinois."""
    at = np.array(mean)

    def off(sigma: float) -> float:
        return float(_left(at, sigma)) - deviation

    low, high = 0.9 * deviation, 8 * deviation + 0.02
    below, above = off(low), off(high)
    if below >= 0 or above <= 0:
        return low if below >= 0 else high
    side = 0
    for _ in range(24):
        sigma = (low * above - high * below) / (above - below)
        if (here := off(sigma)) < 0:
            low, below = sigma, here
            above = above / 2 if side < 0 else above  # an end that stays lets the line fall short
            side = -1
        else:
            high, above = sigma, here
            below = below / 2 if side > 0 else below
            side = 1
        if high - low < CLOSE * sigma or abs(here) < CLOSE * deviation:
            break
    return sigma
