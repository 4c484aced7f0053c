"""Pixels whose noise was not clipped: those whose result is far enough from black and white.

Pixels that are exactly like all around them, as in pasted bars, and those that do not count, tell nothing either.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from smdae.denoising.task import Task
from smdae.estimation.scale import Scale

__all__ = ["SAFE_SIGMAS", "clamped", "counting_in", "margins_of", "safe_in", "safe_where", "totals"]

SAFE_SIGMAS = 2.0  # from black and white, within which noise is hardly ever cut off
ALIKE_SIDE = 5  # pixels a side around a pixel that noise does not leave alike


def margins_of(task: Task) -> np.ndarray:
    """Return how far from black and from white a result must lie for noise not to have been cut off, (2, C).

    What black cuts off of shot noise is in its levels already.
    """
    channels = task.planes.shape[2]
    if not task.is_clipped:
        return np.full((2, channels), -np.inf)
    if task.noise.kind == "white":
        sigmas = np.array(task.noise.levels) * np.ones(channels)
        return SAFE_SIGMAS * np.stack([sigmas, sigmas])
    white = np.ones((1, 1, channels))
    at_white = SAFE_SIGMAS * task.noise.sd_of(white)[0, 0]
    at_black = SAFE_SIGMAS * task.noise.sd_of(0 * white)[0, 0]
    if task.noise.kind == "shot":
        at_black = np.full(channels, -np.inf)
    return np.stack([at_black, at_white])


def safe_in(planes: np.ndarray, scale: Scale, margins: np.ndarray) -> np.ndarray:
    """Return where noise cannot have been cut off: results further than the margins from black and white."""
    values = scale.to_unit(planes)
    return (values >= margins) & (values <= 1 - margins)


def clamped(task: Task, shown: Tensor) -> Tensor:
    """Return results as PSNR takes them: between black and white where the picture has a usual white."""
    return shown.clamp(0, 1) if task.scale.standard else shown


def counting_in(task: Task, rows: slice, columns: slice, where: torch.device) -> Tensor:
    """Return where pixels of a part count, (1, C, h, w): not those with exactly alike neighbours, as in pasted bars."""
    part = torch.from_numpy(np.ascontiguousarray(task.planes[rows, columns]).astype(np.float32)).permute(2, 0, 1)[None]
    spread = F.max_pool2d(part, ALIKE_SIDE, 1, ALIKE_SIDE // 2) + F.max_pool2d(-part, ALIKE_SIDE, 1, ALIKE_SIDE // 2)
    counts = spread > 0
    if task.prepared.valid is not None:
        counts &= torch.from_numpy(np.ascontiguousarray(task.prepared.valid[rows, columns]))
    return counts.to(where)


def safe_where(shown: Tensor, margins: np.ndarray) -> Tensor:
    """Return where results, (n, C, h, w), white being 1, are further than margins, (2, C), from black and white."""
    low, high = torch.from_numpy(margins.astype(np.float32))[:, :, None, None].to(shown.device)
    return (shown >= low) & (shown <= 1 - high)


def totals(values: Tensor) -> Tensor:
    """Return the sums of images, (n, C, h, w), with shape (n, C)."""
    return values.sum((2, 3), dtype=torch.float64)
