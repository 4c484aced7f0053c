"""How good a result is, without the clean image, and what speaks against believing it.

The error is Stein's estimate, see `risk`: its residual over the whole image, its divergence over all of a small image
and over tiles of a large one, drawn at random. The standard error of the level, where it was estimated, adds to that
of the estimate: d MSE / d sigma = 4 sigma div D / d - 2 sigma.

It stands on noise that is white, normal and of the level that is told. Where pictures are clipped, as nearly all that
are stored are, it is taken over the pixels whose result is two sigma or more from black and white; of the others the
error is what the model itself believes, the variance sigma^2 dD_i/dy_i of the posterior. Doubts are what shows that the
noise is other: too few such pixels; a level that the image does not have; noise that is coarser than white noise; a
residual that is correlated from pixel to pixel. To see the second and the third takes as long as to denoise, and where
a level is given they are looked for only if what was removed and what the model believes of its error do not add up,

    |D(y) - y|^2 / d + sigma^2 div D / d = sigma^2,

which holds for the posterior mean: for the bundled networks within 5 % at the right level, and off by 9 % or more for
nine in ten photographs at one that is 20 % off.

PSNR is that of a result clipped to black and white, as everywhere.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.denoising import noise_level, risk
from smdae.denoising.precision import exact
from smdae.denoising.risk import Risk
from smdae.denoising.task import Task
from smdae.denoising.tiles import MOST_BYTES, Tile
from smdae.divergence import probes

__all__ = ["SAFE", "Judgement", "judge", "safe_in"]

SMALL = 1 << 18  # pixels of an image that is probed everywhere
SHARE = 0.03  # of a larger one that is, in pixels at least and at most
LEAST_PROBED, MOST_PROBED = 1 << 15, 1 << 19
SIDE, MARGIN = 32, 8  # of the tiles that are probed, in pixels; with their margins they are seen
SAFE = 2.0  # sigma from black and white, within which noise is hardly ever cut off
LEAST_SAFE = 0.3  # the part of the pixels that must be so
BELIEF = 0.3  # standard error of what a model believes of its error, as a part of it
APART = 0.2  # how far the level given may be from the one estimated
ODD = 0.06  # how far |r|^2 / d + sigma^2 div D / d may be from sigma^2, as a part of it, before more is looked at
ALIKE = 0.08  # correlation of neighbours in the residual, beyond which it holds more than noise
VAGUE = 2.0  # dB
BAND = 1 << 20  # pixels held at once
SEED = 0


@dataclass(frozen=True)
class Judgement:
    """An estimated quality.

    Attributes:
        psnr: In dB, estimated.
        error: Its standard error in dB.
        doubts: Why it may be wrong, each a few words; empty if nothing speaks against it.
        gain: What adapting the model brought, in dB, estimated; None if it was not tried.
    """

    psnr: float
    error: float
    doubts: tuple[str, ...]
    gain: float | None = None

    @property
    def text(self) -> str:
        """The figure in words: where it is no more than a bound, the bound that is two errors away."""
        if self.error > VAGUE:
            return f"over {self.psnr - 10 * math.log10(1 + 2 * self.error * math.log(10) / 10):.0f} dB"
        return f"{self.psnr:.1f} +- {max(self.error, 0.1):.1f} dB"


def judge(task: Task, result: np.ndarray, estimated: bool = False) -> Judgement:
    """Judge a result of `denoise`.

    Args:
        task: What was to be done; its levels are not all 0.
        result: What came of it, with the shape of the image.
        estimated: Whether the levels were estimated from the image, not given.
    """
    planes = result[:, :, None] if result.ndim == 2 else result
    clipped = noise_level.is_clipped(task.pixels, task.white)
    levels = task.channel_levels
    margins = np.array([SAFE * sigma if clipped else -np.inf for sigma in levels])
    counts, removed, alike = _residual(task, planes, margins)
    with exact():
        probed = _probe(task, planes, margins, removed)
    risks, shared = [], []
    odd = False
    for c, sigma in enumerate(levels):
        if sigma == 0:  # nothing was taken out, and nothing is wrong
            risks.append(Risk(0.0, 0.0, 0.0))
            shared.append(0.0)
            continue
        divergence, square, spread, others = (float(values[c]) for values in probed)
        odd |= abs(float(removed[c]) / sigma**2 + divergence - 1) > ODD
        found = risk.of_means(max(int(counts[c]), 1), float(removed[c]), divergence, square, sigma)
        found = replace(found, error=math.hypot(found.error, 2 * sigma**2 * spread))
        share = float(counts[c]) / planes[..., c].size
        risks.append(_joined(found, sigma**2 * others, share))
        unsure = noise_level.uncertainty(sigma, clipped) if estimated else 0.0
        shared.append(share * (2 * sigma - 4 * sigma * divergence) * unsure)
    whole = risk.mean(risks)
    # What is wrong with an estimated level is wrong with it in all channels alike.
    whole = replace(whole, error=math.hypot(whole.error, sum(shared) / len(shared)))
    seen = float(counts.sum() / planes.size)
    return Judgement(whole.psnr(), whole.psnr_error, tuple(_doubts(task, whole, seen, alike, estimated, odd)))


def _joined(safe: Risk, beyond: float, share: float) -> Risk:
    """The risk of all pixels, of which the share is safe, and the others have a mean squared error of `beyond`."""
    rest = (1 - share) * beyond
    return Risk(share * safe.mse + rest, math.hypot(share * safe.error, BELIEF * rest), safe.level)


def safe_in(planes: np.ndarray, white: float, margins: np.ndarray) -> np.ndarray:
    """Where noise cannot have been cut off: results further than the margins from black and white."""
    values = planes.astype(np.float32) / np.float32(white)
    return (values >= margins) & (values <= 1 - margins)


def _residual(task: Task, planes: np.ndarray, margins: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """How many pixels count and their mean r^2, in each channel; and the correlation of neighbours in all of r."""
    where = next(task.loaded.parameters()).device
    height, width = planes.shape[:2]
    band = max(2, BAND // width)
    sums = torch.zeros(5, 1, planes.shape[2], dtype=torch.float64, device=where)
    for top in range(0, height, band):
        rows = slice(top, min(top + band, height))
        shown, noisy = (task.scaled(pixels[None, rows], where) for pixels in (planes, task.planes))
        counts = _safe(shown, margins)
        r = shown.clamp_(0, 1) - noisy
        square = r.square()
        # One sum for all bands: what each left would lie between the blocks that the next could take.
        sums += torch.stack(
            [
                _total(counts),
                _total(square * counts),
                _total(square),
                _total(r[..., 1:] * r[..., :-1]),
                _total(r[:, :, 1:] * r[:, :, :-1]),
            ]
        )
    count, counted, power, beside, below = sums.sum(1).cpu().numpy()
    return count, counted / np.maximum(count, 1), min(beside.sum(), below.sum()) / max(power.sum(), 1e-30)


def _safe(shown: Tensor, margins: np.ndarray) -> Tensor:
    """`safe_in` for results with shape (n, C, h, w), white being 1."""
    least = torch.from_numpy(margins.astype(np.float32))[:, None, None].to(shown.device)
    return (shown >= least) & (shown <= 1 - least)


def _total(values: Tensor) -> Tensor:
    """The sums of images, (n, C, h, w), with shape (n, C)."""
    return values.sum((2, 3), dtype=torch.float64)


def _probe(task: Task, planes: np.ndarray, margins: np.ndarray, removed: np.ndarray) -> tuple[np.ndarray, ...]:
    """In each channel: div D / d and tr(J^2) / d where it is safe; the standard error of the first, as that of a sample
    of tiles; and div D / d elsewhere.

    Where more was removed there is less divergence, and what was removed, r^2, is known of all of the image: by how far
    the mean of the tiles is off, that of the divergence is off in proportion (the regression estimator of surveys).
    """
    where = next(task.loaded.parameters()).device
    generator = Generator().manual_seed(SEED)
    places, part = _places(task, generator)
    e = risk.STEP * math.sqrt(sum(sigma**2 for sigma in task.levels) / len(task.levels))
    sums = []
    for together in _batches(task, places):
        noisy, shown = (
            task.scaled(np.stack([pixels[tile.seen] for tile in together]), where) for pixels in (task.planes, planes)
        )
        probe = probes(torch.empty(noisy.shape), 1, generator)[0].to(where)
        inner = np.zeros((len(together), 1, *noisy.shape[2:]), bool)
        for k, tile in enumerate(together):
            inner[k, 0, *tile.inner] = True
        either = task.estimate(torch.cat([noisy + e * probe, noisy - e * probe])).clamp(0, 1)
        change = (either[: len(noisy)] - either[len(noisy) :]) / (2 * e)
        inside = torch.from_numpy(inner).to(where)
        safe = _safe(shown, margins)
        square = (shown.clamp(0, 1) - noisy).square()
        here, there, along = safe & inside, ~safe & inside, probe * change
        values = (here, along * here, change.square() * here, there, along * there, square * here)
        sums.append(torch.stack([_total(value) for value in values]))
    tiles = torch.cat(sums, 1).cpu().numpy()  # (6, tiles, C)
    count, divergence, square, others, beyond, seen = tiles.sum(1)
    count, others = np.maximum(count, 1), np.maximum(others, 1)
    divergence, seen = divergence / count, seen / count
    # Of ratios of sums over tiles, each a chance sample.
    off, off_seen = tiles[1] - tiles[0] * divergence, tiles[5] - tiles[0] * seen
    slope = (off * off_seen).sum(0) / np.maximum(np.square(off_seen).sum(0), 1e-30)
    slope = np.where(part < 1, slope, 0.0)
    off = off - slope * off_seen
    spread = np.sqrt(np.square(off).sum(0) * (1 - part)) / count
    return divergence + slope * (removed - seen), square / count, spread, np.maximum(beyond / others, 0)


def _places(task: Task, generator: Generator) -> tuple[list[Tile], float]:
    """The tiles to probe, and what part of the image they are; all with margins of one size, so that they go together.

    A tile at the border of the image sees more on its other side, and none sees further than that matters.
    """
    height, width = task.pixels.shape[:2]
    multiple = getattr(task.model, "multiple", 1)
    if height * width <= SMALL or not hasattr(task.model, "reach"):
        return [Tile(*[(slice(0, height), slice(0, width))] * 3)], 1.0
    margin = min(MARGIN, -(-task.model.reach // multiple) * multiple)

    def cut(length: int) -> Iterator[tuple[slice, slice, slice]]:
        size = min(SIDE + 2 * margin, length)
        for start in range(0, length - SIDE // 2, SIDE):
            low = max(0, min(start - margin, length - size)) // multiple * multiple
            stop = min(start + SIDE, low + size)
            yield slice(start, stop), slice(low, low + size), slice(start - low, stop - low)

    every = list(product(cut(height), cut(width)))
    pixels = min(max(LEAST_PROBED, SHARE * height * width), MOST_PROBED)
    count = min(math.ceil(pixels / SIDE**2), len(every))
    chosen = torch.randperm(len(every), generator=generator)[:count].tolist()
    return [Tile(*zip(*every[i], strict=True)) for i in chosen], count / len(every)


def _batches(task: Task, places: list[Tile]) -> Iterator[list[Tile]]:
    """The tiles, so many at once as a tile of an image may take memory."""
    rows, columns = places[0].seen
    takes = 2 * (rows.stop - rows.start) * (columns.stop - columns.start) * getattr(task.model, "footprint", 256)
    at_once = max(1, MOST_BYTES // takes)
    for first in range(0, len(places), at_once):
        yield places[first : first + at_once]


def _doubts(task: Task, found: Risk, seen: float, alike: float, estimated: bool, odd: bool) -> Iterator[str]:
    pixels, white = task.pixels, task.white
    if seen < LEAST_SAFE:
        yield f"in {100 * (1 - seen):.0f} % of the picture black or white may have cut the noise off"
    if odd and not estimated:
        looks = noise_level.estimate(pixels, white)
        for level, told in zip(looks, task.channel_levels, strict=True):
            if abs(level - told) > APART * told > 0:
                yield f"the noise looks like sigma {255 * level:.3g}, not {255 * told:.3g}"
                break
    if found.mse < -2 * found.error:
        yield "the error comes out negative: sigma is too high"
    coarse = noise_level.coarseness(pixels, white) if odd or estimated else 1.0
    if coarse > noise_level.COARSE:
        yield f"the noise is correlated: at half the size it is {coarse:.1f} times what white noise would be"
    elif alike > ALIKE:
        yield f"the noise is correlated: neighbours in the residual by {alike:.2f}"
