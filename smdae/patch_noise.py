"""Noise of patches: a kernel q(x~|x) = N(x~; x, C(x)) on vectors of d numbers, with C(x) = S(x) R S(x).

`Noise` treats a picture as a torus. A patch is cut out of a larger picture, so the correlation R of its noise is that
between d pixels of an endless picture, as a d x d matrix. Its powers come from one decomposition R = V diag(r) V',
which takes little time for the few hundred numbers of a patch.

The Parzen density of such a kernel, q_C(x~) = 1/n sum_i q(x~|x_i), has the score

    grad log q_C(x~) = sum_i p(i|x~) C(x_i)^-1 (x_i - x~),    p(i|x~) = softmax_i log q(x~|x_i)

If C is the same for all x, it is the score under white noise in the coordinates R^-1/2 S^-1 x. If S depends on x and
R = I, it takes a few matrix products, since log q(x~|x_i) is linear in x~, x~^2 and 1.
"""

import math
from functools import cached_property

import torch
from torch import Generator, Tensor

from smdae import correlation
from smdae.densities import Parzen
from smdae.errors import UsageError
from smdae.noise import Noise

MAX_CORRELATED = 4096  # numbers of a patch with correlated noise: R has the square of that
MIN_TORUS = 64  # pixels a side of the torus on which the correlation is computed


