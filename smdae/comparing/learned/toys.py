"""Densities of one and two dimensions, where every expectation is a sum: the theorem without chance.

    q(x)        = sum_k w_k N(x; m_k, t^2 I)              t = 0: points, as data are
    q_sigma(x~) = sum_k w_k N(x~; m_k, (t^2 + sigma^2) I)

A lattice of spacing h with the weights h^d q(x) sums what is smooth and falls off like a Gaussian to all digits: the
error is exp(-2 pi a / h), a being the distance of the nearest pole, pi/|W_j| for a unit. Given x~ and k, x is Gaussian,
and a loss of pairs is quadratic in x, so that two nodes a coordinate are exact; Rademacher probes are all taken.

The literal energy is itself a mixture, of 2^H Gaussians of width sigma, at the sums c + sum_{j in S} W_j of subsets of
its units: exp(-E) multiplied out. So n points on a line, D apart, smoothed by sigma are a model with n - 1 units, all
with |W_j| = D, wherever the polynomial with the coefficients w_k exp(-m_k^2 / 2 sigma^2) has real roots only, for which
w_k^2 exp(D^2 / sigma^2) > 4 w_{k-1} w_{k+1} will do (Kurtz 1992). The least Fisher divergence is then 0.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from smdae.densities import GaussianMixture

SPACING = {1: 0.1, 2: 0.25}  # h, in sigma, by dimension
EXTENT = 8.5  # of a lattice beyond the means, in standard deviations
MIN_WEIGHT = 1e-17  # weight, below which a node is left out
STEP = 0.1  # of differences, in sigma, as in a fit
STRENGTH = 1e-3  # lambda of `ism-reg`, in sigma^2
TILT = 0.1  # of the weights around a ring


@dataclass(frozen=True)
class Toy:
    """A density, and the model that is fitted to it."""

    title: str  # a few words
    means: tuple[tuple[float, ...], ...]  # m_k, d numbers each
    weights: tuple[float, ...]  # w_k, positive; they are normalised
    spread: float = 0.0  # t, the standard deviation of each component; 0 for points
    sigma: float = 1.0  # level of the noise
    hidden: int = 16  # H, the number of hidden units of the model
    seed: int = 0  # seed of the weights at the start; with many others a fit ends in a worse minimum
    least: float | None = None  # the least Fisher divergence to q_sigma of such a model; None where it is not known

    @property
    def dim(self) -> int:
        """Return d, the number of dimensions."""
        return len(self.means[0])

    @property
    def width(self) -> float:
        """Return the standard deviation of the Gaussians of q_sigma."""
        return math.hypot(self.spread, self.sigma)

    @property
    def clean(self) -> GaussianMixture | None:
        """Return q in float64; None for points, which have no score."""
        return self._mixture(self.spread) if self.spread else None

    @property
    def smooth(self) -> GaussianMixture:
        """Return q_sigma, the density of the toy with noise, in float64."""
        return self._mixture(self.width)

    def _mixture(self, width: float) -> GaussianMixture:
        means, weights = (torch.tensor(of, dtype=torch.float64) for of in (self.means, self.weights))
        covariance = width**2 * torch.eye(self.dim, dtype=torch.float64)
        return GaussianMixture(weights, means, covariance.expand(len(means), -1, -1))


@dataclass(frozen=True, eq=False)
class Nodes:
    """The nodes and weights of a quadrature, in float64."""

    x: Tensor  # nodes, with shape (m, d)
    weights: Tensor  # their weights, of sum 1, with shape (m,)
    offers: Mapping[str, Any] = field(default_factory=dict)  # what else a loss may ask for there, by name


def nodes(toy: Toy) -> dict[str, Nodes]:
    """Return a quadrature for each kind of examples, by name: `data`, `parzen` and `pairs`."""
    clean, smooth = toy.clean, toy.smooth
    data = Nodes(smooth.means, smooth.weights) if clean is None else _known(toy, clean, toy.spread)
    parzen = _known(toy, smooth, toy.width)
    found = {"data": data, "parzen": parzen, "pairs": _pairs(toy, smooth, parzen.x)}
    return {name: Nodes(row.x, row.weights, {**row.offers, **_constants(toy, row.x)}) for name, row in found.items()}


def _lattice(toy: Toy, means: Tensor, width: float) -> tuple[Tensor, float]:
    """Return a lattice that covers Gaussians of a width around the means, (m, d), and the volume of a cell."""
    h, margin = SPACING[toy.dim] * toy.sigma, EXTENT * width
    ends = zip(means.amin(0).tolist(), means.amax(0).tolist(), strict=True)
    axes = [torch.arange(low - margin, high + margin, h, dtype=torch.float64) for low, high in ends]
    return torch.cartesian_prod(*axes).reshape(-1, toy.dim), h**toy.dim


def _known(toy: Toy, density: GaussianMixture, width: float) -> Nodes:
    x, room = _lattice(toy, density.means, width)
    weights = density.log_prob(x).exp() * room
    x, weights = x[weights > MIN_WEIGHT], weights[weights > MIN_WEIGHT]
    return Nodes(x, weights, {"target_score": density.score(x)})


def _signs(dim: int) -> Tensor:
    """Return all vectors of +-1, with shape (2^d, d); the second half is minus the first, in reverse order."""
    return torch.cartesian_prod(*[torch.tensor([1.0, -1.0], dtype=torch.float64)] * dim).reshape(-1, dim)


def _pairs(toy: Toy, smooth: GaussianMixture, noisy: Tensor) -> Nodes:
    """Return each noisy node with each Gaussian that it may come from, and 2^d nodes of x given both."""
    variance = toy.width**2
    room = (SPACING[toy.dim] * toy.sigma) ** toy.dim
    square = (noisy[:, None] - smooth.means).square().sum(2)  # (m, K)
    joint = room * smooth.weights * (-square / (2 * variance)).exp() / (2 * math.pi * variance) ** (toy.dim / 2)
    at, k = (joint > MIN_WEIGHT).nonzero(as_tuple=True)
    x, weights, mean = noisy[at], joint[at, k], smooth.means[k]
    mean = mean + toy.spread**2 / variance * (x - mean)
    if not toy.spread:
        return Nodes(x, weights, {"clean": mean})
    signs = _signs(toy.dim)
    clean = mean + toy.spread * toy.sigma / toy.width * signs[:, None]  # (2^d, m', d)
    n = len(signs)
    return Nodes(x.repeat(n, 1), weights.repeat(n) / n, {"clean": clean.flatten(0, 1)})


def _constants(toy: Toy, x: Tensor) -> dict[str, Any]:
    """Return the arguments of losses that are the same at all nodes x, by name; of the probes v and -v it takes one."""
    signs = _signs(toy.dim)
    probes = signs[: len(signs) // 2, None].expand(-1, len(x), -1)
    return {"probes": probes, "sigma": toy.sigma, "step": STEP * toy.sigma, "reg_lambda": STRENGTH * toy.sigma**2}


def sums(start: Sequence[float], edges: Sequence[Sequence[float]], tilts: Sequence[float]) -> Mapping[str, Any]:
    """Return arguments of a `Toy` by name, its means and weights among them, for which q_sigma is an energy exactly.

    The energy has c = `start`, W = `edges` and b = `tilts`. The toy has a mean m_S = c + the sum of the edges in S for
    each subset S of them, with the weight exp(|m_S|^2/2 + the sum of the tilts in S).
    """
    means, weights = [], []
    for chosen in itertools.product((0, 1), repeat=len(edges)):
        mean = tuple(c + sum(edge[i] for edge in itertools.compress(edges, chosen)) for i, c in enumerate(start))
        means.append(mean)
        weights.append(math.exp(sum(m * m for m in mean) / 2 + sum(itertools.compress(tilts, chosen))))
    return {"means": tuple(means), "weights": tuple(weights), "hidden": len(edges), "least": 0.0}


def ring(sides: int, radius: float) -> Mapping[str, Any]:
    """Return the arguments of a `Toy` by name, see `sums`: its edges are half of the sides of a regular polygon."""
    angles = [2 * math.pi * k / sides for k in range(sides // 2)]
    length = 2 * radius * math.sin(math.pi / sides)
    edges = [(length * math.cos(a), length * math.sin(a)) for a in angles]
    start = [-sum(edge[i] for edge in edges) / 2 for i in (0, 1)]
    return sums(start, edges, [TILT * edge[0] for edge in edges])


TOYS: dict[str, Toy] = {
    "bumps": Toy("three Gaussians", ((-5.0,), (0.0,), (4.0,)), (0.3, 0.45, 0.25), spread=1.25, seed=1),
    "points": Toy(
        "five points",
        ((-6.0,), (-3.0,), (0.0,), (3.0,), (6.0,)),
        (0.1, 0.3, 0.15, 0.35, 0.1),
        hidden=4,
        seed=3,
        least=0.0,
    ),
    "ring": Toy("points on a ring", **ring(sides=8, radius=3.5), seed=4),
}
