"""Variance stabilisation: noise whose level depends on the pixel is made white by a transform of the pixels.

    f(y) = integral^y dt / (sd(t)^2 + 3/8 a(t)^2)^1/2,   a = d sd^2/dt     noise of deviation 1 wherever sd is smooth
    x^   = g(D(f(y))),   g the inverse of x -> E[f(y) | x]

If neighbouring pixels are correlated, so are those of f(y), much alike, and D is a denoiser of such noise.

For Poisson-Gaussian noise f is the generalised transform of Anscombe (1948), and g its exact unbiased inverse (Makitalo
and Foi 2013). Here both are tables, so that any sd(t) will do. E[f(y) | x] is computed by quadrature, with y clipped
where the picture is. At low counts, n = sd^2/a^2, it is summed over y = x + a (k - n) with k from a Poisson
distribution, which, unlike a normal one, is not cut off by black. f is scaled so that the picture fills 0 to 1.

Below about one photon a pixel, D sees spikes on a constant background and returns less than their mean. There the
difference of the local means of y and of the result is added back.

If white has clipped the noise, D is set to clipped pictures, and its results may lie beyond white: then E[f(y) | x] is
taken without clipping.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from smdae.curves import Affine, Curve
from smdae.protocols import posterior_mean, widened

NODES = 4096  # of a table
QUADRATURE_NODES = 21  # of Gauss-Hermite quadrature
ANSCOMBE = 3 / 8  # times a^2, added to the variance so that f makes low counts nearly normal
SLOPE_PARTS = 20  # the slope of the variance is averaged over one of so many parts of the range
LEAST_DEVIATION = 1e-12  # white being 1, below which there is no noise and no count
MIN_LEVEL = 1e-2  # of the highest level of a curve; lower levels are raised to it
LOW_COUNTS = 12.0  # mean counts below which the expectation is a sum over Poisson's distribution
MAX_COUNTS = 48  # terms of that sum
SPARSE = (1.0, 2.0)  # mean counts: up to the first the local mean is restored fully, from the second on not at all
WINDOW = 13  # pixels a side of the local mean
EXTENSION = 0.35  # of the picture's range, by which tables extend beyond it on either side


@dataclass(frozen=True, eq=False)
class Transform:
    """The transform f of one channel, which makes its noise white, and its inverse g, as tables at equal steps.

    Between the steps both are linear; beyond the ends of a table its last line goes on.

    Attributes:
        low: First argument of f.
        step: Step between arguments of f.
        forward: Values of f, scaled so that the picture fills 0 to 1, with shape (n,).
        first: First argument of g.
        stride: Step between arguments of g.
        back: Values of g, with shape (n,).
        sparse: The values of x at mean counts of 0 and of the two in `SPARSE`; None if counts are higher everywhere.
    """

    low: float
    step: float
    forward: Tensor
    first: float
    stride: float
    back: Tensor
    sparse: tuple[float, float, float] | None = None

    def apply(self, y: Tensor) -> Tensor:
        """Return f(y), values whose noise is white, with the shape of y."""
        return _looked_up(y, self.low, self.step, self.forward)

    def invert(self, z: Tensor) -> Tensor:
        """Return g(z), the values in the picture's unit, with the shape of z."""
        return _looked_up(z, self.first, self.stride, self.back)


@dataclass(frozen=True, eq=False)
class Whitening:
    """The transforms of the channels that a model takes together.

    Attributes:
        each: The transform of each channel.
        level: Standard deviation of the transformed noise.
    """

    each: tuple[Transform, ...]
    level: float

    def apply(self, y: Tensor) -> Tensor:
        """Return y transformed so that its noise is white, with the shape of y, (B, C, H, W)."""
        return torch.stack([f.apply(y[:, c]) for c, f in enumerate(self.each)], 1)

    def invert(self, z: Tensor) -> Tensor:
        """Return z transformed back to the picture's unit, with the shape of z, (B, C, H, W)."""
        return torch.stack([f.invert(z[:, c]) for c, f in enumerate(self.each)], 1)


def _looked_up(x: Tensor, low: float, step: float, table: Tensor) -> Tensor:
    """Return a table of values at x, interpolated linearly, and extrapolated beyond its ends."""
    table = table.to(x)
    place = (x - low) / step
    index = place.floor().clamp(0, len(table) - 2)
    at = index.long()
    return torch.lerp(table[at], table[at + 1], place - index)


def transforms(
    curves: tuple[Curve, ...], low: float, high: float, clip: tuple[float, float] | None
) -> tuple[tuple[Transform, ...], float]:
    """Return the transform of each channel, and the standard deviation of the noise after them.

    Args:
        curves: The noise level of each channel as a function of the clean value.
        low: Least value of the picture.
        high: Largest value of the picture.
        clip: The range that y is clipped to, either end possibly infinite; None if it is not clipped.
    """
    extension = EXTENSION * (high - low)
    x = np.linspace(low - extension, high + extension, NODES)
    integrals = []
    for curve in curves:
        variance = _level(curve, x) ** 2
        variance = variance + ANSCOMBE * _slope(variance, x) ** 2
        rate = 1 / np.sqrt(np.maximum(variance, MIN_LEVEL**2 * variance.max()))
        rate = np.where(x < low, np.interp(low, x, rate), rate)  # below black there are no photons
        f = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2 * np.diff(x))])
        integrals.append(f - np.interp(low, x, f))
    sigma = 1 / max(float(np.interp(high, x, f)) for f in integrals)
    return tuple(_table(curve, x, f * sigma, clip) for curve, f in zip(curves, integrals, strict=True)), sigma


