"""How good a result is, without the clean image, and what speaks against believing it.

The error is Stein's estimate, see `risk`, for noise of covariance C(x) taken at the result:

    MSE = (|D(y) - y|^2 + 2 tr(C dD/dy) - tr C) / d,    tr(C dD/dy) = E w' (dD/dy) w,   w = S K v,   v = +-1

its residual over the whole image, its trace over all of a small image and over tiles of a large one, drawn at random.
The standard error of the level, where it was estimated, adds to that of the estimate: d MSE / d log sigma = 2 (2 tr(C
dD/dy) - tr C) / d. Where neighbours are correlated there are fewer independent pixels, by the sum of the squared
correlations.

It stands on noise that is normal and as it is told. Where pictures are clipped, as nearly all that are stored are, it
is taken over the pixels whose result is two sigma or more from black and white; of the others the error is what the
model itself believes, the variance sigma^2 dD_i/dy_i of the posterior. Doubts are what shows that the noise is other:
too few such pixels; a level that the image does not have; a residual that is correlated from pixel to pixel where the
noise is not. To see the second takes as long as to denoise, and where a level is given it is looked for only if what
was removed and what the model believes of its error do not add up,

    |D(y) - y|^2 / d + sigma^2 div D / d = sigma^2,

which holds for the posterior mean: for the bundled networks within 5 % at the right level, and off by 9 % or more for
nine in ten photographs at one that is 20 % off. A figure is told only where nothing speaks against it and its standard
error is a decibel or less.

PSNR is that of a result clipped to black and white, as everywhere.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from smdae.denoising import risk
from smdae.denoising.precision import exact
from smdae.denoising.risk import Risk
from smdae.denoising.task import Task
from smdae.denoising.tiles import MOST_BYTES, Tile
from smdae.divergence import probes
from smdae.estimation import noise_level
from smdae.estimation.scale import Scale
from smdae.models.borders import rounded_up

__all__ = ["SAFE", "Judgement", "judge", "margins_of", "safe_in", "safe_where"]

SMALL = 1 << 18  # pixels of an image that is probed everywhere
SHARE = 0.03  # of a larger one that is, in pixels at least and at most
LEAST_PROBED, MOST_PROBED = 1 << 15, 1 << 19
SIDE, MARGIN = 32, 8  # of the tiles that are probed, in pixels; with their margins they are seen
WIDE_SIDE, WIDE_MARGIN = 160, 48  # likewise, where correlated noise is taken out
LEAST_TELLING = 100  # numbers, whose mean square is uncertain by 14 %: a figure would be by more than MAX_ERROR
SAFE = 2.0  # sigma from black and white, within which noise is hardly ever cut off
LEAST_SAFE = 0.3  # the part of the pixels that must be so
BELIEF = 0.3  # standard error of what a model believes of its error, as a part of it
APART = 0.2  # how far the level given may be from the one estimated
ODD = 0.06  # how far |r|^2 / d + sigma^2 div D / d may be from sigma^2, as a part of it, before more is looked at
ALIKE_SIDE = 5  # pixels a side around a pixel that noise does not leave alike
ALIKE = 0.08  # correlation of neighbours in the residual, beyond which it holds more than noise
MAX_ERROR = 1.0  # dB, of a figure that is told
TOO_FEW = "too few pixels tell of it"
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
        transform: By what part the error at hidden pixels fell where the transform of shot noise was learnt from the
            picture, 0 if that was not kept; None if it was not tried.
    """

    psnr: float
    error: float
    doubts: tuple[str, ...]
    gain: float | None = None
    transform: float | None = None

    @property
    def is_trusted(self) -> bool:
        """Return whether the figure is to be told."""
        return not self.doubts

    @property
    def text(self) -> str:
        """The figure in words."""
        return f"{self.psnr:.1f} +- {max(self.error, 0.1):.1f} dB"

    def better_by(self, gain: float) -> "Judgement":
        """Return the judgement of a result that is better by so many dB."""
        return replace(self, psnr=self.psnr + gain, gain=gain)


