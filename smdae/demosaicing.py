"""Mosaics of red, green, green and blue, and the colours that demosaicing makes of them: linearly or along edges.

Linear demosaicing is bilinear, or that of Malvar, He and Cutler (ICASSP 2004), or a mixture of the two. Directional
demosaicing, after Hamilton and Adams (1997), takes green along the direction in which it changes less, then the
differences to green bilinearly. All keep what the mosaic has, and mirror it at its ends about the last pixel.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def mosaic_of(x: Tensor) -> Tensor:
    """Return the RGGB mosaics, (n, 1, h, w), of pictures (n, 3, h, w): one channel of each pixel, red at the first."""
    y = x[:, 1:2].clone()
    y[:, :, 0::2, 0::2] = x[:, 0:1, 0::2, 0::2]
    y[:, :, 1::2, 1::2] = x[:, 2:3, 1::2, 1::2]
    return y


# Kernels, times 8, that interpolate a missing channel of a pixel from 5 x 5 pixels: green at red or blue; a channel
# with neighbours left and right (transposed: above and below); and one with neighbours at the corners.
_CROSS = ((0, 0, 0, 0, 0), (0, 0, 2, 0, 0), (0, 2, 0, 2, 0), (0, 0, 2, 0, 0), (0, 0, 0, 0, 0))
_SIDES = ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 4, 0, 4, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0))
_CORNERS = ((0, 0, 0, 0, 0), (0, 2, 0, 2, 0), (0, 0, 0, 0, 0), (0, 2, 0, 2, 0), (0, 0, 0, 0, 0))
_MALVAR_CROSS = ((0, 0, -1, 0, 0), (0, 0, 2, 0, 0), (-1, 2, 4, 2, -1), (0, 0, 2, 0, 0), (0, 0, -1, 0, 0))
_MALVAR_SIDES = ((0, 0, 0.5, 0, 0), (0, -1, 0, -1, 0), (-1, 4, 5, 4, -1), (0, -1, 0, -1, 0), (0, 0, 0.5, 0, 0))
_MALVAR_CORNERS = ((0, 0, -1.5, 0, 0), (0, 2, 0, 2, 0), (-1.5, 0, 6, 0, -1.5), (0, 2, 0, 2, 0), (0, 0, -1.5, 0, 0))


def _kernels(like: Tensor) -> Tensor:
    """Return the eight kernels, bilinear ones first, with shape (8, 1, 5, 5)."""
    banks = (_CROSS, _SIDES, _CORNERS), (_MALVAR_CROSS, _MALVAR_SIDES, _MALVAR_CORNERS)
    made = [[like.new_tensor(kernel) / 8 for kernel in bank] for bank in banks]
    return torch.stack([k for cross, sides, corners in made for k in (cross, sides, sides.T, corners)])[:, None]


def linear(mosaic: Tensor, malvar: Tensor) -> Tensor:
    """Return the colours of mosaics, (n, 1, h, w), by a mixture of linear interpolations, with shape (n, 3, h, w).

    Args:
        mosaic: The mosaics, RGGB, both sides 3 pixels or more.
        malvar: Share of the interpolation of Malvar, He and Cutler, from 0, bilinear, to 1, with shape (n, 1, 1, 1).
    """
    maps = F.conv2d(F.pad(mosaic, (2, 2, 2, 2), mode="reflect"), _kernels(mosaic))
    cross, sides, stacked, corners = torch.lerp(maps[:, :4], maps[:, 4:], malvar).split(1, 1)
    return _assembled(mosaic, cross, (sides, stacked, corners))


def _assembled(mosaic: Tensor, green: Tensor, others: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return colours, with shape (n, 3, h, w), from what each missing channel would be, each (n, 1, h, w)."""
    sides, stacked, corners = others
    red, mid, blue = (torch.empty_like(mosaic) for _ in range(3))
    for i in range(2):
        for j in range(2):
            at = (slice(None), slice(None), slice(i, None, 2), slice(j, None, 2))
            mid[at] = mosaic[at] if i != j else green[at]
            red[at] = (mosaic, sides, stacked, corners)[2 * i + j][at]
            blue[at] = (corners, stacked, sides, mosaic)[2 * i + j][at]
    return torch.cat([red, mid, blue], 1)


def directional(mosaic: Tensor) -> Tensor:
    """Return RGB, (n, 3, h, w), of RGGB mosaics, (n, 1, h, w), with green taken along edges; h and w are 3 or more."""

    def along(axis: int) -> tuple[Tensor, Tensor]:
        pads = (2, 2, 0, 0) if axis == 3 else (0, 0, 2, 2)
        far = F.pad(mosaic, pads, mode="reflect")
        a, b, c, d, e = (far.narrow(axis, k, mosaic.shape[axis]) for k in range(5))
        bend = 2 * c - a - e
        return (b - d).abs() + bend.abs(), (b + d) / 2 + bend / 4

    (change_across, across), (change_down, down) = along(3), along(2)
    guess = torch.where(change_across < change_down, across, torch.where(change_down < change_across, down, 0))
    guess = torch.where(change_across == change_down, (across + down) / 2, guess)
    green = mosaic.clone()
    green[:, :, 0::2, 0::2], green[:, :, 1::2, 1::2] = guess[:, :, 0::2, 0::2], guess[:, :, 1::2, 1::2]
    difference = F.conv2d(F.pad(mosaic - green, (2, 2, 2, 2), mode="reflect"), _kernels(mosaic)[1:4])
    sides, stacked, corners = (green + part for part in difference.split(1, 1))
    return _assembled(mosaic, green, (sides, stacked, corners))
