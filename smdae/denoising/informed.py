"""A network that takes the noise model, told of the noise of one picture.

    psi(y) = (D(y, sigma, noise) - y) / sigma^2

One pass, whatever the noise is. What the network sees of the noise is in `conditioning`; the level at a pixel is that
at the mean brightness around it.
"""

import copy
from typing import Any

from torch import Tensor

from smdae.models.conditioning import SMOOTHED, Conditioning
from smdae.noise import Noise

__all__ = ["Informed"]


class Informed:
    """A score model for one noise.

    Args:
        model: A network that takes noise.
        noise: White being 1.
    """

    def __init__(self, model: Any, noise: Noise) -> None:
        self.model, self.noise = model, noise
        self.channels, self.level, self.levels = model.channels, model.level, model.levels
        self.multiple, self.footprint = model.multiple, model.footprint
        self.reach = -(-(model.reach + SMOOTHED // 2) // model.multiple) * model.multiple

    def on(self, model: Any) -> "Informed":
        """Return the same with another form of the model, such as one with other products."""
        same = copy.copy(self)
        same.model = model
        return same

    def score(self, y: Tensor, sigma: float) -> Tensor:
        """Return psi(y), with the shape of y, (B, C, H, W); sigma is the unit in which the noise is told."""
        return self.model.conditioned(Conditioning.of(self.noise, y, sigma)).score(y, sigma=sigma)
