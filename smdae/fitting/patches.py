"""Images in memory or in a file, and random square patches of them.

Every place of every image is a number, and a batch is cut at places drawn at random, whatever the images' sizes.
Patches are flipped and turned: the eight symmetries of the square.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from itertools import pairwise
from typing import Self

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.files.disk_store import Stored
from smdae.fitting.packed import Packed
from smdae.fitting.prefetch import Prefetch, copy_of

__all__ = ["Patches"]

FINGERPRINT_PATCHES = 1024  # patches of images in a file that tell them from others

# With rows in either order these make up the symmetries of the square.
TURNS = (None, lambda p: p.flip(3), lambda p: p.mT, lambda p: p.flip(3).mT)


@dataclass(frozen=True, eq=False)
class Patches:
    """Images to draw patches from.

    Attributes:
        images: The images, in memory or in a file.
        size: Side of a patch, P, at most every H_i and W_i.
        white: The value of white in the images; patches are drawn on a scale where it is 1.
        symmetries: Whether patches are flipped and turned.
        levels: The noise that each image has, white being 1, with shape (n,); None for clean images.
        weights: How often each image is drawn, 1 being as often as it has places, with shape (n,); None for 1.
    """

    images: Packed | Stored
    size: int
    white: float = 1.0
    symmetries: bool = True
    levels: Tensor | None = None
    weights: Tensor | None = None

    @classmethod
    def pack(
        cls,
        images: Sequence[np.ndarray],
        size: int,
        white: float,
        symmetries: bool = True,
        levels: Sequence[float] | None = None,
        weights: Sequence[float] | None = None,
    ) -> Self:
        """Pack images of one dtype, each with shape (H, W) or (H, W, C), both sides at least `size`.

        8-bit images stay as they are, all others become float32. Those in a file stay there.
        """
        return cls(
            images if isinstance(images, Stored) else Packed.of(images),
            size,
            white,
            symmetries,
            *(None if row is None else torch.tensor(row, dtype=torch.float32) for row in (levels, weights)),
        )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        """Return C."""
        return self.images.channels

    @property
    def dim(self) -> int:
        """Return how many numbers a patch has, d = C P^2."""
        return self.channels * self.size**2

    @property
    def free_means(self) -> int:
        """Return how many channels have a mean of no preferred value: all of images, none of rows of numbers."""
        return self.channels if self.size > 1 else 0

    @property
    def device(self) -> torch.device:
        """Return the device that patches come out on."""
        return self.images.device

    def to(self, device: torch.device | str) -> Self:
        """Return patches of the same images on another device."""
        levels, weights = (None if row is None else row.to(device) for row in (self.levels, self.weights))
        return replace(self, images=self.images.to(device), levels=levels, weights=weights)

    @cached_property
    def _across(self) -> Tensor:
        """Return how many patches begin in a row of each image, with shape (n,)."""
        return (self.images.widths - self.size + 1).to(self.device)

    @cached_property
    def _places(self) -> Tensor:
        """Return the running count over images of the places where a patch can begin, with shape (n,)."""
        return ((self.images.heights - self.size + 1).to(self.device) * self._across).cumsum(0)

    @cached_property  # a number on the CPU: to ask an accelerator for it at each draw would be to wait for it
    def places(self) -> int:
        """Return how many places patches can be cut at; flips and turns are not counted."""
        return int(self._places[-1])

    def _image_of(self, place: Tensor) -> Tensor:
        return torch.searchsorted(self._places, place, right=True)

    def at(self, place: Tensor, upside_down: Tensor | None = None) -> Tensor:
        """Return the patches at places numbered from 0 to places - 1, with shape (B, C, P, P), as stored.

        Those for which `upside_down`, with shape (B,), is true have their rows in reverse.
        """
        image = self._image_of(place)
        across = self._across[image]
        before = torch.where(image > 0, self._places[image - 1], 0)
        top, left = (place - before) // across, (place - before) % across
        return self.images.cut(image, top, left, self.size, upside_down)

    def traits(self) -> list[Tensor]:
        """Return tensors by which processes compare their images: the sizes, and all pixels, or some if on disk."""
        if isinstance(self.images, Packed):
            return [self.images.heights, self.images.widths, self.images.flat]
        some = torch.linspace(0, self.places - 1, FINGERPRINT_PATCHES, dtype=torch.float64, device=self.device).long()
        return [self.images.heights, self.images.widths, self.at(some)]

    def digest(self) -> str:
        """Return a hash of the images' number and sizes and of some of their pixels, in memory or in a file alike."""
        # A strip that is held out of a single image may be thinner than a patch.
        side = min(self.size, int(self.images.heights.min()), int(self.images.widths.min()))
        cut = replace(self, size=side)
        some = torch.linspace(0, cut.places - 1, FINGERPRINT_PATCHES, dtype=torch.float64, device=self.device).long()
        pixels = cut.at(some)
        told = blake2b(digest_size=16)
        for tensor in (self.images.heights, self.images.widths, pixels):
            told.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            told.update(tensor.cpu().contiguous().numpy().tobytes())
        return told.hexdigest()

    def _chance(self, n: int, generator: Generator | None, rows: slice = slice(None)) -> tuple[Tensor, Tensor | None]:
        """Return some rows of n random places, and which of the patches there have their rows in reverse, both (m,)."""
        place = self._places_at_random(n, generator)[rows]
        first, last, _ = rows.indices(n)
        return place, torch.arange(first, last, device=self.device) % 2 == 1 if self.symmetries else None

    def _places_at_random(self, n: int, generator: Generator | None) -> Tensor:
        """Return n places, with shape (n,), int64."""
        if self.weights is None:
            return torch.randint(self.places, (n,), generator=generator, device=self.device)
        chance = torch.rand(2, n, generator=generator, device=self.device, dtype=torch.float64)
        image = torch.searchsorted(self._weighted, chance[0] * self._weighted[-1], right=True)
        image = image.clamp(max=len(self) - 1)
        first = torch.where(image > 0, self._places[image - 1], 0)
        return first + (chance[1] * (self._places[image] - first)).long()

    @cached_property
    def _weighted(self) -> Tensor:
        """Return the running count of places, each counting as its image's weight, with shape (n,), float64."""
        assert self.weights is not None
        count = torch.diff(self._places, prepend=self._places.new_zeros(1))
        return (count * self.weights.double()).cumsum(0)

    @cached_property
    def _prefetch(self) -> Prefetch:
        return Prefetch()

    def prefetch(self, n: int, generator: Generator) -> None:
        """Begin to read the n patches that will be drawn next with this generator, if they are on disk."""
        if self.images.slow:
            place, upside_down = self._chance(n, copy_of(generator))
            self._prefetch.start(place, lambda: self.at(place, upside_down))

    def draw(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw n random patches, flat, channels first, white being 1, with shape (n, d), float32.

        Every place of every image is equally likely; the eight symmetries take turns through the batch.
        """
        return self.draw_with_levels(n, generator)[0]

    def draw_with_levels(
        self, n: int, generator: Generator | None = None, rows: slice = slice(None)
    ) -> tuple[Tensor, Tensor | None]:
        """Draw patches like `draw`, and return with them the level of the noise in each, (n,); None in clean images.

        Of n patches only the rows asked for are cut, and are what they would be among all.
        """
        place, upside_down = self._chance(n, generator, rows)
        patch = self._prefetch.take(place) if self.images.slow else None
        if patch is None:
            patch = self.at(place, upside_down)
        if self.symmetries:
            first, last, _ = rows.indices(n)
            ends = [min(max(k * -(-n // 4), first), last) for k in range(len(TURNS) + 1)]
            parts = patch.split([end - begin for begin, end in pairwise(ends)])
            patch = torch.cat([part if turn is None else turn(part) for part, turn in zip(parts, TURNS, strict=True)])
        level = None if self.levels is None else self.levels[self._image_of(place)]
        return patch.reshape(len(place), self.dim) / self.white, level

    def image(self, i: int, side: int | None = None) -> Tensor:
        """Return the i-th image, or its middle of at most `side` pixels each way, white being 1, (C, h, w), float32."""
        size = [int(sides[i]) for sides in (self.images.heights, self.images.widths)]
        height, width = (length if side is None else min(side, length) for length in size)
        top, left = (size[0] - height) // 2, (size[1] - width) // 2
        return self.window(i, top, left, height, width)

    def window(self, i: int, top: int, left: int, height: int, width: int) -> Tensor:
        """Return a part of the i-th image, white being 1, with shape (C, height, width), float32."""
        return self.images.window(i, top, left, height, width).to(self.device, torch.float32) / self.white