def judge(task: Task, result: np.ndarray, level_error: float = 0.0) -> Judgement:
    """Judge a result of `denoise`.

    Args:
        task: What was to be done; there is noise in its image.
        result: What came of it, with the shape of the task's image.
        level_error: Relative standard error of the level of its noise; 0 if it was given.
    """
    if level_error and (task.noise.kind == "grain" or task.noise.channels is not None):
        # What its level is off by would be of the size of the error itself: not worth the passes.
        return Judgement(math.nan, math.inf, ("the level of correlated noise is not known well enough",))
    if result.size < LEAST_TELLING:
        return Judgement(math.nan, math.inf, (TOO_FEW,))
    planes = result[:, :, None] if result.ndim == 2 else result
    margins = margins_of(task)
    counts, counting, removed, variance, alike = _residual(task, planes, margins)
    if not counts.any() or not variance.any():
        return Judgement(math.nan, math.inf, (TOO_FEW,))
    with exact():
        probed = _probe(task, planes, margins, removed)
    risks, shared = [], []
    odd = False
    few = float(np.square(_signed(task.noise.grain)).sum())  # pixels that count as one
    for c, power in enumerate(variance.tolist()):
        if power == 0:  # nothing was taken out, and nothing is wrong
            risks.append(Risk(0.0, 0.0, 0.0))
            shared.append(0.0)
            continue
        sigma = math.sqrt(power)
        trace, square, spread, others = (float(values[c]) for values in probed)
        divergence = trace / power
        odd |= abs(float(removed[c]) / power + divergence - 1) > ODD
        pixels = max(int(counts[c] / few), 1)
        found = risk.of_means(pixels, float(removed[c]), divergence, square / power, sigma)
        found = replace(found, error=math.hypot(found.error, 2 * spread))
        share = float(counts[c]) / max(counting / len(variance), 1.0)
        risks.append(_joined(found, others, share))
        shared.append(share * (2 * power - 4 * trace) * level_error)
    whole = risk.mean(risks)
    # What is wrong with an estimated level is wrong with it in all channels alike.
    whole = replace(whole, error=math.hypot(whole.error, sum(shared) / len(shared)))
    seen = float(counts.sum() / max(counting, 1.0))
    doubts = tuple(_doubts(task, whole, seen, alike, level_error > 0, odd))
    return Judgement(whole.psnr(), whole.psnr_error, doubts)


def _signed(grain: tuple[tuple[float, ...], ...]) -> np.ndarray:
    """Return a correlation at the lags from 0 on as one at lags of either sign."""
    rho = np.array(grain)
    rho = np.concatenate([rho[:0:-1], rho])
    return np.concatenate([rho[:, :0:-1], rho], 1)


def margins_of(task: Task) -> np.ndarray:
    """Return how far from black and from white a result must lie for noise not to have been cut off, (2, C).

    What black cuts off of shot noise is in its levels already.
    """
    channels = task.planes.shape[2]
    if not task.is_clipped:
        return np.full((2, channels), -np.inf)
    if task.noise.kind == "white":
        sigmas = np.array(task.noise.levels) * np.ones(channels)
        return SAFE * np.stack([sigmas, sigmas])
    white = np.ones((1, 1, channels))
    at_white = SAFE * task.noise.sd_of(white)[0, 0]
    at_black = np.full(channels, -np.inf) if task.noise.kind == "shot" else SAFE * task.noise.sd_of(0 * white)[0, 0]
    return np.stack([at_black, at_white])


def _joined(safe: Risk, beyond: float, share: float) -> Risk:
    """Return the risk of all pixels: a share is safe, the others have a mean squared error of `beyond`."""
    rest = (1 - share) * beyond
    return Risk(share * safe.mse + rest, math.hypot(share * safe.error, BELIEF * rest), safe.level)


def safe_in(planes: np.ndarray, scale: Scale, margins: np.ndarray) -> np.ndarray:
    """Where noise cannot have been cut off: results further than the margins from black and white."""
    values = scale.to_unit(planes)
    return (values >= margins) & (values <= 1 - margins)


