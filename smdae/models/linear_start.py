"""A start of the energy for noise far below the contrast of the patches: a linear filter.

In noise units a unit of the energy is a step about as high and as wide as the noise, and the units together have to
reach across all that patches differ by. With lambda_i the variances of the clean patches in noise units, that takes
about 4.5 sum_i sqrt(lambda_i) units. Where there are fewer, no choice of W makes r(x) of the patches, and every picture
comes out worse than it was.

The linear filter of a Gaussian with these variances, at a caution a > 0,

    r(u) = m + R (u - m),    R = sum_i lambda_i / (lambda_i + a) e_i e_i'

is the energy with W = 2 Q R^(1/2), Q'Q = I, b = -W m and c = m - W' 1/2, as far as sigmoid(z) = 1/2 + z/4. That it is
for small z = Q R^(1/2) 2 (u - m), so in a unit of x in which the noise is tau << 1 wide: the energy's sigma. Its error
falls as tau^2; tau is halved until it is a small share of what the filter takes out.

Caution 1 is the Wiener filter of the patches. Where the images to come are rougher than those that the patches are
from, it takes out more of them than of the noise; some caution above 0 takes out more noise, whatever the images are,
as the derivative of E |r(x~) - x|^2 in a is -2 sigma^2 tr(dR/da) at a = 0, without a term of x.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Generator, Tensor

from smdae.models.energy import EnergyModel, without_means

__all__ = ["Moments", "linear_energy", "linear_starts"]

UNIT_SPAN = 4.5  # standard deviations that units have to reach across, from end to end
LEAST_CONTRAST = 1.25  # in sigma, root mean square over the directions, below which units always do
CAUTIONS = tuple(2.0**-k for k in range(9))  # the first is the Wiener filter
TEST_PATCHES = 1024  # patches that the error of the linear approximation is measured on
MAX_ERROR = 0.01  # of it, as a share of what the filter takes out, mean squares
LEAST_ERROR = 1e-6  # of it, in sigma^2 a number, below which it is not seen
LEAST_TAU = 2.0**-16  # below, float32 has no digits left


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of clean patches without their free means, in noise units.

    Attributes:
        mean: m, with shape (d,), float64.
        variance: lambda_i, with shape (d,), float64.
        axes: The directions e_i as columns, with shape (d, d), float64.
        seen: Some of the patches with noise, with shape (n, d), float64.
    """

    mean: Tensor
    variance: Tensor
    axes: Tensor
    seen: Tensor

    @classmethod
    def of(cls, patches: Tensor, level: float, groups: int, noisy: bool, generator: Generator) -> Self:
        """Return the moments of patches with shape (n, d), clean or, where `noisy`, with noise of that level."""
        u = patches.double() / level
        u = without_means(u, groups) if groups else u
        mean = u.mean(0)
        residual = u - mean
        variance, axes = torch.linalg.eigh(residual.T @ residual / len(u))
        seen = u[:TEST_PATCHES]
        if not noisy:
            noise = torch.randn(seen.shape, generator=generator, device=u.device, dtype=u.dtype)
            seen = seen + (without_means(noise, groups) if groups else noise)
        return cls(mean, (variance - float(noisy)).clamp(min=0), axes, seen)

    def exceed(self, hidden: int, free: int) -> bool:
        """Return whether so many units cannot follow patches of so many free directions, and a filter can be made."""
        span = UNIT_SPAN * self.variance.sqrt().sum().item()
        contrast = math.sqrt(self.variance.sum().item() / max(free, 1))
        return hidden >= free and span > hidden and contrast > LEAST_CONTRAST


@torch.no_grad()
def linear_energy(
    moments: Moments, hidden: int, level: float, groups: int, caution: float, generator: Generator, tau: float = 1.0
) -> EnergyModel:
    """Return the energy that is the linear filter.

    Args:
        moments: Of the patches.
        hidden: Units, at least as many as free directions.
        level: Of the noise, in the unit of x.
        groups: Free means.
        caution: a, 1 for the Wiener filter, less to take out less.
        generator: Chooses Q.
        tau: The widest that the noise may be in the energy's own unit.
    """
    m, axes = moments.mean, moments.axes
    gain = moments.variance / (moments.variance + caution)
    draw: dict[str, Any] = {"generator": generator, "dtype": m.dtype, "device": m.device}
    most = min(hidden, len(m))  # the directions of least gain come first, the free means among them
    Q = torch.linalg.qr(torch.randn(hidden, most, **draw)).Q
    W = 2 * (Q * gain[-most:].sqrt()) @ axes[:, -most:].T
    wanted = (moments.seen - m) @ (axes * gain) @ axes.T
    out = (wanted + m - moments.seen).square().mean().item()
    while tau > LEAST_TAU:
        codes = torch.sigmoid(tau * (moments.seen - m) @ W.T) - 0.5
        error = (codes @ W / tau - wanted).square().mean().item()
        if error <= max(MAX_ERROR * out, LEAST_ERROR):
            break
        tau /= 2
    model = EnergyModel(len(m), hidden, sigma=tau, level=level, free_means=groups).to(m.device)
    model.W.copy_(W)
    model.b.copy_(-tau * (W @ m))
    model.c.copy_(tau * m - 0.5 * W.sum(0))
    return model


def linear_starts(
    patches: Tensor, hidden: int, level: float, groups: int, noisy: bool, generator: Generator
) -> Iterator[EnergyModel]:
    """Yield the filters as energies, the Wiener filter first, each more cautious than the last.

    None, if the energy can follow the patches without.

    Args:
        patches: With shape (n, d), clean or, where `noisy`, with noise of that level.
        hidden: Units.
        level: Of the noise, in the unit of the patches.
        groups: Free means.
        noisy: Whether the patches have noise.
        generator: Source of random numbers.
    """
    moments = Moments.of(patches, level, groups, noisy, generator)
    if moments.exceed(hidden, patches.shape[1] - groups):
        tau = 1.0
        for caution in CAUTIONS:  # the less a filter takes out, the less its error may be
            model = linear_energy(moments, hidden, level, groups, caution, generator, tau)
            tau = model.sigma
            yield model
