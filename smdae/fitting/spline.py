"""Increasing piecewise linear functions of pixels, one for each channel: differentiable, and with an inverse."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Spline:
    """An increasing function of each channel, linear between evenly spaced knots and beyond them."""

    low: Tensor  # the first knot, with shape (C,)
    step: Tensor  # distance between knots, with shape (C,)
    heights: Tensor  # the values at the knots, increasing, with shape (C, n)

    def apply(self, u: Tensor) -> Tensor:
        """Return s(u), with the shape of u, (B, C, H, W); differentiable in u and in the heights."""
        place = (u - each_channel(self.low)) / each_channel(self.step)
        index = place.detach().floor().clamp(0, self.heights.shape[1] - 2).long()
        start, end = self._at(index), self._at(index + 1)
        return start + (place - index) * (end - start)

    def invert(self, z: Tensor) -> Tensor:
        """Return s^-1(z), with the shape of z, (B, C, H, W); differentiable in z and in the heights."""
        heights = self.heights.detach().contiguous()
        index = torch.searchsorted(heights, by_channel(z.detach()), right=True) - 1
        index = _as_images(index.clamp(0, heights.shape[1] - 2), z)
        start, end = self._at(index), self._at(index + 1)
        return each_channel(self.low) + each_channel(self.step) * (index + (z - start) / (end - start))

    def _at(self, index: Tensor) -> Tensor:
        return _as_images(self.heights.gather(1, by_channel(index)), index)


def each_channel(values: Tensor) -> Tensor:
    """Return numbers, (C,), shaped to multiply images, (C, 1, 1)."""
    return values[:, None, None]


def by_channel(images: Tensor) -> Tensor:
    """Return images, (B, C, H, W), as one row for each channel, (C, B H W)."""
    return images.transpose(0, 1).flatten(1).contiguous()


def _as_images(rows: Tensor, like: Tensor) -> Tensor:
    """Return (C, B H W) as (B, C, H, W), the shape of `like`."""
    found: Tensor = rows.unflatten(1, (like.shape[0], *like.shape[2:])).transpose(0, 1)
    return found
