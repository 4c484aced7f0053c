"""The covariance of noise at small lags, from blocks of 8 x 8 pixels whose best fitting planes were subtracted.

With C(l) the covariance of pixels l = (rows, columns) apart and R = I - Q Q' the projection that subtracts the plane
(`blocks`), the residual r = R y has the covariance R C R. Its mean over pixels at each lag is linear in C,

    seen(l) = sum_m A(l, m) C(m),    A(l, m) = mean of (R E_m R)_ij over pixels i, j at lag l,

E_m being 1 for two pixels at lag m and else 0. `unbiased` solves for C at the lags 0 to 3, taking it to be 0 beyond.
"""

from functools import cache

import numpy as np

from smdae.estimation.blocks import SIDE, plane_projection

LAGS = 4  # lags 0 to 3, in rows and in columns


def covariances(pixels: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the mean product of residuals at each lag, with shape (4, 4), row lags first.

    Args:
        pixels: Blocks of one channel, with shape (n, 8, 8).
        shares: The weight of each, with shape (n,).
    """
    r = without_planes(pixels) * np.sqrt(shares, dtype=np.float32)[:, None]
    products = r.T @ r  # (64, 64)
    return np.array([products[pairs].mean() for pairs in _pairs_at_lags()]).reshape(LAGS, LAGS)


def without_planes(pixels: np.ndarray) -> np.ndarray:
    """Return blocks of one channel, (n, 8, 8), with their best fitting planes subtracted, with shape (n, 64)."""
    flat = pixels.reshape(-1, SIDE**2)
    found: np.ndarray = flat - flat @ plane_projection().float().numpy()
    return found


def unbiased(seen: np.ndarray) -> np.ndarray:
    """Return the covariance of the noise at each lag, (4, 4), from that of the residuals, (4, 4)."""
    return np.linalg.solve(_seen_of_unit(), seen.ravel()).reshape(LAGS, LAGS)


@cache
def _pairs_at_lags() -> np.ndarray:
    """Return which pairs of pixels of a block are at each lag, with shape (16, 64, 64)."""
    place = np.stack(np.divmod(np.arange(SIDE**2), SIDE), 1)
    lag = np.abs(place[:, None] - place[None])  # (64, 64, 2)
    return np.stack([(lag == (i, j)).all(2) for i in range(LAGS) for j in range(LAGS)])


@cache
def _seen_of_unit() -> np.ndarray:
    """Return A, with shape (16, 16)."""
    rest = np.eye(SIDE**2) - plane_projection().numpy()
    matrix = np.zeros((LAGS**2, LAGS**2))
    at_lags = _pairs_at_lags()
    for m, pairs in enumerate(at_lags):
        residual = rest @ pairs @ rest
        matrix[:, m] = [residual[others].mean() for others in at_lags]
    return matrix