def _residual(
    task: Task, planes: np.ndarray, margins: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray, np.ndarray, float]:
    """Return what is left over in the image.

    Returns:
        How many pixels are safe in each channel, and how many count in all; the mean r^2 and the noise variance of the
        safe ones, in each channel; and the correlation of neighbours in r.
    """
    where = next(task.loaded.parameters()).device
    height, width = planes.shape[:2]
    band = max(2, BAND // width)
    sums = torch.zeros(7, 1, planes.shape[2], dtype=torch.float64, device=where)
    for top in range(0, height, band):
        rows = slice(top, min(top + band, height))
        shown, noisy = (task.scaled(pixels[None, rows], where) for pixels in (planes, task.planes))
        counting = _counting(task, rows, slice(None), where)
        counts = safe_where(shown, margins) & counting
        shown = _clamped(task, shown)
        r = (shown - noisy) * counting
        square = r.square()
        # One sum for all bands: what each left would lie between the blocks that the next could take.
        sums += torch.stack(
            [
                _total(counts),
                _total(counting),
                _total(square * counts),
                _total(task.noise.sd(shown).square() * counts),
                _total(square),
                _total(r[..., 1:] * r[..., :-1]),
                _total(r[:, :, 1:] * r[:, :, :-1]),
            ]
        )
    count, all_counting, counted, variance, power, beside, below = sums.sum(1).cpu().numpy()
    known = np.maximum(count, 1)
    neighbours = float(min(beside.sum(), below.sum()) / max(power.sum(), 1e-30))
    return count, float(all_counting.sum()), counted / known, variance / known, neighbours


def _clamped(task: Task, shown: Tensor) -> Tensor:
    """Results as PSNR takes them: between black and white where the picture has a usual white."""
    return shown.clamp(0, 1) if task.scale.standard else shown


def _counting(task: Task, rows: slice, columns: slice, where: torch.device) -> Tensor:
    """Return where pixels of a part count, (1, C, h, w): not those with exactly alike neighbours, as in pasted bars."""
    part = torch.from_numpy(np.ascontiguousarray(task.planes[rows, columns]).astype(np.float32)).permute(2, 0, 1)[None]
    spread = F.max_pool2d(part, ALIKE_SIDE, 1, ALIKE_SIDE // 2) + F.max_pool2d(-part, ALIKE_SIDE, 1, ALIKE_SIDE // 2)
    counts = spread > 0
    if task.prepared.valid is not None:
        counts &= torch.from_numpy(np.ascontiguousarray(task.prepared.valid[rows, columns]))
    return counts.to(where)


def safe_where(shown: Tensor, margins: np.ndarray) -> Tensor:
    """Return where results, (n, C, h, w), white being 1, are further than margins, (2, C), from black and white."""
    low, high = torch.from_numpy(margins.astype(np.float32))[:, :, None, None].to(shown.device)
    return (shown >= low) & (shown <= 1 - high)


def _total(values: Tensor) -> Tensor:
    """Return the sums of images, (n, C, h, w), with shape (n, C)."""
    return values.sum((2, 3), dtype=torch.float64)


def _probe(task: Task, planes: np.ndarray, margins: np.ndarray, removed: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return what probes tell of the Jacobian of the result.

    Where more was removed there is less of the trace, and what was removed, r^2, is known of all of the image: by how
    far the mean of the tiles is off, that of the trace is off in proportion (the regression estimator of surveys).

    Returns:
        In each channel, tr(C J) / d and |J w|^2 / d where it is safe; the standard error of the first, as that of a
        sample of tiles; and tr(C J) / d elsewhere.
    """
    where = next(task.loaded.parameters()).device
    generator = Generator().manual_seed(SEED)
    places, part = _places(task, generator)
    sums = []
    for together in _batches(task, places):
        noisy, shown = (
            task.scaled(np.stack([pixels[tile.seen] for tile in together]), where) for pixels in (task.planes, planes)
        )
        v = probes(torch.empty(noisy.shape), 1, generator)[0].to(where)
        probe = task.noise.sd(_clamped(task, shown)) * task.noise.correlate(v)
        inner = np.zeros((len(together), 1, *noisy.shape[2:]), bool)
        for k, tile in enumerate(together):
            inner[k, 0, *tile.inner] = True
        moved = risk.STEP * probe
        either = _clamped(task, task.estimate(torch.cat([noisy + moved, noisy - moved])))
        change = (either[: len(noisy)] - either[len(noisy) :]) / (2 * risk.STEP)
        inside = torch.from_numpy(inner).to(where)
        counting = torch.cat([_counting(task, *tile.seen, where) for tile in together])
        inside = inside & counting
        safe = safe_where(shown, margins)
        square = (_clamped(task, shown) - noisy).square()
        here, there, along = safe & inside, ~safe & inside, probe * change
        values = (here, along * here, change.square() * here, there, along * there, square * here)
        sums.append(torch.stack([_total(value) for value in values]))
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


def _places(task: Task, generator: Generator) -> tuple[list[Tile], float]:
    """Return the tiles to probe, all of one size so that they go together, and what part of the image they are.

    A tile at the border of the image sees more on its other side, and none sees further than that matters.
    """
    height, width = task.pixels.shape[:2]
    multiple, halo = task.model.shift_multiple, task.model.halo
    if height * width <= SMALL or halo is None:
        return [Tile(*[(slice(0, height), slice(0, width))] * 3)], 1.0
    side, most = (WIDE_SIDE, WIDE_MARGIN) if task.is_wide else (SIDE, MARGIN)
    margin = min(most, rounded_up(halo, multiple))

    def cut(length: int) -> Iterator[tuple[slice, slice, slice]]:
        size = min(side + 2 * margin, length)
        for start in range(0, length - side // 2, side):
            low = max(0, min(start - margin, length - size)) // multiple * multiple
            stop = min(start + side, low + size)
            yield slice(start, stop), slice(low, low + size), slice(start - low, stop - low)

    every = list(product(cut(height), cut(width)))
    pixels = min(max(LEAST_PROBED, SHARE * height * width), MOST_PROBED)
    count = min(math.ceil(pixels / side**2), len(every))
    chosen = torch.randperm(len(every), generator=generator)[:count].tolist()
    return [Tile(*zip(*every[i], strict=True)) for i in chosen], count / len(every)


def _batches(task: Task, places: list[Tile]) -> Iterator[list[Tile]]:
    """Yield the tiles, so many at once as a tile of an image may take memory."""
    rows, columns = places[0].seen
    takes = 2 * (rows.stop - rows.start) * (columns.stop - columns.start) * task.model.bytes_per_pixel
    at_once = max(1, MOST_BYTES // takes)
    for first in range(0, len(places), at_once):
        yield places[first : first + at_once]


def _doubts(task: Task, found: Risk, seen: float, alike: float, estimated: bool, odd: bool) -> Iterator[str]:
    pixels = task.pixels
    if seen < LEAST_SAFE:
        yield f"in {100 * (1 - seen):.0f} % of the picture black or white may have cut the noise off"
    if found.mse < -2 * found.error:
        yield "the error comes out negative: sigma is too high"
    if task.noise.kind == "white":
        yield from _doubts_of_white(task, pixels, alike, estimated, odd)
    if found.psnr_error > MAX_ERROR:
        yield f"its standard error would be {found.psnr_error:.1f} dB"


def _doubts_of_white(task: Task, pixels: np.ndarray, alike: float, estimated: bool, odd: bool) -> Iterator[str]:
    """Yield what speaks against white noise of the level that was taken out."""
    coarse = 1.0
    if odd and not estimated and not task.scale.black:
        looks = noise_level.estimate(pixels, task.scale.span)
        for level, told in zip(looks, task.noise.levels * len(looks), strict=False):
            if abs(level - told) > APART * told > 0:
                yield f"the noise looks like sigma {255 * level:.3g}, not {255 * told:.3g}"
                break
        coarse = noise_level.coarseness(pixels, task.scale.span)
    if coarse > noise_level.COARSE:
        yield f"the noise is correlated: at half the size it is {coarse:.1f} times what white noise would be"
    elif alike > ALIKE:
        yield f"the noise is correlated: neighbours in the residual by {alike:.2f}"
