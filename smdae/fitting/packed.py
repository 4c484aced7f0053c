"""Images packed into one flat array, and square pieces cut from it.

The images follow each other in the array, channels as planes. A patch at row y and column x of an image is P runs of P
neighbouring pixels, so a batch is one gather of B C P runs, whatever the sizes of the images, without a loop in Python.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Packed:
    """Images in memory."""

    flat: Tensor  # all pixels, channels as planes, with shape (sum_i C H_i W_i,)
    heights: Tensor  # H_i, with shape (n,)
    widths: Tensor  # W_i, with shape (n,)
    channels: int  # C

    @classmethod
    def of(cls, images: Sequence[np.ndarray]) -> Self:
        """Return images of one dtype, each with shape (H, W) or (H, W, C), packed into one tensor.

        8-bit images stay as they are, all others become float32.
        """
        planes = [image[:, :, None] if image.ndim == 2 else image for image in images]
        kept = np.uint8 if images[0].dtype == np.uint8 else np.float32
        return cls(
            torch.from_numpy(np.concatenate([p.transpose(2, 0, 1).ravel().astype(kept, copy=False) for p in planes])),
            torch.tensor([p.shape[0] for p in planes]),
            torch.tensor([p.shape[1] for p in planes]),
            planes[0].shape[2],
        )

    def __len__(self) -> int:
        return len(self.heights)

    @property
    def device(self) -> torch.device:
        """Return the device that pieces come out on."""
        return self.flat.device

    @property
    def rounded(self) -> bool:
        """Return whether pixels are integers, rounded when they were stored."""
        return not self.flat.is_floating_point()

    @property
    def slow(self) -> bool:
        """Return False: pieces are in memory, so reading ahead saves nothing."""
        return False

    def to(self, device: torch.device | str) -> Self:
        """Return the same images on another device."""
        flat, heights, widths = (t.to(device) for t in (self.flat, self.heights, self.widths))
        return replace(self, flat=flat, heights=heights, widths=widths)

    @cached_property
    def _offsets(self) -> Tensor:
        """Return where each image begins in `flat`, with shape (n,)."""
        ends = (self.channels * self.heights * self.widths).cumsum(0)
        return torch.cat([ends.new_zeros(1), ends[:-1]])

    @cached_property
    def _channel(self) -> Tensor:
        """Return the channel numbers, with shape (C, 1)."""
        return torch.arange(self.channels, device=self.device)[:, None]

    def cut(self, image: Tensor, top: Tensor, left: Tensor, side: int, upside_down: Tensor | None = None) -> Tensor:
        """Return square pieces as stored, with shape (B, C, side, side).

        Each is of an image by its number, from a row and column on; those that are `upside_down` have their rows in
        reverse. All four have shape (B,).
        """
        height, width = self.heights[image], self.widths[image]
        corner = self._offsets[image] + top * width + left
        row = torch.arange(side, device=self.device)
        step = width
        if upside_down is not None:
            corner = torch.where(upside_down, corner + (side - 1) * width, corner)
            step = torch.where(upside_down, -width, width)
        starts = corner[:, None, None] + self._channel * (height * width)[:, None, None] + row * step[:, None, None]
        # Far faster than indexing with the same numbers.
        runs = self.flat.unfold(0, side, 1).index_select(0, starts.flatten())
        return runs.view(len(image), self.channels, side, side)

    def window(self, i: int, top: int, left: int, height: int, width: int) -> Tensor:
        """Return a part of the i-th image as stored, with shape (C, height, width)."""
        start, tall, wide = int(self._offsets[i]), int(self.heights[i]), int(self.widths[i])
        whole = self.flat[start : start + self.channels * tall * wide].reshape(self.channels, tall, wide)
        return whole[:, top : top + height, left : left + width]
