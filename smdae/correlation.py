"""The correlation R of noise that is alike at every place: between channels, and between pixels by their distance.

    R = M (x) G,   M: C x C, of the channels,   G: rho(|dy|, |dx|), of pixels dy rows and dx columns apart, the "grain"

Both have ones on the diagonal. G is taken on a torus, as if the image were repeated in all directions: there the
Fourier transform diagonalises it, and its eigenvalues, the power spectrum, have mean 1. So any power of R, such as
R^1/2 to draw noise and R^-1 for its score, costs two transforms and a product with a C x C matrix.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from smdae import checked
from smdae.checked import Matrix
from smdae.errors import UsageError

MAX_LAG = 64  # pixels
MAX_CHANNELS = 256
MIN_TORUS = 64  # pixels a side, on which a grain is checked
# Negative values down to these are taken for rounding errors of 0: in a power spectrum with mean 1, and among the
# eigenvalues of the channels' correlation.
MAX_NEGATIVE_POWER, MAX_NEGATIVE_EIGENVALUE = 1e-3, 1e-6
SINGULAR = 1e-6  # eigenvalues, which are 1 for white noise, below which R has no inverse


def apply(e: Tensor, grain: Matrix, channels: Matrix | None, power: float) -> Tensor:
    """Return R^power e; e itself if nothing is correlated.

    Args:
        e: Pictures, with shape (B, C, H, W).
        grain: Correlation of the pixels, rho[dy][dx].
        channels: Correlation of the channels, C x C, or None if they are independent.
        power: 1/2 to correlate white noise, 1 to multiply by R, -1 by its inverse.

    Raises:
        UsageError: The power is negative and R singular.
    """
    if not is_point(grain):
        size = e.shape[-2:]
        spectrum = _spectrum(grain, size[0], size[1]).clamp(min=0)
        spectrum = spectrum / spectrum.mean()
        half = _powered(spectrum, power)[:, : size[1] // 2 + 1].to(e)  # (H, W // 2 + 1): e is real
        e = torch.fft.irfft2(half * torch.fft.rfft2(e), s=size)
    if channels is not None and not is_diagonal(channels):
        values, vectors = torch.linalg.eigh(torch.tensor(channels, dtype=torch.float64, device="cpu"))
        mix = (vectors * _powered(values.clamp(min=0), power)) @ vectors.T
        e = torch.einsum("cd,bdhw->bchw", mix.to(e), e)
    return e


def is_point(grain: Matrix) -> bool:
    """Return whether no two pixels are correlated."""
    return not any(rho for dy, line in enumerate(grain) for dx, rho in enumerate(line) if dy or dx)


def is_diagonal(channels: Matrix) -> bool:
    """Return whether no two channels are correlated."""
    return not any(rho for c, line in enumerate(channels) for d, rho in enumerate(line) if c != d)


def grain_size(grain: Matrix) -> float:
    """Return the side of a grain in pixels, at least 1: the root of the sum of rho over all lags.

    The mean of noise over an area has the variance that it has if each grain of that size were one independent pixel.
    """
    rho = np.array(grain)
    signs = np.where(np.arange(len(rho)) > 0, 2, 1)  # the number of lags of one size: +lag and -lag, but one 0
    return math.sqrt(max(1.0, float(signs @ rho @ signs)))


def checked_grain(value: object) -> Matrix:
    """Return a correlation of pixels as tuples of floats, or raise `UsageError` if no noise can have it."""
    name = "the correlation of the pixels"
    grain = checked.square(value, name, MAX_LAG + 1)
    if grain[0][0] != 1:
        raise UsageError(f"{name} must begin with 1, that of a pixel with itself, not {grain[0][0]:g}")
    largest = max((rho for line in grain for rho in line), key=abs)
    if abs(largest) > 1:
        raise UsageError(f"{name} must be from -1 to 1, and one is {largest:g}")
    side = max(MIN_TORUS, 4 * len(grain))
    if not is_point(grain) and _spectrum(grain, side, side).min() < -MAX_NEGATIVE_POWER:
        raise UsageError(f"{name} is impossible: some pattern would have a negative variance")
    return grain


def checked_channels(value: object) -> Matrix:
    """Return a correlation of channels as tuples of floats, or raise `UsageError` if no noise can have it."""
    name = "the correlation of the channels"
    channels = checked.square(value, name, MAX_CHANNELS)
    matrix = np.array(channels)
    if (matrix != matrix.T).any():
        raise UsageError(f"{name} must be symmetric")
    if (matrix.diagonal() != 1).any():
        raise UsageError(f"{name} must have ones on its diagonal")
    if np.linalg.eigvalsh(matrix)[0] < -MAX_NEGATIVE_EIGENVALUE:
        raise UsageError(f"{name} is impossible: some mixture of channels would have a negative variance")
    return channels


def _spectrum(grain: Matrix, rows: int, columns: int) -> Tensor:
    """Return the power spectrum of a grain on a torus of rows x columns pixels, float64: real, as rho is even."""
    rho = F.pad(torch.tensor(grain, dtype=torch.float64, device="cpu"), (0, 1, 0, 1))  # 0 beyond the table
    lags = [torch.arange(n, device="cpu") for n in (rows, columns)]
    dy, dx = (torch.minimum(lag, len(lag) - lag).clamp(max=len(grain)) for lag in lags)
    found: Tensor = torch.fft.fft2(rho[dy][:, dx]).real
    return found


def _powered(eigenvalues: Tensor, power: float) -> Tensor:
    """Return a power of eigenvalues; refuse a negative one of a singular matrix."""
    if power < 0 and eigenvalues.min() < SINGULAR:
        raise UsageError(
            "the covariance of the noise is singular, so the noise has no score",
            "fit to the mean of channels that share their noise, or to a smaller picture if the grain is smooth",
        )
    return eigenvalues**power
