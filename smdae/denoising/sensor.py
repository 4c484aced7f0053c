"""Estimate the noise of a camera's sensor from the colour planes of its mosaic.

Before demosaicing and white balance the noise of pixels is independent, and its variance is affine in the mean m of the
light, v = a m + b (Foi et al. 2008): photon noise and read noise. So one line is fitted to the flattest blocks of all
planes, with a and b the same in each, as in sensors. Cameras that scale red and blue before writing them have another
gain in each plane; then each plane has its own line.

In a picture without flat blocks texture is mistaken for noise. So the planes are made white by the fitted line, and if
the smallest eigenvalues of their patches then show a level below 1, the line is scaled down to it. Where white cuts the
noise off, it is smaller than elsewhere, so such places are left out.
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

OWN_GAIN = 1.35  # ratio of the variances of a plane's own line and the common one that is not due to chance
SURE_MISFIT = 0.15  # largest misfit at which a plane's own line is preferred to the common one
# Of a block's pixels, at white: more than the first share makes the variance too small, but is better than no block.
SATURATED = (0.02, 0.5)
LEAST_BELOW_WHITE = 0.1  # of pixels: where there are fewer, those at white are looked at too
MAX_PATCHES = 20_000  # of a plane, for the eigenvalues
SURE_WHITE = 0.95  # level of the whitened planes: below it, texture was mistaken for noise


def sensor_curves(planes: np.ndarray, floor: float = 0.0) -> tuple[Affine, ...] | None:
    """Return the noise of each plane of a mosaic, black being 0 and white 1; None if none is found or measurable.

    Args:
        planes: The pixels of each colour of the mosaic, with shape (H, W, C), float32.
        floor: The least value that a pixel could have, at most 0.
    """
    blocks = survey(planes, Scale(0.0, 1.0, (floor, 1.0)), None)
    bins: list[Bins] = []
    for most in SATURATED:
        bins = bins or [found for c in range(planes.shape[2]) if (found := _bins(blocks, c, most)) is not None]
    if not bins:
        return None
    common = _line(_pooled(bins))
    curves = (common,) * planes.shape[2]
    if len(bins) == planes.shape[2] and _differ(bins, common):
        curves = tuple(_line(own) for own in bins)
    if not any(curve.gain or curve.read for curve in curves):
        return None
    share = _share(planes, curves)
    return tuple(curve.amplified(share) for curve in curves)


def _bins(blocks: Blocks, c: int, most: float) -> Bins | None:
    """Return the binned variances of the blocks of plane c of which less is saturated; None if there are too few."""
    return bins_of(blocks, c, blocks.detail[:, c], blocks.usable(c, most))


def _pooled(bins: list[Bins]) -> Bins:
    """Return the bins of several planes together."""
    at, variance, scatter, share, lowest = (
        np.concatenate(parts)
        for parts in zip(*((own.at, own.variance, own.scatter, own.share, own.lowest) for own in bins), strict=True)
    )
    return Bins(at, variance, scatter, share, lowest, ())


def _line(bins: Bins) -> Affine:
    """Return the line through bins, with gain and offset not negative."""
    gain, offset, _ = affine_fit(bins)
    return Affine(max(gain, 0.0), 0.0, math.sqrt(max(offset, 0.0)))


def _differ(bins: list[Bins], common: Affine) -> bool:
    """Return whether some plane has another line than the common one, and all planes' own lines fit well."""
    ratios = []
    for own in bins:
        gain, offset, misfit = affine_fit(own)
        if misfit > SURE_MISFIT:
            return False
        at = float(np.average(own.at, weights=own.share))
        ratios.append(max(gain * at + offset, 1e-30) / max(common.gain * at + common.read**2, 1e-30))
    return max(ratios) > OWN_GAIN or min(ratios) < 1 / OWN_GAIN


def _share(planes: np.ndarray, curves: tuple[Affine, ...]) -> float:
    """Return the share of the fitted level that is noise, from the smallest eigenvalues of the whitened planes."""
    each, level = transforms(curves, min(0.0, float(planes.min())), float(planes.max()), None)
    white = np.stack(
        [f.apply(torch.from_numpy(np.ascontiguousarray(planes[:, :, c]))).numpy() for c, f in enumerate(each)], 2
    )
    below_white: np.ndarray = np.all(planes < 1, axis=2)
    valid = below_white if below_white.mean() > LEAST_BELOW_WHITE else None
    found = noise_level.levels(white, 1.0, MAX_PATCHES, valid, False, 0.0)
    share = float(np.median([plane.sigma for plane in found])) / level
    return share if share < SURE_WHITE else 1.0
