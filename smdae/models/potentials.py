"""Potentials phi of experts: functions of one response a, sums of fixed shapes with learned weights.

    quadratic   a^2 / 2                                     a Gaussian, the expert of a linear filter
    softplus    -log(1 + e^a)                               the paper's, equation 4.3
    pair        -log(1 + e^(a - c)) - log(1 + e^(-a - c))   the paper's with either sign, beyond a threshold c
    student     tau^2 / 2 log(1 + a^2 / tau^2)              Student's t of width tau  (Welling, Hinton, Osindero 2003)

All are smooth, and `order` k asks for the k-th derivative, in closed form, up to the third. Of an energy
sum_j phi(<w_j, x> + b_j) the first makes the score, the second its divergence and the posterior covariance, and the
third their gradients.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 1 << 16  # numbers processed at once: intermediate results stay in the cache


def quadratic(a: Tensor, order: int) -> Tensor:
    """Return a^2 / 2, or its derivative of an order from 1 to 3, with the shape of a."""
    return (a.square() / 2, a, torch.ones_like(a), torch.zeros_like(a))[order]


def softplus(a: Tensor, order: int, at: float = 0.0, sign: float = 1.0) -> Tensor:
    """Return -log(1 + exp(sign a - at)), or its derivative of an order from 1 to 3, with the shape of a."""
    if order == 0:
        # The default threshold, 20, replaces it by a line too early for float64.
        return -F.softplus(sign * a - at, threshold=50)
    h = torch.sigmoid(sign * a - at)
    if order == 1:
        return -sign * h
    bend = h - h.square()
    return -bend if order == 2 else -sign * bend * (1 - 2 * h)


def pair(a: Tensor, order: int, at: float) -> Tensor:
    """Return -log(1 + exp(a - at)) - log(1 + exp(-a - at)), or its derivative of order 1 to 3, with the shape of a."""
    return softplus(a, order, at) + softplus(a, order, at, -1.0)


def student(a: Tensor, order: int, width: float) -> Tensor:
    """Return width^2 / 2 log(1 + a^2 / width^2), or its derivative of an order from 1 to 3, with the shape of a."""
    t = a.square() / width**2
    if order == 0:
        return width**2 / 2 * torch.log1p(t)
    q = 1 / (1 + t)
    if order == 1:
        return a * q
    return (2 * q - 1) * q if order == 2 else a * (4 * q - 1) * q.square() * (-2 / width**2)


@dataclass(frozen=True)
class Shape:
    """A fixed shape: a function of (a, order), and its weight at the start of a fit."""

    of: Callable[[Tensor, int], Tensor]
    start: float


POTENTIALS: dict[str, tuple[Shape, ...]] = {
    "softplus": (Shape(quadratic, 1.0), Shape(softplus, 1.0)),
    "pairs": (Shape(quadratic, 1.0), *(Shape(partial(pair, at=c), 0.25) for c in (0.0, 1.0, 2.0, 4.0))),
    "student": tuple(Shape(partial(student, width=2.0**k), 0.25) for k in range(4)),
}


class _WeightedSum(torch.autograd.Function):
    """The sum over m of weights_m shape_m^(order)(a), whose derivative in a is that of the next order."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, weights: Tensor, shapes: tuple[Shape, ...], order: int) -> Tensor:
        out = torch.empty_like(a)
        for rows in _chunks(a):
            part = a[rows].to(weights.dtype)
            total = torch.zeros_like(part)
            for shape, weight in zip(shapes, weights[rows].unbind(1), strict=True):
                total.addcmul_(shape.of(part, order), weight)
            out[rows] = total
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        a, weights, ctx.shapes, ctx.order = inputs
        ctx.save_for_backward(a, weights)
        ctx.save_for_forward(a, weights)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        a_tangent, weights_tangent, *_ = tangents
        a, weights = ctx.saved_tensors
        tangent = torch.zeros_like(a)
        if a_tangent is not None:
            tangent = tangent + a_tangent * potential(a, weights, ctx.shapes, ctx.order + 1)
        return tangent if weights_tangent is None else tangent + potential(a, weights_tangent, ctx.shapes, ctx.order)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        a, weights = ctx.saved_tensors
        bend = potential(a, weights, ctx.shapes, ctx.order + 1) * gradient if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return bend, None, None, None
        if torch.is_grad_enabled():  # a derivative of the derivative is wanted
            parts = torch.stack([gradient * shape.of(a, ctx.order) for shape in ctx.shapes], 1)
            return bend, parts.sum_to_size(weights.shape), None, None
        slopes = torch.empty_like(weights)
        for rows in _chunks(a):
            part, along = a[rows].to(weights.dtype), gradient[rows].to(weights.dtype)
            for m, shape in enumerate(ctx.shapes):
                slopes[rows, m] = (shape.of(part, ctx.order) * along).sum_to_size(slopes[rows, m].shape)
        return bend, slopes, None, None


def _chunks(a: Tensor) -> list[slice]:
    rows = max(1, CHUNK // max(a[0].numel(), 1))
    return [slice(first, first + rows) for first in range(0, len(a), rows)]


def potential(a: Tensor, weights: Tensor, shapes: tuple[Shape, ...], order: int = 0) -> Tensor:
    """Return the derivative of an order from 0 to 3 of each expert's potential, with the shape of a.

    a are the responses of K experts to n windows of each of B images, (K, B, n); `shapes` is a row of POTENTIALS, and
    the weights of these M shapes are (K, M, B, 1) or (K, M, 1, 1).
    """
    result = _WeightedSum.apply(a, weights, shapes, order)
    assert isinstance(result, Tensor)
    return result