class PatchNoise:
    """Gaussian noise of flat patches.

    Args:
        noise: The noise, in the unit of the patches.
        channels: Number of channels of a patch; d for rows of numbers.
        size: Side P of a patch in pixels; 1 for rows of numbers.

    Raises:
        UsageError: The noise is not Gaussian, has another number of channels, or is correlated in too large patches.
    """

    def __init__(self, noise: Noise, channels: int, size: int) -> None:
        if not noise.is_gaussian:
            raise UsageError(
                "blotches of colour, impulses, clipping, rounding and JPEG leave noise without a score",
                "leave them out of the profile",
            )
        self.noise = noise.for_channels(channels) if noise.count is not None else noise
        self.channels, self.size = channels, size
        self.dim = channels * size**2
        if size == 1 and not correlation.is_point(noise.grain):
            raise UsageError(
                "rows of numbers have no neighbouring pixels for a grain", "give the correlation of channels"
            )
        if not self.is_pointwise and self.dim > MAX_CORRELATED:
            raise UsageError(f"correlated noise takes patches of {MAX_CORRELATED:,} numbers at most, not {self.dim:,}")

    @property
    def is_signal_dependent(self) -> bool:
        """Return whether C depends on x."""
        return self.noise.is_signal_dependent

    @cached_property
    def is_pointwise(self) -> bool:
        """Return whether pixels and channels are independent, R = I."""
        channels = self.noise.channels
        return correlation.is_point(self.noise.grain) and (channels is None or correlation.is_diagonal(channels))

    @property
    def sigma(self) -> float:
        """Return one level for all values and channels, see `Noise.sigma`, in the unit of the patches."""
        return self.noise.sigma

    @cached_property
    def correlation(self) -> Tensor:
        """Return R, the correlation of the pixels of a patch in an endless picture, with shape (d, d), float64."""
        P, C = self.size, self.channels
        side = max(MIN_TORUS, 2 * P, 4 * len(self.noise.grain))
        spot = torch.zeros(1, 1, side, side, dtype=torch.float64)
        spot[0, 0, 0, 0] = 1
        lags = correlation.apply(spot, self.noise.grain, None, 1.0)[0, 0]  # rho at (dy, dx)
        apart = (torch.arange(P)[:, None] - torch.arange(P)).abs()  # (P, P)
        pixels = lags[apart[:, None, :, None], apart[None, :, None, :]].reshape(P * P, P * P)
        channels = self.noise.channels
        mixed = torch.eye(C, dtype=torch.float64) if channels is None else torch.tensor(channels, dtype=torch.float64)
        return torch.kron(mixed, pixels)

    @cached_property
    def _decomposed(self) -> tuple[Tensor, Tensor]:
        """Return r, (d,), not negative, and V, (d, d)."""
        values, vectors = torch.linalg.eigh(self.correlation)
        return values.clamp(min=0), vectors

    def _correlated(self, v: Tensor, power: float) -> Tensor:
        """Return R^power v, with the shape of v, (B, d)."""
        return v if self.is_pointwise else v @ self._power(power).to(v)

    def _power(self, power: float) -> Tensor:
        """Return R^power, with shape (d, d); refuse a negative power of a singular R."""
        values, vectors = self._decomposed
        if power < 0 and values.min() < correlation.SINGULAR:
            raise UsageError("the covariance of the noise is singular, so the noise has no score")
        return (vectors * values**power) @ vectors.T

    @property
    def _log_det(self) -> float:
        """Return log det R."""
        return 0.0 if self.is_pointwise else self._decomposed[0].log().sum().item()

    def sd(self, x: Tensor) -> Tensor:
        """Return the standard deviation at clean values x, the diagonal of S(x), with the shape of x, (B, d)."""
        return self.noise.sd(x.view(len(x), self.channels, self.size, self.size)).reshape(x.shape)

    def added(self, x: Tensor, e: Tensor) -> Tensor:
        """Return the noisy patches x + S(x) R^1/2 e, with the shape of x, for e standard normal."""
        return x + self.sd(x) * self._correlated(e, 0.5)

    def sample(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return noisy patches drawn from q(x~|x), with the shape of x, (B, d)."""
        return self.added(x, torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device))

    def covariance(self, v: Tensor, x: Tensor) -> Tensor:
        """Return C(x) v for each of B patches, with the shape of v; v and the clean patches x have shape (B, d)."""
        sd = self.sd(x)
        return sd * self._correlated(sd * v, 1.0)

    def score(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """Return grad log q(x~|x) = -C(x)^-1 (x~ - x), with the shape of noisy; not finite where S(x) is 0.

        Raises:
            UsageError: R is singular, so there is no score.
        """
        sd = self.sd(clean)
        return self._correlated((clean - noisy) / sd, -1.0) / sd

    def whitened(self, x: Tensor) -> Tensor:
        """Return R^-1/2 S^-1 x, coordinates in which noise with the same S for all x is white with sigma 1.

        Raises:
            UsageError: R is singular.
        """
        return self._correlated(x / self.sd(x), -0.5)

    def log_prob(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """Return log q(x~|x), with shape (B,), not finite where S(x) is 0; UsageError if R is singular."""
        sd = self.sd(clean)
        square = self._correlated((noisy - clean) / sd, -0.5).square().sum(1)
        return -0.5 * (square + self._log_det + self.dim * math.log(2 * math.pi)) - sd.log().sum(1)


class KernelParzen:
    """The Parzen density of patches whose kernel is their noise.

    Args:
        patches: The clean patches x_i, with shape (n, d).
        noise: The kernel.

    Raises:
        UsageError: The noise is correlated and also depends on brightness, or its correlation R is singular.
    """

    def __init__(self, patches: Tensor, noise: PatchNoise) -> None:
        self.patches, self.noise = patches, noise
        self._white = None
        if not noise.is_signal_dependent:
            self._white = Parzen(noise.whitened(patches), 1.0)
        elif not noise.is_pointwise:
            raise UsageError("noise that is correlated and depends on brightness has no Parzen score here")
        else:
            self._middle = patches.mean(0)  # subtracted, so that squares keep their digits
            x, sd = patches - self._middle, noise.sd(patches)
            self._inverse = 1 / sd.square()  # (n, d)
            self._pulled = x * self._inverse
            self._constant = -0.5 * (self._pulled * x).sum(1) - sd.log().sum(1)  # (n,)

    def _log_joint(self, y: Tensor) -> Tensor:
        """Return log q(y|x_i) + d/2 log 2 pi, with shape (B, n), for y measured from the middle."""
        return torch.addmm(self._constant, y, self._pulled.T) - 0.5 * y.square() @ self._inverse.T

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q_C(x), with shape (B,), for x with shape (B, d); not finite where S is 0 at a patch."""
        if self._white is not None:
            sd = self.noise.sd(self.patches[:1]).log().sum()
            return self._white.log_prob(self.noise.whitened(x)) - sd - 0.5 * self.noise._log_det
        constant = math.log(len(self.patches)) + 0.5 * x.shape[1] * math.log(2 * math.pi)
        return self._log_joint(x - self._middle).logsumexp(1) - constant

    def score(self, x: Tensor) -> Tensor:
        """Return grad log q_C(x), with shape (B, d), for x with shape (B, d); not finite where S is 0 at a patch."""
        if self._white is not None:
            sd = self.noise.sd(self.patches[:1])
            return self.noise._correlated(self._white.score(self.noise.whitened(x)), -0.5) / sd
        y = x - self._middle
        weights = self._log_joint(y).softmax(1)  # (B, n)
        return weights @ self._pulled - y * (weights @ self._inverse)

    def pairs(self, n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return n random pairs of a clean patch and a noisy copy of it, each with shape (n, d)."""
        device = self.patches.device
        clean = self.patches[torch.randint(len(self.patches), (n,), generator=generator, device=device)]
        return clean, self.noise.sample(clean, generator)

    def sample(self, n: int, generator: Generator | None = None, rows: slice = slice(None)) -> Tensor:
        """Draw n samples, with shape (n, d), and return all or some rows of them."""
        return self.pairs(n, generator)[1][rows]
