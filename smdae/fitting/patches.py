"""Where examples come from: images packed into one array, and random square patches of them.

A patch at row y and column x of an image is P runs of P neighbouring pixels. The images lie one after the other in one
flat array, channels as planes, so a batch is one gather of B C P runs, whatever the images' sizes, and no Python runs
per patch. Patches are flipped and turned: the eight symmetries of the square.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Generator, Tensor

__all__ = ["Part", "Patches", "split"]

THIN = 24  # pixels, the least strip that is held out of a single noisy image

# With rows in either order these make up the symmetries of the square.
TURNS = (None, lambda p: p.flip(3), lambda p: p.mT, lambda p: p.flip(3).mT)


@dataclass(frozen=True, eq=False)
class Patches:
    """Images to draw patches from.

    Attributes:
        flat: All pixels, channels as planes, with shape (sum_i C H_i W_i,).
        heights: H_i, with shape (n,).
        widths: W_i, with shape (n,).
        channels: C.
        size: Side of a patch, P, at most every H_i and W_i.
        white: The value of white in `flat`; patches are drawn on a scale where it is 1.
        symmetries: Whether patches are flipped and turned.
        levels: The noise that each image has, white being 1, with shape (n,); None for clean images.
    """

    flat: Tensor
    heights: Tensor
    widths: Tensor
    channels: int
    size: int
    white: float = 1.0
    symmetries: bool = True
    levels: Tensor | None = None

    @classmethod
    def pack(
        cls,
        images: Sequence[np.ndarray],
        size: int,
        white: float,
        symmetries: bool = True,
        levels: Sequence[float] | None = None,
    ) -> Self:
        """Pack images of one dtype, each with shape (H, W) or (H, W, C), both sides at least `size`.

        8-bit images stay as they are, all others become float32.
        """
        planes = [image[:, :, None] if image.ndim == 2 else image for image in images]
        kept = np.uint8 if images[0].dtype == np.uint8 else np.float32
        return cls(
            torch.from_numpy(np.concatenate([p.transpose(2, 0, 1).ravel().astype(kept, copy=False) for p in planes])),
            torch.tensor([p.shape[0] for p in planes]),
            torch.tensor([p.shape[1] for p in planes]),
            planes[0].shape[2],
            size,
            white,
            symmetries,
            None if levels is None else torch.tensor(levels, dtype=torch.float32),
        )

    def __len__(self) -> int:
        return len(self.heights)

    @property
    def dim(self) -> int:
        """Numbers in a patch, d = C P^2."""
        return self.channels * self.size**2

    def to(self, device: torch.device | str) -> Self:
        """The same images on another device."""
        flat, heights, widths = (t.to(device) for t in (self.flat, self.heights, self.widths))
        levels = None if self.levels is None else self.levels.to(device)
        return replace(self, flat=flat, heights=heights, widths=widths, levels=levels)

    @cached_property
    def _offsets(self) -> Tensor:
        """Where each image begins in `flat`, with shape (n,)."""
        ends = (self.channels * self.heights * self.widths).cumsum(0)
        return torch.cat([ends.new_zeros(1), ends[:-1]])

    @cached_property
    def _places(self) -> Tensor:
        """Running count of the places a patch can be cut from, with shape (n,)."""
        return ((self.heights - self.size + 1) * (self.widths - self.size + 1)).cumsum(0)

    @cached_property
    def _runs(self) -> Tensor:
        """Every run of P neighbouring numbers, a view with shape (N - P + 1, P)."""
        return self.flat.unfold(0, self.size, 1)

    @cached_property
    def _steps(self) -> tuple[Tensor, Tensor]:
        """Channel and row numbers of a patch, with shapes (C, 1) and (P,)."""
        device = self.flat.device
        return torch.arange(self.channels, device=device)[:, None], torch.arange(self.size, device=device)

    @cached_property  # a number on the CPU: to ask an accelerator for it at each draw would be to wait for it
    def places(self) -> int:
        """How many different patches there are, flips and turns not counted."""
        return int(self._places[-1])

    def _image_of(self, place: Tensor) -> Tensor:
        return torch.searchsorted(self._places, place, right=True)

    def at(self, place: Tensor, upside_down: Tensor | None = None) -> Tensor:
        """The patches at the given places, 0 to places - 1, with shape (B, C, P, P), as stored.

        Those for which `upside_down`, with shape (B,), is true have their rows in reverse.
        """
        image = self._image_of(place)  # (B,)
        height, width = self.heights[image], self.widths[image]
        across = width - self.size + 1
        place = place - (self._places[image] - (height - self.size + 1) * across)
        corner = self._offsets[image] + place // across * width + place % across
        channel, row = self._steps
        if upside_down is not None:
            corner = torch.where(upside_down, corner + (self.size - 1) * width, corner)
            width = torch.where(upside_down, -width, width)
        starts = corner[:, None, None] + channel * (height * width.abs())[:, None, None] + row * width[:, None, None]
        # Far faster here than indexing with the same numbers.
        runs = self._runs.index_select(0, starts.flatten())
        return runs.view(len(place), self.channels, self.size, self.size)

    def draw(self, n: int, generator: Generator | None = None) -> Tensor:
        """n random patches, flat, channels first, white being 1, with shape (n, d), float32.

        Every place of every image is equally likely; the eight symmetries take turns through the batch.
        """
        return self.draw_with_levels(n, generator)[0]

    def draw_with_levels(self, n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor | None]:
        """Patches as `draw` has them, and the level of the noise in each, with shape (n,); None in clean images."""
        device = self.flat.device
        place = torch.randint(self.places, (n,), generator=generator, device=device)
        if not self.symmetries:
            patch = self.at(place)
        else:
            parts = self.at(place, torch.arange(n, device=device) % 2 == 1).split(-(-n // 4))
            patch = torch.cat([part if turn is None else turn(part) for part, turn in zip(parts, TURNS, strict=False)])
        level = None if self.levels is None else self.levels[self._image_of(place)]
        return patch.reshape(n, self.dim) / self.white, level

    def image(self, i: int) -> Tensor:
        """The i-th image on a scale where white is 1, with shape (C, H, W), float32."""
        height, width = int(self.heights[i]), int(self.widths[i])
        start = int(self._offsets[i])
        pixels = self.flat[start : start + self.channels * height * width]
        return pixels.reshape(self.channels, height, width).to(torch.float32) / self.white


@dataclass(frozen=True)
class Part:
    """Images and, if they are noisy, the levels of their noise."""

    images: list[np.ndarray]
    levels: list[float] | None


def split(
    images: Sequence[np.ndarray], size: int, share: float, seed: int, levels: Sequence[float] | None = None
) -> tuple[Part, Part]:
    """Images to fit on and images held out.

    Whole images are held out, as patches of one image are alike; of a single image, a strip at its end. That of a noisy
    one may be thinner than a patch: Stein's estimate wants pixels, and a small image has none to spare.

    Args:
        images: Arrays with shape (H, W) or (H, W, C), sides at least `size`.
        size: Side of a patch.
        share: The part to hold out, between 0 and 1; at least one image, never all, and nothing of a small single one.
        seed: Chooses the images.
        levels: Those of the images' noise, if they are noisy.
    """

    def part(chosen: Sequence[int]) -> Part:
        return Part([images[i] for i in chosen], None if levels is None else [levels[i] for i in chosen])

    if len(images) > 1:
        order = np.random.default_rng(seed).permutation(len(images)).tolist()
        count = min(max(1, round(share * len(images))), len(images) - 1)
        return part(sorted(order[count:])), part(sorted(order[:count]))
    image, whole = images[0], part([0])
    axis = int(np.argmax(image.shape[:2]))
    side = image.shape[axis]
    least = size if levels is None else min(size, THIN)
    cut = side - max(least, round(share * side))
    if cut < size:
        return whole, part([])
    first, last = np.split(image, [cut], axis=axis)
    return replace(whole, images=[first]), replace(whole, images=[last])
