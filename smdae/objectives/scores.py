"""The error of the whole score: explicit, implicit and denoising score matching, and what follows from them.

`explicit` takes the score of the density as its target; `implicit` and `regularised` need none; `denoising`,
`autoencoding` and Stein's unbiased estimate take that of the noise.
"""

from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from smdae import divergence
from smdae.errors import UsageError
from smdae.noise import Noise
from smdae.patch_noise import PatchNoise
from smdae.protocols import HasDiagonal, offers, per_example, refuse_other_shape


def sum_each(x: Tensor) -> Tensor:
    """Return the sum over all but the first dimension: (B, ...) -> (B,)."""
    return x.flatten(1).sum(1)


def score_at(model: Any, x: Tensor, sigma: float | Tensor | None) -> Tensor:
    """Return the model's score at x, at the level sigma or, if that is None, at its own."""
    found: Tensor = model.score(x) if sigma is None else model.score(x, sigma=sigma)
    return found


def explicit(model: Any, x: Tensor, target_score: Tensor, sigma: float | Tensor | None = None) -> Tensor:
    """Return 1/2 |psi(x) - target_score|^2, with shape (B,).

    Args:
        model: A score model.
        x: Samples of the density, with shape (B, ...).
        target_score: The score of that density at x, with the shape of x.
        sigma: Level at which to take the model, a float or (B,); None for its own.

    Raises:
        UsageError: The target has another shape than x.
    """
    refuse_other_shape(target_score, x, "target_score")
    return 0.5 * sum_each((score_at(model, x, sigma) - target_score).square())


def implicit(
    model: Any,
    x: Tensor,
    sigma: float | Tensor | None = None,
    probes: Tensor | None = None,
    step: float | Tensor | None = None,
) -> Tensor:
    """Return 1/2 |psi(x)|^2 + tr(d psi/dx), with shape (B,): no score of the data is needed.

    By differences with step e, along normal probes, it is `denoising` of x with more noise e, each v taken with both
    signs:

        mean over v of 1/4 |psi(x + e v)|^2 + 1/4 |psi(x - e v)|^2 + v'(psi(x + e v) - psi(x - e v)) / 2e

    and it fits the score at the level sqrt(sigma^2 + e^2), at which a model that takes sigma is therefore evaluated.
    Along Rademacher probes, which have less variance, the same holds up to O(e^2).

    Args:
        model: A score model.
        x: Samples of the density, with shape (B, ...).
        sigma: Level at which to take the model, a float or (B,); None for its own.
        probes: Directions with shape (k, *x.shape) for Hutchinson's estimate; None for the exact divergence.
        step: Length of differences along the probes, a float or (B,), for models with kinks; None for derivatives.
            It is used with probes only.

    Raises:
        UsageError: The probes have another shape.
    """
    if probes is not None and step is not None:
        e = per_example(step, x)
        refuse_other_shape(probes, x, "probes", leading=1)
        level = None if sigma is None else (sigma**2 + step**2) ** 0.5
        if isinstance(level, Tensor) and level.ndim:
            level = level.repeat(2)
        losses = []
        for v in probes:
            before, after = score_at(model, torch.cat([x - e * v, x + e * v]), level).chunk(2)
            losses.append(sum_each(0.25 * (before.square() + after.square()) + v * (after - before) / (2 * e)))
        return torch.stack(losses).mean(0)
    psi, trace = divergence.score_and_divergence(model, x, sigma, probes)
    return 0.5 * sum_each(psi.square()) + trace


