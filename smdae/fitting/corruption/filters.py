"""Gaussian blurs and crops, with a width or a place of its own for each picture of a batch."""

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian(width: Tensor, radius: int) -> Tensor:
    """Return Gaussian weights that sum to 1, with shape (n, 2 radius + 1); those of width 0 are a point."""
    k = torch.arange(-radius, radius + 1, dtype=width.dtype, device=width.device)
    weights = (-0.5 * (k / width.clamp(min=1e-3)[:, None]) ** 2).exp()
    return weights / weights.sum(1, keepdim=True)


def blurred(x: Tensor, width: Tensor, radius: int) -> Tensor:
    """Return pictures, each blurred by a Gaussian of its own width, with the shape of x, (n, C, h, w); mirrored edges.

    Widths are standard deviations in pixels, (n,); the Gaussian is cut off after `radius` pixels, and both sides are
    larger than that.
    """
    if not x.numel():
        return x
    n, channels, height, width_ = x.shape
    weights = gaussian(width, radius).repeat_interleave(channels, 0)  # (n C, k)
    flat = x.reshape(1, n * channels, height, width_)
    flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), mode="reflect"), weights[:, None, :, None], groups=n * channels)
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="reflect"), weights[:, None, None, :], groups=n * channels)
    return flat.view_as(x)


def crops(x: Tensor, top: Tensor, left: Tensor, side: int) -> Tensor:
    """Return a square piece of each picture, with shape (n, C, side, side), its first row and column given, (n,)."""
    along = torch.arange(side, device=x.device)
    rows, columns = (top[:, None] + along)[:, None, :, None], (left[:, None] + along)[:, None, None, :]
    examples = torch.arange(len(x), device=x.device)[:, None, None, None]
    channels = torch.arange(x.shape[1], device=x.device)[None, :, None, None]
    return x[examples, channels, rows, columns]