def _slope(variance: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the slope of a variance at x, (n,), smoothed and not negative: for photon noise, the gain."""
    width = NODES // SLOPE_PARTS
    smooth = np.convolve(np.pad(variance, width, mode="edge"), np.full(width, 1 / width), "same")[width:-width]
    found: np.ndarray = np.maximum(np.gradient(smooth, x), 0)
    return found


def _level(curve: Curve, x: np.ndarray) -> np.ndarray:
    return curve.sd(torch.from_numpy(x)).numpy()


def _table(curve: Curve, x: np.ndarray, f: np.ndarray, clip: tuple[float, float] | None) -> Transform:
    """Return f and g as tables, given the values of f at x."""
    step = float(x[1] - x[0])
    deviation = _level(curve, x)
    nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE_NODES)
    y = _clipped(x[:, None] + deviation[:, None] * nodes, clip)
    expected = _interpolated(y, x, f, step) @ (weights / weights.sum())
    sparse = None
    gain = np.full_like(x, curve.gain) if isinstance(curve, Affine) else _slope(deviation**2, x)
    low = np.flatnonzero((deviation**2 < LOW_COUNTS * gain**2) & (deviation > LEAST_DEVIATION))
    if len(low):
        counts = (deviation[low] / gain[low]) ** 2
        k = np.arange(MAX_COUNTS)
        y = x[low, None] + gain[low, None] * (k - counts[:, None])
        expected[low] = (_poisson(counts, k) * _interpolated(_clipped(y, clip), x, f, step)).sum(1)
        if counts.min() < SPARSE[0]:
            full, none = (float(x[low[counts < most]].max()) for most in SPARSE)
            sparse = float(x[low[0]]), full, none
    # Clipping makes E[f(y) | x] constant at the ends: a slight slope there gives it an inverse.
    expected = np.maximum.accumulate(expected + np.arange(len(x)) * 1e-12)
    z = np.linspace(expected[0], expected[-1], NODES)
    back = np.interp(z, expected, x)
    return Transform(
        low=float(x[0]),
        step=step,
        forward=torch.from_numpy(f.astype(np.float32)),
        first=float(z[0]),
        stride=float(z[1] - z[0]),
        back=torch.from_numpy(back.astype(np.float32)),
        sparse=sparse,
    )


def _clipped(y: np.ndarray, clip: tuple[float, float] | None) -> np.ndarray:
    return y if clip is None else np.clip(y, *clip)


def _poisson(means: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Return the Poisson probabilities of counts k, (m,), for means, (n,), with shape (n, m); each row sums to 1."""
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(k[1:]))])
    probabilities = np.exp(k * np.log(means)[:, None] - means[:, None] - log_factorials)
    found: np.ndarray = probabilities / probabilities.sum(1, keepdims=True)
    return found


def _interpolated(y: np.ndarray, x: np.ndarray, f: np.ndarray, step: float) -> np.ndarray:
    """Return f, given at x with that step, at y: interpolated linearly, and extrapolated beyond the ends of x."""
    inside = np.interp(y, x, f)
    below = np.minimum(y - x[0], 0) * (f[1] - f[0]) / step
    above = np.maximum(y - x[-1], 0) * (f[-1] - f[-2]) / step
    found: np.ndarray = inside + below + above
    return found


class Stabilised:
    """A score model for signal-dependent noise, made of one for noise of one level: psi(y) = (x^ - y) / sigma^2.

    Args:
        model: A score model of white noise.
        whitening: The transforms, and the level of the transformed noise.
        treat: Makes of the model one of the transformed noise; None if that is white.
    """

    def __init__(self, model: Any, whitening: Whitening, treat: Callable[[Any], Any] | None = None) -> None:
        self.whitening, self.treat = whitening, treat
        self.model = model = treat(model) if treat else model
        self.channels = model.channels
        self.noise_range = model.noise_range
        self.shift_multiple, self.bytes_per_pixel = model.shift_multiple, model.bytes_per_pixel
        self.halo = model.halo
        if any(transform.sparse for transform in whitening.each):
            self.halo = widened(model.halo, 1, WINDOW // 2, self.shift_multiple)

    def with_model(self, model: Any) -> "Stabilised":
        """Return a copy that uses another version of the model of white noise."""
        return Stabilised(model, self.whitening, self.treat)

    def reconstruct(self, y: Tensor) -> Tensor:
        """Return the clean estimate x^, with the shape of y, (B, C, H, W)."""
        clean = self.whitening.invert(posterior_mean(self.model, self.whitening.apply(y), self.whitening.level))
        for c, transform in enumerate(self.whitening.each):
            if transform.sparse is not None:
                clean[:, c] = _with_local_mean(clean[:, c], y[:, c], transform.sparse)
        return clean

    def score(self, y: Tensor, sigma: float) -> Tensor:
        """Return psi(y) = (x^ - y) / sigma^2, with the shape of y; Tweedie's formula at the same sigma gives x^."""
        return (self.reconstruct(y) - y) / sigma**2


def _with_local_mean(clean: Tensor, y: Tensor, sparse: tuple[float, float, float]) -> Tensor:
    """Return clean images, (B, H, W), with the local mean of the noisy ones restored where counts are low."""
    least, full, none = sparse
    clean = clean.clamp(min=least)
    missing = F.avg_pool2d((y - clean)[:, None], WINDOW, 1, WINDOW // 2, count_include_pad=False)[:, 0]
    return clean + ((none - clean) / max(none - full, 1e-9)).clamp(0, 1) * missing
