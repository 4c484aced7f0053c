"""Blocks of 8 x 8 pixels: what each says of the noise, and how much structure lies around it.

Of a block y with its best plane taken out, r = (I - Q Q') y with Q an orthonormal basis of 1, row and column,

    variance = |r|^2 / (64 - 3)             what noise and texture leave together
    detail   = mean ((a - b - c + d) / 2)^2 over its blocks of 2 x 2 pixels: of white noise the variance again, of
               texture little, of correlated noise less than the variance
    texture  = mean variance of the eight blocks around it, and the variance of their means

Texture is taken of the neighbours alone, so that choosing the flattest blocks by it does not choose those whose noise
happens to be small: the mean variance of the chosen is that of the noise, without bias, where there are flat places.

Of noise that is correlated the plane takes out more than three parts in 64. With C(l) the covariance at the lag l, what
is seen of r at the lags is linear in it, and `unbiased` solves for C.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from smdae.estimation.scale import UNIT, Scale

__all__ = ["LAGS", "SIDE", "Blocks", "covariances", "survey", "tiles_of", "unbiased", "without_planes"]

SIDE, STRIDE = 8, 4  # pixels
NEIGHBOUR = SIDE // STRIDE  # places from a block to the next that shares no pixel with it
LAGS = 4  # lags 0 to 3, in rows and in columns
MAX_PIXELS = 400_000  # looked at in one picture; of a larger one, tiles
TILE = 160  # pixels a side
FLAT_PATCH = 3  # pixels a side of a patch that noise does not leave constant
FLAT_AREA = 5  # places a side of constant blocks, 24 pixels, that no noise makes
RINGING = 5  # places that the edge of such an area reaches in a JPEG, whose units have 16 pixels a side
MAX_SATURATED = 0.1  # the part of a block's pixels that may be black or white


@dataclass(frozen=True, eq=False)
class Blocks:
    """The statistics of n blocks of a picture with C channels, white being 1.

    Attributes:
        tiles: The parts of the picture that were looked at, each with shape (C, H, W).
        first: Number of the first block of each tile.
        mean: With shape (n, C).
        variance: Of what the plane leaves, with shape (n, C).
        detail: With shape (n, C).
        texture: Of the blocks around, with shape (n, C).
        saturated: The part of its pixels that are black or white, with shape (n, C).
        constant: Whether all of its pixels are equal in a channel, with shape (n, C).
        mixed: Whether it holds a constant patch of 3 x 3 pixels, but is not constant, with shape (n, C).
        beside: Whether it lies at the edge of a constant area, as of a frame, with shape (n,).
        valid: Whether all of its pixels count, with shape (n,).
    """

    tiles: tuple[Tensor, ...]
    first: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    detail: np.ndarray
    texture: np.ndarray
    saturated: np.ndarray
    constant: np.ndarray
    mixed: np.ndarray
    beside: np.ndarray
    valid: np.ndarray

    def __len__(self) -> int:
        return len(self.valid)

    def usable(self, channel: int, saturated: float = MAX_SATURATED) -> np.ndarray:
        """Return which blocks tell of the noise of a channel, with shape (n,), if less saturated than that."""
        inside = self.valid & ~self.beside & ~self.constant[:, channel]
        return inside & (self.saturated[:, channel] < saturated)

    def pixels(self, index: np.ndarray, channels: slice = slice(None)) -> np.ndarray:
        """Return the blocks of an index, or some channels of them, float32, with shape (m, C, 8, 8)."""
        found = np.empty((len(index), len(self.tiles[0][channels]), SIDE, SIDE), np.float32)
        of_tile = np.searchsorted(self.first, index, side="right") - 1
        for number in np.unique(of_tile):
            tile, members = self.tiles[number][channels], of_tile == number
            windows = tile.unfold(1, SIDE, STRIDE).unfold(2, SIDE, STRIDE)  # (C, h, w, 8, 8), a view
            rows, columns = np.divmod(index[members] - self.first[number], windows.shape[2])
            found[members] = windows[:, torch.from_numpy(rows), torch.from_numpy(columns)].transpose(0, 1).numpy()
        return found


def survey(planes: np.ndarray, scale: Scale = UNIT, valid: np.ndarray | None = None) -> Blocks:
    """Return the blocks of a picture, of a large one those of evenly spread tiles.

    Args:
        planes: With shape (H, W, C), of any dtype, at least 8 pixels a side.
        scale: What its values mean.
        valid: Which pixels count, with shape (H, W); None for all.
    """
    parts, tiles = [], []
    for rows, columns in tiles_of(planes.shape[0], planes.shape[1], MAX_PIXELS):
        y = torch.from_numpy(np.ascontiguousarray(scale.to_unit(planes[rows, columns]).transpose(2, 0, 1)))
        counts = None if valid is None else torch.from_numpy(np.ascontiguousarray(valid[rows, columns]))
        parts.append(_of_tile(y, scale.unit_clip, counts))
        tiles.append(y)
    first = np.cumsum([0, *(len(part["valid"]) for part in parts[:-1])])
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Blocks(tuple(tiles), first, **joined)


def tiles_of(height: int, width: int, most: int) -> Iterator[tuple[slice, slice]]:
    """Yield the parts of a picture that are looked at: all of it, or tiles at the points of a lattice.

    Args:
        height: Of the picture.
        width: Of the picture.
        most: Pixels that are looked at, about.
    """
    if height * width <= most:
        yield slice(0, height), slice(0, width)
        return
    count = most / TILE**2
    down = max(1, round((count * height / width) ** 0.5))
    across = max(1, round(count / down))

    def starts(length: int, parts: int) -> list[int]:
        parts = min(parts, max(1, length // TILE))
        return [round(place) for place in np.linspace(0, max(0, length - TILE), parts)]

    for top in starts(height, down):
        for left in starts(width, across):
            yield slice(top, top + TILE), slice(left, left + TILE)


@cache
def _basis() -> tuple[Tensor, Tensor]:
    """Return the filters 1, row and column of norm 1, (3, 1, 8, 8), and the projection on their span, (64, 64)."""
    along = torch.arange(SIDE, dtype=torch.float64) - (SIDE - 1) / 2
    one = torch.ones(SIDE, SIDE, dtype=torch.float64)
    filters = torch.stack([one, along[:, None] * one, along * one])
    filters = filters / filters.flatten(1).norm(dim=1)[:, None, None]
    flat = filters.flatten(1)
    return filters[:, None].float(), flat.T @ flat


def _of_tile(y: Tensor, clip: tuple[float, float], valid: Tensor | None) -> dict[str, np.ndarray]:
    """Return the fields of Blocks for one tile, (C, H, W)."""
    centre = y.mean((1, 2), keepdim=True)
    z = (y - centre)[:, None]  # (C, 1, H, W), centred so that squares keep their digits
    planes = F.conv2d(z, _basis()[0], stride=STRIDE)  # (C, 3, h, w)
    square = F.avg_pool2d(z.square(), SIDE, STRIDE, divisor_override=1)[:, 0]
    degrees = SIDE**2 - 3
    variance = (square - planes.square().sum(1)).clamp(min=0) / degrees  # (C, h, w)
    mean = planes[:, 0] / SIDE + centre
    cross = (z[..., 1:, 1:] - z[..., 1:, :-1] - z[..., :-1, 1:] + z[..., :-1, :-1]).square() / 4
    detail = F.avg_pool2d(cross, SIDE - 1, STRIDE)[:, 0, : variance.shape[1], : variance.shape[2]]
    texture = _around(variance, mean)
    saturated = F.avg_pool2d(((y <= clip[0]) | (y >= clip[1])).float(), SIDE, STRIDE)
    places = SIDE - FLAT_PATCH + 1
    patches = F.avg_pool2d(_constant_patches(y).float(), places, STRIDE, divisor_override=1)
    constant = patches == places**2
    mixed = (patches > 0) & ~constant
    grid = variance.shape[1:]
    counts = torch.ones(grid, dtype=torch.bool)
    if valid is not None:
        counts = -F.max_pool2d(-valid[None].float(), SIDE, STRIDE)[0] > 0

    def flatten(x: Tensor) -> np.ndarray:
        return x.flatten(1).T.contiguous().numpy()

    return {
        "mean": flatten(mean),
        "variance": flatten(variance),
        "detail": flatten(detail),
        "texture": flatten(texture),
        "saturated": flatten(saturated),
        "constant": flatten(constant),
        "mixed": flatten(mixed),
        "beside": _beside(constant.all(0)).flatten().numpy(),
        "valid": counts.flatten().numpy(),
    }


def _constant_patches(y: Tensor) -> Tensor:
    """Return where patches of 3 x 3 pixels have one value, (C, H - 2, W - 2), for y with shape (C, H, W)."""
    across, down = y[..., 1:] == y[..., :-1], y[:, 1:] == y[:, :-1]
    rows = across[..., 1:] & across[..., :-1]
    return rows[:, 2:] & rows[:, 1:-1] & rows[:, :-2] & down[:, 1:, :-2] & down[:, :-1, :-2]


def _beside(constant: Tensor) -> Tensor:
    """Return which blocks are near a constant area, for whether each is constant, both with shape (h, w)."""
    grown = 1 - constant.float()[None]
    inner = F.max_pool2d(grown, FLAT_AREA, 1, FLAT_AREA // 2) == 0
    areas = F.max_pool2d(inner.float(), FLAT_AREA, 1, FLAT_AREA // 2)
    return (F.max_pool2d(areas, 2 * RINGING + 1, 1, RINGING) > 0)[0] & ~constant


def _around(variance: Tensor, mean: Tensor) -> Tensor:
    """Return the texture of each block's surroundings, of which its eight neighbours tell, with shape (C, h, w)."""
    height, width = variance.shape[1:]
    pad = [NEIGHBOUR] * 4
    grown = F.pad(torch.stack([variance, mean], 1), pad, mode="replicate")  # (C, 2, h + 4, w + 4)
    sums = torch.zeros(3, *variance.shape)
    for i in range(3):
        for j in range(3):
            if i == j == 1:
                continue
            part = grown[:, :, i * NEIGHBOUR : i * NEIGHBOUR + height, j * NEIGHBOUR : j * NEIGHBOUR + width]
            off = part[:, 1] - mean
            sums += torch.stack([part[:, 0], off, off.square()])
    around, off, square = sums / 8
    return around + (square - off.square()).clamp(min=0)


