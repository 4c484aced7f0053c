"""Images of any size in bounded memory: by tiles, with the same result as whole.

Each tile is shown to the model with a margin, `halo`, so wide that nothing beyond it can matter, and starts at a
multiple of what the model needs to be shifted by to commute with the shift; only the tile itself is kept.
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

__all__ = ["MOST_BYTES", "SMALLEST", "Tile", "Tiled", "side_for", "tiles", "tiles_for"]

SMALLEST = 64  # pixels on a side
MOST_BYTES = 512 << 20  # that one tile may take: more brings no speed
MEMORY_SHARE = 0.25  # of the memory available


@dataclass(frozen=True)
class Tile:
    """A tile of an image, each attribute a pair of slices, for rows and columns.

    Attributes:
        kept: Where it lies in the image.
        seen: Where it and its margin lie in the image.
        inner: Where it lies in what is seen.
    """

    kept: tuple[slice, slice]
    seen: tuple[slice, slice]
    inner: tuple[slice, slice]


def tiles(height: int, width: int, side: int, halo: int = 0, multiple: int = 1) -> Iterator[Tile]:
    """Yield the tiles of an image, of about equal size.

    Args:
        height: Of the image.
        width: Of the image.
        side: Of a tile, at most, but for rounding up to a multiple.
        halo: How far beyond itself a tile needs to see.
        multiple: Where tiles and what they see may start.
    """
    halo = rounded_up(halo, multiple)

    def parts(length: int) -> list[tuple[slice, slice, slice]]:
        step = rounded_up(math.ceil(length / math.ceil(length / side)), multiple)
        cut = []
        for start in range(0, length, step):
            stop = min(start + step, length)
            # As far from the end as a multiple, so that an image turned round begins at one too.
            low, high = max(0, start - halo), min(stop + halo + length % multiple, length)
            cut.append((slice(start, stop), slice(low, high), slice(start - low, stop - low)))
        return cut

    for (rows, rows_seen, rows_inner), (columns, columns_seen, columns_inner) in product(parts(height), parts(width)):
        yield Tile((rows, columns), (rows_seen, columns_seen), (rows_inner, columns_inner))


def tiles_for(model: ImageScoreModel, height: int, width: int, side: int) -> Iterator[Tile]:
    """Return the tiles of an image that a model gives the same score by as whole; one if its halo is all of the image.

    Args:
        model: A score model of images.
        height: Of the image.
        width: Of the image.
        side: Of a tile, at most, but for rounding up to a multiple.
    """
    if model.halo is None:
        return tiles(height, width, max(height, width))
    return tiles(height, width, side, model.halo, model.shift_multiple)


def side_for(model: ImageScoreModel, device: torch.device) -> int:
    """Return the side of the largest tile that memory allows, by what a pixel takes in the model."""
    seen = math.isqrt(int(min(MOST_BYTES, MEMORY_SHARE * available(device)) / model.bytes_per_pixel))
    return max(SMALLEST, seen - 2 * (model.halo or 0))


class Tiled:
    """A model whose score of whole images is computed tile by tile: the same score in bounded memory.

    Args:
        model: A score model of images.
        side: Of the tiles.
        where: The device that the model is on; images may be elsewhere.
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
            seen = x[:, :, *tile.seen].to(self.where)
            psi[:, :, *tile.kept] = self.model.score(seen, sigma=sigma)[:, :, *tile.inner]
        return psi
