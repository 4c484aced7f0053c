"""Divide one image into a part to learn from and a part to hold out: random blocks, crops, and hidden pixels."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

SIDE = 64  # of crops, in pixels
GRID = 4  # pixels between those hidden from a network, in rows and in columns
BLOCK = 32  # side of the blocks that are held out, in pixels
MAX_JUDGED = 1 << 18  # pixels on which figures are computed
MAX_SIDE = 2048  # pixels, of the middle of an image that is learnt from


def middle(sides: Sequence[int], most: int = MAX_SIDE) -> tuple[slice, slice]:
    """Return the rows and columns of the middle of an image, (H, W), at most so many of each; all of a small one."""
    rows, columns = (slice(max(0, (side - most) // 2), (side + most) // 2) for side in sides)
    return rows, columns


def blocks(noisy: Tensor, share: float, generator: Generator) -> Tensor:
    """Return which pixels of images, (B, C, H, W), are held out: random blocks, with shape (B, 1, H, W), bool.

    Each block of BLOCK x BLOCK pixels is, with probability `share`; so there may be none, or nothing else.
    """
    images, _, height, width = noisy.shape
    cells = (images, 1, -(-height // BLOCK), -(-width // BLOCK))
    held = torch.rand(cells, generator=generator) < share
    held = held.repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)
    return held[:, :, :height, :width].to(noisy.device)


def window(noisy: Tensor, generator: Generator) -> tuple[slice, slice, slice, slice]:
    """Return the index of the part of images to measure on: all of small ones, a random square of large ones."""
    images, _, height, width = noisy.shape
    side = max(BLOCK, math.isqrt(MAX_JUDGED // images) // BLOCK * BLOCK)

    def part(length: int) -> slice:
        first = BLOCK * int(torch.randint((max(length - side, 0)) // BLOCK + 1, (1,), generator=generator))
        return slice(first, min(first + side, length)) if length > side else slice(0, length)

    return slice(None), slice(None), part(height), part(width)


def crops(planes: Sequence[Tensor], count: int, generator: Generator) -> tuple[tuple[Tensor, ...], list[int]]:
    """Return n = `count` random crops of several sets of images, at the same places and in the same orientation.

    The sets have shapes (B, C, H, W), with C of their own, the crops (n, C, h, w); the generator is on the CPU. With
    them comes the number of the image that each crop is from.
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
    """Return the mean of each pixel's four neighbours, with the shape of z, (B, C, H, W), mirrored at the borders.

    Both sides have 2 pixels or more.
    """
    padded = F.pad(z, (1, 1, 1, 1), mode="reflect")
    beside = padded[:, :, 1:-1, :-2] + padded[:, :, 1:-1, 2:]
    return (beside + padded[:, :, :-2, 1:-1] + padded[:, :, 2:, 1:-1]) / 4


def hidden_places(like: Tensor, row: int, column: int) -> Tensor:
    """Return a mask, bool, (H, W), for images like (B, C, H, W): every fourth row and column from the given ones on."""
    hidden = torch.zeros(like.shape[2:], dtype=torch.bool, device=like.device)
    hidden[row::GRID, column::GRID] = True
    return hidden


def block_difference(before: Tensor, after: Tensor) -> tuple[float, float]:
    """Return the sum of after - before, (B, C, H, W), and its standard error if it is 0 in expectation.

    The error is the root of the sum of squares of the sums over blocks, which are taken for independent.
    """
    sums = _block_sums(after - before)
    return sums.sum().item(), sums.square().sum().sqrt().item()


def block_error(values: Tensor, counted: Tensor) -> float:
    """Return the standard error of the sum of values, (B, C, H, W), which are 0 where `counted` is 0.

    It is found from how the means of blocks differ, so that differences between parts of an image count as errors.
    """
    sums, counts = _block_sums(values), _block_sums(counted.to(values.dtype))
    return (sums - counts * (sums.sum() / counts.sum())).square().sum().sqrt().item()


def _block_sums(values: Tensor) -> Tensor:
    return F.avg_pool2d(values.sum(1, keepdim=True), BLOCK, ceil_mode=True, divisor_override=1)
