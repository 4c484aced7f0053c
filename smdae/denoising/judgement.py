"""The quality of a result estimated without the clean image, and what makes the estimate doubtful.

The error is Stein's estimate, see `sure`, for noise of covariance C(x) taken at the result:

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
nine in ten photographs at one that is 20 % off. Of a level that was estimated no figure is told where the left side is
the larger: there is more noise than that, as where parts of a picture have another. A figure is told only where nothing
speaks against it and its standard error is a decibel or less.

PSNR is that of a result clipped to black and white, as everywhere.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from smdae.denoising import sure
from smdae.denoising.precision import exact
from smdae.denoising.probing import probe_jacobian
from smdae.denoising.sure import Risk
from smdae.denoising.task import Task
from smdae.denoising.unclipped import clamped, counting_in, margins_of, safe_where, totals
from smdae.estimation import noise_level

__all__ = ["Judgement", "judge"]

MIN_NUMBERS = 100  # numbers, whose mean square is uncertain by 14 %: a figure would be by more than MAX_ERROR
MIN_SAFE_SHARE = 0.3  # the part of the pixels that must be so
BELIEF_ERROR = 0.3  # standard error of what a model believes of its error, as a part of it
MAX_SIGMA_MISMATCH = 0.2  # how far the level given may be from the one estimated
MAX_IMBALANCE = 0.06  # of |r|^2 / d + sigma^2 div D / d and sigma^2, as a part of it, before more is looked at
MAX_NEIGHBOUR_CORRELATION = 0.08  # correlation of neighbours in the residual, beyond which it holds more than noise
MAX_ERROR = 1.0  # dB, of a figure that is told
TOO_FEW = "too few pixels tell of it"
BAND_PIXELS = 1 << 20  # pixels held at once


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
        """Return the figure in words."""
        return f"{self.psnr:.1f} +- {max(self.error, 0.1):.1f} dB"

    def better_by(self, gain: float) -> "Judgement":
        """Return the judgement of a result that is better by so many dB."""
        return replace(self, psnr=self.psnr + gain, gain=gain)


def judge(task: Task, result: np.ndarray, level_error: float = 0.0) -> Judgement:
    """Estimate the PSNR of a result of `denoise` without the clean image, and list what makes the estimate doubtful.

    Args:
        task: What was to be done; there is noise in its image.
        result: What came of it, with the shape of the task's image.
        level_error: Relative standard error of the level of its noise; 0 if it was given.
    """
    if level_error and (task.noise.kind == "grain" or task.noise.channels is not None):
        # What its level is off by would be of the size of the error itself: not worth the passes.
        return Judgement(math.nan, math.inf, ("the level of correlated noise is not known well enough",))
    if result.size < MIN_NUMBERS:
        return Judgement(math.nan, math.inf, (TOO_FEW,))
    planes = result[:, :, None] if result.ndim == 2 else result
    margins = margins_of(task)
    counts, counting, removed, variance, alike = _residual(task, planes, margins)
    if not counts.any() or not variance.any():
        return Judgement(math.nan, math.inf, (TOO_FEW,))
    with exact():
        probed = probe_jacobian(task, planes, margins, removed)
    risks, shared = [], []
    imbalances = []
    few = float(np.square(_signed(task.noise.grain)).sum())  # pixels that count as one
    for c, power in enumerate(variance.tolist()):
        if power == 0:  # nothing was taken out, and nothing is wrong
            risks.append(Risk(0.0, 0.0, 0.0))
            shared.append(0.0)
            continue
        sigma = math.sqrt(power)
        trace, square, spread, others = (float(values[c]) for values in probed)
        divergence = trace / power
        imbalances.append(float(removed[c]) / power + divergence - 1)
        pixels = max(int(counts[c] / few), 1)
        found = sure.of_means(pixels, float(removed[c]), divergence, square / power, sigma)
        found = replace(found, error=math.hypot(found.error, 2 * spread))
        share = float(counts[c]) / max(counting / len(variance), 1.0)
        risks.append(_joined(found, others, share))
        shared.append(share * (2 * power - 4 * trace) * level_error)
    whole = sure.mean(risks)
    # What is wrong with an estimated level is wrong with it in all channels alike.
    whole = replace(whole, error=math.hypot(whole.error, sum(shared) / len(shared)))
    seen = float(counts.sum() / max(counting, 1.0))
    doubts = tuple(_doubts(task, whole, seen, alike, level_error > 0, imbalances))
    return Judgement(whole.psnr(), whole.psnr_error, doubts)


def _signed(grain: tuple[tuple[float, ...], ...]) -> np.ndarray:
    """Return a correlation at the lags from 0 on as one at lags of either sign."""
    rho = np.array(grain)
    rho = np.concatenate([rho[:0:-1], rho])
    return np.concatenate([rho[:, :0:-1], rho], 1)


def _joined(safe: Risk, beyond: float, share: float) -> Risk:
    """Return the risk of all pixels: a share is safe, the others have a mean squared error of `beyond`."""
    rest = (1 - share) * beyond
    return Risk(share * safe.mse + rest, math.hypot(share * safe.error, BELIEF_ERROR * rest), safe.level)


def _residual(
    task: Task, planes: np.ndarray, margins: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray, np.ndarray, float]:
    """Measure the residual r = D(y) - y of the image.

    Returns:
        How many pixels are safe in each channel, and how many count in all; the mean r^2 and the noise variance of the
        safe ones, in each channel; and the correlation of neighbours in r.
    """
    where = next(task.loaded.parameters()).device
    height, width = planes.shape[:2]
    band = max(2, BAND_PIXELS // width)
    sums = torch.zeros(7, 1, planes.shape[2], dtype=torch.float64, device=where)
    for top in range(0, height, band):
        rows = slice(top, min(top + band, height))
        shown, noisy = (task.scaled(pixels[None, rows], where) for pixels in (planes, task.planes))
        counting = counting_in(task, rows, slice(None), where)
        counts = safe_where(shown, margins) & counting
        shown = clamped(task, shown)
        r = (shown - noisy) * counting
        square = r.square()
        # One sum for all bands: what each left would lie between the blocks that the next could take.
        sums += torch.stack(
            [
                totals(counts),
                totals(counting),
                totals(square * counts),
                totals(task.noise.sd(shown).square() * counts),
                totals(square),
                totals(r[..., 1:] * r[..., :-1]),
                totals(r[:, :, 1:] * r[:, :, :-1]),
            ]
        )
    count, all_counting, counted, variance, power, beside, below = sums.sum(1).cpu().numpy()
    known = np.maximum(count, 1)
    neighbours = float(min(beside.sum(), below.sum()) / max(power.sum(), 1e-30))
    return count, float(all_counting.sum()), counted / known, variance / known, neighbours


def _doubts(
    task: Task, found: Risk, seen: float, alike: float, estimated: bool, imbalances: list[float]
) -> Iterator[str]:
    pixels = task.pixels
    if seen < MIN_SAFE_SHARE:
        yield f"in {100 * (1 - seen):.0f} % of the picture black or white may have cut the noise off"
    if found.mse < -2 * found.error:
        yield "the error comes out negative: sigma is too high"
    if task.noise.kind == "white":
        yield from _doubts_of_white(task, pixels, alike, estimated, imbalances)
    if found.psnr_error > MAX_ERROR:
        yield f"its standard error would be {found.psnr_error:.1f} dB"


def _doubts_of_white(
    task: Task, pixels: np.ndarray, alike: float, estimated: bool, imbalances: list[float]
) -> Iterator[str]:
    """Yield the reasons, in words, to doubt that the noise was white and of the level that was taken out."""
    if estimated and max(imbalances) > MAX_IMBALANCE:
        yield "more was taken out than noise of the level that was found: in a part of the picture there is other noise"
    coarse = 1.0
    odd = max(map(abs, imbalances)) > MAX_IMBALANCE
    if odd and not estimated and not task.scale.black:
        looks = noise_level.estimate(pixels, task.scale.span)
        for level, told in zip(looks, task.noise.levels * len(looks), strict=False):
            if abs(level - told) > MAX_SIGMA_MISMATCH * told > 0:
                yield f"the noise looks like sigma {255 * level:.3g}, not {255 * told:.3g}"
                break
        coarse = noise_level.coarseness(pixels, task.scale.span)
    if coarse > noise_level.COARSE:
        yield f"the noise is correlated: at half the size it is {coarse:.1f} times what white noise would be"
    elif alike > MAX_NEIGHBOUR_CORRELATION:
        yield f"the noise is correlated: neighbours in the residual by {alike:.2f}"
