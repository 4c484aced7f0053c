"""Random square patches of images in memory or in a file.

The places of all images where a patch can begin are numbered through, and a batch is cut at random numbers, whatever
the sizes of the images. Patches are flipped and turned by the eight symmetries of the square.

The next batch is read from disk in a thread, while the gradients of this one are computed. Which patches come next is
known from a copy of the generator. If others are drawn after all, those that were read are dropped; only time is lost.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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

FINGERPRINT_PATCHES = 1024  # by which images in a file are compared with others

# With rows in either order these give the eight symmetries of the square.
TURNS = (None, lambda p: p.flip(3), lambda p: p.mT, lambda p: p.flip(3).mT)


class Prefetch:
    """One tensor that is read ahead in a thread, and the key of the request for it."""

    _key: Tensor | None = None
    _read: Future[Tensor]

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, "prefetch")

    def start(self, key: Tensor, read: Callable[[], Tensor]) -> None:
        """Call `read` in the thread; `take` with an equal key returns its result."""
        self._key, self._read = key, self._thread.submit(read)

    def take(self, key: Tensor) -> Tensor | None:
        """Return the tensor read for this key, once; None if another was read. Errors of the thread are raised here."""
        started, self._key = self._key, None
        if started is None or not torch.equal(started, key):
            return None
        return self._read.result()


@dataclass(frozen=True, eq=False)
class Patches:
    """Images to draw patches from."""

    images: Packed | Stored  # the images, in memory or in a file
    size: int  # side of a patch, P, at most every H_i and W_i
    white: float = 1.0  # the value of white in the images; patches are drawn on a scale where it is 1
    symmetries: bool = True  # whether patches are flipped and turned
    levels: Tensor | None = None  # the noise that each image has, white being 1, with shape (n,); None for clean images
    weights: Tensor | None = None  # how often each image is drawn, 1 being as often as it has places, (n,); None for 1

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
        """Return images of one dtype, (H, W) or (H, W, C), both sides at least `size`, as a source of patches.

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
        """Return C, the number of channels."""
        return self.images.channels

    @property
    def dim(self) -> int:
        """Return the dimension of a patch, d = C P^2."""
        return self.channels * self.size**2

    @property
    def free_means(self) -> int:
        """Return the number of channels whose mean is left free: all for images, 0 for rows of numbers."""
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
        """Return the number of patches that begin in a row of each image, with shape (n,)."""
        return (self.images.widths - self.size + 1).to(self.device)

    @cached_property
    def _places(self) -> Tensor:
        """Return the cumulative number of places over images, with shape (n,)."""
        return ((self.images.heights - self.size + 1).to(self.device) * self._across).cumsum(0)

    @cached_property  # an int: reading it from a tensor on CUDA at each draw would wait for the device
    def places(self) -> int:
        """Return the number of places where a patch can begin, over all images."""
        return int(self._places[-1])

    def _image_of(self, place: Tensor) -> Tensor:
        return torch.searchsorted(self._places, place, right=True)

    def at(self, place: Tensor, upside_down: Tensor | None = None) -> Tensor:
        """Return the patches at places numbered from 0 to places - 1, with shape (B, C, P, P), as stored.

        Those for which `upside_down`, (B,), is True have their rows in reverse order.
        """
        image = self._image_of(place)
        across = self._across[image]
        before = torch.where(image > 0, self._places[image - 1], 0)
        top, left = (place - before) // across, (place - before) % across
        return self.images.cut(image, top, left, self.size, upside_down)

    def traits(self) -> list[Tensor]:
        """Return tensors by which processes compare their images: the sizes, and the pixels, or some if on disk."""
        if isinstance(self.images, Packed):
            return [self.images.heights, self.images.widths, self.images.flat]
        return [self.images.heights, self.images.widths, self._fingerprint()]

    def _fingerprint(self) -> Tensor:
        """Return some patches, evenly spaced over all places, as stored."""
        places = torch.linspace(0, self.places - 1, FINGERPRINT_PATCHES, dtype=torch.float64, device=self.device)
        return self.at(places.long())

    def digest(self) -> str:
        """Return a hash of the number and sizes of the images and of some pixels, the same in memory and in a file."""
        # A strip that is held out of a single image may be thinner than a patch.
        side = min(self.size, int(self.images.heights.min()), int(self.images.widths.min()))
        pixels = replace(self, size=side)._fingerprint()
        digest = blake2b(digest_size=16)
        for tensor in (self.images.heights, self.images.widths, pixels):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _drawn_places(
        self, n: int, generator: Generator | None, rows: slice = slice(None)
    ) -> tuple[Tensor, Tensor | None]:
        """Return some rows of n random places, and which patches are turned upside down, both with shape (m,)."""
        place = self._places_at_random(n, generator)[rows]
        first, last, _ = rows.indices(n)
        return place, torch.arange(first, last, device=self.device) % 2 == 1 if self.symmetries else None

    def _places_at_random(self, n: int, generator: Generator | None) -> Tensor:
        """Draw n places, with shape (n,), int64."""
        if self.weights is None:
            return torch.randint(self.places, (n,), generator=generator, device=self.device)
        u = torch.rand(2, n, generator=generator, device=self.device, dtype=torch.float64)
        image = torch.searchsorted(self._weighted, u[0] * self._weighted[-1], right=True)
        image = image.clamp(max=len(self) - 1)
        first = torch.where(image > 0, self._places[image - 1], 0)
        return first + (u[1] * (self._places[image] - first)).long()

    @cached_property
    def _weighted(self) -> Tensor:
        """Return the cumulative weight of places over images, with shape (n,), float64."""
        assert self.weights is not None
        count = torch.diff(self._places, prepend=self._places.new_zeros(1))
        return (count * self.weights.double()).cumsum(0)

    @cached_property
    def _prefetch(self) -> Prefetch:
        return Prefetch()

    def prefetch(self, n: int, generator: Generator) -> None:
        """Begin to read the n patches that the next draw with this generator will give, if they are on disk."""
        if self.images.slow:
            copy = Generator(generator.device)
            copy.set_state(generator.get_state())
            place, upside_down = self._drawn_places(n, copy)
            self._prefetch.start(place, lambda: self.at(place, upside_down))

    def draw(self, n: int, generator: Generator | None = None) -> Tensor:
        """Return n random patches, flat, channels first, white being 1, with shape (n, d), float32.

        Every place of an image is equally likely, and images are as frequent as their weights say. With `symmetries`
        each of the eight gets an eighth of the batch.
        """
        return self.draw_with_levels(n, generator)[0]

    def draw_with_levels(
        self, n: int, generator: Generator | None = None, rows: slice = slice(None)
    ) -> tuple[Tensor, Tensor | None]:
        """Return some of n random patches, drawn as by `draw`, and the level of the noise in each.

        Args:
            n: Number of patches to draw.
            generator: Where they are drawn from.
            rows: Which of the n patches to return; the draw of all n stays the same. k is their number.

        Returns:
            The patches, (k, d), and their levels, (k,), white being 1; None for the levels if the images are clean.
        """
        place, upside_down = self._drawn_places(n, generator, rows)
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

    def window(self, i: int, top: int, left: int, height: int, width: int) -> Tensor:
        """Return a part of the i-th image, white being 1, with shape (C, height, width), float32."""
        return self.images.window(i, top, left, height, width).to(self.device, torch.float32) / self.white
