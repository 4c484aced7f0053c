"""Noise whose neighbouring pixels are correlated, taken out by a model that knows white noise only.

The four pictures of every second pixel have noise that is nearly white, as correlation falls off within two pixels, and
structure that is finer than they can show. So there are two estimates of the clean picture, with L the level:

    fine    D(y, L)                             keeps texture, and the coarse part of the noise
    coarse  D(z, L_2), z the four D(y[i::2, j::2], L) put together again, L_2 = 0.45 L    keeps neither

and between them the weight that a Wiener filter gives their difference d: with e the local mean of d^2, and e_0 what
noise alone makes it,

    x^ = coarse + w d,   w = max(0, 1 - 1.5 e_0 / e)

Where d is no more than noise makes it there is nothing but noise in it. e_0 is measured on noise that is drawn from the
noise model, so that it is the same for all of a picture.

Channels that share noise have more of it in their mean than each alone: for one level in all channels, L is that of the
widest direction, sigma times the root of the largest eigenvalue of the channels' correlation.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.models.borders import local_mean
from smdae.noise import Noise
from smdae.protocols import posterior_mean, widened

__all__ = ["Correlated", "at_half_size", "white_level"]

SECOND_LEVEL = 0.45  # of the level, that is left after the first pass
TRUST = 1.5  # times what noise makes of the difference, that is taken to be noise
WINDOW = 9  # pixels a side in which the difference is averaged
NOISE_SIDE = 160  # pixels a side of the noise that is drawn
SEED = 0


def at_half_size(denoise: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
    """Return the results of `denoise` for the four pictures of every second pixel, put together in the shape of y."""
    result = torch.empty_like(y)
    for i in range(2):
        for j in range(2):
            part = y[:, :, i::2, j::2]
            if min(part.shape[2:]) > 0:
                result[:, :, i::2, j::2] = denoise(part.contiguous())
    return result


def white_level(noise: Noise, sigma: float) -> float:
    """Return the level to call a model of white noise with, for noise of level sigma, in sigma's unit."""
    if noise.channels is None:
        return sigma
    return sigma * float(np.linalg.eigvalsh(np.array(noise.channels))[-1]) ** 0.5


class Correlated:
    """A score model for white noise, made one for grain: psi(y) = (x^ - y) / sigma^2.

    Args:
        model: For white noise; pictures are shown to it whole.
        level: L, white being 1.
        noise_energy: e_0, white being 1.
    """

    def __init__(self, model: Any, level: float, noise_energy: float) -> None:
        self.model, self.inner, self.noise_energy = model, level, noise_energy
        self.channels = model.channels
        self.noise_range = model.noise_range
        self.shift_multiple = 2 * model.shift_multiple
        self.halo = widened(model.halo, 3, WINDOW // 2, self.shift_multiple)
        self.bytes_per_pixel = model.bytes_per_pixel

    @classmethod
    def of(cls, model: Any, noise: Noise, level: float, channels: int) -> "Correlated":
        """Return the model for some noise, with e_0 measured on noise that is drawn from it.

        Args:
            model: For white noise, where it computes.
            noise: White being 1.
            level: L.
            channels: Of the pictures.
        """
        where = next(model.parameters()).device
        e = torch.randn(1, channels, NOISE_SIDE, NOISE_SIDE, generator=Generator().manual_seed(SEED))
        y = 0.5 + noise.sigma * noise.correlate(e).to(where)
        drawn = cls(model, level, 0.0)
        with torch.inference_mode():
            fine, coarse = drawn.estimates(y)
        margin = NOISE_SIDE // 8
        energy = (fine - coarse)[:, :, margin:-margin, margin:-margin].square().mean().item()
        return cls(model, level, energy)

    def on(self, model: Any) -> "Correlated":
        """Return the same with another form of the model, such as one that works by tiles."""
        same = copy.copy(self)
        same.model = model
        return same

    def estimates(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the fine and the coarse estimate, each with the shape of y, (B, C, H, W)."""
        coarse = at_half_size(lambda part: posterior_mean(self.model, part, self.inner), y)
        return posterior_mean(self.model, y, self.inner), posterior_mean(self.model, coarse, SECOND_LEVEL * self.inner)

    def reconstruct(self, y: Tensor) -> Tensor:
        """Return x^, with the shape of y, (B, C, H, W)."""
        fine, coarse = self.estimates(y)
        fine -= coarse
        energy = local_mean(fine.square().mean(1, keepdim=True), WINDOW)  # (B, 1, H, W)
        weight = (1 - TRUST * self.noise_energy / energy.clamp(min=1e-12)).clamp(0, 1)
        return coarse.addcmul_(fine, weight)

    def score(self, y: Tensor, sigma: float) -> Tensor:
        """Return psi(y) = (x^ - y) / sigma^2, with the shape of y."""
        return (self.reconstruct(y) - y) / sigma**2
