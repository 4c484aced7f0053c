"""How good a result is, without the clean image, and what speaks against believing it.

The error is Stein's estimate, see `risk`: its residual over the whole image, its divergence over all of a small image
and over tiles of a large one, drawn at random. The standard error of the level, where it was estimated, adds to that
of the estimate: d MSE / d sigma = 4 sigma div D / d - 2 sigma.

It stands on noise that is white, normal and of the level that is told. Where pictures are clipped, as nearly all that
are stored are, it is taken over the pixels whose result is two sigma or more from black and white; of the others the
error is what the model itself believes, the variance sigma^2 dD_i/dy_i of the posterior. Doubts are what shows that the
noise is other: too few such pixels; a level that the image does not have; noise that is coarser than white noise; a
residual that is correlated from pixel to pixel.

PSNR is that of a result clipped to black and white, as everywhere.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.denoising import noise_level, risk
from smdae.denoising.risk import Risk
from smdae.denoising.task import Task
from smdae.denoising.tiles import Tile, tiles
from smdae.divergence import probes

__all__ = ["SAFE", "Judgement", "judge", "safe_in"]

LEAST_PROBED, MOST_PROBED = 1 << 18, 1 << 21  # pixels: an image of no more than the first is probed everywhere
SHARE = 0.05  # of a larger one
SIDE, MARGIN = 128, 32  # of the tiles that are probed, in pixels; with their margins they are seen
SAFE = 2.0  # sigma from black and white, within which noise is hardly ever cut off
LEAST_SAFE = 0.3  # the part of the pixels that must be so
BELIEF = 0.3  # standard error of what a model believes of its error, as a part of it
APART = 0.2  # how far the level given may be from the one estimated
ALIKE = 0.08  # correlation of neighbours in the residual, beyond which it holds more than noise
VAGUE = 2.0  # dB
BAND = 512  # rows held at once
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
    probed = _probe(task, planes, margins)
    risks, shared = [], []
    for c, sigma in enumerate(levels):
        if sigma == 0:  # nothing was taken out, and nothing is wrong
            risks.append(Risk(0.0, 0.0, 0.0))
            shared.append(0.0)
            continue
        divergence, square, spread, others = (float(values[c]) for values in probed)
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
    return Judgement(whole.psnr(), whole.psnr_error, tuple(_doubts(task, whole, seen, alike, estimated)))


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
    height, _, channels = planes.shape
    count, square = np.zeros(channels), np.zeros(channels)
    power = beside = below = 0.0
    for top in range(0, height, BAND):
        rows = slice(top, min(top + BAND, height))
        noisy = task.planes[rows].astype(np.float32) / np.float32(task.white)
        r = np.clip(planes[rows].astype(np.float32) / np.float32(task.white), 0, 1) - noisy
        counts = safe_in(planes[rows], task.white, margins)
        count += counts.sum((0, 1))
        square += np.where(counts, np.square(r), 0).sum((0, 1), dtype=np.float64)
        power += float(np.square(r).sum(dtype=np.float64))
        beside += float((r[:, 1:] * r[:, :-1]).sum(dtype=np.float64))
        below += float((r[1:] * r[:-1]).sum(dtype=np.float64))
    return count, square / np.maximum(count, 1), min(beside, below) / max(power, 1e-30)


def _probe(task: Task, planes: np.ndarray, margins: np.ndarray) -> tuple[np.ndarray, ...]:
    """In each channel: div D / d and tr(J^2) / d where it is safe; the standard error of the first, as that of a sample
    of tiles; and div D / d elsewhere.
    """
    where = next(task.loaded.parameters()).device
    generator = Generator().manual_seed(SEED)
    places, part = _places(task, generator)
    level = math.sqrt(sum(sigma**2 for sigma in task.levels) / len(task.levels))

    def denoise(noisy: Tensor) -> Tensor:
        return task.estimate(noisy).clamp(0, 1)

    sums: list[list[np.ndarray]] = [[], [], [], [], []]
    for tile in places:
        noisy = task.noisy(tile.seen, where)
        probe = probes(noisy.cpu(), 1, generator)[0].to(where)
        change = risk.change(denoise, noisy, probe, level)[0, :, *tile.inner].double().cpu().numpy()
        safe = np.moveaxis(safe_in(planes[tile.kept], task.white, margins), 2, 0)
        along = probe[0, :, *tile.inner].cpu().numpy() * change
        for kept, values in zip(
            sums, (safe, along * safe, np.square(change) * safe, ~safe, along * ~safe), strict=True
        ):
            kept.append(values.sum((1, 2)))
    count, divergence, square, others, beyond = (np.sum(values, 0) for values in sums)
    count, others = np.maximum(count, 1), np.maximum(others, 1)
    # Of a ratio of sums over tiles, each a chance sample.
    off = np.array(sums[1]) - np.array(sums[0]) * (divergence / count)
    spread = np.sqrt(np.square(off).sum(0) * (1 - part)) / count
    return divergence / count, square / count, spread, np.maximum(beyond / others, 0)


def _places(task: Task, generator: Generator) -> tuple[list[Tile], float]:
    """The tiles to probe, and what part of the image they are."""
    height, width = task.pixels.shape[:2]
    multiple = getattr(task.model, "multiple", 1)
    if height * width <= LEAST_PROBED or not hasattr(task.model, "reach"):
        return [Tile(*[(slice(0, height), slice(0, width))] * 3)], 1.0
    cut = [*tiles(height, width, SIDE, MARGIN, multiple)]
    pixels = min(max(LEAST_PROBED, SHARE * height * width), MOST_PROBED)
    count = min(math.ceil(pixels / SIDE**2), len(cut))
    chosen = torch.randperm(len(cut), generator=generator)[:count].tolist()
    return [cut[i] for i in chosen], count / len(cut)


def _doubts(task: Task, found: Risk, seen: float, alike: float, estimated: bool) -> Iterator[str]:
    pixels, white = task.pixels, task.white
    if seen < LEAST_SAFE:
        yield f"in {100 * (1 - seen):.0f} % of the picture black or white may have cut the noise off"
    if not estimated:
        looks = noise_level.estimate(pixels, white)
        for level, told in zip(looks, task.channel_levels, strict=True):
            if abs(level - told) > APART * told > 0:
                yield f"the noise looks like sigma {255 * level:.3g}, not {255 * told:.3g}"
                break
    if found.mse < -2 * found.error:
        yield "the error comes out negative: sigma is too high"
    coarse = noise_level.coarseness(pixels, white)
    if coarse > noise_level.COARSE:
        yield f"the noise is correlated: at half the size it is {coarse:.1f} times what white noise would be"
    elif alike > ALIKE:
        yield f"the noise is correlated: neighbours in the residual by {alike:.2f}"
