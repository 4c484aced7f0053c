"""The noise of a camera's sensor, told from the planes of its mosaic.

Before demosaicing and white balance the noise of a pixel knows nothing of its neighbours, and its variance is affine in
the light, v = a m + b (Foi et al. 2008): photons and read noise. So one line is fitted to what the flattest blocks of
all planes tell, with a and b the same in each, as sensors have them. Cameras that scale red and blue before they write
them have another gain in each plane: then each has a line of its own.

Texture is taken for noise where a picture has nothing flat. So planes are made white by the line, and what the smallest
eigenvalues of their patches then have less than 1 is taken off the line.
"""

import math

import numpy as np
import torch

from smdae.curves import Affine
from smdae.denoising.stabilised import transforms
from smdae.estimation import noise_level
from smdae.estimation.blocks import Blocks, survey
from smdae.estimation.curve import Bins, affine_fit, bins_of
from smdae.estimation.scale import Scale

__all__ = ["sensor_curves"]

OWN_GAIN = 1.35  # of the variance that a plane's own line tells to that of the common one, or back: no chance
SURE_MISFIT = 0.15  # of lines that are believed against the common one
MAX_SATURATED = 0.5  # of a block's pixels
MOST_PATCHES = 20_000  # of a plane, whose eigenvalues are looked at
SURE_WHITE = 0.95  # of the level of planes that were made white: less is texture that was taken for noise


def sensor_curves(planes: np.ndarray, floor: float = 0.0) -> tuple[Affine, ...] | None:
    """Return the noise of each plane of a mosaic, black being 0 and white 1; None where there is nothing to tell by.

    Args:
        planes: The pixels of each colour of the mosaic, with shape (H, W, C), float32.
        floor: The least value that a pixel could have, at most 0.
    """
    blocks = survey(planes, Scale(0.0, 1.0, (floor, 1.0)), None)
    bins = [found for c in range(planes.shape[2]) if (found := _bins(blocks, c)) is not None]
    if not bins:
        return None
    common = _line(_pooled(bins))
    curves = (common,) * planes.shape[2]
    if len(bins) == planes.shape[2] and _differ(bins, common):
        curves = tuple(_line(one) for one in bins)
    if not any(curve.gain or curve.read for curve in curves):
        return None
    share = _share(planes, curves)
    return tuple(curve.amplified(share) for curve in curves)


def _bins(blocks: Blocks, c: int) -> Bins | None:
    usable = blocks.valid & ~blocks.constant[:, c] & (blocks.saturated[:, c] < MAX_SATURATED)
    return bins_of(blocks, c, blocks.detail[:, c], usable)


def _pooled(bins: list[Bins]) -> Bins:
    """Return the bins of several planes as those of one."""
    at, variance, scatter, share = (
        np.concatenate(parts)
        for parts in zip(*((one.at, one.variance, one.scatter, one.share) for one in bins), strict=True)
    )
    return Bins(at, variance, scatter, share, ())


def _line(bins: Bins) -> Affine:
    gain, offset, _ = affine_fit(bins)
    return Affine(max(gain, 0.0), 0.0, math.sqrt(max(offset, 0.0)))


def _differ(bins: list[Bins], common: Affine) -> bool:
    """Return whether planes have lines of their own, all of which fit."""
    ratios = []
    for one in bins:
        gain, offset, misfit = affine_fit(one)
        if misfit > SURE_MISFIT:
            return False
        at = float(np.average(one.at, weights=one.share))
        ratios.append(max(gain * at + offset, 1e-30) / max(common.gain * at + common.read**2, 1e-30))
    return max(ratios) > OWN_GAIN or min(ratios) < 1 / OWN_GAIN


def _share(planes: np.ndarray, curves: tuple[Affine, ...]) -> float:
    """Return how much of the level is noise, by the smallest eigenvalues of what ought to be white."""
    each, level = transforms(curves, min(0.0, float(planes.min())), float(planes.max()), None)
    white = np.stack(
        [f.apply(torch.from_numpy(np.ascontiguousarray(planes[:, :, c]))).numpy() for c, f in enumerate(each)], 2
    )
    found = noise_level.levels(white, 1.0, MOST_PATCHES, None, False, 0.0)
    share = float(np.median([one.sigma for one in found])) / level
    return share if share < SURE_WHITE else 1.0
