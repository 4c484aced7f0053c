"""The linear Wiener filter as a score model: the baseline that any fitted model has to beat.

    psi(x) = (C + sigma^2 I)^-1 (m - P x),    r(x) = x + sigma^2 psi(x)

the score of the Gaussian that has the patches' mean m and covariance C, smoothed to the level sigma; P takes out the
free means, as in the energy model.
"""

from collections.abc import Callable

import torch
from torch import Tensor


class Wiener:
    """The Wiener filter of a set of patches.

    Args:
        patches: Clean patches, with shape (n, d), centred.
        level: Level of the noise, in the unit of the patches.
        centre: Takes out the free means, (B, d) to (B, d).
    """

    channels = None  # a patch has any number of channels, one after the other

    def __init__(self, patches: Tensor, level: float, centre: Callable[[Tensor], Tensor] = lambda x: x) -> None:
        self.level, self.noise_range, self.centre = level, (level, level), centre
        self.mean = patches.mean(0)
        residual = patches - self.mean
        variance, axes = torch.linalg.eigh((residual.T @ residual / len(patches)).double())
        self.variance, self.axes = variance.clamp(min=0).to(patches.dtype), axes.to(patches.dtype)

    def score(self, x: Tensor, sigma: float | None = None) -> Tensor:
        """Return psi(x), with shape (B, d), for x with shape (B, d), at the level sigma; None is the filter's own."""
        s = self.level if sigma is None else sigma
        found: Tensor = ((self.mean - self.centre(x)) @ self.axes / (self.variance + s**2)) @ self.axes.T
        return found
