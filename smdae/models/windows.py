"""All windows of images as the columns of a matrix, and the sum of such columns laid back: a map and its adjoint.

    windows      x, (B, C, H, W)  ->  (C P^2, B (H + P - 1) (W + P - 1)), zeros beyond the border
    overlap_add  the other way round; <windows(x), c> = <x, overlap_add(c)>

A convolution with K kernels is then a product with a (K, C P^2) matrix: with the few channels and large kernels that
experts have it is several times as fast as a convolution is here.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class _Windows(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, size: int) -> Tensor:
        views = F.pad(x, (size - 1,) * 4).unfold(2, size, 1).unfold(3, size, 1)  # (B, C, H', W', P, P)
        return views.permute(1, 4, 5, 0, 2, 3).reshape(x.shape[1] * size**2, -1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.shape, ctx.size = inputs[0].shape, inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return overlap_add(gradients[0], ctx.shape, ctx.size), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return windows(tangents[0], ctx.size)


class _OverlapAdd(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(columns: Tensor, shape: tuple[int, ...], size: int) -> Tensor:
        images, channels, height, width = shape
        planes = columns.reshape(channels, size, size, images, height + size - 1, width + size - 1)
        total = columns.new_zeros(channels, images, height, width)
        for i in range(size):
            for j in range(size):
                # Tap (i, j) of the window at (r, c) lies on the pixel (r + i - P + 1, c + j - P + 1).
                top, left = size - 1 - i, size - 1 - j
                total += planes[:, i, j, :, top : top + height, left : left + width]
        return total.transpose(0, 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.shape, ctx.size = inputs[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return windows(gradients[0], ctx.size), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return overlap_add(tangents[0], ctx.shape, ctx.size)


def windows(x: Tensor, size: int) -> Tensor:
    """Return every window of P = `size` pixels a side that meets an image, as columns, zero beyond its border.

    Images have shape (B, C, H, W), the result (C P^2, B (H + P - 1) (W + P - 1)).
    """
    result = _Windows.apply(x, size)
    assert isinstance(result, Tensor)
    return result


def overlap_add(columns: Tensor, shape: tuple[int, ...], size: int) -> Tensor:
    """Return the sum of windows laid where `windows` cut them, images with that shape.

    What lies beyond the border is left out.
    """
    result = _OverlapAdd.apply(columns, tuple(shape), size)
    assert isinstance(result, Tensor)
    return result
