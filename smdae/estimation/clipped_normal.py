"""A normal distribution clipped to [0, 1]: what black and white leave of noise.

For y = min(max(mu + sigma z, 0), 1), z standard normal with density phi and distribution function Phi, a = -mu/sigma
and b = (1 - mu)/sigma,

    w      = Phi(b) - Phi(a)                                the probability that y is not clipped
    m      = mu w + sigma (phi(a) - phi(b)) + Phi(-b)       the mean of y
    dm/dmu = w,   dm/dsigma = phi(a) - phi(b)

and likewise its variance s^2 with its derivatives (Tobin 1958; Foi 2009 for images). Pictures show m and s;
`unclipped_std` solves for mu and sigma by Newton's method.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

# mu for which `clipped_std` computes moments: up to 6 sigma beyond black and white, where nearly all of y is clipped.
GRID = np.linspace(-6.0, 6.0, 121)
MAX_STEPS = 30  # of Newton's method
TOLERANCE = 1e-6  # of sigma, relative
MIN_SLOPE = 1e-12  # of what Newton's method divides by
MAX_LOG_CHANGE = 0.5  # of sigma in one step
# Newton's method diverges where no sigma leaves as large a deviation s: then sigma is MAX_RATIO s + MAX_OFFSET.
MAX_RATIO, MAX_OFFSET = 8.0, 0.02


class Moments(NamedTuple):
    """Moments of clipped normals, and their derivatives in mu and sigma, each with the shape of mu, float64."""

    mean: np.ndarray
    variance: np.ndarray
    mean_by_mu: np.ndarray
    mean_by_sigma: np.ndarray
    variance_by_mu: np.ndarray
    variance_by_sigma: np.ndarray


def moments(mu: np.ndarray, sigma: np.ndarray | float) -> Moments:
    """Return the moments of N(mu, sigma^2), sigma > 0, clipped to [0, 1], with their derivatives, in float64."""
    a, b = -mu / sigma, (1 - mu) / sigma
    below, above = (torch.special.ndtr(torch.from_numpy(z)).numpy() for z in (a, -b))
    at_a, at_b = (np.exp(-z * z / 2) / math.sqrt(2 * math.pi) for z in (a, b))
    within, slope = 1 - below - above, at_a - at_b
    inner = mu * within + sigma * slope  # E[y; not clipped]
    inner_z = mu * slope + sigma * (within + a * at_a - b * at_b)  # E[y z; not clipped]
    mean = inner + above
    variance = np.maximum(mu * inner + sigma * inner_z + above - mean**2, 1e-12)
    return Moments(mean, variance, within, slope, 2 * (inner - mean * within), 2 * (inner_z - mean * slope))


def clipped_std(mean: np.ndarray, sigma: float) -> np.ndarray:
    """Return the standard deviation of clipped normals with given means after clipping, interpolated on a grid.

    Args:
        mean: The means m, in [0, 1], of any shape, which the result has too.
        sigma: Standard deviation before clipping.
    """
    mu = np.sort(np.concatenate([sigma * GRID, 1 - sigma * GRID]))
    grid = moments(mu, sigma)
    found: np.ndarray = np.interp(mean, grid.mean, np.sqrt(grid.variance))
    return found


def unclipped_std(mean: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sigma before clipping to [0, 1] for means and standard deviations after clipping, and its sensitivity.

    Args:
        mean: m, in [0, 1], with shape (n,).
        deviation: s > 0, with shape (n,).

    Returns:
        sigma, (n,), at most MAX_RATIO s + MAX_OFFSET, which also stands where no sigma gives so large an s. And the
        sensitivity d log s / d log sigma at fixed m, (n,): 1 where nothing is clipped, near 0 where m and s hardly
        tell sigma.
    """
    mu, sigma = mean.astype(np.float64), deviation.astype(np.float64)
    sensitivity = np.ones_like(sigma)
    for _ in range(MAX_STEPS):
        now = moments(mu, sigma)
        off, off_log = now.mean - mean, 0.5 * np.log(now.variance) - np.log(deviation)
        log_by_mu, log_by_sigma = (v / (2 * now.variance) for v in (now.variance_by_mu, now.variance_by_sigma))
        w = np.maximum(now.mean_by_mu, MIN_SLOPE)
        at_fixed_mean = np.maximum(log_by_sigma - log_by_mu * now.mean_by_sigma / w, MIN_SLOPE)
        sensitivity = np.minimum(sigma * at_fixed_mean, 1.0)
        by_sigma = -(off_log - log_by_mu * off / w) / at_fixed_mean
        by_mu = -(off + now.mean_by_sigma * by_sigma) / w
        # Steps bounded by sigma stay where the moments are smooth, however far the solution is.
        mu = mu + np.clip(by_mu, -sigma, sigma)
        change = np.exp(np.clip(by_sigma / sigma, -MAX_LOG_CHANGE, MAX_LOG_CHANGE))
        sigma = sigma * change
        if (np.abs(change - 1) < TOLERANCE).all():
            break
    return np.minimum(sigma, MAX_RATIO * deviation + MAX_OFFSET), sensitivity
