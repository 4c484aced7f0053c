"""Take out noise whose neighbouring pixels are correlated (grain) with a model that knows white noise only.

Correlation falls off within two pixels, so the four sub-pictures y[i::2, j::2] have nearly white noise; but structure
finer than two pixels is lost to them. So there are two estimates of the clean picture, with L the noise level:

    fine    D(y, L)                             keeps texture, and the coarse part of the noise
    coarse  D(z, L_2), where z is the four D(y[i::2, j::2], L) interleaved again and L_2 = 0.45 L; keeps neither

Their difference d = fine - coarse is weighted as by a Wiener filter. With e the local mean of d^2, and e_0 the mean of
d^2 on noise alone,

    x^ = coarse + w d,   w = max(0, 1 - 1.5 e_0 / e)

so d is dropped where it is no larger than noise makes it. e_0 is measured once, on noise drawn from the noise model.

Channels that share noise have more of it in their mean than each has alone. So L is the standard deviation along the
principal direction of the channels: sigma times the root of the largest eigenvalue of their correlation.
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

SECOND_LEVEL = 0.45  # L_2 / L, of the noise that is left after the first pass
NOISE_FACTOR = 1.5  # of e_0: a difference whose local energy is below that is taken for noise
WINDOW = 9  # pixels a side in which the difference is averaged
NOISE_SIDE = 160  # pixels a side of the noise on which e_0 is measured
SEED = 0


def at_half_size(denoise: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
    """Return the four sub-pictures of every second pixel of y, each denoised, interleaved again: (B, C, H, W) as y."""
    result = torch.empty_like(y)
    for i in range(2):
        for j in range(2):
            part = y[:, :, i::2, j::2]
            if min(part.shape[2:]) > 0:
                result[:, :, i::2, j::2] = denoise(part.contiguous())
    return result


def white_level(noise: Noise, sigma: float) -> float:
    """Return the level L at which to call a model of white noise, for noise of level sigma, in sigma's unit.

    It is sigma times the root of the largest eigenvalue of the correlation of the channels; sigma if there is none.
    """
    if noise.channels is None:
        return sigma
    found: float = sigma * float(np.linalg.eigvalsh(np.array(noise.channels))[-1]) ** 0.5
    return found


class Correlated:
    """A score model for grain, made of one for white noise: psi(y) = (x^ - y) / sigma^2.

    Args:
        model: A score model of white noise.
        level: L, white being 1.
        noise_energy: e_0, white being 1.
    """

    def __init__(self, model: Any, level: float, noise_energy: float) -> None:
        self.model, self.level, self.noise_energy = model, level, noise_energy
        self.channels = model.channels
        self.noise_range = model.noise_range
        self.shift_multiple = 2 * model.shift_multiple
        self.halo = widened(model.halo, 3, WINDOW // 2, self.shift_multiple)
        self.bytes_per_pixel = model.bytes_per_pixel

    @classmethod
    def of(cls, model: Any, noise: Noise, level: float, channels: int) -> "Correlated":
        """Return the model for a given noise, with e_0 measured on a sample of that noise from a fixed seed.

        e_0 is the mean square of the difference of the fine and the coarse estimate where there is nothing but noise.

        Args:
            model: A score model of white noise, on the device where it computes.
            noise: The correlated noise, white being 1.
            level: L, the level at which the model is called, white being 1; see `white_level`.
            channels: Number of channels of the pictures.
        """
        where = next(model.parameters()).device
        e = torch.randn(1, channels, NOISE_SIDE, NOISE_SIDE, generator=Generator().manual_seed(SEED))
        y = 0.5 + noise.sigma * noise.correlate(e).to(where)
        with torch.inference_mode():
            fine, coarse = cls(model, level, 0.0).estimates(y)
        margin = NOISE_SIDE // 8
        energy = (fine - coarse)[:, :, margin:-margin, margin:-margin].square().mean().item()
        return cls(model, level, energy)

    def with_model(self, model: Any) -> "Correlated":
        """Return a copy that uses another version of the model, such as one that works by tiles."""
        changed = copy.copy(self)
        changed.model = model
        return changed

    def estimates(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the fine and the coarse estimate of the clean picture, each with the shape of y, (B, C, H, W)."""
        coarse = at_half_size(lambda part: posterior_mean(self.model, part, self.level), y)
        return posterior_mean(self.model, y, self.level), posterior_mean(self.model, coarse, SECOND_LEVEL * self.level)

    def reconstruct(self, y: Tensor) -> Tensor:
        """Return the clean estimate x^, with the shape of y, (B, C, H, W)."""
        fine, coarse = self.estimates(y)
        fine -= coarse
        energy = local_mean(fine.square().mean(1, keepdim=True), WINDOW)  # (B, 1, H, W)
        weight = (1 - NOISE_FACTOR * self.noise_energy / energy.clamp(min=1e-12)).clamp(0, 1)
        return coarse.addcmul_(fine, weight)

    def score(self, y: Tensor, sigma: float) -> Tensor:
        """Return psi(y) = (x^ - y) / sigma^2, with the shape of y."""
        return (self.reconstruct(y) - y) / sigma**2
