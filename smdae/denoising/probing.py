"""Probes of the Jacobian of a result, J = dD/dy, for Stein's estimate of its error: see `judgement`.

A small image is probed everywhere, a large one in tiles drawn at random, all of one size so that they go together.
"""

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
from torch import Generator

from smdae.denoising import sure
from smdae.denoising.task import Task
from smdae.denoising.tiles import MOST_BYTES, Tile
from smdae.denoising.unclipped import clamped, counting_in, safe_where, totals
from smdae.divergence import probes
from smdae.models.borders import rounded_up

__all__ = ["TILE_MARGIN", "TILE_SIDE", "batches", "places", "probe_jacobian"]

ALL_PROBED = 1 << 18  # pixels of an image that is probed everywhere
PROBED_SHARE = 0.03  # of a larger one that is, in pixels at least and at most
MIN_PROBED, MAX_PROBED = 1 << 15, 1 << 19
TILE_SIDE, TILE_MARGIN = 32, 8  # of the tiles that are probed, in pixels; with their margins they are seen
WIDE_TILE_SIDE, WIDE_TILE_MARGIN = 160, 48  # likewise, where correlated noise is taken out
SEED = 0


def probe_jacobian(task: Task, planes: np.ndarray, margins: np.ndarray, removed: np.ndarray) -> tuple[np.ndarray, ...]:
    """Estimate traces of the Jacobian J of the result by random probes.

    Where more was removed there is less of the trace, and what was removed, r^2, is known of all of the image: by how
    far the mean of the tiles is off, that of the trace is off in proportion (the regression estimator of surveys).

    Returns:
        In each channel, tr(C J) / d and |J w|^2 / d where it is safe; the standard error of the first, as that of a
        sample of tiles; and tr(C J) / d elsewhere.
    """
    where = next(task.loaded.parameters()).device
    generator = Generator().manual_seed(SEED)
    chosen, part = places(task, generator)
    sums = []
    for together in batches(task, chosen):
        noisy, shown = (
            task.scaled(np.stack([pixels[tile.seen] for tile in together]), where) for pixels in (task.planes, planes)
        )
        v = probes(torch.empty(noisy.shape), 1, generator)[0].to(where)
        probe = task.noise.sd(clamped(task, shown)) * task.noise.correlate(v)
        inner = np.zeros((len(together), 1, *noisy.shape[2:]), bool)
        for k, tile in enumerate(together):
            inner[k, 0, *tile.inner] = True
        moved = sure.STEP * probe
        either = clamped(task, task.estimate(torch.cat([noisy + moved, noisy - moved])))
        change = (either[: len(noisy)] - either[len(noisy) :]) / (2 * sure.STEP)
        inside = torch.from_numpy(inner).to(where)
        counting = torch.cat([counting_in(task, *tile.seen, where) for tile in together])
        inside = inside & counting
        safe = safe_where(shown, margins)
        square = (clamped(task, shown) - noisy).square()
        here, there, along = safe & inside, ~safe & inside, probe * change
        values = (here, along * here, change.square() * here, there, along * there, square * here)
        sums.append(torch.stack([totals(value) for value in values]))
    tiles = torch.cat(sums, 1).cpu().numpy()  # (6, tiles, C)
    count, trace, square, others, beyond, seen = tiles.sum(1)
    count, others = np.maximum(count, 1), np.maximum(others, 1)
    trace, seen = trace / count, seen / count
    # Of ratios of sums over tiles, each a chance sample.
    off, off_seen = tiles[1] - tiles[0] * trace, tiles[5] - tiles[0] * seen
    slope = (off * off_seen).sum(0) / np.maximum(np.square(off_seen).sum(0), 1e-30)
    slope = np.where(part < 1, slope, 0.0)
    off = off - slope * off_seen
    spread = np.sqrt(np.square(off).sum(0) * (1 - part)) / count
    return trace + slope * (removed - seen), square / count, spread, np.maximum(beyond / others, 0)


def places(task: Task, generator: Generator) -> tuple[list[Tile], float]:
    """Return the tiles to probe, all of one size so that they go together, and what part of the image they are.

    A tile at the border of the image sees more on its other side, and none sees further than that matters.
    """
    height, width = task.pixels.shape[:2]
    multiple, halo = task.model.shift_multiple, task.model.halo
    if height * width <= ALL_PROBED or halo is None:
        return [Tile(*[(slice(0, height), slice(0, width))] * 3)], 1.0
    side, most = (WIDE_TILE_SIDE, WIDE_TILE_MARGIN) if task.is_wide else (TILE_SIDE, TILE_MARGIN)
    margin = min(most, rounded_up(halo, multiple))

    def cut(length: int) -> Iterator[tuple[slice, slice, slice]]:
        size = min(side + 2 * margin, length)
        for start in range(0, length - side // 2, side):
            low = max(0, min(start - margin, length - size)) // multiple * multiple
            stop = min(start + side, low + size)
            yield slice(start, stop), slice(low, low + size), slice(start - low, stop - low)

    every = list(product(cut(height), cut(width)))
    pixels = min(max(MIN_PROBED, PROBED_SHARE * height * width), MAX_PROBED)
    count = min(math.ceil(pixels / side**2), len(every))
    chosen = torch.randperm(len(every), generator=generator)[:count].tolist()
    return [Tile(*zip(*every[i], strict=True)) for i in chosen], count / len(every)


def batches(task: Task, tiles: list[Tile]) -> Iterator[list[Tile]]:
    """Yield the tiles, so many at once as a tile of an image may take memory."""
    rows, columns = tiles[0].seen
    takes = 2 * (rows.stop - rows.start) * (columns.stop - columns.start) * task.model.bytes_per_pixel
    at_once = max(1, MOST_BYTES // takes)
    for first in range(0, len(tiles), at_once):
        yield tiles[first : first + at_once]
