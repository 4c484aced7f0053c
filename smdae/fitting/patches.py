"""Where examples come from: images in memory or in a file, and random square patches of them.

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

from smdae.fitting.foretold import Foretold, copy_of
from smdae.fitting.packed import Packed
from smdae.fitting.stored import Stored
from smdae.fitting.texture import choose, roughness

__all__ = ["Part", "Patches", "chosen", "split"]

TOLD = 1024  # patches of images in a file that tell them from others
THIN = 24  # pixels, the least strip that is held out of a single noisy image
LOOKED_AT = 512  # pixels of a strip, along it, that its roughness is measured on

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
        """C."""
        return self.images.channels

    @property
    def dim(self) -> int:
        """Numbers in a patch, d = C P^2."""
        return self.channels * self.size**2

    @property
    def free_means(self) -> int:
        """Groups of numbers whose mean has no preferred value: the channels, but for rows of numbers, P = 1."""
        return self.channels if self.size > 1 else 0

    @property
    def device(self) -> torch.device:
        """Where patches come out."""
        return self.images.device

    def to(self, device: torch.device | str) -> Self:
        """Patches of the same images on another device."""
        levels, weights = (None if row is None else row.to(device) for row in (self.levels, self.weights))
        return replace(self, images=self.images.to(device), levels=levels, weights=weights)

    @cached_property
    def _across(self) -> Tensor:
        """Places in a row of each image, with shape (n,)."""
        return (self.images.widths - self.size + 1).to(self.device)

    @cached_property
    def _places(self) -> Tensor:
        """Running count of the places a patch can be cut from, with shape (n,)."""
        return ((self.images.heights - self.size + 1).to(self.device) * self._across).cumsum(0)

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
        image = self._image_of(place)
        across = self._across[image]
        before = torch.where(image > 0, self._places[image - 1], 0)
        top, left = (place - before) // across, (place - before) % across
        return self.images.cut(image, top, left, self.size, upside_down)

    def traits(self) -> list[Tensor]:
        """What tells these images from others: their sizes, and all their pixels or, of those in a file, some."""
        if isinstance(self.images, Packed):
            return [self.images.heights, self.images.widths, self.images.flat]
        some = torch.linspace(0, self.places - 1, TOLD, dtype=torch.float64, device=self.device).long()
        return [self.images.heights, self.images.widths, self.at(some)]

    def digest(self) -> str:
        """Return a hash of the images' number and sizes and of some of their pixels, in memory or in a file alike."""
        # A strip that is held out of a single image may be thinner than a patch.
        side = min(self.size, int(self.images.heights.min()), int(self.images.widths.min()))
        cut = replace(self, size=side)
        some = torch.linspace(0, cut.places - 1, TOLD, dtype=torch.float64, device=self.device).long()
        pixels = cut.at(some)
        told = blake2b(digest_size=16)
        for tensor in (self.images.heights, self.images.widths, pixels):
            told.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            told.update(tensor.cpu().contiguous().numpy().tobytes())
        return told.hexdigest()

    def _chance(self, n: int, generator: Generator | None, rows: slice = slice(None)) -> tuple[Tensor, Tensor | None]:
        """Of n places at random some rows, and which patches there have their rows in reverse, with shape (m,)."""
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
        """The running count of places, each counting as its image's weight, with shape (n,), float64."""
        assert self.weights is not None
        count = torch.diff(self._places, prepend=self._places.new_zeros(1))
        return (count * self.weights.double()).cumsum(0)

    @cached_property
    def _foretold(self) -> Foretold:
        return Foretold()

    def expect(self, n: int, generator: Generator) -> None:
        """Begin to read what n patches drawn next with this generator will be, where they have to be read."""
        if self.images.slow:
            place, upside_down = self._chance(n, copy_of(generator))
            self._foretold.begin(place, lambda: self.at(place, upside_down))

    def draw(self, n: int, generator: Generator | None = None) -> Tensor:
        """n random patches, flat, channels first, white being 1, with shape (n, d), float32.

        Every place of every image is equally likely; the eight symmetries take turns through the batch.
        """
        return self.draw_with_levels(n, generator)[0]

    def draw_with_levels(
        self, n: int, generator: Generator | None = None, rows: slice = slice(None)
    ) -> tuple[Tensor, Tensor | None]:
        """Patches as `draw` has them, and the level of the noise in each, with shape (n,); None in clean images.

        Of n patches only the rows asked for are cut, and are what they would be among all.
        """
        place, upside_down = self._chance(n, generator, rows)
        patch = self._foretold.take(place) if self.images.slow else None
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
        """The i-th image, or its middle of no more than `side` pixels each way, white being 1, (C, h, w), float32."""
        size = [int(sides[i]) for sides in (self.images.heights, self.images.widths)]
        height, width = (length if side is None else min(side, length) for length in size)
        top, left = (size[0] - height) // 2, (size[1] - width) // 2
        return self.window(i, top, left, height, width)

    def window(self, i: int, top: int, left: int, height: int, width: int) -> Tensor:
        """A part of the i-th image, white being 1, with shape (C, height, width), float32."""
        return self.images.window(i, top, left, height, width).to(self.device, torch.float32) / self.white


