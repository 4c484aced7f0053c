"""Checks that the posterior mean D(y) = E[x | y] must pass, made without a clean image.

With J = dD/dy and r = D(y) - y over d pixels,

    trace      sigma^2 tr J / d           is the mean squared error, since the posterior covariance is sigma^2 J
    residual   sigma^2 - |r|^2 / d        is the same error, since D(y) - x is orthogonal to r
    asymmetry  |J v - J'v| / |J v| = 0    since a covariance is symmetric, and psi a gradient

The first two agree in the mean over images; a difference shows a wrong sigma or a poor model. v is normal, so the third
is |J - J'| / |J| in the Frobenius norm.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from smdae.denoising import sure
from smdae.divergence import probes
from smdae.protocols import posterior_mean


@dataclass(frozen=True)
class SelfChecks:
    """The checks of a score, each one number for all images.

    Attributes:
        trace: tr J / d, J being the Jacobian of the denoiser and d the number of pixel values.
        residual: 1 - |D(y) - y|^2 / (d sigma^2), whose expectation is that of the trace for a true score.
        asymmetry: |J v - J'v| / |J v| at a random v, 0 for a symmetric J, about 2^1/2 for one without symmetry.
    """

    trace: float
    residual: float
    asymmetry: float


def selfchecks(model: Any, noisy: Tensor, sigma: float, generator: Generator) -> SelfChecks:
    """Return the trace, the residual and the asymmetry of a score model at noisy images, each one number for all.

    Args:
        model: A score model of images.
        noisy: y, with shape (B, C, H, W), in the unit of sigma.
        sigma: Level of the noise.
        generator: Source of the probes, on the CPU.
    """

    def denoise(y: Tensor) -> Tensor:
        return posterior_mean(model, y, sigma)

    probe = probes(noisy.cpu(), 1, generator)[0].to(noisy.device)
    with torch.no_grad():
        removed = (denoise(noisy) - noisy).square().mean().item()
        divergence = (probe * sure.jacobian_product(denoise, noisy, probe, sigma)).mean().item()
    v = torch.randn(noisy.shape, generator=generator).to(noisy)
    with torch.no_grad():
        forward = sure.jacobian_product(denoise, noisy, v, sigma)
    with torch.enable_grad():
        y = noisy.detach().clone().requires_grad_()
        (backward,) = torch.autograd.grad(denoise(y), y, v)
    asymmetry = ((forward - backward).norm() / forward.norm().clamp(min=1e-30)).item()
    return SelfChecks(divergence, 1 - removed / sigma**2, asymmetry)
