"""Densities q: where examples come from, and whose scores are known.

    Gaussian          q(x) = N(x; m, C)                     grad log q(x) = C^-1 (m - x)
    GaussianMixture   q(x) = sum_k w_k N(x; m_k, C_k)       grad log q(x) = sum_k p(k|x) C_k^-1 (m_k - x)
    Parzen            q_s(x) = 1/n sum_i N(x; x_i, s^2 I)   grad log q_s(x) = (sum_i p(i|x) x_i - x) / s^2

The Parzen density is q_sigma of Vincent (2011), section 4.1: the data smoothed by the noise. Its weights
p(i|x) = softmax_i(<x, x_i>/s^2 - |x_i|^2/(2 s^2)), the |x|^2 having cancelled, are attention of x to the patches, so a
fused kernel computes the score without ever holding the B x n weights.
"""

import math
from dataclasses import dataclass
from typing import Protocol, Self

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from smdae.protocols import refuse_no_floats


class Density(Protocol):
    """A density with the score and the samples that an explicit objective needs."""

    def sample(self, n: int, generator: Generator | None = None, rows: slice = slice(None)) -> Tensor:
        """Return samples, (n, d), or some rows of them; all n are drawn from the generator in any case."""

    def score(self, x: Tensor) -> Tensor:
        """Return grad log q(x), with shape (B, d), for x with shape (B, d)."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q(x), with shape (B,), for x with shape (B, d)."""


class GaussianMixture:
    """A mixture of K Gaussians in d dimensions.

    Args:
        weights: Mixing weights, positive, with shape (K,); they are normalised.
        means: Means, with shape (K, d).
        covariances: Covariances, symmetric positive definite, with shape (K, d, d).

    Raises:
        ValueError: A shape is another.
        UsageError: One of them is not a tensor of floats.
        torch.linalg.LinAlgError: A covariance is not positive definite.
    """

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        for name, values in (("weights", weights), ("means", means), ("covariances", covariances)):
            refuse_no_floats(values, name)
        if means.ndim != 2 or weights.shape != means.shape[:1] or covariances.shape != (*means.shape, means.shape[1]):
            raise ValueError(
                f"a mixture needs shapes (K,), (K, d), (K, d, d), not {tuple(weights.shape)}, "
                f"{tuple(means.shape)}, {tuple(covariances.shape)}"
            )
        self.weights = weights / weights.sum()
        self.means = means
        self.covariances = covariances
        self._factor = torch.linalg.cholesky(covariances)  # (K, d, d), lower
        self._precision = torch.cholesky_inverse(self._factor)  # (K, d, d)
        log_det = self._factor.diagonal(dim1=1, dim2=2).log().sum(1)  # (K,), of the factor
        self._log_norm = self.weights.log() - log_det - 0.5 * means.shape[1] * math.log(2 * math.pi)

    @property
    def dim(self) -> int:
        """Return d, the number of dimensions."""
        return self.means.shape[1]

    def _joint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return C_k^-1 (m_k - x), with shape (B, K, d), and log w_k N(x; m_k, C_k), with shape (B, K)."""
        difference = self.means - x[:, None]  # (B, K, d)
        pull = torch.einsum("bkd,kde->bke", difference, self._precision)
        return pull, self._log_norm - 0.5 * (difference * pull).sum(2)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q(x), with shape (B,), for x with shape (B, d)."""
        return torch.logsumexp(self._joint(x)[1], dim=1)

    def score(self, x: Tensor) -> Tensor:
        """Return grad log q(x), with shape (B, d), for x with shape (B, d)."""
        pull, log_joint = self._joint(x)
        return torch.einsum("bk,bkd->bd", log_joint.softmax(1), pull)

    def sample(self, n: int, generator: Generator | None = None, rows: slice = slice(None)) -> Tensor:
        """Return samples, (n, d), or some rows of them; all n are drawn from the generator in any case."""
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)[rows]
        noise = torch.randn(n, self.dim, generator=generator, dtype=self.means.dtype, device=self.means.device)[rows]
        for component, factor in enumerate(self._factor):  # a factor for each sample would be n d^2 numbers
            of = k == component
            noise[of] = noise[of] @ factor.T
        return self.means[k] + noise

    def smoothed(self, sigma: float) -> Self:
        """Return the density of x + sigma eps: sigma^2 I is added to every covariance."""
        eye = torch.eye(self.dim, dtype=self.means.dtype, device=self.means.device)
        return type(self)(self.weights, self.means, self.covariances + sigma**2 * eye)

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Self:
        """Return the same density in another precision or on another device."""
        return type(self)(*(t.to(dtype=dtype, device=device) for t in (self.weights, self.means, self.covariances)))

    @classmethod
    def fit(
        cls,
        x: Tensor,
        components: int,
        *,
        steps: int = 30,
        floor: float = 1e-6,
        generator: Generator | None = None,
    ) -> Self:
        """Return the mixture fitted to examples by expectation-maximisation (Dempster, Laird and Rubin 1977).

        Args:
            x: Examples, with shape (n, d), n > components.
            components: Number of Gaussians, K.
            steps: Rounds of expectation and maximisation.
            floor: Variance added to every direction, so that no component collapses on a few examples.
            generator: Where the first means are drawn from.

        Raises:
            ValueError: There are too few examples.
        """
        n, d = x.shape
        if n <= components:
            raise ValueError(f"{components} components need more than {components} examples, not {n}")
        eye = torch.eye(d, dtype=x.dtype, device=x.device)
        centred = x - x.mean(0)
        total = centred.T @ centred / n + floor * eye
        if components == 1:
            return cls(x.new_ones(1), x.mean(0, keepdim=True), total[None])
        # Patches of natural images differ in contrast before they differ in mean: start from scaled copies of the
        # covariance, a Gaussian scale mixture, with means at examples drawn towards the centre.
        scale = torch.logspace(-1.5, 0.5, components, dtype=x.dtype, device=x.device)
        first = torch.randperm(n, generator=generator, device=x.device)[:components]
        start = x.mean(0) + centred[first]
        mixture = cls(x.new_full((components,), 1 / components), start, scale[:, None, None] * total)
        for _ in range(steps):
            count = x.new_zeros(components)
            first_moment = x.new_zeros(components, d)
            second_moment = x.new_zeros(components, d, d)
            for block in centred.split(4096):
                share = mixture._joint(block + x.mean(0))[1].softmax(1)  # (B, K): p(k|x)
                count += share.sum(0)
                first_moment += share.T @ block
                for k in range(components):
                    second_moment[k] += (block * share[:, k, None]).T @ block
            count = count.clamp(min=1e-3 * n / components)
            shift = first_moment / count[:, None]
            covariances = second_moment / count[:, None, None] - shift[:, :, None] * shift[:, None, :]
            covariances = (covariances + covariances.mT) / 2 + floor * eye
            mixture = cls(count, x.mean(0) + shift, covariances)
        return mixture


