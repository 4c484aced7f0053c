"""Noise whose level depends on the pixel, made white by a transform of the pixels.

    f(y) = integral^y dt / (sd(t)^2 + 3/8 a(t)^2)^1/2,   a = d sd^2/dt     noise of deviation 1 wherever sd is smooth
    x^   = g(D(f(y))),   g the inverse of x -> E[f(y) | x]

which for Poisson-Gaussian noise is the transform of Anscombe (1948), generalised, with its exact unbiased inverse
(Makitalo and Foi 2013); here both are tables, so any level will do. E[f(y) | x] is taken by quadrature, with y clipped
where the picture is. Where noise is that of few counts, n = sd^2/a^2, y = x + a (k - n) with k from the distribution of
Poisson, which black does not cut off as it would a normal one. D sees f times a number, so that the picture fills 0
to 1.

Of less than a photon a pixel D sees spikes on a constant, and takes less than their mean for the ground. There what it
left of the mean of a window of y is put back.

Where white has cut the noise off, D is told so, and what it finds lies beyond white: g then knows of no upper bound.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from smdae.curves import Affine, Curve
from smdae.protocols import posterior_mean, widened

__all__ = ["Stabilised", "Transform", "Whitening", "transforms"]

NODES = 4096  # of a table
QUADRATURE = 21  # nodes of Gauss and Hermite
ANSCOMBE = 3 / 8  # of the squared gain, that is added to the variance so that few counts become normal
SLOPE_PARTS = 20  # of the range, over one of which a slope is taken
LEAST_LEVEL = 1e-2  # of the highest level of a curve: what is less is taken for that
FEW, MOST_COUNTS = 12.0, 48  # counts, up to which they are not normal, and whose chances are added up
SPARSE = (1.0, 2.0)  # counts, up to which the mean of a window is put back, and from which on nothing is
WINDOW = 13  # pixels a side
BEYOND = 0.35  # of the picture's range, that tables go on on either side


@dataclass(frozen=True, eq=False)
class Transform:
    """f and g of one channel, as tables over evenly spaced arguments.

    Attributes:
        low: First argument of f.
        step: Between arguments of f.
        forward: f, times what makes the picture fill 0 to 1, with shape (n,).
        first: First argument of g.
        stride: Between arguments of g.
        back: g, with shape (n,).
        sparse: Values of x with no counts and with those of `SPARSE`; None where there are more everywhere.
    """

    low: float
    step: float
    forward: Tensor
    first: float
    stride: float
    back: Tensor
    sparse: tuple[float, float, float] | None = None

    def apply(self, y: Tensor) -> Tensor:
        """Return f(y), of the shape of y."""
        return _looked_up(y, self.low, self.step, self.forward)

    def invert(self, z: Tensor) -> Tensor:
        """Return g(z), of the shape of z."""
        return _looked_up(z, self.first, self.stride, self.back)


@dataclass(frozen=True, eq=False)
class Whitening:
    """The transforms of channels that a model takes together.

    Attributes:
        each: The transform of each channel.
        level: Deviation of the noise of what is transformed.
    """

    each: tuple[Transform, ...]
    level: float

    def apply(self, y: Tensor) -> Tensor:
        """Return f(y), with the shape of y, (B, C, H, W)."""
        return torch.stack([f.apply(y[:, c]) for c, f in enumerate(self.each)], 1)

    def invert(self, z: Tensor) -> Tensor:
        """Return g(z), with the shape of z, (B, C, H, W)."""
        return torch.stack([f.invert(z[:, c]) for c, f in enumerate(self.each)], 1)


def _looked_up(x: Tensor, low: float, step: float, table: Tensor) -> Tensor:
    """Return a table at x, linear between its arguments and beyond them."""
    table = table.to(x)
    place = (x - low) / step
    index = place.floor().clamp(0, len(table) - 2)
    at = index.long()
    return torch.lerp(table[at], table[at + 1], place - index)


def transforms(
    curves: tuple[Curve, ...], low: float, high: float, clip: tuple[float, float] | None
) -> tuple[tuple[Transform, ...], float]:
    """Return the transform of each channel, and the one deviation that the noise then has.

    Args:
        curves: The level of each channel as a function of the clean value.
        low: Least value of the picture.
        high: Largest value of the picture.
        clip: Where y is clipped, for E[f(y) | x]; None if it is not; either end may be infinite.
    """
    room = BEYOND * (high - low)
    x = np.linspace(low - room, high + room, NODES)
    integrals = []
    for curve in curves:
        variance = _level(curve, x) ** 2
        variance = variance + ANSCOMBE * _slope(variance, x) ** 2
        rate = 1 / np.sqrt(np.maximum(variance, LEAST_LEVEL**2 * variance.max()))
        rate = np.where(x < low, np.interp(low, x, rate), rate)  # photons have no noise below black, nor values there
        f = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2 * np.diff(x))])
        integrals.append(f - np.interp(low, x, f))
    sigma = 1 / max(float(np.interp(high, x, f)) for f in integrals)
    return tuple(_table(curve, x, f * sigma, clip) for curve, f in zip(curves, integrals, strict=True)), sigma


def _slope(variance: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return how fast a variance rises, with little of the steps of a table: the gain, for photons; not negative."""
    width = NODES // SLOPE_PARTS
    smooth = np.convolve(np.pad(variance, width, mode="edge"), np.full(width, 1 / width), "same")[width:-width]
    return np.maximum(np.gradient(smooth, x), 0)


