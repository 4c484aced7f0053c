"""Noise that was cut off at black and white: a normal clipped to [0, 1].

For y = min(max(mu + sigma z, 0), 1), z standard normal with density phi and distribution Phi, a = -mu/sigma and
b = (1 - mu)/sigma,

    w      = Phi(b) - Phi(a)                                what is not cut off
    m      = mu w + sigma (phi(a) - phi(b)) + Phi(-b)       the mean of y
    dm/dmu = w,   dm/dsigma = phi(a) - phi(b)

and its variance s^2 and the derivatives of that likewise (Tobin 1958; Foi 2009 for images). m and s are what is seen of
clipped noise, and `before` finds the mu and sigma that they come from by Newton's method.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

__all__ = ["Moments", "clipped_std", "moments", "unclipped_std"]

FURTHEST = 6.0  # sigmas beyond black and white of which anything is to be seen
NEAR = np.linspace(-FURTHEST, FURTHEST, 121)
MOST_STEPS = 30
CLOSE = 1e-6  # of sigma, to which it is found
GREATEST, GREATEST_OF = 8.0, 0.02  # sigma as far as it is looked for: so many times what is left of it, and so much


class Moments(NamedTuple):
    """Mean and variance of clipped normals, and their derivatives in mu and sigma, each with the shape of mu."""

    mean: np.ndarray
    variance: np.ndarray
    mean_by_mu: np.ndarray
    mean_by_sigma: np.ndarray
    variance_by_mu: np.ndarray
    variance_by_sigma: np.ndarray


def moments(mu: np.ndarray, sigma: np.ndarray | float) -> Moments:
    """Return the moments of normals clipped to [0, 1], and their derivatives in mu and sigma > 0, float64."""
    a, b = -mu / sigma, (1 - mu) / sigma
    below, above = (torch.special.ndtr(torch.from_numpy(z)).numpy() for z in (a, -b))
    at_a, at_b = (np.exp(-z * z / 2) / math.sqrt(2 * math.pi) for z in (a, b))
    within, slope = 1 - below - above, at_a - at_b
    inner = mu * within + sigma * slope  # E y over what is not cut off
    tilted = mu * slope + sigma * (within + a * at_a - b * at_b)  # E y z over that
    mean = inner + above
    variance = np.maximum(mu * inner + sigma * tilted + above - mean**2, 1e-12)
    return Moments(mean, variance, within, slope, 2 * (inner - mean * within), 2 * (tilted - mean * slope))


def clipped_std(mean: np.ndarray, sigma: float) -> np.ndarray:
    """Return the deviation that clipping leaves of sigma, where the mean after it is `mean`; between grid points."""
    mu = np.sort(np.concatenate([sigma * NEAR, 1 - sigma * NEAR]))
    grid = moments(mu, sigma)
    return np.interp(mean, grid.mean, np.sqrt(grid.variance))


def unclipped_std(mean: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sigmas of which clipping leaves deviations s > 0 at means m, and how much s tells of them.

    Args:
        mean: m, in [0, 1], with shape (n,).
        deviation: s, with shape (n,).

    Returns:
        sigma, no more than is looked for where s is larger than any noise leaves; and d log s / d log sigma at fixed m,
        from 1 where nothing is cut off down to 0; each with shape (n,).
    """
    mu, sigma = mean.astype(np.float64), deviation.astype(np.float64)
    told = np.ones_like(sigma)
    for _ in range(MOST_STEPS):
        now = moments(mu, sigma)
        off, off_log = now.mean - mean, 0.5 * np.log(now.variance) - np.log(deviation)
        log_by_mu, log_by_sigma = (v / (2 * now.variance) for v in (now.variance_by_mu, now.variance_by_sigma))
        w = np.maximum(now.mean_by_mu, 1e-12)
        along = np.maximum(log_by_sigma - log_by_mu * now.mean_by_sigma / w, 1e-12)
        told = np.minimum(sigma * along, 1.0)
        by_sigma = -(off_log - log_by_mu * off / w) / along
        by_mu = -(off + now.mean_by_sigma * by_sigma) / w
        # Far from the end a step that is bounded by sigma does not leave the region where the moments are smooth.
        mu = mu + np.clip(by_mu, -sigma, sigma)
        change = np.exp(np.clip(by_sigma / sigma, -0.5, 0.5))
        sigma = sigma * change
        if (np.abs(change - 1) < CLOSE).all():
            break
    return np.minimum(sigma, GREATEST * deviation + GREATEST_OF), told
