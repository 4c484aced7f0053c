"""The uncertainty of a denoised image: the posterior covariance, from the derivatives of the score.

    Cov[x | y] = sigma^2 (I + sigma^2 d psi/dy) = sigma^2 J,   J = dD/dy            (Tweedie, of second order)

Its diagonal is the variance of each pixel. Energy models have it in closed form, `posterior_variance`. For networks it
is found with sparse probes: with v = +-1 on every eighth pixel of rows and columns and 0 elsewhere, v * (J v) at those
pixels is J_ii, plus the influence of the other probed pixels, which are eight or more away and hardly matter. 64 such
probes cover the image. As many dense probes would have an error from a whole row of J at each pixel. The remaining
error is independent between pixels, and is reduced by a light average over neighbours. The products J v are finite
differences, which take no derivatives of the model.

No network is exactly the posterior mean, so sigma^2 J may be off by a factor. `calibrated` moves its mean towards
Stein's estimate of the error, weighting both by their precision.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.denoising.judgement import Judgement
from smdae.denoising.paths import by_channels
from smdae.denoising.task import Task
from smdae.denoising.tiles import side_for, tiles_for
from smdae.progress import Watch
from smdae.protocols import HasPosteriorVariance, offers

SPACING = 8  # pixels between the nonzero pixels of a probe
STEP = 0.3  # of differences, in sigma: J averaged over the noise around y
CENTRE = 0.8  # weight of a pixel in the average over its neighbours, along rows and along columns
VARIANCE_ERROR = 0.2  # relative standard error of the mean of sigma^2 J_ii
SEED = 0


def variance(task: Task, device: torch.device | str = "cpu", watch: Watch = lambda done, of: None) -> np.ndarray:
    """Return the posterior variance of each pixel, white being 1, float32 with the shape of the task's image.

    Args:
        task: The task that was carried out; its levels are not all 0.
        device: The device of the model.
        watch: Called with the number of probes done, and with their total.
    """
    where = torch.device(device)
    height, width = task.pixels.shape[:2]
    model = task.model
    tiles = [*tiles_for(model, height, width, side_for(model, where))]
    signs = 2 * torch.randint(0, 2, (height, width), generator=Generator().manual_seed(SEED), dtype=torch.int8) - 1
    found = np.empty(task.planes.shape, np.float32)
    for done, tile in enumerate(tiles):
        noisy = task.noisy(tile.padded, where)
        with torch.inference_mode():
            if offers(model, HasPosteriorVariance):
                watch(done, len(tiles))
                of_tile = by_channels(model, noisy, task.levels, model.posterior_variance)
            else:
                corner = tuple(part.start % SPACING for part in tile.padded)
                report = _progress_of_tile(watch, done, len(tiles), len(_groups(task)))
                of_tile = _probed(task, noisy, signs[tile.padded].to(where), corner, report)
        found[tile.kept] = of_tile[0, :, *tile.inner].permute(1, 2, 0).cpu().numpy()
    if not offers(model, HasPosteriorVariance):
        found = _lightly_averaged(found)
    return np.maximum(found, 0).reshape(task.pixels.shape)


def _lightly_averaged(planes: np.ndarray) -> np.ndarray:
    """Return planes, (H, W, C), lightly averaged over the eight neighbours of each pixel."""
    for axis in (0, 1):
        padded = np.pad(planes, [(1, 1) if i == axis else (0, 0) for i in range(3)], mode="edge")
        before, after = (np.take(padded, range(k, k + planes.shape[axis]), axis) for k in (0, 2))
        planes = CENTRE * planes + (1 - CENTRE) / 2 * (before + after)
    return planes.astype(np.float32)


def calibrated(variance: np.ndarray, judgement: Judgement) -> np.ndarray:
    """Return a variance, white being 1, scaled so that its mean is closer to the estimated error of the result.

    The new mean is the average of both, weighted by their precision. A judgement with doubts changes nothing.
    """
    mean = float(variance.mean())
    if judgement.doubts or mean <= 0:
        return variance
    mse = 10 ** (-judgement.psnr / 10)
    mse_error = mse * judgement.error * math.log(10) / 10
    precision, mse_precision = 1 / (VARIANCE_ERROR * mean) ** 2, 1 / max(mse_error, 1e-12) ** 2
    return variance * np.float32((precision * mean + mse_precision * mse) / (precision + mse_precision) / mean)


def deviation_of(
    task: Task,
    judgement: Judgement | None,
    device: torch.device | str = "cpu",
    watch: Watch = lambda done, of: None,
) -> np.ndarray:
    """Return the posterior standard deviation of each pixel in the unit of the picture, float32 with the task's shape.

    Args:
        task: The task that was carried out; its levels are not all 0.
        judgement: The estimated quality of the result, for `calibrated`; None if there is none.
        device: The device of the model.
        watch: Called with the number of probes done, and with their total.
    """
    spread = variance(task, device, watch)
    if judgement and task.strengths.is_all:  # otherwise the estimated error includes the noise left in
        spread = calibrated(spread, judgement)
    found: np.ndarray = np.sqrt(spread) * np.float32(task.scale.span)
    return found


def _groups(task: Task) -> list[Any]:
    """Return the groups of channels to probe at once: all for gray models, which keep channels apart; else each."""
    return [slice(None)] if task.model.channels in (1, None) else [*range(task.planes.shape[2])]


def _progress_of_tile(watch: Watch, done: int, tiles: int, groups: int) -> Callable[[int], object]:
    """Return what to call with the number of probes done in a tile, after `done` of all tiles."""
    probes = SPACING**2 * groups
    return lambda k: watch(done * probes + k, tiles * probes)


def _probed(
    task: Task, noisy: Tensor, signs: Tensor, corner: tuple[int, ...], report: Callable[[int], object]
) -> Tensor:
    """Return sigma^2 J_ii, with the shape of noisy, (1, C, h, w).

    Args:
        task: The task that was carried out.
        noisy: A part of its image.
        signs: +-1 for each pixel, with shape (h, w).
        corner: Row and column of the part's first pixel, modulo SPACING.
        report: Called with the number of probes done.
    """
    levels = torch.tensor(task.channel_levels, device=noisy.device)
    steps = (STEP * levels)[None, :, None, None]
    before = task.mean(noisy)
    result = torch.zeros_like(noisy)
    count = 0
    for group in _groups(task):
        for i in range(SPACING):
            for j in range(SPACING):
                at = (slice((i - corner[0]) % SPACING, None, SPACING), slice((j - corner[1]) % SPACING, None, SPACING))
                probe = torch.zeros_like(noisy)
                probe[:, group, *at] = signs[at].to(noisy.dtype)
                change = (task.mean(noisy + steps * probe) - before) / steps.clamp(min=1e-12)
                result[:, group, *at] = (probe * change)[:, group, *at]
                count += 1
                report(count)
    return result * levels.square()[None, :, None, None]
