"""Objectives that know the noise: denoising score matching, the autoencoder's error, and Stein's unbiased estimate."""

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from smdae import divergence
from smdae.errors import UsageError
from smdae.noise import Noise
from smdae.objectives.scores import explicit, score_at, sum_each
from smdae.patch_noise import PatchNoise

__all__ = ["Kernel", "autoencoding", "denoising", "kernel_score", "stein"]


@runtime_checkable
class Kernel(Protocol):
    """A kernel q(x~|x) whose score is known."""

    def score(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """Return grad log q(noisy|clean) in noisy, with the shape of noisy."""


def kernel_score(noisy: Tensor, clean: Tensor, sigma: float | Tensor | Kernel) -> Tensor:
    """Return the score of the kernel, with the shape of noisy: its own, or (x - x~)/sigma^2 for a level sigma."""
    if isinstance(sigma, Kernel):
        return sigma.score(noisy, clean)
    return (clean - noisy) / divergence.per_example(sigma, noisy) ** 2


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
        level: At which to take the model, a float or (B,); None for sigma, or with a kernel for the model's own.
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
        UsageError: The noise is not Gaussian with a fixed covariance.
    """
    if isinstance(sigma, Noise | PatchNoise):
        _refuse_varying(sigma)
        return sum_each((noisy + sigma.covariance(model.score(noisy), noisy) - clean).square())
    level = {} if sigma is None else {"sigma": sigma}
    return sum_each((model.reconstruct(noisy, **level) - clean).square())


def _refuse_varying(noise: Noise | PatchNoise) -> None:
    if noise.is_signal_dependent or (isinstance(noise, Noise) and not noise.is_gaussian):
        raise UsageError(
            "without Gaussian noise of a fixed covariance a score does not tell the clean picture",
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
        UsageError: The covariance is not fixed.
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
    psi, trace = divergence.hutchinson(lambda y: score_at(model, y, sigma), noisy, torch.stack([*map(through, probes)]))
    return sum_each(through(psi).square()) + 2 * trace + spread
