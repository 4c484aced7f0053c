"""Tiles: images of any size in bounded memory, with the same result as for the whole image.

Each tile is passed to the model with a margin as wide as the model's `halo`, so that nothing beyond has influence, and
only the tile itself is kept of the result. Tiles and margins start at multiples of the model's `shift_multiple`, so
that the model commutes with the shift.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from smdae.memory import available
from smdae.models.borders import rounded_up
from smdae.protocols import HasEnergy, ImageScoreModel, offers

SMALLEST = 64  # pixels a side
MAX_TILE_BYTES = 512 << 20  # memory of one tile: larger tiles are no faster
ENOUGH, MARGINS = 1024, 200  # the side of a tile in pixels, and in halos, beyond which a larger one is no faster
MEMORY_SHARE = 0.25  # of the available memory that a tile may take


@dataclass(frozen=True)
class Tile:
    """A tile of an image; each attribute is a slice of rows and a slice of columns.

    Attributes:
        kept: The tile in the image.
        padded: The tile with its margin in the image.
        inner: The tile within the padded tile.
    """

    kept: tuple[slice, slice]
    padded: tuple[slice, slice]
    inner: tuple[slice, slice]


def tiles(height: int, width: int, side: int, halo: int = 0, multiple: int = 1) -> Iterator[Tile]:
    """Yield the tiles of an image, of about equal size.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        side: Largest side of a tile, before it is rounded up to a multiple.
        halo: Width of the margin, before it is rounded up to a multiple.
        multiple: Tiles and their margins start at multiples of it.
    """
    halo = rounded_up(halo, multiple)

    def parts(length: int) -> list[tuple[slice, slice, slice]]:
        step = rounded_up(math.ceil(length / math.ceil(length / side)), multiple)
        cut = []
        for start in range(0, length, step):
            stop = min(start + step, length)
            # A multiple from the image's end as well, so that a flipped image is cut alike.
            low, high = max(0, start - halo), min(stop + halo + length % multiple, length)
            cut.append((slice(start, stop), slice(low, high), slice(start - low, stop - low)))
        return cut

    for (rows, rows_padded, rows_inner), (columns, columns_padded, columns_inner) in product(
        parts(height), parts(width)
    ):
        yield Tile((rows, columns), (rows_padded, columns_padded), (rows_inner, columns_inner))


def tiles_for(model: ImageScoreModel, height: int, width: int, side: int) -> Iterator[Tile]:
    """Return an iterator over tiles with margins as wide as the model needs.

    There is one tile, the whole image, if the model's halo is the whole image.

    Args:
        model: A score model of images.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        side: Largest side of a tile, before it is rounded up to the model's multiple.
    """
    if model.halo is None:
        return tiles(height, width, max(height, width))
    return tiles(height, width, side, model.halo, model.shift_multiple)


def side_for(model: ImageScoreModel, device: torch.device) -> int:
    """Return the side in pixels of the largest tile that fits, with its margin, into a share of the free memory.

    It is at least SMALLEST, and at most the side at which margins are about a percent of a tile: larger tiles would
    take more memory and hardly less time.
    """
    halo = model.halo or 0
    padded = math.isqrt(int(min(MAX_TILE_BYTES, MEMORY_SHARE * available(device)) / model.bytes_per_pixel))
    return max(SMALLEST, min(padded - 2 * halo, max(ENOUGH, MARGINS * halo)))


class Tiled:
    """A score model of images whose score is computed tile by tile, in bounded memory.

    Args:
        model: A score model of images.
        side: Side of the tiles in pixels.
        where: The device of the model; images may be on another.
    """

    def __init__(self, model: ImageScoreModel, side: int, where: torch.device) -> None:
        self.model, self.side, self.where = model, side, where
        self.channels, self.noise_range = model.channels, model.noise_range

    def __getattr__(self, name: str) -> Any:
        if name == "energy" and offers(self.model, HasEnergy):
            return self._energy
        raise AttributeError(name)

    def _energy(self, x: Tensor, sigma: float) -> Tensor:
        assert offers(self.model, HasEnergy)
        return self.model.energy(x.to(self.where), sigma).to(x.device)

    def score(self, x: Tensor, sigma: float) -> Tensor:
        """Return psi(x, sigma), with the shape of x, (B, C, H, W)."""
        height, width = x.shape[2:]
        psi = torch.empty_like(x)
        for tile in tiles_for(self.model, height, width, self.side):
            padded = x[:, :, *tile.padded].to(self.where)
            psi[:, :, *tile.kept] = self.model.score(padded, sigma=sigma)[:, :, *tile.inner]
        return psi