@cache
def _pairs() -> np.ndarray:
    """Return which two pixels of a block lie at each lag of (0..3) x (0..3), with shape (16, 64, 64)."""
    place = np.stack(np.divmod(np.arange(SIDE**2), SIDE), 1)
    lag = np.abs(place[:, None] - place[None])  # (64, 64, 2)
    return np.stack([(lag == (i, j)).all(2) for i in range(LAGS) for j in range(LAGS)])


@cache
def _correction() -> np.ndarray:
    """Return the matrix A of seen = A C, both over the lags (0..3) x (0..3), flattened: what the plane does to them."""
    rest = np.eye(SIDE**2) - _basis()[1].numpy()
    matrix = np.zeros((LAGS**2, LAGS**2))
    classes = _pairs()
    for k, kind in enumerate(classes):
        left = rest @ kind @ rest
        matrix[:, k] = [left[other].mean() for other in classes]
    return matrix


def covariances(pixels: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the mean product at lags of what the plane leaves, with shape (4, 4).

    Args:
        pixels: Blocks of one channel, with shape (n, 8, 8).
        shares: How much each counts, with shape (n,).
    """
    r = without_planes(pixels) * np.sqrt(shares, dtype=np.float32)[:, None]
    products = r.T @ r  # (64, 64)
    return np.array([products[pairs].mean() for pairs in _pairs()]).reshape(LAGS, LAGS)


def without_planes(pixels: np.ndarray) -> np.ndarray:
    """Return what the best plane leaves of each block, (n, 64), for blocks of one channel with shape (n, 8, 8)."""
    flat = pixels.reshape(-1, SIDE**2)
    return flat - flat @ _basis()[1].float().numpy()


def unbiased(seen: np.ndarray) -> np.ndarray:
    """Return the covariance of noise at lags, (4, 4), given that which is left after planes are subtracted."""
    return np.linalg.solve(_correction(), seen.ravel()).reshape(LAGS, LAGS)
