"""Estimate traces of the Jacobian of a result, J = dD/dy, for Stein's estimate of its error (see `judgement`).

Hutchinson's estimator with C the covariance of the noise, C = S K K' S, and v = +-1:

    tr(C J) = E w' J w,   w = S K v,   J w = (D(y + e w) - D(y - e w)) / 2e

A small image is probed as a whole, a large one in random tiles, all of one size so that they fit in one batch.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Generator

from smdae.denoising import sure
from smdae.denoising.task import Task
from smdae.denoising.tiles import MAX_TILE_BYTES, Tile
from smdae.denoising.unclipped import clamped, safe_where, totals, valid_in
from smdae.divergence import probes
from smdae.models.borders import rounded_up

MAX_PROBED_WHOLE = 1 << 18  # pixels of an image that is probed as a whole
PROBED_SHARE = 0.03  # of the pixels of a larger one, within these bounds
MIN_PROBED, MAX_PROBED = 1 << 15, 1 << 19  # pixels
TILE_SIDE, TILE_MARGIN = 32, 8  # pixels, of the random tiles
WIDE_TILE_SIDE, WIDE_TILE_MARGIN = 160, 48  # likewise, for correlated noise, whose denoiser has a wide halo
SEED = 0


@dataclass(frozen=True, eq=False)
class Traces:
    """Traces of the Jacobian J of a result in each channel, (C,), over d pixels, white being 1.

    Attributes:
        trace: tr(C J) / d over the safe pixels.
        error: Its standard error from probing only a sample of the tiles.
        square: |J w|^2 / d over the safe pixels.
        unsafe_trace: tr(C J) / d over the other pixels, not negative.
    """

    trace: np.ndarray
    error: np.ndarray
    square: np.ndarray
    unsafe_trace: np.ndarray


def probe_jacobian(task: Task, planes: np.ndarray, margins: np.ndarray, removed: np.ndarray) -> Traces:
    """Return traces of the Jacobian J of the result, estimated by random probes.

    The trace of a tile falls with what was removed there, r^2, whose mean over the whole image is known. So the mean
    trace of the tiles is corrected in proportion to how far their mean r^2 is off: the regression estimator of survey
    sampling (Cochran, Sampling Techniques, 1977, chapter 7).

    Args:
        task: The task that was carried out.
        planes: Its result, (H, W, C).
        margins: Those of `margins_of`, (2, C).
        removed: Mean r^2 of the safe pixels of each channel, (C,).
    """
    where = next(task.loaded.parameters()).device
    generator = Generator().manual_seed(SEED)
    chosen, part = places(task, generator)
    sums = []
    for batch in batches(task, chosen):
        noisy, shown = (
            task.scaled(np.stack([pixels[tile.padded] for tile in batch]), where) for pixels in (task.planes, planes)
        )
        v = probes(torch.empty(noisy.shape), 1, generator)[0].to(where)
        probe = task.noise.sd(clamped(task, shown)) * task.noise.correlate(v)
        inner = np.zeros((len(batch), 1, *noisy.shape[2:]), bool)
        for k, tile in enumerate(batch):
            inner[k, 0, *tile.inner] = True
        step = sure.STEP * probe
        upper, lower = clamped(task, task.estimate(torch.cat([noisy + step, noisy - step]))).chunk(2)
        product = (upper - lower) / (2 * sure.STEP)  # J w, (n, C, h, w)
        valid = torch.cat([valid_in(task, *tile.padded, where) for tile in batch])
        inside = torch.from_numpy(inner).to(where) & valid
        safe = safe_where(shown, margins)
        r2 = (clamped(task, shown) - noisy).square()
        safe, unsafe, quadratic = safe & inside, ~safe & inside, probe * product
        values = (safe, quadratic * safe, product.square() * safe, unsafe, quadratic * unsafe, r2 * safe)
        sums.append(torch.stack([totals(value) for value in values]))
    tiles = torch.cat(sums, 1).cpu().numpy()  # (6, tiles, C)
    safe_count, trace, square, unsafe_count, unsafe_trace, r2_mean = tiles.sum(1)
    safe_count, unsafe_count = np.maximum(safe_count, 1), np.maximum(unsafe_count, 1)
    trace, r2_mean = trace / safe_count, r2_mean / safe_count
    # The mean trace is a ratio of sums over tiles: its variance is that of the deviations of tiles from the ratio.
    trace_deviation, r2_deviation = tiles[1] - tiles[0] * trace, tiles[5] - tiles[0] * r2_mean
    slope = (trace_deviation * r2_deviation).sum(0) / np.maximum(np.square(r2_deviation).sum(0), 1e-30)
    slope = np.where(part < 1, slope, 0.0)
    left = trace_deviation - slope * r2_deviation
    return Traces(
        trace=trace + slope * (removed - r2_mean),
        error=np.sqrt(np.square(left).sum(0) * (1 - part)) / safe_count,
        square=square / safe_count,
        unsafe_trace=np.maximum(unsafe_trace / unsafe_count, 0),
    )


def places(task: Task, generator: Generator) -> tuple[list[Tile], float]:
    """Return the tiles to probe, all of one padded size, and the share of the image that they cover.

    A tile at the border of the image has a wider margin on its other side; no margin is wider than the halo.
    """
    height, width = task.pixels.shape[:2]
    multiple, halo = task.model.shift_multiple, task.model.halo
    if height * width <= MAX_PROBED_WHOLE or halo is None:
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
    """Yield the tiles in batches that take no more memory than one tile of an image may."""
    rows, columns = tiles[0].padded
    tile_bytes = 2 * (rows.stop - rows.start) * (columns.stop - columns.start) * task.model.bytes_per_pixel
    size = max(1, MAX_TILE_BYTES // tile_bytes)
    for first in range(0, len(tiles), size):
        yield tiles[first : first + size]