class Gaussian:
    """One Gaussian in d dimensions.

    Args:
        mean: The mean, with shape (d,).
        covariance: The covariance, symmetric positive definite, with shape (d, d).

    Raises:
        ValueError, UsageError, torch.linalg.LinAlgError: As `GaussianMixture`.
    """

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        refuse_no_floats(mean, "mean")
        refuse_no_floats(covariance, "covariance")
        self.mean = mean
        self.covariance = covariance
        self._mixture = GaussianMixture(mean.new_ones(1), mean[None], covariance[None])

    @classmethod
    def fit(cls, x: Tensor, *, floor: float = 1e-6) -> Self:
        """Return the Gaussian with mean and covariance of the examples x, (n, d), plus floor I; ValueError if n < 2."""
        mixture = GaussianMixture.fit(x, 1, floor=floor)
        return cls(mixture.means[0], mixture.covariances[0])

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q(x), with shape (B,), for x with shape (B, d)."""
        return self._mixture.log_prob(x)

    def score(self, x: Tensor) -> Tensor:
        """Return grad log q(x) = C^-1 (m - x), with shape (B, d), for x with shape (B, d)."""
        return (self.mean - x) @ self._mixture._precision[0]

    def sample(self, n: int, generator: Generator | None = None, rows: slice = slice(None)) -> Tensor:
        """Return samples, (n, d), or some rows of them; all n are drawn from the generator in any case."""
        noise = torch.randn(n, len(self.mean), generator=generator, dtype=self.mean.dtype, device=self.mean.device)
        found: Tensor = self.mean + noise[rows] @ self._mixture._factor[0].T
        return found

    def smoothed(self, sigma: float) -> Self:
        """Return the density of x + sigma eps: sigma^2 I is added to the covariance."""
        eye = torch.eye(len(self.mean), dtype=self.mean.dtype, device=self.mean.device)
        return type(self)(self.mean, self.covariance + sigma**2 * eye)

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Self:
        """Return the same density in another precision or on another device."""
        return type(self)(self.mean.to(dtype=dtype, device=device), self.covariance.to(dtype=dtype, device=device))


@dataclass(frozen=True, eq=False)
class Parzen:
    """The data smoothed by Gaussian noise, q_sigma.

    Args:
        patches: The data, with shape (n, d), n > 0.
        sigma: Width of the kernel, in the unit of the patches, positive.

    Raises:
        ValueError: A shape is another, or sigma is not positive and finite.
        UsageError: The patches are not a tensor of floats.
    """

    patches: Tensor
    sigma: float

    def __post_init__(self) -> None:
        refuse_no_floats(self.patches, "patches")
        if self.patches.ndim != 2 or not len(self.patches):
            raise ValueError(f"a Parzen density needs patches of shape (n, d), not {tuple(self.patches.shape)}")
        if not (self.sigma > 0 and math.isfinite(self.sigma)):
            raise ValueError(f"the width of a Parzen density is a positive number, not {self.sigma}")
        # Patches are much brighter than they are different: centred, float32 keeps three digits more.
        centre = self.patches.mean(0)
        keys = self.patches - centre
        object.__setattr__(self, "_centre", centre)
        object.__setattr__(self, "_keys", keys)
        object.__setattr__(self, "_bias", -keys.square().sum(1) / (2 * self.sigma**2))

    _centre: Tensor = None  # type: ignore[assignment]  # (d,), mean of the patches
    _keys: Tensor = None  # type: ignore[assignment]  # (n, d), the patches without it
    _bias: Tensor = None  # type: ignore[assignment]  # (n,), -|x_i|^2 / (2 sigma^2)

    def posterior_mean(self, x: Tensor) -> Tensor:
        """Return E[clean | noisy = x] under the data, with shape (B, d): the best denoiser of this very data set."""
        # Values as wide as keys and a mask of one row: what the fused CPU kernel asks for, without which the B x n
        # weights would be held.
        mean = F.scaled_dot_product_attention(
            (x - self._centre)[None, None],
            self._keys[None, None],
            self._keys[None, None],
            attn_mask=self._bias[None, None, None],
            scale=1 / self.sigma**2,
        )
        return mean[0, 0] + self._centre

    def score(self, x: Tensor) -> Tensor:
        """Return grad log q_sigma(x), with shape (B, d), for x with shape (B, d).

        The B x n distances to the n examples are never held at once, so B may be large.
        """
        return (self.posterior_mean(x) - x) / self.sigma**2

    def log_prob(self, x: Tensor, block: int = 4096) -> Tensor:
        """Return log q_sigma(x), with shape (B,), for x with shape (B, d); differentiable; by blocks of patches."""
        x = x - self._centre
        n, d = self._keys.shape
        total = x.new_full((len(x),), -math.inf)
        for keys, bias in zip(self._keys.split(block), self._bias.split(block), strict=True):
            total = torch.logaddexp(total, torch.logsumexp(x @ keys.T / self.sigma**2 + bias, dim=1))
        norm = math.log(n) + 0.5 * d * math.log(2 * math.pi * self.sigma**2)
        return total - x.square().sum(1) / (2 * self.sigma**2) - norm

    def pairs(self, n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return n random pairs (clean, noisy), each with shape (n, d): a patch, and the patch plus noise."""
        device = self.patches.device
        clean = self.patches[torch.randint(len(self.patches), (n,), generator=generator, device=device)]
        noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype, device=device)
        return clean, clean + self.sigma * noise

    def sample(self, n: int, generator: Generator | None = None, rows: slice = slice(None)) -> Tensor:
        """Draw n samples of q_sigma, with shape (n, d), and return all or some rows of them."""
        return self.pairs(n, generator)[1][rows]
