"""Networks conditioned on the noise model of a picture.

    psi(y) = (D(y, sigma, noise) - y) / sigma^2

`models.conditioning` defines the input that describes the noise; the level at a pixel is that at the mean brightness
around it. Noise that is independent from pixel to pixel takes one pass. Grain takes two, whose mean is better than
either, on real and on synthetic cameras:

    x^ = (D(y, sigma, noise) + z) / 2,   z the four D(y[i::2, j::2], L) interleaved again

The first pass is conditioned on the grain, and keeps what might be texture. In the sub-pictures of the second, grain is
nearly white, and texture finer than two pixels is lost; L is the level of their noise, see `correlated`.
"""

import copy
from typing import Any

from torch import Tensor

from smdae.denoising.correlated import at_half_size, white_level
from smdae.denoising.tiles import Tiled
from smdae.models.conditioning import SMOOTHED, Conditioning
from smdae.noise import Noise
from smdae.protocols import posterior_mean, widened


class Informed:
    """A score model for one noise: a network conditioned on it.

    Args:
        model: A network that can be conditioned on noise.
        noise: The noise, white being 1.
    """

    def __init__(self, model: Any, noise: Noise) -> None:
        self.model, self.noise = model, noise
        self.channels, self.noise_range = model.channels, model.noise_range
        self.shift_multiple, self.bytes_per_pixel = model.shift_multiple, model.bytes_per_pixel
        self.halo = widened(model.halo, 1, SMOOTHED // 2, self.shift_multiple)

    def with_model(self, model: Any) -> "Informed":
        """Return a copy that uses another version of the network, such as one with products in another precision."""
        return Informed(model, self.noise)

    def score(self, y: Tensor, sigma: float) -> Tensor:
        """Return psi(y), with the shape of y, (B, C, H, W); sigma is the unit in which the conditioning is given."""
        found: Tensor = self.model.conditioned(Conditioning.of(self.noise, y, sigma)).score(y, sigma=sigma)
        return found


class InformedOfGrain:
    """A score model for grain, in two passes.

    Args:
        model: A network that can be conditioned on noise.
        noise: The noise, white being 1.
    """

    def __init__(self, model: Any, noise: Noise) -> None:
        self.plain, self.noise = model, noise
        self.informed: Informed | Tiled = Informed(model, noise)
        self.level = white_level(noise, noise.sigma)
        self.channels, self.noise_range = model.channels, model.noise_range
        self.shift_multiple, self.bytes_per_pixel = 2 * model.shift_multiple, model.bytes_per_pixel
        self.halo = widened(model.halo, 2, SMOOTHED // 2, self.shift_multiple)

    def with_model(self, model: Any) -> "InformedOfGrain":
        """Return a copy that uses another version of the network: in another precision, or computed by tiles."""
        changed = copy.copy(self)
        changed.plain = model
        informed = Informed(model.model if isinstance(model, Tiled) else model, self.noise)
        changed.informed = Tiled(informed, model.side, model.where) if isinstance(model, Tiled) else informed
        return changed

    def reconstruct(self, y: Tensor, sigma: float) -> Tensor:
        """Return the clean estimate x^, with the shape of y, (B, C, H, W)."""
        whole = posterior_mean(self.informed, y, sigma)
        z = at_half_size(lambda part: posterior_mean(self.plain, part, self.level), y)
        return whole.add_(z).mul_(0.5)

    def score(self, y: Tensor, sigma: float) -> Tensor:
        """Return psi(y) = (x^ - y) / sigma^2, with the shape of y."""
        return (self.reconstruct(y, sigma) - y) / sigma**2
