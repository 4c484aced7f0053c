"""An initial energy that is a linear filter, for noise far below the contrast of the patches.

In noise units a hidden unit of the energy is a step about as high and as wide as the noise, and the units together have
to span the range of the patches. With lambda_i the variances of the clean patches in noise units, that takes about
4.5 sum_i sqrt(lambda_i) units. With fewer, no W can reproduce the patches, and every picture gets worse.

The linear filter of a Gaussian with these variances, at a caution a > 0,

    r(u) = m + R (u - m),    R = sum_i lambda_i / (lambda_i + a) e_i e_i'

is the energy with W = 2 Q R^(1/2), Q'Q = I, b = -W m and c = m - W' 1/2, as far as sigmoid(z) = 1/2 + z/4. That it is
for small z = Q R^(1/2) 2 (u - m), so in a unit of x in which the noise is tau << 1 wide: the energy's sigma. Its error
falls as tau^2; tau is halved until it is a small share of what the filter takes out.

Caution 1 is the Wiener filter of the patches. On images rougher than those that the patches are from, it removes more
of the image than of the noise. Some caution above 0 reduces the error whatever the images are, as the derivative of E
|r(x~) - x|^2 in a is -2 sigma^2 tr(dR/da) at a = 0, without a term of x.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Generator, Tensor

from smdae.models.energy import EnergyModel, without_means

UNIT_SPAN = 4.5  # standard deviations that units have to span, from end to end
MIN_CONTRAST = 1.25  # in sigma, root mean square over the directions, below which the units are always enough
CAUTIONS = tuple(2.0**-k for k in range(9))  # the first is the Wiener filter
TEST_PATCHES = 1024  # patches on which the error of the linear approximation is measured
MAX_ERROR = 0.01  # mean square of that error, relative to that of what the filter takes out
NEGLIGIBLE_ERROR = 1e-6  # likewise, in sigma^2
MIN_TAU = 2.0**-16  # below, float32 has no digits left


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of clean patches without their free means, in noise units."""

    mean: Tensor  # m, with shape (d,), float64
    variance: Tensor  # lambda_i, with shape (d,), float64
    axes: Tensor  # the directions e_i as columns, with shape (d, d), float64
    noisy: Tensor  # some of the patches with noise, with shape (n, d), float64

    @classmethod
    def of(cls, patches: Tensor, level: float, groups: int, noisy: bool, generator: Generator) -> Self:
        """Return the moments of patches, (n, d), which are clean or, if `noisy`, have noise of that level."""
        u = patches.double() / level
        u = without_means(u, groups) if groups else u
        mean = u.mean(0)
        residual = u - mean
        variance, axes = torch.linalg.eigh(residual.T @ residual / len(u))
        examples = u[:TEST_PATCHES]
        if not noisy:
            noise = torch.randn(examples.shape, generator=generator, device=u.device, dtype=u.dtype)
            examples = examples + (without_means(noise, groups) if groups else noise)
        return cls(mean, (variance - float(noisy)).clamp(min=0), axes, examples)

    def exceed(self, hidden: int, free: int) -> bool:
        """Return whether the patches exceed what an energy of `hidden` units can span, but a linear filter helps.

        That is, free <= hidden < 4.5 sum_i sqrt(lambda_i), with `free` the number of dimensions of a patch less that of
        its free means, and the root mean square contrast, sqrt(sum_i lambda_i / free), is above 1.25 in noise units.
        """
        span = UNIT_SPAN * self.variance.sqrt().sum().item()
        contrast = math.sqrt(self.variance.sum().item() / max(free, 1))
        return hidden >= free and span > hidden and contrast > MIN_CONTRAST


@torch.no_grad()
def linear_energy(
    moments: Moments,
    hidden: int,
    level: float,
    groups: int,
    *,
    caution: float,
    generator: Generator,
    tau: float = 1.0,
) -> EnergyModel:
    """Return an energy whose reconstruction approximates the linear filter with gains variance / (variance + caution).

    It has `hidden` units, at least as many as free directions, and `groups` free means; the level of the noise is in
    the unit of x. `tau` is the largest width of the noise in the energy's own unit.
    """
    m, axes = moments.mean, moments.axes
    gain = moments.variance / (moments.variance + caution)
    draw: dict[str, Any] = {"generator": generator, "dtype": m.dtype, "device": m.device}
    most = min(hidden, len(m))  # the directions of least gain come first, the free means among them
    Q = torch.linalg.qr(torch.randn(hidden, most, **draw)).Q
    W = 2 * (Q * gain[-most:].sqrt()) @ axes[:, -most:].T
    target = (moments.noisy - m) @ (axes * gain) @ axes.T
    removed = (target + m - moments.noisy).square().mean().item()
    while tau > MIN_TAU:
        codes = torch.sigmoid(tau * (moments.noisy - m) @ W.T) - 0.5
        error = (codes @ W / tau - target).square().mean().item()
        if error <= max(MAX_ERROR * removed, NEGLIGIBLE_ERROR):
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
    """Yield energies that approximate linear filters, the Wiener filter first, then ones that take out less and less.

    Patches, (n, d), are clean or, if `noisy`, have noise of that level, in their unit; `groups` means are free. Nothing
    is yielded if the units are enough for the patches without such a start, or too few for a filter.
    """
    moments = Moments.of(patches, level, groups, noisy, generator)
    if moments.exceed(hidden, patches.shape[1] - groups):
        tau = 1.0
        for caution in CAUTIONS:  # the less a filter takes out, the less its error may be
            model = linear_energy(moments, hidden, level, groups, caution=caution, generator=generator, tau=tau)
            tau = model.sigma
            yield model
