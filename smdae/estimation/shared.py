"""The correlation rho between the channels of white noise, such as processing of brightness alone leaves.

If channels with levels s_c have noise correlated by rho, the level m of the mean of the C channels obeys

    (C m)^2 = sum_c s_c^2 + rho sum_(c != d) s_c s_d

All levels come from the smallest eigenvalues of patches. The variance of blocks would not do: they hold texture too,
which is correlated between channels whatever the noise is.
"""

from collections.abc import Sequence

import numpy as np

from smdae.estimation import noise_level
from smdae.estimation.scale import Scale

MAX_PATCHES = 20_000  # of the mean of the channels
MIN_CORRELATION = 0.35  # smaller ones may be due to texture


def correlation_of_channels(
    planes: np.ndarray,
    levels: Sequence[noise_level.Level],
    scale: Scale,
    valid: np.ndarray | None,
    clipped: bool,
) -> tuple[tuple[float, ...], ...] | None:
    """Return the correlation of the channels of white noise, (C, C), the same for all pairs; None if there is none.

    It is None too for a single channel, and if a channel has no noise.

    Args:
        planes: The picture, with shape (H, W, C).
        levels: Level of each channel.
        scale: The scale of its values.
        valid: Which pixels count, with shape (H, W); None for all.
        clipped: Whether the noise may be clipped at black and white.
    """
    count = planes.shape[2]
    sigmas = np.array([level.sigma for level in levels])
    if count == 1 or not sigmas.all():
        return None
    mean = scale.to_unit(planes).mean(2)
    (of_mean,) = noise_level.levels(mean, 1.0, MAX_PATCHES, valid, clipped, rounding=0.0)
    own = float(np.square(sigmas).sum())
    rho = ((count * of_mean.sigma) ** 2 - own) / (sigmas.sum() ** 2 - own)
    if rho < MIN_CORRELATION:
        return None
    rho = min(rho, 1.0)
    return tuple(tuple(1.0 if c == d else rho for d in range(count)) for c in range(count))
