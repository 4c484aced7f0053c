"""The correlation of the channels of white noise: they share a part of it, as after work on brightness alone.

Of channels with levels s_c whose noise is correlated by rho, the mean of the C channels has

    (C m)^2 = sum_c s_c^2 + rho sum_(c != d) s_c s_d

and both levels are told by the smallest eigenvalues, which see noise where blocks see texture, and texture is shared by
the channels anyway.
"""

from collections.abc import Sequence

import numpy as np

from smdae.estimation import noise_level
from smdae.estimation.scale import Scale

__all__ = ["correlation_of_channels"]

MOST_PATCHES = 20_000
LEAST = 0.35  # of a correlation: less may be what texture leaves


def correlation_of_channels(
    planes: np.ndarray,
    levels: Sequence[noise_level.Level],
    scale: Scale,
    valid: np.ndarray | None,
    clipped: bool,
) -> tuple[tuple[float, ...], ...] | None:
    """Return the correlation of the channels of white noise, (C, C); None where they hardly share any.

    Args:
        planes: The picture, with shape (H, W, C).
        levels: Of each channel.
        scale: What its values mean.
        valid: Which pixels count, with shape (H, W); None for all.
        clipped: Whether black and white may have cut the noise off.
    """
    count = planes.shape[2]
    sigmas = np.array([level.sigma for level in levels])
    if count == 1 or not sigmas.all():
        return None
    mean = scale.to_unit(planes).mean(2)
    (of_mean,) = noise_level.levels(mean, 1.0, MOST_PATCHES, valid, clipped, rounding=0.0)
    own = float(np.square(sigmas).sum())
    rho = ((count * of_mean.sigma) ** 2 - own) / (sigmas.sum() ** 2 - own)
    if rho < LEAST:
        return None
    rho = min(rho, 1.0)
    return tuple(tuple(1.0 if c == d else rho for d in range(count)) for c in range(count))
