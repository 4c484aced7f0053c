"""Which pixels to measure on: those that are valid, and safe from clipping.

A pixel is safe if its result is far enough from black and white that its noise was not clipped. Pixels exactly equal to
all around them, as in pasted bars, are not valid here.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from smdae.denoising.task import Task
from smdae.estimation.scale import Scale

SAFE_SIGMAS = 2.0  # from black and white, beyond which noise is hardly ever clipped
EQUAL_SIDE = 5  # pixels a side of a square that noise does not leave all equal


def margins_of(task: Task) -> np.ndarray:
    """Return how far from black and from white a result must be to be safe, (2, C), white being 1; -inf if all are.

    The levels of shot noise near black already include the effect of clipping, so there every result is safe.
    """
    channels = task.planes.shape[2]
    if not task.scale.may_clip:
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
    """Return where results, (..., C), in the picture's unit, are no nearer to black and white than margins, (C,).

    Margins have white 1; NaN is not safe.
    """
    values = scale.to_unit(planes)
    return (values >= margins) & (values <= 1 - margins)


def clamped(task: Task, shown: Tensor) -> Tensor:
    """Clamp results to [0, 1] as for PSNR; return them as they are if the scale is not the usual one of the type."""
    return shown.clamp(0, 1) if task.scale.standard else shown


def valid_in(task: Task, rows: slice, columns: slice, where: torch.device) -> Tensor:
    """Return which pixels of a part are visible, finite and in no exactly constant area, bool, (1, C, h, w)."""
    part = torch.from_numpy(np.ascontiguousarray(task.planes[rows, columns]).astype(np.float32)).permute(2, 0, 1)[None]
    spread = F.max_pool2d(part, EQUAL_SIDE, 1, EQUAL_SIDE // 2) + F.max_pool2d(-part, EQUAL_SIDE, 1, EQUAL_SIDE // 2)
    valid = spread > 0
    if task.prepared.valid is not None:
        valid &= torch.from_numpy(np.ascontiguousarray(task.prepared.valid[rows, columns]))
    return valid.to(where)


def safe_where(shown: Tensor, margins: np.ndarray) -> Tensor:
    """Return where results, (n, C, h, w), are safe, bool: from margins[0] to 1 - margins[1], each (C,), ends included.

    White is 1. NaN is not safe.
    """
    low, high = torch.from_numpy(margins.astype(np.float32))[:, :, None, None].to(shown.device)
    found: Tensor = (shown >= low) & (shown <= 1 - high)
    return found


def totals(values: Tensor) -> Tensor:
    """Return the sum over the pixels of images, (n, C, h, w), with shape (n, C)."""
    return values.sum((2, 3), dtype=torch.float64)
