"""Counts of few photons: pictures whose values are whole multiples of one step.

    y = black + step k,   k ~ Poisson(n)     so     var y = step (E y - black)

Where the counts are few, values of black are frequent. They are not noise clipped at black, so dark blocks are used
like all others.
"""

import math

import numpy as np

from smdae.curves import Affine
from smdae.estimation.blocks import Blocks
from smdae.estimation.curve import Bins, bins_of
from smdae.estimation.scale import Scale

MIN_VALUES, MAX_VALUES = 3, 256  # different values of a channel
MAX_SAMPLE = 1 << 18  # pixels in which the values are counted
MAX_GAP = 1.5  # over the median gap between neighbouring values: longer ones are not one step
MAX_OFF_STEP = 0.15  # in steps: how far a value may be from a multiple, and half a gray level if it was rounded,
MAX_OFF_ROUNDED = 0.45  # but never more than this
FEW, MIN_SHARE_OF_FEW = 4.0, 0.1  # a mean count, and the least share of the blocks with a smaller one
MAX_MISFIT = 0.12  # mean of |log(variance / expected variance)| over the bins


def few_counts(planes: np.ndarray, blocks: Blocks, scale: Scale) -> tuple[Affine, ...] | None:
    """Return the noise of each channel, white being 1, if all channels hold counts of few photons, else None.

    Args:
        planes: The picture, with shape (H, W, C).
        blocks: The blocks of the picture.
        scale: The scale of its values.
    """
    found = [_of_channel(planes[:, :, c], blocks, c, scale) for c in range(planes.shape[2])]
    known = [one for one in found if one is not None]
    return tuple(known) if len(known) == len(found) else None


def _of_channel(plane: np.ndarray, blocks: Blocks, c: int, scale: Scale) -> Affine | None:
    some = plane.reshape(-1)
    values = np.unique(some[:: max(1, some.size // MAX_SAMPLE)]).astype(float)
    if scale.clip is not None:
        values = values[values < scale.clip[1]]  # a clipped value need not be a multiple of the step
    if not MIN_VALUES <= len(values) <= MAX_VALUES:
        return None
    step = _step(values)
    bins = bins_of(blocks, c, blocks.detail[:, c], blocks.usable(c, math.inf)) if step else None
    if bins is None:
        return None
    gain = step / scale.span
    blacks = [(value - scale.black) / scale.span for value in {0.0, values[0]}]
    misfit, black = min((_misfit(bins, gain, black), black) for black in blacks)
    few = float(bins.share[bins.at < black + FEW * gain].sum())
    return Affine(gain=gain, black=black) if misfit < MAX_MISFIT and few > MIN_SHARE_OF_FEW else None


def _step(values: np.ndarray) -> float:
    """Return the step between values, increasing, (n,), all distances being multiples of it; 0 if there is none."""
    apart = np.diff(values)
    step = float(apart[apart < MAX_GAP * np.median(apart)].mean())  # among rare bright values some are missing
    count = np.concatenate([[0.0], np.cumsum(np.rint(apart / step))])
    step = float(count @ (values - values[0]) / (count @ count))
    off = np.abs(values - values[0] - step * count)
    rounded = 0.5 if step > 1 and (values == np.rint(values)).all() else 0.0
    return step if off.max() <= min(MAX_OFF_STEP * step + rounded, MAX_OFF_ROUNDED * step) else 0.0


def _misfit(bins: Bins, gain: float, black: float) -> float:
    """Return the mean of |log(variance / (gain (mean - black)))| over bins; infinity if a bin is not above black."""
    expected = gain * (bins.at - black)
    if (expected <= 0).any():
        return float("inf")
    return float(np.average(np.abs(np.log(bins.variance / expected)), weights=bins.share))
