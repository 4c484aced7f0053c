"""A network whose score is a gradient, so that its Jacobian is symmetric, like that of the score of a density.

    E(x, s) = |x - N(x, s)|^2 / (2 s^2),    psi = -grad E,    D = x + s^2 psi = N + J_N' (x - N)

with N a U-Net of smooth activations (Hurault, Leclaire and Papadakis 2022). D is close to N where N is close to a
projection. A score costs a pass through N and one back, and a fit a derivative of both. If N is jointly homogeneous, so
is D, and E does not change under (x, s) -> (a x, a s).
"""

import copy
from typing import Any

import torch
from torch import Generator, Tensor

from smdae.models.shown import ImageModel
from smdae.models.unet import UNet
from smdae.protocols import known_level, per_example, posterior_mean


class GradientUNet(ImageModel):
    """The network; arguments are those of `UNet`, the activation being smooth and nothing clipped.

    Raises:
        ValueError: As `UNet`, or the activation is not smooth, or pictures are clipped.
    """

    def __init__(self, channels: int, activation: str = "silu", clips: bool = False, **shape: Any) -> None:
        super().__init__()
        if activation == "relu":
            raise ValueError("a gradient needs a smooth activation: silu")
        if clips:
            raise ValueError("a gradient-unet is a score, and for clipped pictures there is none: leave clips out")
        self.inner = UNet(channels, activation=activation, **shape)
        self.channels, self.noise_range = channels, self.inner.noise_range
        self.shift_multiple = self.inner.shift_multiple
        self.halo = 2 * self.inner.halo  # through the network and its gradient
        self.bytes_per_pixel = 12 * self.inner.bytes_per_pixel  # all layers are kept for the gradient

    @torch.no_grad()
    def initialise(self, generator: Generator | None = None) -> None:
        """Draw all kernels in place, the last layer's too: were it 0, N(x) = x, and E and its gradients would be 0."""
        self.inner.initialise(generator)
        head = self.inner.head.weight
        bound = head[0].numel() ** -0.5
        head.uniform_(-bound, bound, generator=generator)

    def settings(self) -> dict[str, Any]:
        """Return the arguments that build this model again."""
        return self.inner.settings()

    def with_products_in(self, dtype: torch.dtype) -> "GradientUNet":
        """Return the same network with products of that dtype in all layers of N but the first and the last."""
        network = copy.copy(self)
        network._modules = {"inner": self.inner.with_products_in(dtype)}
        return network

    def energy(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return E(x, s), with shape (B,); arguments and errors are those of `UNet.reconstruct`."""
        residual = (x - self.inner.reconstruct(x, sigma)) / per_example(known_level(self, sigma), x)
        found: Tensor = residual.square().flatten(1).sum(1) / 2
        return found

    def score(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return psi(x, s) = -grad E, with the shape of x; also where gradients are switched off.

        Arguments and errors are those of `UNet.reconstruct`.
        """
        if torch.is_inference_mode_enabled():
            with torch.inference_mode(False), torch.no_grad():
                return self.score(x.clone(), sigma)
        found: Tensor = -torch.func.grad(lambda y: self.energy(y, sigma).sum())(x)
        return found

    def reconstruct(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return D(x, s) = x + s^2 psi(x, s), with the shape of x; arguments and errors as in `UNet.reconstruct`."""
        return posterior_mean(self, x, known_level(self, sigma))
