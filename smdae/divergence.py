"""The divergence of a score, tr(d psi/dx): what implicit score matching costs.

    exact              sum_i e_i' J e_i by forward mode, all d basis vectors, a chunk of them at a time
    hutchinson         mean_k v_k' J v_k by forward mode, unbiased for E v v' = I       (Hutchinson 1989)
    finite_difference  mean_k v_k' (psi(x + eps v_k) - psi(x - eps v_k)) / (2 eps), bias O(eps^2)

Forward mode gives psi and J v in one pass and keeps no graph of the other directions. It takes code that torch.func can
transform; scores that call autograd themselves or functions with a backward pass alone are differentiated in reverse
mode, v' J v = (J' v)' v, one direction at a time (`reverse`). Where a model has its divergence in closed form,
`score_and_divergence` uses that and calls none of these. Inference mode, in which autograd takes no derivatives, is
left for them.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor
from torch.func import jvp, vmap

from smdae.protocols import HasDivergence, HasJointDivergence, HasReverse, offers, per_example, refuse_other_shape

Score = Callable[[Tensor], Tensor]


def diagonal(score: Score, x: Tensor, chunk: int = 32, reverse: bool = False) -> tuple[Tensor, Tensor]:
    """Return psi(x) and the diagonal of its Jacobian, both with the shape of x, (B, ...).

    Args:
        score: The field psi, mapping (B, ...) to (B, ...), each row by itself.
        x: Points, with shape (B, ...).
        chunk: Basis vectors pushed forward at once; memory grows with it, time hardly shrinks beyond a few dozen.
        reverse: Whether to differentiate in reverse mode.
    """
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(False), torch.no_grad():
            return diagonal(score, x.clone(), chunk, reverse)
    shape = x.shape
    d = math.prod(shape[1:])

    def basis(i: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(i, d).to(x.dtype).reshape(shape[1:]).expand(shape)

    def along(i: Tensor) -> tuple[Tensor, Tensor]:
        direction = basis(i)
        value, change = jvp(score, (x,), (direction,))  # type: ignore[misc]
        return value, (change * direction).flatten(1).sum(1)  # (B, ...), (B,)

    if reverse:
        psi, slopes = _backwards(score, x, (basis(i) for i in torch.arange(d, device=x.device)))
        return psi, torch.stack([*slopes], 1).reshape(shape)
    entries = []
    value = None
    for indices in torch.arange(d, device=x.device).split(chunk):
        value, entry = vmap(along, out_dims=(None, 1))(indices)  # type: ignore[arg-type]
        entries.append(entry)  # (B, chunk)
    assert value is not None
    return value, torch.cat(entries, dim=1).reshape(shape)


def exact(score: Score, x: Tensor, chunk: int = 32, reverse: bool = False) -> tuple[Tensor, Tensor]:
    """Return psi(x), with the shape of x, and tr(d psi/dx), with shape (B,), by d derivatives.

    Args:
        score: The field psi, mapping (B, ...) to (B, ...), each row by itself.
        x: Points, with shape (B, ...), of d coordinates each.
        chunk: Basis vectors pushed forward at once; more take more memory.
        reverse: Whether to differentiate in reverse mode.
    """
    value, entries = diagonal(score, x, chunk, reverse)
    return value, entries.flatten(1).sum(1)


def probes(x: Tensor, k: int, generator: Generator | None = None) -> Tensor:
    """Return k Rademacher probes, +-1 in each coordinate, with shape (k, *x.shape).

    They have E v v' = I and, among all such probes, the least variance: the diagonal of J adds none.
    """
    signs = torch.randint(0, 2, (k, *x.shape), generator=generator, device=x.device)
    return (2 * signs - 1).to(x.dtype)


def normal_probes(x: Tensor, k: int, generator: Generator | None = None) -> Tensor:
    """Return k standard normal probes, with shape (k, *x.shape).

    For these E v'f(x + e v)/e is E tr(df/dx)(x + e v) at any e.
    """
    return torch.randn((k, *x.shape), generator=generator, dtype=x.dtype, device=x.device)


def hutchinson(score: Score, x: Tensor, probes: Tensor, reverse: bool = False) -> tuple[Tensor, Tensor]:
    """Return psi(x), with the shape of x, and the mean over probes of v' J v, with shape (B,).

    Args:
        score: The field psi, mapping (B, ...) to (B, ...).
        x: Points, with shape (B, ...).
        probes: Directions v, with shape (k, *x.shape), k >= 1.
        reverse: Whether to differentiate in reverse mode.

    Raises:
        UsageError: The probes have another shape.
    """
    refuse_other_shape(probes, x, "probes", leading=1)
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(False), torch.no_grad():
            return hutchinson(score, x.clone(), probes.clone(), reverse)
    if reverse:
        psi, slopes = _backwards(score, x, probes)
        return psi, torch.stack([*slopes]).mean(0)
    estimates = []
    for v in probes:  # one by one: under vmap convolutions lose the order of their channels
        value, change = jvp(score, (x,), (v,))  # type: ignore[misc]
        estimates.append((v * change).flatten(1).sum(1))
    return value, torch.stack(estimates).mean(0)


def _backwards(score: Score, x: Tensor, directions: Iterable[Tensor]) -> tuple[Tensor, Iterator[Tensor]]:
    """Return psi(x), and for each direction v, of the shape of x, v' J v with shape (B,), by reverse mode."""
    learning = torch.is_grad_enabled()
    with torch.enable_grad():
        y = x.detach().requires_grad_()
        value = score(y)

    def slopes() -> Iterator[Tensor]:
        for v in directions:
            (change,) = torch.autograd.grad(value, y, v, retain_graph=True, create_graph=learning)
            yield (change * v).flatten(1).sum(1)

    return value if learning else value.detach(), slopes()


def finite_difference(score: Score, x: Tensor, probes: Tensor, step: float | Tensor) -> Tensor:
    """Return the mean over probes of v' (psi(x + step v) - psi(x - step v)) / (2 step), with shape (B,).

    Args:
        score: The field psi, mapping (B, ...) to (B, ...).
        x: Points, with shape (B, ...).
        probes: Directions v, with shape (k, *x.shape), k >= 1; other shapes are not refused.
        step: Length of the step in the unit of x, a float or (B,); about a tenth of sigma for networks with kinks.
    """
    e = per_example(step, x)
    estimates = [(v * (score(x + e * v) - score(x - e * v))).flatten(1).sum(1) for v in probes]
    return torch.stack(estimates).mean(0) / (2 * step)


def needs_reverse(model: Any) -> bool:
    """Return whether a model says that its score can be differentiated in reverse mode alone."""
    return offers(model, HasReverse) and model.reverse


def score_and_divergence(
    model: Any, x: Tensor, sigma: float | Tensor | None = None, probes: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return psi(x) and tr(d psi/dx): by probes if given, in closed form if the model has one, else exactly.

    Args:
        model: A score model.
        x: Points, with shape (B, ...).
        sigma: Level, a float or (B,); None for the model's own.
        probes: Directions with shape (k, *x.shape), or None for the exact divergence.

    Raises:
        UsageError: The probes have another shape.
    """
    level = {} if sigma is None else {"sigma": sigma}
    score = partial(model.score, **level)
    if probes is not None:
        return hutchinson(score, x, probes, needs_reverse(model))
    if offers(model, HasJointDivergence):
        return model.score_and_divergence(x, **level)
    if offers(model, HasDivergence):
        return score(x), model.divergence(x, **level)
    return exact(score, x, reverse=needs_reverse(model))