def regularised(model: Any, x: Tensor, reg_lambda: float, sigma: float | Tensor | None = None) -> Tensor:
    """Return `implicit` + reg_lambda * sum_i (d psi_i/dx_i)^2, with shape (B,).

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
        psi, entries = divergence.diagonal(partial(model.score, **level), x, reverse=divergence.needs_reverse(model))
    return 0.5 * sum_each(psi.square()) + sum_each(entries) + reg_lambda * sum_each(entries.square())


@runtime_checkable
class Kernel(Protocol):
    """A kernel q(x~|x) whose score is known."""

    def score(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """Return grad log q(noisy|clean) in noisy, with the shape of noisy."""


def kernel_score(noisy: Tensor, clean: Tensor, sigma: float | Tensor | Kernel) -> Tensor:
    """Return grad log q(x~|x) in x~, with the shape of noisy: the kernel's own, or (x - x~)/sigma^2 for a level sigma.

    Raises:
        UsageError: Clean and noisy have different shapes.
    """
    refuse_other_shape(clean, noisy, "clean", "noisy")
    if isinstance(sigma, Kernel):
        return sigma.score(noisy, clean)
    return (clean - noisy) / per_example(sigma, noisy) ** 2


def denoising(
    model: Any, noisy: Tensor, clean: Tensor, sigma: float | Tensor | Kernel, level: float | Tensor | None = None
) -> Tensor:
    """Return 1/2 |psi(x~) - grad log q(x~|x)|^2, with shape (B,): `explicit` with the score of the kernel as target.

    Where x is noisy itself, at s, x~ is at the level sqrt(s^2 + sigma^2), and its score is still what is fitted: no
    clean image is needed (Kim and Ye 2021).

    Args:
        model: A score model.
        noisy: x~, with shape (B, ...).
        clean: x, with the shape of noisy.
        sigma: Level of the noise between them, a float or (B,), or their kernel, such as a `Noise`.
        level: Level at which to take the model, a float or (B,); None for sigma, or with a kernel for its own.

    Raises:
        UsageError: Clean and noisy have different shapes, or the kernel has no score.
    """
    if level is None and not isinstance(sigma, Kernel):
        level = sigma
    return explicit(model, noisy, kernel_score(noisy, clean, sigma), level)


def autoencoding(
    model: Any, noisy: Tensor, clean: Tensor, sigma: float | Tensor | Noise | PatchNoise | None = None
) -> Tensor:
    """Return |r(x~) - x|^2, with shape (B,); r is the model's reconstruction, or x~ + C psi(x~) given the noise.

    In the metric of C^-1, |C^-1 (r(x~) - x)|^2, that would be twice `denoising`.

    Args:
        model: A score model with `reconstruct`, or with noise any.
        noisy: x~, with shape (B, ...).
        clean: x, with the shape of noisy.
        sigma: Level at which to take the model, a float or (B,), None for its own; or the noise between the two, with
            the model at its own level.

    Raises:
        UsageError: The noise is not Gaussian with a fixed covariance, or clean and noisy have different shapes.
    """
    refuse_other_shape(clean, noisy, "clean", "noisy")
    if isinstance(sigma, Noise | PatchNoise):
        _refuse_varying(sigma)
        return sum_each((noisy + sigma.covariance(model.score(noisy), noisy) - clean).square())
    level = {} if sigma is None else {"sigma": sigma}
    return sum_each((model.reconstruct(noisy, **level) - clean).square())


def _refuse_varying(noise: Noise | PatchNoise) -> None:
    if noise.is_signal_dependent or (isinstance(noise, Noise) and not noise.is_gaussian):
        raise UsageError(
            "without Gaussian noise of a fixed covariance the clean picture does not follow from a score",
            "make the noise so by a transform, or give no noise and fit the model's own reconstruction",
        )


def stein(
    model: Any,
    noisy: Tensor,
    noise: Noise | PatchNoise,
    sigma: float | None = None,
    probes: Tensor | None = None,
) -> Tensor:
    """Return Stein's unbiased estimate of |D(y) - x|^2, D(y) = y + C psi(y), with shape (B,): no x is needed.

        |D - y|^2 + 2 tr(C dD/dy) - tr C = psi' C^2 psi + 2 tr(C^2 dpsi/dy) + tr C

    It is `implicit` in the metric C^2. Of white noise C^2 = sigma^4 I, and it is 2 sigma^4 `implicit` + d sigma^2.

    Args:
        model: A score model.
        noisy: y, with shape (B, ...).
        noise: Gaussian noise with a fixed covariance C.
        sigma: Level at which to take the model; None for its own.
        probes: Directions with shape (k, *y.shape), E v v' = I, for tr(C^2 dpsi/dy) = E (C v)' dpsi/dy C v; None for
            the exact trace.

    Raises:
        UsageError: The noise is not Gaussian with a fixed covariance, or the probes have another shape.
    """
    _refuse_varying(noise)
    shape, d = noisy.shape, noisy[0].numel()

    def through(v: Tensor) -> Tensor:
        return noise.covariance(v, noisy)

    if probes is None:
        basis = torch.eye(d, dtype=noisy.dtype, device=noisy.device)
        probes = d**0.5 * basis.reshape(d, 1, *shape[1:]).expand(d, *shape)
    white = torch.ones_like(noisy[:1])
    spread = noise.sd(white).square().sum()  # tr C, as R has ones on its diagonal
    directions = torch.stack([*map(through, probes)])
    reverse = divergence.needs_reverse(model)
    psi, trace = divergence.hutchinson(lambda y: score_at(model, y, sigma), noisy, directions, reverse)
    return sum_each(through(psi).square()) + 2 * trace + spread
