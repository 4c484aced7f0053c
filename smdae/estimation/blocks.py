"""Statistics of blocks of 8 x 8 pixels: how much noise they may hold, and how much texture lies around them.

Let r = (I - Q Q') y be what is left of a block y after its best fitting plane is subtracted, Q being an orthonormal
basis of 1, row and column. Then

    variance = |r|^2 / (64 - 3)
    detail   = mean of ((a - b - c + d) / 2)^2 over its squares of 2 x 2 pixels
    texture  = mean variance of the eight blocks around it, plus the variance of their means

Noise and texture together make the variance. Of white noise the detail has the same expectation; texture adds little to
it, and of correlated noise it is smaller. Flat blocks are those with little texture around them. As their own variance
has no part in the choice, it does not favour blocks whose noise happens to be weak: where a picture has flat places,
the mean variance of flat blocks is that of the noise, without bias.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from smdae.estimation.scale import UNIT, Scale

SIDE, STRIDE = 8, 4  # pixels
NEIGHBOUR = SIDE // STRIDE  # strides from a block to the next that shares no pixel with it
MAX_PIXELS = 400_000  # of a picture that is used whole; of a larger one tiles are used
TILE = 160  # pixels a side
CONSTANT_PATCH = 3  # pixels a side of a patch that noise leaves constant hardly ever
CONSTANT_AREA = 5  # strides a side of constant blocks, 24 pixels, that make an area
MARGIN = 5  # strides that the edge of such an area reaches in a JPEG, whose units have 16 pixels a side


@dataclass(frozen=True, eq=False)
class Blocks:
    """The statistics of n blocks of a picture with C channels, white being 1.

    Attributes:
        tiles: The parts of the picture that the blocks are taken from, each with shape (C, H, W).
        first_of_tile: Number of the first block of each tile.
        mean: Mean of each block, with shape (n, C).
        variance: Variance without the plane, with shape (n, C).
        detail: Mean squared diagonal detail, with shape (n, C).
        texture: Texture of the eight blocks around it, with shape (n, C).
        saturated: Share of its pixels that are black or white, with shape (n, C).
        constant: Whether all of its pixels have one value, with shape (n, C).
        partly_constant: Whether it is not constant but holds a constant patch of 3 x 3 pixels, with shape (n, C).
        marginal: Whether it lies in the margin of a constant area, such as a frame, with shape (n,).
        valid: Whether all of its pixels count, with shape (n,).
    """

    tiles: tuple[Tensor, ...]
    first_of_tile: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    detail: np.ndarray
    texture: np.ndarray
    saturated: np.ndarray
    constant: np.ndarray
    partly_constant: np.ndarray
    marginal: np.ndarray
    valid: np.ndarray

    def __len__(self) -> int:
        return len(self.valid)

    def pixels(self, index: np.ndarray, channels: slice = slice(None)) -> np.ndarray:
        """Return the pixels of the blocks at an index, or of some of their channels: float32, (m, C, 8, 8)."""
        found = np.empty((len(index), len(self.tiles[0][channels]), SIDE, SIDE), np.float32)
        of_tile = np.searchsorted(self.first_of_tile, index, side="right") - 1
        for number in np.unique(of_tile):
            tile, members = self.tiles[number][channels], of_tile == number
            windows = tile.unfold(1, SIDE, STRIDE).unfold(2, SIDE, STRIDE)  # (C, h, w, 8, 8), a view
            rows, columns = np.divmod(index[members] - self.first_of_tile[number], windows.shape[2])
            found[members] = windows[:, torch.from_numpy(rows), torch.from_numpy(columns)].transpose(0, 1).numpy()
        return found

    def usable(self, channel: int, max_saturated: float) -> np.ndarray:
        """Return which blocks show the noise of a channel, bool, (n,).

        They are valid, neither constant nor marginal, and their share of saturated pixels is below `max_saturated`.
        """
        changing = self.valid & ~self.marginal & ~self.constant[:, channel]
        found: np.ndarray = changing & (self.saturated[:, channel] < max_saturated)
        return found


def survey(planes: np.ndarray, scale: Scale = UNIT, valid: np.ndarray | None = None) -> Blocks:
    """Return the statistics of the blocks of a picture; of a large one, of those in evenly spread tiles.

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
    first_of_tile = np.cumsum([0, *(len(part["valid"]) for part in parts[:-1])])
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Blocks(tuple(tiles), first_of_tile, **joined)