@dataclass(frozen=True)
class Part:
    """Images, the levels of their noise if they are noisy, and their weights if they have any."""

    images: Sequence[np.ndarray]
    levels: list[float] | None
    weights: list[float] | None = None


def chosen(images: Sequence[np.ndarray], some: Sequence[int]) -> Sequence[np.ndarray]:
    """Some of the images; of those in a file none is read."""
    return images.take(some) if isinstance(images, Stored) else [images[i] for i in some]


def split(
    images: Sequence[np.ndarray],
    size: int,
    share: float,
    seed: int,
    levels: Sequence[float] | None = None,
    weights: Sequence[float] | None = None,
) -> tuple[Part, Part]:
    """Images to fit on and images held out.

    Whole images are held out, as patches of one image are alike; of a single image, a strip: at its end, or elsewhere
    if the end is flat. That of a noisy one may be thinner than a patch: Stein's estimate wants pixels, and a small
    image has none to spare. Of several images none is held out that is flat, as long as there are others.

    Args:
        images: Arrays with shape (H, W) or (H, W, C), sides at least `size`.
        size: Side of a patch.
        share: The part to hold out, between 0 and 1; at least one image, never all, and nothing of a small single one.
        seed: Chooses the images.
        levels: Those of the images' noise, if they are noisy.
        weights: How often the images are drawn, if some are drawn more often than others.
    """

    def part(some: Sequence[int]) -> Part:
        rows = (None if row is None else [row[i] for i in some] for row in (levels, weights))
        return Part(chosen(images, some), *rows)

    if len(images) > 1:
        order = np.random.default_rng(seed).permutation(len(images)).tolist()
        count = min(max(1, round(share * len(images))), len(images) - 1)
        held = _first_rough(images, order, count)
        return part(sorted(set(order) - set(held))), part(sorted(held))
    whole = part([0])
    sides = _sides(images)
    axis = int(np.argmax(sides))
    least = size if levels is None else min(size, THIN)
    width = max(least, round(share * sides[axis]))
    if sides[axis] - width < size:
        return whole, Part([], None if levels is None else [])
    fitted, held_out = _parted(whole.images, axis, _begin_of_strip(whole.images, axis, width, size), width, size)
    alike = (None if row is None else list(row) * len(fitted) for row in (whole.levels, whole.weights))
    return Part(fitted, *alike), replace(whole, images=held_out)


def _first_rough(images: Sequence[np.ndarray], order: Sequence[int], count: int) -> list[int]:
    """The first so many of the images, in that order, that are not flat; flat ones too if there are too few.

    Those in a file, of which there may be very many, are not looked at.
    """
    if isinstance(images, Stored):
        return list(order[:count])
    held: list[int] = []
    for i in order:
        if len(held) < count and roughness(images[i]) > 0:
            held.append(i)
        if len(held) == count:
            return held
    return [*held, *(i for i in order if i not in held)][:count]


def _begin_of_strip(images: Sequence[np.ndarray], axis: int, width: int, size: int) -> int:
    """Where the strip of a single image begins that is held out: at its end, unless that is flat.

    Of an image in a file, which is parted in two, it is at one of the ends.
    """
    length = _sides(images)[axis]
    begins = [0, length - width]
    if not isinstance(images, Stored):
        # What is left on either side is worth having: nothing, or no less than a patch.
        inner = range(width, length - 2 * width + 1, width)
        begins = [0, *(begin for begin in inner if size <= begin <= length - width - size), length - width]
    found = [roughness(_strip(images, axis, begin, width)) for begin in begins]
    return begins[choose(found, len(begins) - 1)]


def _strip(images: Sequence[np.ndarray], axis: int, begin: int, width: int) -> np.ndarray | Tensor:
    """A strip of a single image; of one in a file no more than the middle of it."""
    if not isinstance(images, Stored):
        return images[0].take(range(begin, begin + width), axis)
    across = _sides(images)[1 - axis]
    some = min(across, LOOKED_AT)
    middle = (across - some) // 2
    return images.window(0, begin, middle, width, some) if axis == 0 else images.window(0, middle, begin, some, width)


def _sides(images: Sequence[np.ndarray]) -> tuple[int, int]:
    """Height and width of the first image."""
    return (int(images.heights), int(images.widths)) if isinstance(images, Stored) else images[0].shape[:2]


def _parted(
    images: Sequence[np.ndarray], axis: int, begin: int, width: int, size: int
) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
    """A single image without a strip, in as many pieces as there are that hold a patch, and the strip."""
    if isinstance(images, Stored):
        first, last = images.parted(axis, begin or width)
        return (first, last) if begin else (last, first)
    before, strip, after = np.split(images[0], [begin, begin + width], axis=axis)
    return [piece for piece in (before, after) if piece.shape[axis] >= size], [strip]
