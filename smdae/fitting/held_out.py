"""The parts of an image that are learnt from and held out: blocks, and crops in their eight symmetries."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

__all__ = ["BLOCK", "GRID", "around", "blocks", "crops", "hidden_places", "middle", "window"]

SIDE = 64  # of crops, in pixels
GRID = 4  # pixels between those that are hidden from a network
BLOCK = 32  # side of the blocks that are held out, in pixels
MAX_JUDGED = 1 << 18  # pixels
MAX_SEEN = 2048  # pixels a side, from the middle of the image


def middle(height: int, width: int) -> tuple[slice, slice]:
    """Return the part of an image that is learnt from: the middle of a large one, all of a small one."""
    rows, columns = (slice(max(0, (side - MAX_SEEN) // 2), (side + MAX_SEEN) // 2) for side in (height, width))
    return rows, columns


def blocks(noisy: Tensor, share: float, generator: Generator) -> Tensor:
    """Return which pixels of images, (B, C, H, W), are held out: random blocks, with shape (B, 1, H, W), bool."""
    images, _, height, width = noisy.shape
    cells = (images, 1, -(-height // BLOCK), -(-width // BLOCK))
    held = torch.rand(cells, generator=generator) < share
    held = held.repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)
    return held[:, :, :height, :width].to(noisy.device)


def window(noisy: Tensor, generator: Generator) -> tuple[slice, slice, slice, slice]:
    """Return the part of images that figures are computed on: all of small ones, a square of blocks of large ones."""
    images, _, height, width = noisy.shape
    side = max(BLOCK, math.isqrt(MAX_JUDGED // images) // BLOCK * BLOCK)

    def part(length: int) -> slice:
        first = BLOCK * int(torch.randint((max(length - side, 0)) // BLOCK + 1, (1,), generator=generator))
        return slice(first, min(first + side, length)) if length > side else slice(0, length)

    return slice(None), slice(None), part(height), part(width)


def crops(planes: Sequence[Tensor], count: int, generator: Generator) -> tuple[tuple[Tensor, ...], list[int]]:
    """Return crops of several sets of images at the same places, turned alike, and which images they are of.

    Args:
        planes: The sets, each with shape (B, C, H, W), with C of its own.
        count: How many crops, n.
        generator: Source of all chance, on the CPU.

    Returns:
        For each set its crops, with shape (n, C, h, w), and the number of the image of each.
    """
    images, _, height, width = planes[0].shape
    side = min(SIDE, height, width)

    def draw(most: int) -> list[int]:
        return torch.randint(most, (count,), generator=generator).tolist()

    chosen, tops, lefts = draw(images), draw(height - side + 1), draw(width - side + 1)
    places = [
        (i, slice(None), slice(top, top + side), slice(left, left + side))
        for i, top, left in zip(chosen, tops, lefts, strict=True)
    ]
    turns = int(torch.randint(8, (1,), generator=generator))

    def turned(images: Tensor) -> Tensor:
        x = torch.stack([images[place] for place in places]).rot90(turns % 4, (2, 3))
        return (x.flip(3) if turns > 3 else x).contiguous()

    return tuple(map(turned, planes)), chosen


def around(z: Tensor) -> Tensor:
    """Return the mean of each pixel's four neighbours, with the shape of z, (B, C, H, W)."""
    padded = F.pad(z, (1, 1, 1, 1), mode="reflect")
    beside = padded[:, :, 1:-1, :-2] + padded[:, :, 1:-1, 2:]
    return (beside + padded[:, :, :-2, 1:-1] + padded[:, :, 2:, 1:-1]) / 4


def hidden_places(like: Tensor, row: int, column: int) -> Tensor:
    """Return a mask, (H, W), of every fourth pixel in rows and columns, from `row` and `column` on."""
    hidden = torch.zeros(like.shape[2:], dtype=torch.bool, device=like.device)
    hidden[row::GRID, column::GRID] = True
    return hidden
