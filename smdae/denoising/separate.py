"""A score model of pictures of several channels, made of one for each: psi(y)_c = psi_c(y_c)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Separate:
    """A score model that applies a model of its own to each channel.

    Args:
        models: The model of each channel, each of pictures with one channel.
    """

    def __init__(self, models: Sequence[Any]) -> None:
        self.models = tuple(models)
        first = self.models[0]
        self.channels = len(self.models)
        self.noise_range = first.noise_range
        halos = [model.halo for model in self.models]
        self.halo = None if None in halos else max(halos)
        self.shift_multiple = max(model.shift_multiple for model in self.models)
        self.bytes_per_pixel = first.bytes_per_pixel

    def score(self, y: Tensor, sigma: float) -> Tensor:
        """Return psi(y, sigma), with the shape of y, (B, C, H, W)."""
        return torch.cat([model.score(y[:, c : c + 1], sigma=sigma) for c, model in enumerate(self.models)], 1)
