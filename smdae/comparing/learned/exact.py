"""Fits without chance: the energy on a toy, by the expectation of each objective itself.

Steps are those of Levenberg and Marquardt,

    theta <- theta - (G + mu I)^-1 grad J(theta),    G = 2 sigma^2/d E (d psi/d theta)' (d psi/d theta)

J and its gradient are the objective's own. G, the curvature of |psi|^2, knows no target and is the same for all that
take x from one density: so equivalent objectives, from one start, should take the same steps and end at the same theta,
and whatever parts them is theirs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from smdae.comparing.learned.toys import Nodes, Toy
from smdae.models import EnergyModel
from smdae.objectives import OBJECTIVES

ROUNDING = 1e-13  # of J, within which no theta is known to be better
MIN_GRADIENT = 1e-13  # norm of a gradient
MIN_DAMPING, MAX_DAMPING = 1e-12, 1e8  # mu, between which it stays
HEIGHT = 1.5  # of the units at the start, in sigma


@dataclass(frozen=True, eq=False)
class Ending:
    """The end of a fit."""

    model: EnergyModel  # the energy, in float64
    steps: int  # steps made
    value: float  # J, raw
    gradient: float  # norm of the gradient of J as squared error per dimension over sigma^2


def applies(name: str, nodes: Mapping[str, Nodes]) -> bool:
    """Return whether the toy offers what an objective needs: points have no score."""
    row = OBJECTIVES[name]
    return not row.lacking(EnergyModel) and {*row.needs} <= {*nodes[row.samples].offers}


def expected(name: str, model: EnergyModel, nodes: Mapping[str, Nodes]) -> Tensor:
    """Return J, raw: the expectation of the loss over the nodes, a scalar tensor that can be differentiated."""
    row = OBJECTIVES[name]
    at = nodes[row.samples]
    return row.loss(model, at.x, **{need: at.offers[need] for need in row.needs}) @ at.weights


@torch.no_grad()
def fisher(model: EnergyModel, at: Nodes) -> float:
    """Return 1/2 E |psi - grad log q|^2 at the nodes of q."""
    errors = (model.score(at.x) - at.offers["target_score"]).square().sum(1)
    return float(0.5 * errors @ at.weights)


def start(toy: Toy) -> EnergyModel:
    """Return the model at the start: units of one norm in random directions, each half on at a random noisy example."""
    generator = Generator().manual_seed(toy.seed)
    model = EnergyModel(toy.dim, toy.hidden, toy.sigma).double().requires_grad_(False)
    directions = torch.randn(model.W.shape, generator=generator, dtype=torch.float64)
    model.W.copy_(HEIGHT * toy.sigma * directions / directions.norm(dim=1, keepdim=True))
    model.b.copy_(-(model.W * toy.smooth.sample(toy.hidden, generator)).sum(1))
    model.c.copy_(toy.smooth.weights @ toy.smooth.means - model.W.sum(0) / 2)
    return model.requires_grad_(True)


@torch.no_grad()
def slopes(model: EnergyModel, x: Tensor) -> Tensor:
    """Return d psi/d theta, with shape (m, d, parameters), theta being W, b and c in this order."""
    h = model.codes(x)  # (m, H)
    by_b = (model.W * (h - h.square())[:, :, None]).mT  # (m, d, H)
    eye = torch.eye(model.dim, dtype=x.dtype)
    by_W = h[:, None, :, None] * eye[:, None] + by_b[..., None] * x[:, None, None]  # (m, d, H, d)
    return torch.cat([by_W.flatten(2), by_b, eye.expand(len(x), -1, -1)], 2) / model.sigma**2


def fit(toy: Toy, name: str, nodes: Mapping[str, Nodes], steps: int) -> Ending:
    """Fit a toy by the objective `name` with Levenberg and Marquardt's method, and return how it ended.

    `nodes` are the quadratures of the toy. A fit ends before `steps` where the gradient is rounding, or no step is
    better.
    """
    model = start(toy)
    row = OBJECTIVES[name]
    scale = float(row.scale(toy.sigma, toy.dim))
    # Pairs have many nodes of one x~, for which psi is the same.
    at = nodes["parzen" if row.samples == "pairs" else row.samples]
    parameters = list(model.parameters())

    def evaluate(theta: Tensor) -> tuple[float, Tensor]:
        vector_to_parameters(theta, parameters)
        value = scale * expected(name, model, nodes)
        return value.item(), parameters_to_vector(torch.autograd.grad(value, parameters))

    theta = parameters_to_vector(parameters).detach().clone()
    value, gradient = evaluate(theta)
    mu, growth, count = 1e-3, 2.0, 0
    while count < steps and gradient.norm() > MIN_GRADIENT and mu < MAX_DAMPING:
        A = slopes(model, at.x) * (2 * toy.sigma**2 / toy.dim * at.weights).sqrt()[:, None, None]
        G = torch.einsum("mip,miq->pq", A, A)
        while mu < MAX_DAMPING:
            move = -torch.linalg.solve(G + mu * torch.eye(len(G), dtype=G.dtype), gradient)
            after, slope = evaluate(theta + move)
            gain = (value - after) / -(gradient @ move + move @ G @ move / 2).item()
            settled = abs(value - after) <= ROUNDING * abs(value) and slope.norm() < gradient.norm()
            if gain > 0 or settled:
                theta, value, gradient, count = theta + move, after, slope, count + 1
                mu, growth = max(MIN_DAMPING, mu * max(1 / 3, 1 - (2 * max(gain, 0.5) - 1) ** 3)), 2.0
                break
            mu, growth = mu * growth, 2 * growth
    vector_to_parameters(theta, parameters)
    return Ending(model.requires_grad_(False), count, value / scale, gradient.norm().item())
