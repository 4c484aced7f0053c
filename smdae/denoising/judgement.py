"""Estimate the quality of a result without the clean image, and list reasons to doubt the estimate.

The error is Stein's estimate (see `sure`) for noise of covariance C(x), taken at the result:

    MSE = (|D(y) - y|^2 + 2 tr(C dD/dy) - tr C) / d,    tr(C dD/dy) = E w' (dD/dy) w,   w = S K v,   v = +-1

The residual is summed over the whole image; the trace over all of a small image, and over random tiles of a large one.
If the noise level was estimated, its standard error adds to that of the MSE through

    d MSE / d log sigma = 2 (2 tr(C dD/dy) - tr C) / d.

Correlation between neighbours reduces the number of independent pixels by the sum of the squared correlations.

Stein's estimate assumes normal noise of the given covariance. Nearly all stored pictures are clipped, so it is taken
over the safe pixels only, whose result is two sigma or more from black and white; the error of the others is taken to
be the model's own posterior variance sigma^2 dD_i/dy_i. The doubts are signs that the assumption fails: too few safe
pixels, a noise level that the image does not have, or a residual whose neighbours are correlated where the noise is
white.

Checking a given level means estimating the level, which takes as long as denoising. So it is done only if the balance

    |D(y) - y|^2 / d + sigma^2 div D / d = sigma^2,

which holds for the posterior mean, does not come out. For the bundled networks it holds within 5 % at the right level,
and is off by 9 % or more for nine photographs in ten at a level that is 20 % off. If the level was estimated and the
left side is larger, some part of the picture has more noise than was found, and that is a doubt too. So is a level in
the middle of one of its quarters that is more than 1.75 times the level found. Of 123 photographs with noise of sigma
15, 25 or 50 no quarter had more than 1.5 times the level of all; with sigma 5 one in twenty had more than 1.78 times.

The estimate is shown only if there is no doubt and its standard error is at most 1 dB. The PSNR is that of the result
clipped to black and white, as everywhere.
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
from smdae.denoising.unclipped import clamped, margins_of, safe_where, totals, valid_in
from smdae.estimation import noise_level
from smdae.estimation.coarseness import MAX_COARSENESS_OF_WHITE, coarseness

MIN_NUMBERS = 100  # values: the mean square of fewer has a relative error above 14 %, and the PSNR one above MAX_ERROR
MIN_SAFE_SHARE = 0.3  # of the pixels
VARIANCE_ERROR = 0.3  # relative standard error of the posterior variance as an estimate of the squared error
MAX_IMBALANCE = 0.06  # relative difference of the two sides of the balance above, beyond which the level is checked
PART, MAX_LEVEL_OF_PART = 96, 1.75  # pixels a side of the middle of a quarter, and its level over that of the picture
MAX_NEIGHBOUR_CORRELATION = 0.08  # correlation of neighbours in the residual, beyond which it holds more than noise
MAX_ERROR = 1.0  # dB, standard error of an estimate that is shown
MAX_SHOWN_ERROR = 10.0  # dB; a larger one is only said to be over that
TOO_FEW = "too few pixels can be used"
BAND_PIXELS = 1 << 20  # pixels of the image processed at once


@dataclass(frozen=True)
class Judgement:
    """The estimated quality of a result.

    Attributes:
        psnr: The estimated PSNR in dB.
        error: Its standard error in dB.
        doubts: Reasons why it may be wrong, a few words each; empty if there are none.
        gain: Estimated gain of adapting the model, in dB; None if that was not tried.
        gain_error: Its standard error in dB.
        transform: Relative fall of the error at hidden pixels from learning the transform of shot noise on the picture,
            0 if the learnt transform was rejected; None if that was not tried.
    """

    psnr: float
    error: float
    doubts: tuple[str, ...]
    gain: float | None = None
    transform: float | None = None
    gain_error: float = 0.0

    @property
    def is_trusted(self) -> bool:
        """Return whether the estimate may be shown: there are no doubts."""
        return not self.doubts

    @property
    def text(self) -> str:
        """Return the estimate as text, such as "31.2 +- 0.1 dB", with an error of 0.1 dB or more."""
        return f"{self.psnr:.1f} +- {max(self.error, 0.1):.1f} dB"

    @property
    def is_gain_known(self) -> bool:
        """Return whether the gain may be shown."""
        return self.gain is not None and self.gain_error <= MAX_ERROR

    def better_by(self, gain: float, error: float = 0.0) -> "Judgement":
        """Return this judgement with the PSNR raised by `gain`, in dB, the gain of adapting the model.

        `error` is the standard error of `gain`. The errors of both add as squares; a doubt is added where their total
        exceeds MAX_ERROR and the error before did not.
        """
        total = math.hypot(self.error, error)
        doubts = self.doubts
        if total > MAX_ERROR >= self.error:
            doubts = (*doubts, _of_error(total))
        return replace(self, psnr=self.psnr + gain, error=total, doubts=doubts, gain=gain, gain_error=error)


def _of_error(error: float) -> str:
    """Return the doubt about an estimate whose standard error, in dB, is too large."""
    shown = f"{error:.1f}" if error < MAX_SHOWN_ERROR else f"over {MAX_SHOWN_ERROR:.0f}"
    return f"its standard error would be {shown} dB"


def judge(task: Task, result: np.ndarray, level_error: float = 0.0) -> Judgement:
    """Return the PSNR of the result of a task, estimated without the clean image, and reasons to doubt that.

    Where it cannot be estimated, it is NaN with an infinite error, and one doubt says why.

    Args:
        task: The task; its image has noise.
        result: The result, with the shape of the task's image.
        level_error: Relative standard error of the level, if that was estimated from this image; 0 if it was given.
            Noise that was estimated from another image has an error of its own.
    """
    is_estimated = level_error > 0
    level_error = level_error or task.noise.level_error
    is_unknown = task.noise.blotches is not None  # the trace is taken for the other noise alone
    if is_unknown or (level_error and (task.noise.kind == "grain" or task.noise.channels is not None)):
        # The uncertainty of the level would be as large as the error itself.
        return Judgement(math.nan, math.inf, ("the correlation of the noise or its level is not known well enough",))
    if result.size < MIN_NUMBERS:
        return Judgement(math.nan, math.inf, (TOO_FEW,))
    planes = result[:, :, None] if result.ndim == 2 else result
    margins = margins_of(task)
    residual = _residual(task, planes, margins)
    safe, removed, variance = residual.safe, residual.power, residual.variance
    if not safe.any() or not variance.any():
        return Judgement(math.nan, math.inf, (TOO_FEW,))
    with exact():
        traces = probe_jacobian(task, planes, margins, removed)
    risks, level_errors, imbalances = [], [], []
    per_independent = float(np.square(_signed(task.noise.grain)).sum())  # pixels for each independent one
    for c, power in enumerate(variance.tolist()):
        if power == 0:  # a channel without noise, returned as it is
            risks.append(Risk(0.0, 0.0, 0.0))
            level_errors.append(0.0)
            continue
        sigma = math.sqrt(power)
        trace = float(traces.trace[c])
        divergence = trace / power
        imbalances.append(float(removed[c]) / power + divergence - 1)
        pixels = max(int(safe[c] / per_independent), 1)
        risk = sure.of_means(pixels, float(removed[c]), divergence, float(traces.square[c]) / power, sigma)
        risk = replace(risk, error=math.hypot(risk.error, 2 * float(traces.error[c])))
        share = float(safe[c]) / max(residual.valid / len(variance), 1.0)
        risks.append(_over_all(risk, float(traces.unsafe_trace[c]), share))
        level_errors.append(share * (2 * power - 4 * trace) * level_error)
    risk = sure.mean(risks)
    # An error of the level is the same in all channels, so these add up instead of averaging out.
    risk = replace(risk, error=math.hypot(risk.error, sum(level_errors) / len(level_errors)))
    doubts = tuple(_doubts(task, risk, residual, is_estimated, imbalances))
    return Judgement(risk.psnr(), risk.psnr_error, doubts)


def _signed(grain: tuple[tuple[float, ...], ...]) -> np.ndarray:
    """Return a correlation given at lags from 0 on, (h, w), at lags of both signs, (2h - 1, 2w - 1)."""
    rho = np.array(grain)
    rho = np.concatenate([rho[:0:-1], rho])
    return np.concatenate([rho[:, :0:-1], rho], 1)


def _over_all(safe: Risk, unsafe_mse: float, share: float) -> Risk:
    """Return the risk over all pixels, of which a share is safe; the others have the mean squared error given."""
    rest = (1 - share) * unsafe_mse
    return Risk(share * safe.mse + rest, math.hypot(share * safe.error, VARIANCE_ERROR * rest), safe.level)


@dataclass(frozen=True, eq=False)
class _Residual:
    """What is measured of the residual r = D(y) - y of an image.

    Attributes:
        safe: Number of safe pixels in each channel, (C,).
        valid: Number of valid pixels, over all channels.
        power: Mean r^2 of the safe pixels, (C,).
        variance: Mean variance of the noise of the safe pixels, (C,).
        correlation: Correlation of neighbouring pixels in r.
    """

    safe: np.ndarray
    valid: float
    power: np.ndarray
    variance: np.ndarray
    correlation: float

    @property
    def safe_share(self) -> float:
        """Return the share of the valid pixels that are safe."""
        return float(self.safe.sum() / max(self.valid, 1.0))


def _residual(task: Task, planes: np.ndarray, margins: np.ndarray) -> _Residual:
    """Measure the residual of a result, (H, W, C); margins, (2, C), are those of `margins_of`."""
    where = next(task.loaded.parameters()).device
    height, width = planes.shape[:2]
    band = max(2, BAND_PIXELS // width)
    sums = torch.zeros(7, 1, planes.shape[2], dtype=torch.float64, device=where)
    for top in range(0, height, band):
        rows = slice(top, min(top + band, height))
        shown, noisy = (task.scaled(pixels[None, rows], where) for pixels in (planes, task.planes))
        valid = valid_in(task, rows, slice(None), where)
        safe = safe_where(shown, margins) & valid
        shown = clamped(task, shown)
        r = (shown - noisy) * valid
        square = r.square()
        # Added in place: a small tensor kept from each band would fragment the memory that the next band needs.
        sums += torch.stack(
            [
                totals(safe),
                totals(valid),
                totals(square * safe),
                totals(task.noise.sd(shown).square() * safe),
                totals(square),
                totals(r[..., 1:] * r[..., :-1]),
                totals(r[:, :, 1:] * r[:, :, :-1]),
            ]
        )
    safe_count, valid_count, safe_power, variance, power, across, down = sums.sum(1).cpu().numpy()
    correlation = float(min(across.sum(), down.sum()) / max(power.sum(), 1e-30))
    count = np.maximum(safe_count, 1)
    return _Residual(safe_count, float(valid_count.sum()), safe_power / count, variance / count, correlation)


def _doubts(task: Task, risk: Risk, residual: _Residual, is_estimated: bool, imbalances: list[float]) -> Iterator[str]:
    """Yield the reasons, in words, to doubt an estimate of the risk.

    Args:
        task: The task that was carried out.
        risk: The estimate, over all channels.
        residual: Measured on its result.
        is_estimated: Whether the noise level was estimated from this image, not given.
        imbalances: By how much the two sides of the balance differ in each channel with noise, relative to sigma^2.
    """
    if residual.safe_share < MIN_SAFE_SHARE:
        yield f"in {100 * (1 - residual.safe_share):.0f} % of the picture black or white may have cut the noise off"
    is_negative = risk.mse < -2 * risk.error
    if is_negative:
        yield "the error comes out negative: sigma is too high"
    if task.noise.kind == "white":
        yield from _doubts_of_white(task, residual.correlation, is_estimated, imbalances)
    if risk.psnr_error > MAX_ERROR and not is_negative:  # a negative error has no PSNR
        yield _of_error(risk.psnr_error)


def _doubts_of_white(task: Task, correlation: float, is_estimated: bool, imbalances: list[float]) -> Iterator[str]:
    """Yield the reasons, in words, to doubt that the noise was white and of the level that was taken out."""
    pixels = task.pixels
    if is_estimated and max(imbalances) > MAX_IMBALANCE:
        yield "more was taken out than noise of the level that was found: in a part of the picture there is other noise"
    elif is_estimated and (ratio := _level_of_parts(task)) > MAX_LEVEL_OF_PART:
        yield f"in a part of the picture there is other noise, {ratio:.1f} times as strong as that which was found"
    half_size = 1.0
    is_unbalanced = max(map(abs, imbalances)) > MAX_IMBALANCE
    if is_unbalanced and not is_estimated and not task.scale.black:
        estimates = noise_level.estimate(pixels, task.scale.span)
        for level, given in zip(estimates, task.noise.levels * len(estimates), strict=False):
            if abs(level - given) > noise_level.MAX_SIGMA_MISMATCH * given > 0:
                yield f"the noise looks like sigma {255 * level:.3g}, not {255 * given:.3g}"
                break
        half_size = coarseness(pixels, task.scale.span)
    if half_size > MAX_COARSENESS_OF_WHITE:
        yield f"the noise is correlated: at half the size it is {half_size:.1f} times what white noise would be"
    elif correlation > MAX_NEIGHBOUR_CORRELATION:
        yield f"the noise is correlated: neighbours in the residual by {correlation:.2f}"


def _level_of_parts(task: Task) -> float:
    """Return the largest level of white noise in the middle of a quarter of the picture, over the level of the task."""
    pixels, (height, width) = task.pixels, task.pixels.shape[:2]
    ratios = [0.0]
    for top in (height // 4, 3 * height // 4):
        for left in (width // 4, 3 * width // 4):
            rows, columns = (slice(max(0, at - PART // 2), at + PART // 2) for at in (top, left))
            levels = noise_level.estimate(np.ascontiguousarray(pixels[rows, columns]), task.scale.span)
            each = zip(levels, task.noise.levels * len(levels), strict=False)
            ratios += [level / found for level, found in each if found > 0]
    return max(ratios)
