"""Stein's unbiased risk estimate: the error of denoising without a clean image (Stein 1981).

For y = x + sigma eps and any D with r = D(y) - y, over d pixels

    MSE   = (|r|^2 + 2 sigma^2 div D(y)) / d - sigma^2,    E MSE = E |D(y) - x|^2 / d
    error = (4 sigma^2 |r|^2 + 4 sigma^4 tr(J^2) - 2 d sigma^4)^1/2 / d,    J = dD/dy

the second being an unbiased estimate of the standard error of the first (Bellec and Zhang 2021). With D the Tweedie
step of a score, MSE is sigma^2 + 2 sigma^4/d times Hyvarinen's implicit objective. Both traces are estimated by
Hutchinson's method with one Rademacher probe v and finite differences (Ramani, Blu and Unser 2008):

    div D = v'Jv,   tr(J^2) = |Jv|^2 for J symmetric,   Jv = (D(y + e v) - D(y - e v)) / 2e,

which adds 8 sigma^4 tr(J^2) to the variance. The probe may cover only a part of the image.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

STEP = 0.02  # e, in sigma
MIN_RISK = 1e-4  # of sigma^2: lower estimates are raised to it


@dataclass(frozen=True)
class Risk:
    """An estimated mean squared error and its standard error, in the unit of the image squared, and the noise level."""

    mse: float
    error: float
    level: float

    def psnr(self, white: float = 1.0) -> float:
        """Return the estimated PSNR in dB, at most that of an error of 10^-4 times the variance of the noise."""
        return 10 * math.log10(white**2 / max(self.mse, MIN_RISK * self.level**2))

    @property
    def psnr_error(self) -> float:
        """Return the standard error of the PSNR in dB, the error being raised as for `psnr`."""
        return 10 / math.log(10) * self.error / max(self.mse, MIN_RISK * self.level**2)


def jacobian_product(denoise: Callable[[Tensor], Tensor], noisy: Tensor, probe: Tensor, sigma: float) -> Tensor:
    """Return J v, with the shape of noisy and of the probe v, by central differences with a step of 0.02 sigma."""
    e = STEP * sigma
    return (denoise(noisy + e * probe) - denoise(noisy - e * probe)) / (2 * e)


def estimate(residual: Tensor, probe: Tensor, product: Tensor, sigma: float) -> Risk:
    """Return the estimated mean squared error of D(y), with its standard error.

    Args:
        residual: D(y) - y, of any shape.
        probe: v, with the shape of the part that is probed.
        product: J v, with the shape of v.
        sigma: Level of the noise.
    """
    d = residual.numel()
    removed, square = (values.double().square().mean().item() for values in (residual, product))
    return of_means(d, removed, (probe * product).double().mean().item(), square, sigma, d / probe.numel())


def of_means(
    d: int, removed: float, divergence: float, square: float, sigma: float, pixels_per_probe: float = 1.0
) -> Risk:
    """Return the estimated mean squared error of D, and its standard error, from means over pixels.

    Args:
        d: Number of pixels.
        removed: |D(y) - y|^2 / d.
        divergence: v'Jv / d.
        square: |Jv|^2 / d.
        sigma: Level of the noise.
        pixels_per_probe: Number of pixels for each one that is probed.
    """
    variance = 4 * sigma**2 * removed - 2 * sigma**4 + (4 + 8 * pixels_per_probe) * sigma**4 * square
    return Risk(removed + 2 * sigma**2 * divergence - sigma**2, math.sqrt(max(variance, 0.0) / d), sigma)


def mean(risks: Sequence[Risk]) -> Risk:
    """Return the mean of independent estimates, one or more, of the mean squared error, with its standard error.

    Its level is the root mean square of theirs.
    """
    n = len(risks)
    return Risk(
        sum(risk.mse for risk in risks) / n,
        math.sqrt(sum(risk.error**2 for risk in risks)) / n,
        math.sqrt(sum(risk.level**2 for risk in risks) / n),
    )
