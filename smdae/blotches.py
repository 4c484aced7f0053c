"""Blotches of colour: noise in the colours of a picture, coarser than its pixels, that leaves the brightness alone.

    n = A (L_b g e_b, L_r g e_r),   e ~ N(0, I),   g a Gaussian filter that keeps variance 1

A turns the colour differences Cb and Cr (ITU-R BT.601) into red, green and blue, L_b and L_r are their levels, and the
size of the blotches is the full width at half maximum of g.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Generator, Tensor

from smdae import checked, correlation
from smdae.checked import Matrix
from smdae.errors import UsageError
from smdae.jpeg import LUMA

MAX_SIZE = 24.0  # pixels
WIDTH = 1 / (2 * math.sqrt(2 * math.log(2)))  # standard deviation of a Gaussian function over its width at half maximum
RED, BLUE = 2 * (1 - LUMA[0]), 2 * (1 - LUMA[2])  # R - Y over Cr, B - Y over Cb
# Red, green and blue of the differences Cb and Cr.
COLOURS = ((0.0, RED), (-LUMA[2] / LUMA[1] * BLUE, -LUMA[0] / LUMA[1] * RED), (BLUE, 0.0))
NEGLIGIBLE = 1e-4  # correlation at which a grain ends


@dataclass(frozen=True)
class Blotches:
    """Blotches of colour, in the unit of the picture.

    Attributes:
        levels: Standard deviation of Cb and of Cr.
        size: Full width at half maximum of a blotch in pixels, from 1 to 24.

    Raises:
        UsageError: A value makes no sense.
    """

    levels: tuple[float, float]
    size: float

    def __post_init__(self) -> None:
        levels = checked.row(self.levels, "the levels of blotches")
        if len(levels) != 2 or min(levels) < 0 or not any(levels):
            raise UsageError("blotches have two levels, of Cb and of Cr, neither negative, and not both 0")
        size = checked.number(self.size, "the size of blotches")
        if not 1 <= size <= MAX_SIZE:
            raise UsageError(f"the size of blotches is from 1 to {MAX_SIZE:g} pixels, not {size:g}")
        object.__setattr__(self, "levels", levels)
        object.__setattr__(self, "size", size)

    @classmethod
    def parse(cls, entries: object) -> Self:
        """Return blotches as they are, or those that a mapping of a noise profile describes.

        Raises:
            UsageError: It is neither, or a value makes no sense.
        """
        if isinstance(entries, cls):
            return entries
        if not isinstance(entries, dict):
            raise UsageError(f"blotches must be a mapping, not {checked.shown(entries)}")
        checked.keys(entries, ("levels", "size"))
        if len(entries) < 2:
            raise UsageError("blotches need both levels and size")
        return cls(**entries)

    @property
    def sds(self) -> tuple[float, ...]:
        """Return the standard deviations of red, green and blue."""
        return tuple(math.hypot(b * self.levels[0], r * self.levels[1]) for b, r in COLOURS)

    @property
    def sigma(self) -> float:
        """Return the root mean square of the standard deviations of red, green and blue."""
        return math.sqrt(sum(sd**2 for sd in self.sds) / 3)

    @property
    def grain(self) -> Matrix:
        """Return the correlation of pixels some rows and columns apart."""
        width = WIDTH * self.size
        row = self.along(math.ceil(2 * width * math.sqrt(-math.log(NEGLIGIBLE))))
        return tuple(tuple(a * b for b in row) for a in row)

    def along(self, count: int) -> list[float]:
        """Return the correlation of pixels 0 to count - 1 apart in a row or a column."""
        return [math.exp(-((lag / (WIDTH * self.size)) ** 2) / 4) for lag in range(count)]

    def scaled(self, factor: float) -> "Blotches":
        """Return blotches whose levels are `factor` times as high."""
        return Blotches((factor * self.levels[0], factor * self.levels[1]), self.size)

    def spread(self, sd: Tensor) -> Tensor:
        """Return the standard deviation of pixels whose other noise has one of sd, (B, 3, H, W), in that shape."""
        return (sd.square() + sd.new_tensor(self.sds).square()[:, None, None]).sqrt()

    def added_to(self, levels: Sequence[float]) -> tuple[float, ...]:
        """Return the levels of red, green and blue with those of other noise, of which there are one or three."""
        return tuple(math.hypot(sd, levels[c % len(levels)]) for c, sd in enumerate(self.sds))

    def sample(self, x: Tensor, generator: Generator) -> Tensor:
        """Draw blotches for pictures x, (B, 3, H, W): a tensor of that shape, dtype and device.

        Raises:
            UsageError: They have not three channels.
        """
        if x.ndim != 4 or x.shape[1] != 3:
            raise UsageError("blotches of colour need pictures of three channels")
        e = torch.randn((len(x), 2, *x.shape[2:]), generator=generator, dtype=x.dtype).to(x.device)
        levels = e.new_tensor(self.levels)[:, None, None]
        return colour_of(levels * correlation.apply(e, self.grain, None, 0.5))


def difference_of(x: Tensor) -> Tensor:
    """Return the colour differences Cb and Cr, (B, 2, H, W), of pictures, (B, 3, H, W)."""
    luma = (x * x.new_tensor(LUMA)[:, None, None]).sum(1)
    return torch.stack([(x[:, 2] - luma) / BLUE, (x[:, 0] - luma) / RED], 1)


def colour_of(differences: Tensor) -> Tensor:
    """Return the red, green and blue, (B, 3, H, W), of colour differences, (B, 2, H, W), without brightness."""
    return torch.einsum("cd,bdhw->bchw", differences.new_tensor(COLOURS), differences)
