"""Explicit and implicit score matching: the error of the whole score, with the target score or without it."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from smdae import divergence
from smdae.protocols import HasDiagonal, offers

__all__ = ["explicit", "implicit", "regularised", "score_at", "sum_each"]


def sum_each(x: Tensor) -> Tensor:
    """Return the sum over all but the first dimension: (B, ...) -> (B,)."""
    return x.flatten(1).sum(1)


def score_at(model: Any, x: Tensor, sigma: float | Tensor | None) -> Tensor:
    """Return the model's score at x, at the level sigma or, if that is None, at its own."""
    return model.score(x) if sigma is None else model.score(x, sigma=sigma)


def explicit(model: Any, x: Tensor, target_score: Tensor, sigma: float | Tensor | None = None) -> Tensor:
    """Return 1/2 |psi(x) - target_score|^2, with shape (B,).

    Args:
        model: A score model.
        x: Samples of the density, with shape (B, ...).
        target_score: The score of that density at x, with the shape of x.
        sigma: Level at which to take the model, a float or (B,); None for its own.
    """
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
        psi, entries = divergence.diagonal(partial(model.score, **level), x)
    return 0.5 * sum_each(psi.square()) + sum_each(entries) + reg_lambda * sum_each(entries.square())