def _level(curve: Curve, x: np.ndarray) -> np.ndarray:
    return curve.sd(torch.from_numpy(x)).numpy()


def _table(curve: Curve, x: np.ndarray, f: np.ndarray, clip: tuple[float, float] | None) -> Transform:
    """Return f and g, f being given at x."""
    step = float(x[1] - x[0])
    deviation = _level(curve, x)
    nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE)
    expected = _along(_cut(x[:, None] + deviation[:, None] * nodes, clip), x, f, step) @ (weights / weights.sum())
    sparse = None
    gain = np.full_like(x, curve.gain) if isinstance(curve, Affine) else _slope(deviation**2, x)
    few = np.flatnonzero((deviation**2 < FEW * gain**2) & (deviation > 0))
    if len(few):
        counts = (deviation[few] / gain[few]) ** 2
        k = np.arange(MOST_COUNTS)
        y = x[few, None] + gain[few, None] * (k - counts[:, None])
        expected[few] = (_chances(counts, k) * _along(_cut(y, clip), x, f, step)).sum(1)
        if counts.min() < SPARSE[0]:
            full, none = (float(x[few[counts < most]].max()) for most in SPARSE)
            sparse = float(x[few[0]]), full, none
    # Clipping makes it flat at the ends, where no one x is to be told from the others: the nearest is as good.
    expected = np.maximum.accumulate(expected + np.arange(len(x)) * 1e-12)
    z = np.linspace(expected[0], expected[-1], NODES)
    back = np.interp(z, expected, x)
    return Transform(
        float(x[0]),
        step,
        torch.from_numpy(f.astype(np.float32)),
        float(z[0]),
        float(z[1] - z[0]),
        torch.from_numpy(back.astype(np.float32)),
        sparse,
    )


def _cut(y: np.ndarray, clip: tuple[float, float] | None) -> np.ndarray:
    return y if clip is None else np.clip(y, *clip)


def _chances(means: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Return the probabilities of counts k, (m,), of Poisson's distribution for each mean, (n,): (n, m), together 1."""
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(k[1:]))])
    chances = np.exp(k * np.log(means)[:, None] - means[:, None] - log_factorials)
    return chances / chances.sum(1, keepdims=True)


def _along(y: np.ndarray, x: np.ndarray, f: np.ndarray, step: float) -> np.ndarray:
    """Return f at y, going on straight beyond the ends of x."""
    inside = np.interp(y, x, f)
    below = np.minimum(y - x[0], 0) * (f[1] - f[0]) / step
    above = np.maximum(y - x[-1], 0) * (f[-1] - f[-2]) / step
    return inside + below + above


class Stabilised:
    """A score model for white noise, made one for noise of these levels: psi(y) = (x^ - y) / sigma^2.

    Args:
        model: For white noise.
        each: The transform of each channel.
        level: Deviation of the noise of what is transformed.
    """

    def __init__(self, model: Any, each: tuple[Transform, ...], level: float) -> None:
        self.model, self.whitening, self.inner = model, Whitening(each, level), level
        self.channels = model.channels
        self.noise_range = model.noise_range
        self.shift_multiple, self.bytes_per_pixel = model.shift_multiple, model.bytes_per_pixel
        self.halo = model.halo
        if any(one.sparse for one in each):
            self.halo = widened(model.halo, 1, WINDOW // 2, self.shift_multiple)

    def on(self, model: Any) -> "Stabilised":
        """Return the same for another version of the model."""
        return Stabilised(model, self.whitening.each, self.inner)

    def reconstruct(self, y: Tensor) -> Tensor:
        """Return x^, with the shape of y, (B, C, H, W)."""
        clean = self.whitening.invert(posterior_mean(self.model, self.whitening.apply(y), self.inner))
        for c, one in enumerate(self.whitening.each):
            if one.sparse is not None:
                clean[:, c] = _with_mean(clean[:, c], y[:, c], one.sparse)
        return clean

    def score(self, y: Tensor, sigma: float) -> Tensor:
        """Return psi(y) = (x^ - y) / sigma^2, with the shape of y; Tweedie's formula at the same sigma gives x^."""
        return (self.reconstruct(y) - y) / sigma**2


def _with_mean(clean: Tensor, y: Tensor, sparse: tuple[float, float, float]) -> Tensor:
    """Return a clean image with the mean of the noisy one put back where counts are sparse, with shape (B, H, W)."""
    least, full, none = sparse
    clean = clean.clamp(min=least)
    missing = F.avg_pool2d((y - clean)[:, None], WINDOW, 1, WINDOW // 2, count_include_pad=False)[:, 0]
    return clean + ((none - clean) / max(none - full, 1e-9)).clamp(0, 1) * missing
