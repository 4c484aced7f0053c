"""Objectives J(theta): per-example losses of a score model, and the one table of their names.

With psi(x) = grad log p(x; theta), a clean example x and a noisy one x~ = x + sigma eps (Vincent 2011, sections 3, 4):

    explicit       1/2 |psi(x) - t(x)|^2                    t the score of the density that x comes from
    implicit       1/2 |psi(x)|^2 + tr(d psi/dx)            Hyvarinen (2005)
    regularised    implicit + lambda sum_i (d psi_i/dx_i)^2                     Kingma and LeCun (2010)
    sliced         v'(d psi/dx)v + 1/2 (v'psi)^2, or 1/2 |psi|^2 when reduced   Song et al. (2019)
    denoising      1/2 |psi(x~) - (x - x~)/sigma^2|^2
    autoencoding   |r(x~) - x|^2,  r(x~) = x~ + sigma^2 psi(x~)

Every function returns one value an example, with shape (B,), draws no noise, keeps no state and changes no argument;
examples have shape (B, ...) and sums run over all that follows B. In expectation over q_sigma, `denoising` is
`explicit` on the Parzen density plus a constant free of theta, and `autoencoding` is 2 sigma^4 `denoising`; `implicit`
is `explicit` plus a constant wherever both are taken at samples of the same density.

To add an objective, write its function and its row of OBJECTIVES: a fit draws what the row `needs`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import Tensor

from smdae import divergence

__all__ = [
    "OBJECTIVES",
    "Objective",
    "autoencoding",
    "denoising",
    "explicit",
    "implicit",
    "kernel_score",
    "regularised",
    "sliced",
]


def _sum(x: Tensor) -> Tensor:
    """Sum over all but the first dimension: (B, ...) -> (B,)."""
    return x.flatten(1).sum(1)


def _score(model: Any, x: Tensor, sigma: float | Tensor | None) -> Tensor:
    return model.score(x) if sigma is None else model.score(x, sigma=sigma)


def _square(sigma: float | Tensor, x: Tensor) -> float | Tensor:
    """sigma^2, shaped to divide x: a float, or (B, 1, ...) for sigma with shape (B,)."""
    if isinstance(sigma, Tensor) and sigma.ndim:
        sigma = sigma.reshape(-1, *(1,) * (x.ndim - 1))
    return sigma**2


def explicit(model: Any, x: Tensor, target_score: Tensor, sigma: float | Tensor | None = None) -> Tensor:
    """1/2 |psi(x) - target_score|^2, with shape (B,).

    Args:
        model: A score model.
        x: Samples of the density, with shape (B, ...).
        target_score: The score of that density at x, with the shape of x.
        sigma: Level at which to take the model, a float or (B,); None for its own.
    """
    return 0.5 * _sum((_score(model, x, sigma) - target_score).square())


def implicit(model: Any, x: Tensor, sigma: float | Tensor | None = None, probes: Tensor | None = None) -> Tensor:
    """1/2 |psi(x)|^2 + tr(d psi/dx), with shape (B,): no score of the data is needed.

    Args:
        model: A score model.
        x: Samples of the density, with shape (B, ...).
        sigma: Level at which to take the model, a float or (B,); None for its own.
        probes: Directions with shape (k, *x.shape) for Hutchinson's estimate; None for the exact divergence.
    """
    psi, trace = divergence.score_and_divergence(model, x, sigma, probes)
    return 0.5 * _sum(psi.square()) + trace


def regularised(model: Any, x: Tensor, strength: float, sigma: float | Tensor | None = None) -> Tensor:
    """`implicit` + strength * sum_i (d psi_i/dx_i)^2, with shape (B,).

    Args:
        model: A score model.
        x: Samples of the density, with shape (B, ...).
        strength: lambda, not negative, in the unit of x squared.
        sigma: Level at which to take the model, a float or (B,); None for its own.
    """
    level = {} if sigma is None else {"sigma": sigma}
    if hasattr(model, "score_and_diagonal"):
        psi, entries = model.score_and_diagonal(x, **level)
    else:
        psi, entries = divergence.diagonal(partial(model.score, **level), x)
    return 0.5 * _sum(psi.square()) + _sum(entries) + strength * _sum(entries.square())


def sliced(model: Any, x: Tensor, probes: Tensor, sigma: float | Tensor | None = None, reduced: bool = False) -> Tensor:
    """Mean over probes v of v'(d psi/dx)v + 1/2 (v'psi)^2, with shape (B,).

    Args:
        model: A score model.
        x: Samples of the density, with shape (B, ...).
        probes: Directions with shape (k, *x.shape), E v v' = I.
        sigma: Level at which to take the model, a float or (B,); None for its own.
        reduced: Take 1/2 |psi|^2 for the square, its mean over v: less variance.
    """
    psi, bend = divergence.hutchinson(lambda point: _score(model, point, sigma), x, probes)
    square = _sum(psi.square()) if reduced else (probes * psi).flatten(2).sum(2).square().mean(0)
    return bend + 0.5 * square


def kernel_score(noisy: Tensor, clean: Tensor, sigma: float | Tensor) -> Tensor:
    """The score of the Gaussian kernel q(x~|x), (x - x~)/sigma^2, with the shape of noisy."""
    return (clean - noisy) / _square(sigma, noisy)


def denoising(model: Any, noisy: Tensor, clean: Tensor, sigma: float | Tensor) -> Tensor:
    """1/2 |psi(x~) - (x - x~)/sigma^2|^2, with shape (B,): `explicit` towards the score of the kernel.

    Args:
        model: A score model.
        noisy: x~, with shape (B, ...).
        clean: x, with the shape of noisy.
        sigma: Level of the noise, and of the model, a float or (B,).
    """
    return explicit(model, noisy, kernel_score(noisy, clean, sigma), sigma)


def autoencoding(model: Any, noisy: Tensor, clean: Tensor, sigma: float | Tensor | None = None) -> Tensor:
    """|r(x~) - x|^2, with shape (B,), r the model's reconstruction.

    Args:
        model: A score model with `reconstruct`.
        noisy: x~, with shape (B, ...).
        clean: x, with the shape of noisy.
        sigma: Level at which to take the model, a float or (B,); None for its own.
    """
    level = {} if sigma is None else {"sigma": sigma}
    return _sum((model.reconstruct(noisy, **level) - clean).square())


@dataclass(frozen=True)
class Objective:
    """A row of the table.

    Attributes:
        loss: The function above, called as loss(model, x, **needs).
        samples: Where x comes from: the data, the Parzen density, or pairs of clean and noisy.
        needs: Names of the loss's further arguments.
        requires: Methods that the model must have.
        paper: The name in the paper.
        squares: True if J is |error|^2 itself, false if it is |error|^2 / (2 sigma^4).
    """

    loss: Callable[..., Tensor]
    samples: Literal["data", "parzen", "pairs"]
    needs: tuple[str, ...]
    paper: str
    requires: tuple[str, ...] = ("score",)
    squares: bool = False

    def scale(self, sigma: float | Tensor, dim: int) -> Any:
        """What J is multiplied by in a fit, so that each objective is squared error per dimension over sigma^2.

        A float, or (B,) like sigma.
        """
        return 1 / (dim * sigma**2) if self.squares else 2 * sigma**2 / dim


OBJECTIVES: dict[str, Objective] = {
    "esm": Objective(explicit, "data", ("target_score",), "J_ESMq"),
    "ism": Objective(implicit, "data", (), "J_ISMq"),
    "ism-reg": Objective(regularised, "data", ("strength",), "J_ISMreg"),
    "esm-parzen": Objective(explicit, "parzen", ("target_score", "sigma"), "J_ESMq_sigma"),
    "ism-parzen": Objective(implicit, "parzen", ("sigma",), "J_ISMq_sigma"),
    "dsm": Objective(denoising, "pairs", ("clean", "sigma"), "J_DSMq_sigma"),
    "dae": Objective(autoencoding, "pairs", ("clean", "sigma"), "J_DAE_sigma", ("score", "reconstruct"), squares=True),
}
