"""The borders of images: padding by mirroring to a multiple, and means over the pixels inside."""

import torch
import torch.nn.functional as F
from torch import Tensor


def rounded_up(length: int, multiple: int) -> int:
    """Return the least multiple of `multiple` that is not less than a length."""
    return -(-length // multiple) * multiple


def local_mean(x: Tensor, side: int) -> Tensor:
    """Return the mean over the part inside the image of a square around each pixel, with the shape of x, (B, C, H, W).

    The side of the square is an odd number of pixels.
    """
    return F.avg_pool2d(x, side, 1, side // 2, count_include_pad=False)


def mirrored(x: Tensor, multiple: int) -> Tensor:
    """Return images of any size, (B, C, H, W), mirrored to the right and below until both sides are multiples."""
    for axis in (2, 3):
        while missing := -x.shape[axis] % multiple:
            side = x.shape[axis]
            # A mirror has at most side - 1 pixels; a single pixel is repeated.
            part = min(missing, max(side - 1, 1))
            mirror = x.narrow(axis, max(side - 1 - part, 0), part).flip(axis)
            x = torch.cat([x, mirror], axis)
    return x
