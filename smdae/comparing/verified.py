"""Check whether a score is that of the samples it comes with, before anything is fitted to them.

For the score s = grad log q of a density that vanishes at infinity, integration by parts gives (Stein)

    E[s] = 0,    E[(x - m) s(x)'] = -I,   m = E[x]

and if log q is given, s is its gradient. Expectations are means over n samples; a deviation of more than six standard
errors is refused. If the score has a wrong sign, a factor, or another unit than the samples, the second is -c I with c
the factor.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from smdae.errors import InputError
from smdae.protocols import has

SAMPLES = 20_000
MAX_NUMBERS = 20_000_000  # in all samples together
MIN_SAMPLES = 1000  # least number of samples, and the number of gradients of log q
MAX_DEVIATIONS = 6.0  # standard errors that may be chance
MAX_FACTOR_SPREAD = 0.1  # relative spread of the factors of coordinates that are taken for one
MAX_GRADIENT_ERROR = 1e-3  # relative difference of a score and the gradient of log q in float32


@dataclass(frozen=True)
class Verified:
    """The moments of a score that passed the check, with standard errors."""

    mean: float  # the entry of E[s] with the largest deviation from 0 in standard errors
    mean_error: float  # its standard error
    factor: float  # c of E[(x - m) s'] = -c I; it should be 1
    factor_error: float  # the standard error of c
    gradient: float | None  # |s - grad log q| / |grad log q|; None without a `log_prob` that can be differentiated
    samples: int  # n

    def __str__(self) -> str:
        parts = [
            f"E[s] = {self.mean:.2g} \u00b1 {self.mean_error:.2g}",
            f"E[(x - m) s'] = -({self.factor:.3f} \u00b1 {self.factor_error:.3f}) I",
        ]
        if self.gradient is not None:
            parts.append(f"s = grad log q to {self.gradient:.1g}")
        return ", ".join(parts)


def verify(name: str, density: Any, generator: Generator) -> Verified:
    """Check the score of the density `name` against the samples that it comes with, and return what was measured.

    Raises:
        InputError: The score is not that of the samples, and the message says in what way; or an answer of the density
            has another shape, NaN or infinity.
        UsageError: The code of the density failed.
    """
    dim = density.sample(2, generator).shape[1]
    n = max(MIN_SAMPLES, min(SAMPLES, MAX_NUMBERS // dim))
    x = density.sample(n, generator)
    s = density.score(x).double()
    moments = _Moments.of(x.double(), s)
    gradient = _of_log_prob(name, density, x[:MIN_SAMPLES], s[:MIN_SAMPLES])
    if wrong := next(moments.faults(), None):
        raise InputError(
            f"'{name}' does not have the score of its samples: {wrong}", "it is grad log q(x), in the unit of x"
        )
    far = (moments.mean.abs() / moments.mean_error).nan_to_num(0.0).argmax()
    return Verified(
        moments.mean[far].item(), moments.mean_error[far].item(), moments.factor, moments.factor_error, gradient, n
    )


@dataclass(frozen=True, eq=False)
class _Moments:
    """E[s], (d,), and E[(x - m) s'], (d, d), with the standard errors of their entries."""

    mean: Tensor
    mean_error: Tensor
    product: Tensor
    product_error: Tensor

    @classmethod
    def of(cls, x: Tensor, s: Tensor) -> "_Moments":
        n = len(x)
        centred = x - x.mean(0)
        product = centred.T @ s / n
        spread = centred.square().T @ s.square() / n - product.square()
        return cls(s.mean(0), s.std(0) / math.sqrt(n), product, (spread.clamp(min=0) / n).sqrt())

    @property
    def factor(self) -> float:
        """Return c, where the product is -c I."""
        return 0.0 - self.product.diagonal().mean().item()  # never -0

    @property
    def factor_error(self) -> float:
        """Return the standard error of c, as if the errors of the diagonal entries were independent."""
        return self.product_error.diagonal().square().sum().sqrt().item() / len(self.mean)

    def faults(self) -> Iterator[str]:
        """Yield a sentence on each way in which the score deviates by more than chance, the clearest first."""
        d = len(self.mean)
        eye = torch.eye(d, dtype=self.product.dtype, device=self.product.device)
        own = -self.product.diagonal()
        if ((self.product + eye).abs() > MAX_DEVIATIONS * self.product_error + torch.finfo(torch.float32).eps).any():
            c, tolerance = self.factor, MAX_FACTOR_SPREAD * abs(self.factor)
            claim = f"E[(x - m) s'] is {-c:.4g} I to {self.factor_error:.2g}, and of a score -I"
            apart = (self.product + c * eye).abs() - MAX_DEVIATIONS * self.product_error
            mixed = (apart - apart.diagonal().diag()).max().item() > tolerance
            if not mixed and apart.diagonal().max() <= tolerance:
                yield f"{claim}: {_fault_of_factor(c)}"
            elif not mixed:
                least, most = own.aminmax()
                yield (
                    f"E[(x - m) s'] is diagonal with {-most.item():.4g} to {-least.item():.4g}, and of a score -1: "
                    "coordinates differ in their factor or their unit"
                )
            else:
                i, j = divmod(int(((self.product + eye).abs() / self.product_error).argmax()), d)
                found, error = self.product[i, j].item(), self.product_error[i, j].item()
                theory = -1 if i == j else 0
                yield f"E[(x - m) s']_{i + 1},{j + 1} is {found:.4g} \u00b1 {error:.2g}, and of a score {theory}"
        far = self.mean.abs() > MAX_DEVIATIONS * self.mean_error + torch.finfo(torch.float32).eps
        if far.any():
            j = int(far.nonzero()[0])
            found, error = self.mean[j].item(), self.mean_error[j].item()
            yield f"E[s]_{j + 1} is {found:.4g} \u00b1 {error:.2g}, and of a score 0: is it taken at another mean?"


def _fault_of_factor(c: float) -> str:
    """Return in words what is wrong with a score that is c times what it should be."""
    if c < 0:
        times = "" if abs(c + 1) < MAX_FACTOR_SPREAD else f", and is {-c:.4g} times as large"
        return f"the score has the wrong sign{times}"
    return f"it is {c:.4g} times what it should be, by a factor or by another unit than that of the samples"


def _of_log_prob(name: str, density: Any, x: Tensor, s: Tensor) -> float | None:
    """Return the relative distance of a score from the gradient of `log_prob`; None if there is no gradient.

    InputError if the distance is more than rounding explains.
    """
    if not has(density.density, "log_prob"):
        return None
    x = x.detach().clone().requires_grad_()
    try:
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(density.log_prob(x).sum(), x)
    except (RuntimeError, TypeError, AttributeError):  # what others have made need not be differentiable
        return None
    slope = slope.double()
    ratios = (s * slope).sum(1) / slope.square().sum(1).clamp(min=1e-30)
    apart = ((s - slope).square().sum() / slope.square().sum().clamp(min=1e-30)).sqrt().item()
    if apart > MAX_GRADIENT_ERROR:
        weights = slope.square().sum(1) / slope.square().sum()
        c = (ratios * weights).sum().item()
        error = ((weights * (ratios - c)).square().sum()).sqrt().item()
        same = (s - c * slope).norm() < MAX_FACTOR_SPREAD * s.norm()
        relation = (
            f"{c:.4g} \u00b1 {error:.2g} times the gradient of its log_prob" if same else "not along that gradient"
        )
        raise InputError(
            f"'{name}' has a score that is not the gradient of its log_prob: {relation}, {apart:.2g} of it away",
            "score(x) is grad log_prob(x)",
        )
    return apart
