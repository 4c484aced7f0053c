"""Sliced score matching: the error of the score along random directions, by derivatives or by differences."""

from typing import Any

import torch
from torch import Tensor

from smdae import divergence
from smdae.objectives.scores import score_at, sum_each
from smdae.protocols import HasEnergy, offers, per_example, refuse_other_shape


def sliced(
    model: Any,
    x: Tensor,
    probes: Tensor,
    sigma: float | Tensor | None = None,
    reduced: bool = False,
    step: float | Tensor | None = None,
) -> Tensor:
    """Return the mean over probes v of v'(d psi/dx)v + 1/2 (v'psi)^2, with shape (B,).

    Args:
        model: A score model.
        x: Samples of the density, with shape (B, ...).
        probes: Directions with shape (k, *x.shape), E v v' = I.
        sigma: Level at which to take the model, a float or (B,); None for its own.
        reduced: Take 1/2 |psi|^2 for the square, its mean over v: less variance.
        step: Length of differences along the probes, a float or (B,), for models with kinks; None for derivatives.

    Raises:
        UsageError: The probes have another shape.
    """
    refuse_other_shape(probes, x, "probes", leading=1)

    def score(point: Tensor) -> Tensor:
        return score_at(model, point, sigma)

    if step is None:
        psi, bend = divergence.hutchinson(score, x, probes, divergence.needs_reverse(model))
    else:
        psi, bend = score(x), divergence.finite_difference(score, x, probes, step)
    square = sum_each(psi.square()) if reduced else (probes * psi).flatten(2).sum(2).square().mean(0)
    return bend + 0.5 * square


def differenced(
    model: Any, x: Tensor, probes: Tensor, step: float | Tensor, sigma: float | Tensor | None = None
) -> Tensor:
    """Return `sliced` by differences, without a derivative in x, with shape (B,) and bias O(step^2).

    With log p = -E along a probe v, and e the step, where the model has an energy

        (log p(x + e v) - 2 log p(x) + log p(x - e v)) / e^2 + 1/2 ((log p(x + e v) - log p(x - e v)) / 2e)^2

    and elsewhere v'(psi(x + e v) - psi(x - e v)) / 2e + 1/2 (v'(psi(x + e v) + psi(x - e v)) / 2)^2, averaged over v.

    Args:
        model: A score model.
        x: Samples of the density, with shape (B, ...).
        probes: Directions with shape (k, *x.shape), E v v' = I.
        step: e, a float or (B,), about a tenth of sigma.
        sigma: Level at which to take the model, a float or (B,); None for its own.

    Raises:
        UsageError: The probes have another shape.
    """
    level = {} if sigma is None else {"sigma": sigma}
    refuse_other_shape(probes, x, "probes", leading=1)
    e = per_example(step, x)
    losses = []
    for v in probes:
        if offers(model, HasEnergy):
            before, here, after = (-model.energy(point, **level) for point in (x - e * v, x, x + e * v))
            bend, slope = (after - 2 * here + before) / step**2, (after - before) / (2 * step)
        else:
            before, after = (sum_each(v * model.score(point, **level)) for point in (x - e * v, x + e * v))
            bend, slope = (after - before) / (2 * step), (after + before) / 2
        losses.append(bend + 0.5 * slope.square())
    return torch.stack(losses).mean(0)
