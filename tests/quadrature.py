"""Gauss-Hermite quadrature: expectations under Gaussians exact to rounding, to test identities without luck."""

import numpy as np
import torch
from torch import Tensor


def normal_nodes(order: int, dim: int) -> tuple[Tensor, Tensor]:
    """Nodes z, (m, dim), and weights, (m,), with E f(z) = sum_m w f(z_m) for z ~ N(0, I), float64."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    grid = np.stack(np.meshgrid(*[nodes] * dim, indexing="ij"), -1).reshape(-1, dim)
    mass = np.prod(np.meshgrid(*[weights / weights.sum()] * dim, indexing="ij"), axis=0).ravel()
    return torch.from_numpy(grid), torch.from_numpy(mass)


def noisy_nodes(clean: Tensor, sigma: float, order: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs (x, x~) and weights of x~ = x + sigma eps, x uniform over the rows of clean, (n, d)."""
    z, w = normal_nodes(order, clean.shape[1])
    x = clean[:, None].expand(-1, len(z), -1).reshape(-1, clean.shape[1])
    noisy = (clean[:, None] + sigma * z).reshape(-1, clean.shape[1])
    return x, noisy, w.repeat(len(clean)) / len(clean)


def gaussian_nodes(mean: Tensor, covariance: Tensor, order: int = 60) -> tuple[Tensor, Tensor]:
    """Nodes and weights of N(mean, covariance)."""
    z, w = normal_nodes(order, len(mean))
    return mean + z @ torch.linalg.cholesky(covariance).T, w