def tiles_of(height: int, width: int, most: int) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of the parts of a picture to use: all of it, or tiles spread evenly over it.

    Args:
        height: Height of the picture.
        width: Width of the picture.
        most: Pixels to use; tiles have about as many together.
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
def _plane_basis() -> Tensor:
    """Return Q' as images: 1, row and column, each of norm 1, with shape (3, 8, 8), float64."""
    along = torch.arange(SIDE, dtype=torch.float64) - (SIDE - 1) / 2
    one = torch.ones(SIDE, SIDE, dtype=torch.float64)
    basis = torch.stack([one, along[:, None] * one, along * one])
    found: Tensor = basis / basis.flatten(1).norm(dim=1)[:, None, None]
    return found


def plane_projection() -> Tensor:
    """Return Q Q', which projects a block on its best fitting plane, with shape (64, 64), float64."""
    flat = _plane_basis().flatten(1)
    return flat.T @ flat


def _of_tile(y: Tensor, clip: tuple[float, float], valid: Tensor | None) -> dict[str, np.ndarray]:
    """Return the fields of `Blocks` by name, of one tile y with shape (C, H, W)."""
    centre = y.mean((1, 2), keepdim=True)
    z = (y - centre)[:, None]  # (C, 1, H, W), centred so that squares keep their digits
    planes = F.conv2d(z, _plane_basis()[:, None].float(), stride=STRIDE)  # (C, 3, h, w)
    square = F.avg_pool2d(z.square(), SIDE, STRIDE, divisor_override=1)[:, 0]
    degrees = SIDE**2 - 3
    variance = (square - planes.square().sum(1)).clamp(min=0) / degrees  # (C, h, w)
    mean = planes[:, 0] / SIDE + centre
    cross = (z[..., 1:, 1:] - z[..., 1:, :-1] - z[..., :-1, 1:] + z[..., :-1, :-1]).square() / 4
    detail = F.avg_pool2d(cross, SIDE - 1, STRIDE)[:, 0, : variance.shape[1], : variance.shape[2]]
    texture = _texture(variance, mean)
    saturated = F.avg_pool2d(((y <= clip[0]) | (y >= clip[1])).float(), SIDE, STRIDE)
    places = SIDE - CONSTANT_PATCH + 1
    patches = F.avg_pool2d(_constant_patches(y).float(), places, STRIDE, divisor_override=1)
    constant = patches == places**2
    counts = torch.ones(variance.shape[1:], dtype=torch.bool)
    if valid is not None:
        counts = -F.max_pool2d(-valid[None].float(), SIDE, STRIDE)[0] > 0

    of_channels = {
        "mean": mean,
        "variance": variance,
        "detail": detail,
        "texture": texture,
        "saturated": saturated,
        "constant": constant,
        "partly_constant": (patches > 0) & ~constant,
    }
    flat = {name: values.flatten(1).T.contiguous().numpy() for name, values in of_channels.items()}  # each (n, C)
    marginal = _in_margin(constant.all(0))
    return flat | {"marginal": marginal.flatten().numpy(), "valid": counts.flatten().numpy()}


def _constant_patches(y: Tensor) -> Tensor:
    """Return which patches of 3 x 3 pixels of y, (C, H, W), have one value, with shape (C, H - 2, W - 2)."""
    across, down = y[..., 1:] == y[..., :-1], y[:, 1:] == y[:, :-1]
    rows = across[..., 1:] & across[..., :-1]
    return rows[:, 2:] & rows[:, 1:-1] & rows[:, :-2] & down[:, 1:, :-2] & down[:, :-1, :-2]


def _in_margin(constant: Tensor) -> Tensor:
    """Return which blocks are in the margin of a constant area, given which are constant, both with shape (h, w)."""
    inner = F.max_pool2d(1 - constant.float()[None], CONSTANT_AREA, 1, CONSTANT_AREA // 2) == 0
    areas = F.max_pool2d(inner.float(), CONSTANT_AREA, 1, CONSTANT_AREA // 2)
    return (F.max_pool2d(areas, 2 * MARGIN + 1, 1, MARGIN) > 0)[0] & ~constant


def _texture(variance: Tensor, mean: Tensor) -> Tensor:
    """Return the texture around each block from the variances and means of all, each with shape (C, h, w)."""
    height, width = variance.shape[1:]
    pad = [NEIGHBOUR] * 4
    grown = F.pad(torch.stack([variance, mean], 1), pad, mode="replicate")  # (C, 2, h + 4, w + 4)
    sums = torch.zeros(3, *variance.shape)
    for i in range(3):
        for j in range(3):
            if i == j == 1:
                continue
            part = grown[:, :, i * NEIGHBOUR : i * NEIGHBOUR + height, j * NEIGHBOUR : j * NEIGHBOUR + width]
            off = part[:, 1] - mean  # measured from the block's own mean, to keep digits
            sums += torch.stack([part[:, 0], off, off.square()])
    around, off, square = sums / 8
    found: Tensor = around + (square - off.square()).clamp(min=0)
    return found
