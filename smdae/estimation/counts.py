"""Counts of few photons: values one step apart, whose variance is that step times their mean.

    y = black + step k,   k ~ Poisson(n)     so     var y = step (E y - black)

Where n is small zeros are frequent, and are no noise that black has cut off: all blocks tell, dark ones too.
"""

import math

import numpy as np

from smdae.curves import Affine
from smdae.estimation.blocks import Blocks
from smdae.estimation.curve import Bins, bins_of
from smdae.estimation.scale import Scale

__all__ = ["few_counts"]

MOST_VALUES = 256
SAMPLE = 1 << 18  # pixels in which values are looked for
UNEVEN = 0.15  # of a step, and half a gray level for what was rounded, that values are off a multiple
FEW, FEW_SHARE = 4.0, 0.1  # mean counts, and the part of the blocks that have fewer
MAX_MISFIT = 0.12  # of the variance, as the mean of its logarithm's deviation


def few_counts(planes: np.ndarray, blocks: Blocks, scale: Scale) -> tuple[Affine, ...] | None:
    """Return the noise of each channel, white being 1, where they hold counts of few photons; None where one does not.

    Args:
        planes: The picture, with shape (H, W, C).
        blocks: Of it.
        scale: What its values mean.
    """
    found = [_of_channel(planes[:, :, c], blocks, c, scale) for c in range(planes.shape[2])]
    known = [one for one in found if one is not None]
    return tuple(known) if len(known) == len(found) else None


def _of_channel(plane: np.ndarray, blocks: Blocks, c: int, scale: Scale) -> Affine | None:
    some = plane.reshape(-1)
    values = np.unique(some[:: max(1, some.size // SAMPLE)]).astype(float)
    if scale.clip is not None:
        values = values[values < scale.clip[1]]  # what was cut off there lies between two steps
    if not 3 <= len(values) <= MOST_VALUES:
        return None
    step = _step(values)
    bins = bins_of(blocks, c, blocks.detail[:, c], blocks.usable(c, math.inf)) if step else None
    if bins is None:
        return None
    gain = step / scale.span
    blacks = [(value - scale.black) / scale.span for value in {0.0, values[0]}]
    misfit, black = min((_misfit(bins, gain, black), black) for black in blacks)
    few = float(bins.share[bins.at < black + FEW * gain].sum())
    return Affine(gain=gain, black=black) if misfit < MAX_MISFIT and few > FEW_SHARE else None


def _step(values: np.ndarray) -> float:
    """Return the step that values, (n,), lie whole numbers of steps apart; 0 if there is none."""
    apart = np.diff(values)
    step = float(apart[apart < 1.5 * np.median(apart)].mean())  # rare values at the end may be further apart
    count = np.concatenate([[0.0], np.cumsum(np.rint(apart / step))])
    step = float(count @ (values - values[0]) / (count @ count))
    off = np.abs(values - values[0] - step * count)
    rounded = 0.5 if step > 1 and (values == np.rint(values)).all() else 0.0
    return step if off.max() <= min(UNEVEN * step + rounded, 0.45 * step) else 0.0


def _misfit(bins: Bins, gain: float, black: float) -> float:
    """Return how far the variance is from the gain times the mean."""
    expected = gain * (bins.at - black)
    if (expected <= 0).any():
        return float("inf")
    return float(np.average(np.abs(np.log(bins.variance / expected)), weights=bins.share))
