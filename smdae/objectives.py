"""Objectives J(theta): per-example losses of a score model, and the one table of their names.

With psi(x) = grad log p(x; theta), a clean example x and a noisy one x~ = x + sigma eps (Vincent 2011, sections 3, 4):

    explicit       1/2 |psi(x) - t(x)|^2                    t the score of the density that x comes from
    implicit       1/2 |psi(x)|^2 + tr(d psi/dx)            Hyvarinen (2005)
    regularised    implicit + lambda sum_i (d psi_i/dx_i)^2                     Kingma and LeCun (2010)
    sliced         v'(d psi/dx)v + 1/2 (v'psi)^2, or 1/2 |psi|^2 when reduced   Song et al. (2019)
    differenced    sliced, by differences of log p or of psi along v            Pang et al. (2020)
    denoising      1/2 |psi(x~) - (x - x~)/sigma^2|^2
    autoencoding   |r(x~) - x|^2,  r(x~) = x~ + sigma^2 psi(x~)

Any kernel q(x~|x) whose score is known may stand for the Gaussian one of level sigma, such as a `Noise`: `denoising`
then fits the score of the data smoothed by it (section 4.2). With a fixed covariance C and r(x~) = x~ + C psi(x~),
`autoencoding` is |C (psi - grad log q(x~|x))|^2, another weighting of the errors than `denoising` unless C = sigma^2 I.
If C depends on x, a fitted score does not tell the clean mean. The implicit and the sliced objectives know of the noise
by their samples alone, and serve any.

Every function returns one value an example, with shape (B,), draws no noise, keeps no state and changes no argument;
examples have shape (B, ...) and sums run over all that follows B. In expectation over q_sigma, `denoising` is
`explicit` on the Parzen density plus a constant free of theta, and `autoencoding` is 2 sigma^4 `denoising`; `implicit`
is `explicit` plus a constant wherever both are taken at samples of the same density.

To add an objective, write its function and its row of OBJECTIVES: a fit draws what the row `needs`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from smdae import divergence
from smdae.errors import UsageError
from smdae.noise import Noise
from smdae.protocols import HasDiagonal, HasEnergy, has, offers

__all__ = [
    "OBJECTIVES",
    "Kernel",
    "Objective",
    "autoencoding",
    "denoising",
    "differenced",
    "explicit",
    "implicit",
    "kernel_score",
    "regularised",
    "sliced",
]


@runtime_checkable
class Kernel(Protocol):
    """A kernel q(x~|x) whose score is known."""

    def score(self, noisy: Tensor, clean: Tensor) -> Tensor: ...


def _sum(x: Tensor) -> Tensor:
    """Sum over all but the first dimension: (B, ...) -> (B,)."""
    return x.flatten(1).sum(1)


def _score(model: Any, x: Tensor, sigma: float | Tensor | None) -> Tensor:
    return model.score(x) if sigma is None else model.score(x, sigma=sigma)


def explicit(model: Any, x: Tensor, target_score: Tensor, sigma: float | Tensor | None = None) -> Tensor:
    """1/2 |psi(x) - target_score|^2, with shape (B,).

    Args:
        model: A score model.
        x: Samples of the density, with shape (B, ...).
        target_score: The score of that density at x, with the shape of x.
        sigma: Level at which to take the model, a float or (B,); None for its own.
    """
    return 0.5 * _sum((_score(model, x, sigma) - target_score).square())


def implicit(
    model: Any,
    x: Tensor,
    sigma: float | Tensor | None = None,
    probes: Tensor | None = None,
    step: float | Tensor | None = None,
) -> Tensor:
    """1/2 |psi(x)|^2 + tr(d psi/dx), with shape (B,): no score of the data is needed.

    By differences with step e, along normal probes, it is `denoising` of x with more noise e, each v taken with both
    signs:

        mean over v of 1/4 |psi(x + e v)|^2 + 1/4 |psi(x - e v)|^2 + v'(psi(x + e v) - psi(x - e v)) / 2e

    and the score that it fits is that of the level sqrt(sigma^2 + e^2), where a model that is told sigma is taken.
    Along Rademacher probes, which vary less, so it is but for O(e^2).

    Args:
        model: A score model.
        x: Samples of the density, with shape (B, ...).
        sigma: Level at which to take the model, a float or (B,); None for its own.
        probes: Directions with shape (k, *x.shape) for Hutchinson's estimate; None for the exact divergence.
        step: Of differences along the probes, a float or (B,), for models with kinks; None for derivatives.
    """
    if probes is not None and step is not None:
        e = divergence.per_example(step, x)
        level = None if sigma is None else (sigma**2 + step**2) ** 0.5
        if isinstance(level, Tensor) and level.ndim:
            level = level.repeat(2)
        losses = []
        for v in probes:
            before, after = _score(model, torch.cat([x - e * v, x + e * v]), level).chunk(2)
            losses.append(_sum(0.25 * (before.square() + after.square()) + v * (after - before) / (2 * e)))
        return torch.stack(losses).mean(0)
    psi, trace = divergence.score_and_divergence(model, x, sigma, probes)
    return 0.5 * _sum(psi.square()) + trace


def regularised(model: Any, x: Tensor, reg_lambda: float, sigma: float | Tensor | None = None) -> Tensor:
    """`implicit` + reg_lambda * sum_i (d psi_i/dx_i)^2, with shape (B,).

    Args:
        model: A score model.
        x: Samples of the density, with shape (B, ...).
        reg_lambda: lambda, not negative, in the unit of x squared.
        sigma: Level at which to take the model, a float or (B,); None for its own.
    """
    level = {} if sigma is None else {"sigma": sigma}
    if offers(model, HasDiagonal):
        psi, entries = model.score_and_diagonal(x, **level)
    else:
        psi, entries = divergence.diagonal(partial(model.score, **level), x)
    return 0.5 * _sum(psi.square()) + _sum(entries) + reg_lambda * _sum(entries.square())


def sliced(
    model: Any,
    x: Tensor,
    probes: Tensor,
    sigma: float | Tensor | None = None,
    reduced: bool = False,
    step: float | Tensor | None = None,
) -> Tensor:
    """Mean over probes v of v'(d psi/dx)v + 1/2 (v'psi)^2, with shape (B,).

    Args:
        model: A score model.
        x: Samples of the density, with shape (B, ...).
        probes: Directions with shape (k, *x.shape), E v v' = I.
        sigma: Level at which to take the model, a float or (B,); None for its own.
        reduced: Take 1/2 |psi|^2 for the square, its mean over v: less variance.
        step: Of differences along the probes, a float or (B,), for models with kinks; None for derivatives.
    """

    def score(point: Tensor) -> Tensor:
        return _score(model, point, sigma)

    if step is None:
        psi, bend = divergence.hutchinson(score, x, probes)
    else:
        psi, bend = score(x), divergence.finite_difference(score, x, probes, step)
    square = _sum(psi.square()) if reduced else (probes * psi).flatten(2).sum(2).square().mean(0)
    return bend + 0.5 * square


def differenced(
    model: Any, x: Tensor, probes: Tensor, step: float | Tensor, sigma: float | Tensor | None = None
) -> Tensor:
    """`sliced` without a derivative in x, with shape (B,), bias O(step^2).

    With log p = -E along a probe v, and e the step, where the model has an energy

        (log p(x + e v) - 2 log p(x) + log p(x - e v)) / e^2 + 1/2 ((log p(x + e v) - log p(x - e v)) / 2e)^2

    and elsewhere v'(psi(x + e v) - psi(x - e v)) / 2e + 1/2 (v'(psi(x + e v) + psi(x - e v)) / 2)^2, averaged over v.

    Args:
        model: A score model.
        x: Samples of the density, with shape (B, ...).
        probes: Directions with shape (k, *x.shape), E v v' = I.
        step: e, a float or (B,), about a tenth of sigma.
        sigma: Level at which to take the model, a float or (B,); None for its own.
    """
    level = {} if sigma is None else {"sigma": sigma}
    e = divergence.per_example(step, x)
    losses = []
    for v in probes:
        if offers(model, HasEnergy):
            before, here, after = (-model.energy(point, **level) for point in (x - e * v, x, x + e * v))
            bend, slope = (after - 2 * here + before) / step**2, (after - before) / (2 * step)
        else:
            before, after = (_sum(v * model.score(point, **level)) for point in (x - e * v, x + e * v))
            bend, slope = (after - before) / (2 * step), (after + before) / 2
        losses.append(bend + 0.5 * slope.square())
    return torch.stack(losses).mean(0)


def kernel_score(noisy: Tensor, clean: Tensor, sigma: float | Tensor | Kernel) -> Tensor:
    """The score of the kernel, with the shape of noisy: (x - x~)/sigma^2 of a Gaussian of level sigma, or its own."""
    if isinstance(sigma, Kernel):
        return sigma.score(noisy, clean)
    return (clean - noisy) / divergence.per_example(sigma, noisy) ** 2


def denoising(
    model: Any, noisy: Tensor, clean: Tensor, sigma: float | Tensor | Kernel, level: float | Tensor | None = None
) -> Tensor:
    """1/2 |psi(x~) - grad log q(x~|x)|^2, with shape (B,): `explicit` towards the score of the kernel.

    Where x is noisy itself, at s, x~ is at the level sqrt(s^2 + sigma^2), and its score is still what is fitted: no
    clean image is needed (Kim and Ye 2021).

    Args:
        model: A score model.
        noisy: x~, with shape (B, ...).
        clean: x, with the shape of noisy.
        sigma: Level of the noise between them, a float or (B,), or their kernel, such as a `Noise`.
        level: At which to take the model, a float or (B,); None for sigma, or with a kernel for the model's own.
    """
    if level is None and not isinstance(sigma, Kernel):
        level = sigma
    return explicit(model, noisy, kernel_score(noisy, clean, sigma), level)


def autoencoding(model: Any, noisy: Tensor, clean: Tensor, sigma: float | Tensor | Noise | None = None) -> Tensor:
    """|r(x~) - x|^2, with shape (B,), r the model's reconstruction, or x~ + C psi(x~) of noise with covariance C.

    Args:
        model: A score model with `reconstruct`, or with noise any.
        noisy: x~, with shape (B, ...).
        clean: x, with the shape of noisy.
        sigma: Level at which to take the model, a float or (B,), None for its own; or the noise between the two, with
            the model at its own level.

    Raises:
        UsageError: The noise is not Gaussian with a fixed covariance.
    """
    if isinstance(sigma, Noise):
        if sigma.is_signal_dependent or not sigma.is_gaussian:
            raise UsageError(
                "without Gaussian noise of a fixed covariance a score does not tell the clean picture",
                "make the noise so by a transform, or give no noise and fit the model's own reconstruction",
            )
        return _sum((noisy + sigma.covariance(model.score(noisy), noisy) - clean).square())
    level = {} if sigma is None else {"sigma": sigma}
    return _sum((model.reconstruct(noisy, **level) - clean).square())


@dataclass(frozen=True)
class Objective:
    """A row of the table.

    Attributes:
        loss: The function above, called as loss(model, x, **needs).
        samples: Where x comes from: the data, the Parzen density, or pairs of clean and noisy.
        needs: Names of the loss's further arguments.
        options: Names of those that are not always needed: probes where the divergence has no closed form, a step of
            differences where psi has kinks, the level where the data are noisy themselves.
        requires: Methods that the model must have.
        paper: The name in the paper.
        squares: True if J is |error|^2 itself, false if it is |error|^2 / (2 sigma^4).
        wide: Whether differences along normal probes are the objective itself at a higher level, whatever the step.
    """

    loss: Callable[..., Tensor]
    samples: Literal["data", "parzen", "pairs"]
    needs: tuple[str, ...]
    paper: str
    options: tuple[str, ...] = ()
    requires: tuple[str, ...] = ("score",)
    squares: bool = False
    wide: bool = False

    @property
    def on_noisy(self) -> bool:
        """Whether it can do with data that are noisy themselves, and with nothing else."""
        return "target_score" not in self.needs and ("clean" not in self.needs or "level" in self.options)

    def lacking(self, model: object) -> list[str]:
        """Return the methods that a model, or the class of one, would need and has not."""
        return [name for name in self.requires if not has(model, name)]

    def scale(self, sigma: float | Tensor, dim: int) -> Any:
        """What J is multiplied by in a fit, so that each objective is squared error per dimension over sigma^2.

        A float, or (B,) like sigma.
        """
        return 1 / (dim * sigma**2) if self.squares else 2 * sigma**2 / dim


PROBED = ("probes", "step")

OBJECTIVES: dict[str, Objective] = {
    "esm": Objective(explicit, "data", ("target_score",), "J_ESMq"),
    "ism": Objective(implicit, "data", (), "J_ISMq", PROBED, wide=True),
    "ism-reg": Objective(regularised, "data", ("reg_lambda",), "J_ISMreg", requires=("score", "score_and_diagonal")),
    "esm-parzen": Objective(explicit, "parzen", ("target_score", "sigma"), "J_ESMq_sigma"),
    "ism-parzen": Objective(implicit, "parzen", ("sigma",), "J_ISMq_sigma", PROBED, wide=True),
    "dsm": Objective(denoising, "pairs", ("clean", "sigma"), "J_DSMq_sigma", ("level",)),
    "dae": Objective(autoencoding, "pairs", ("clean", "sigma"), "J_DAE_sigma", (), ("score", "reconstruct"), True),
    "ssm": Objective(sliced, "parzen", ("probes", "sigma"), "J_SSMq_sigma", ("step",)),
    "ssm-vr": Objective(partial(sliced, reduced=True), "parzen", ("probes", "sigma"), "J_SSM-VRq_sigma", ("step",)),
    "fd-ssm": Objective(differenced, "parzen", ("probes", "step", "sigma"), "J_FD-SSMq_sigma"),
}
