"""The paper's energy model, equation 4.3 of Vincent (2011).

    E(x; W, b, c) = -(<c, x> - 1/2 |x|^2 + sum_j softplus(<W_j, x> + b_j)) / sigma^2

With h = sigmoid(W x + b), in closed form:

    psi(x) = -grad E  = (c - x + W'h) / sigma^2
    r(x)              = x + sigma^2 psi(x) = c + W'h            the tied-weight denoising autoencoder
    d psi_i / dx_i    = (sum_j W_ji^2 h_j (1 - h_j) - 1) / sigma^2
    tr(d psi / dx)    = (sum_j |W_j|^2 h_j (1 - h_j) - d) / sigma^2
    Cov[clean | x]    = sigma^2 (I + sigma^2 d psi/dx) = sigma^2 W' diag(h (1 - h)) W

**Units.** W is both the gain of the encoder and the amplitude of the decoder, so the unit of x matters: on pixels in
[0, 1] one step of a unit, of height |W_j|, is as wide as 1/|W_j|, far wider than the picture's contrast, and the model
can only be linear. A model with `level` s therefore works in noise units, u = x sigma/s, where the noise is as wide as
the softplus's knee; outside, psi(x, s) = psi_u(x sigma/s) sigma/s. The same rule takes it to any other level.

**Free means.** The brightness of a patch has no preferred value. With `free_means` = g the d coordinates are g equal
groups (colours), the mean of each of which has a flat prior: with P the projection that takes the means out,
E(x) = E(Px). The formulas keep their form with W P for W, P c for c, P x for the linear x, and d - g for d; the score
is still a gradient, and r hands the means through.

**The start.** A unit is a step of height |W_j| across its own direction, and r is a sum of them. What a fit ends with
is sparse: units that are off for nearly all patches and come on, well above the noise, for those with much to keep.
Units placed in the middle of what they see (b = 0) start as a linear filter and take long to leave it; units beyond
all that they see are dead. `initialise` lets each be on for one patch in twenty, b_j = -(95 % quantile of <W_j, x~>),
with |W_j| = sigma, a step as high and as wide as the noise, in local and smooth directions, those that a linear filter
would keep, and sets c to what makes r right on average. Of many units in few dimensions the steps add up: they are
lower then, until tr(dr/dx)/d is 1 on average, no more than what hands all through. And on a line, where no two units
have directions of their own, each comes on at a place of its own.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

ON = 0.05  # share of the patches for which a unit is on at the start
MAX_EXAMPLES = 4096  # by which the thresholds b are set
MAX_SLOPE, MAX_REDUCTIONS = 1.02, 8  # tr(dr/dx)/d, above which W is reduced at the start, and how often at most


def without_means(x: Tensor, groups: int) -> Tensor:
    """Return x, with shape (..., d), less the mean of each of its equal groups of coordinates."""
    parts = x.unflatten(-1, (groups, -1))
    found: Tensor = (parts - parts.mean(-1, keepdim=True)).flatten(-2)
    return found


class EnergyModel(nn.Module):
    """The paper's energy over vectors of `dim` numbers.

    Args:
        dim: Number of coordinates, d.
        hidden: Number of units, the rows of W.
        sigma: Width of the noise in the model's own unit, positive.
        level: Width of the noise in the unit of x outside; None if the units are the same.
        free_means: Number of equal groups of coordinates whose mean has a flat prior.

    Raises:
        ValueError: One of them is out of range, or the coordinates do not make so many equal groups.
    """

    channels = None  # a patch has any number of channels, one after the other

    def __init__(self, dim: int, hidden: int, sigma: float, level: float | None = None, free_means: int = 0) -> None:
        super().__init__()
        if dim < 1 or hidden < 1:
            raise ValueError(f"an energy needs at least one coordinate and one unit, not {dim} and {hidden}")
        for width in (sigma, level if level is not None else sigma):
            if not (width > 0 and math.isfinite(width)):
                raise ValueError(f"sigma is a positive number, not {width}")
        if free_means and dim % free_means:
            raise ValueError(f"{dim} coordinates are not {free_means} equal groups")
        self.dim, self.hidden, self.sigma, self.free_means = dim, hidden, sigma, free_means
        self.level = sigma if level is None else level
        self.noise_range = self.level, self.level
        self.W = nn.Parameter(torch.empty(hidden, dim).normal_(std=dim**-0.5))
        self.b = nn.Parameter(torch.zeros(hidden))
        self.c = nn.Parameter(torch.zeros(dim))

    def settings(self) -> dict[str, Any]:
        """Return the arguments that build this model again."""
        names = ("dim", "hidden", "sigma", "level", "free_means")
        return {name: getattr(self, name) for name in names}

    @property
    def implicit_floor(self) -> float:
        """Return the least 1/2 |psi|^2 + tr(d psi/dx), softplus being convex: -(d - free means) / level^2."""
        return -(self.dim - self.free_means) / self.level**2

    def centre(self, x: Tensor) -> Tensor:
        """Return P x: x, with shape (..., d), without the free means."""
        return without_means(x, self.free_means) if self.free_means else x

    def _gain(self, sigma: float | Tensor | None) -> float | Tensor:
        """Return the factor from x to the model's own unit: a float, or (B, 1) if sigma has shape (B,)."""
        gain = self.sigma / (self.level if sigma is None else sigma)
        return gain[:, None] if isinstance(gain, Tensor) and gain.ndim else gain

    def _encode(self, x: Tensor, gain: float | Tensor) -> tuple[Tensor, Tensor]:
        """Return W P, (hidden, d), and the codes h = sigmoid(W u + b), u = gain x, with shape (B, hidden)."""
        W = self.centre(self.W)
        # A gain common to all rows is cheaper on W than on x; sigmoid_ reuses the memory of W u + b.
        u, encoder = (x * gain, W) if isinstance(gain, Tensor) else (x, W * gain)
        return W, torch.addmm(self.b, u, encoder.T).sigmoid_()

    def _decode(self, x: Tensor, gain: float | Tensor, W: Tensor, h: Tensor) -> Tensor:
        """Return psi = (c - u + W'h) gain / sigma^2, with shape (B, d)."""
        c, residual = self.centre(self.c), self.centre(x)
        if isinstance(gain, Tensor):
            return (torch.addmm(c, h, W) - residual * gain) * (gain / self.sigma**2)
        out = gain / self.sigma**2
        return torch.addmm(torch.sub(c * out, residual, alpha=gain * out), h, W * out)

    def codes(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return h = sigmoid(W u + b), how far each unit is on, with shape (B, hidden); arguments as for `score`."""
        return self._encode(x, self._gain(sigma))[1]

    def energy(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return E(x) = -log p(x) + const, with shape (B,); arguments and errors are those of `score`."""
        u = self.centre(x * self._gain(sigma))
        # torch's default threshold, 20, replaces softplus by a line too early for float64: the slope is off by 2e-9.
        softplus = F.softplus(torch.addmm(self.b, u, self.centre(self.W).T), threshold=50).sum(1)
        return -(u @ self.centre(self.c) - 0.5 * u.square().sum(1) + softplus) / self.sigma**2

    def score(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return psi(x) = -grad E(x), with shape (B, d).

        Args:
            x: Points, with shape (B, d), of the dtype of the parameters.
            sigma: Level of the noise in the unit of x, a float or (B,); None for the one that the model was made for.

        Raises:
            RuntimeError: x has another shape, dtype or device.
        """
        gain = self._gain(sigma)
        return self._decode(x, gain, *self._encode(x, gain))

    def reconstruct(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return r(x) = x + sigma^2 psi(x), with shape (B, d): the autoencoder, and the posterior mean once fitted.

        Args:
            x: Points, with shape (B, d).
            sigma: Level of the noise in the unit of x, a float or (B,); None for the one that the model was made for.
        """
        gain = self._gain(sigma)
        W, h = self._encode(x, gain)
        return torch.addmm(self.centre(self.c), h, W) / gain + (x - self.centre(x))

    def score_and_divergence(self, x: Tensor, sigma: float | Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return psi(x), (B, d), and tr(d psi/dx), (B,), at the cost of the score; arguments are those of `score`."""
        gain = self._gain(sigma)
        W, h = self._encode(x, gain)
        return self._decode(x, gain, W, h), self._trace(gain, W, h)

    def score_and_diagonal(self, x: Tensor, sigma: float | Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return psi(x) and the diagonal of its Jacobian, both with shape (B, d); arguments are those of `score`."""
        gain = self._gain(sigma)
        W, h = self._encode(x, gain)
        entries = (h - h.square()) @ W.square() - (1 - self.free_means / self.dim)
        return self._decode(x, gain, W, h), entries * (gain * gain / self.sigma**2)

    def _trace(self, gain: float | Tensor, W: Tensor, h: Tensor) -> Tensor:
        trace = (h - h.square()) @ W.square().sum(1) - (self.dim - self.free_means)
        square = gain * gain / self.sigma**2
        return trace * (square.flatten() if isinstance(square, Tensor) else square)

    def divergence(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return tr(d psi/dx), (B,), at least -d/sigma^2, softplus being convex; arguments are those of `score`."""
        gain = self._gain(sigma)
        return self._trace(gain, *self._encode(x, gain))

    def posterior_variance(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return the diagonal of Cov[clean | noisy = x], sigma^2 (1 + sigma^2 d psi_i/dx_i), with shape (B, d).

        Exact for the density that the energy defines; a free mean contributes its sigma^2 over the group's size.
        Arguments and errors are those of `score`.
        """
        gain = self._gain(sigma)
        W, h = self._encode(x, gain)
        spread = (h - h.square()) @ W.square() + self.free_means / self.dim
        return spread * (self.sigma**2 / (gain * gain))

    @torch.no_grad()
    def initialise(self, noisy: Tensor, generator: Generator | None = None) -> None:
        """Set W, b and c, in place, from examples, as the docstring of the module explains.

        Args:
            noisy: Examples with noise at the model's level, with shape (n, d), n >= 2.
            generator: Source of the random directions.
        """
        y = self.centre(noisy * self._gain(None))
        centred = y - y.mean(0)
        variance, axes = torch.linalg.eigh((centred.T @ centred / len(y)).double())
        # Variances up to the largest of pure noise with so many examples (Marchenko and Pastur 1967) are dropped.
        is_signal = variance > self.sigma**2 * (1 + math.sqrt(self.dim / len(y))) ** 2
        keep = torch.where(is_signal, 1 - self.sigma**2 / variance, 0.0).to(y.dtype)  # (d,), the linear filter's gains
        draw: dict[str, Any] = {"generator": generator, "dtype": y.dtype, "device": y.device}
        W = (torch.randn(self.hidden, self.dim, **draw) * keep) @ axes.to(y.dtype).T
        W = self.centre(W * self._windows(draw))
        self.W.copy_(self.sigma * W / W.norm(dim=1, keepdim=True).clamp(min=1e-12))
        examples, free = y[:MAX_EXAMPLES], self.dim - self.free_means
        places = torch.rand(1, self.hidden, **draw) if free == 1 else None
        for reductions in range(MAX_REDUCTIONS + 1):
            self.b.copy_(-_thresholds(examples @ self.W.T, places))
            codes = torch.sigmoid(torch.addmm(self.b, examples, self.W.T))
            slope = ((codes - codes.square()).mean(0) @ self.W.square().sum(1)).item() / max(free, 1)
            if slope <= MAX_SLOPE or reductions == MAX_REDUCTIONS:
                break
            self.W.mul_(slope**-0.5)
        self.c.copy_((examples - codes @ self.W).mean(0))

    def _windows(self, draw: dict[str, Any]) -> Tensor:
        """Return a Gaussian window with a random centre and width for each unit, with shape (hidden, d).

        If the coordinates are not those of square patches, all are 1.
        """
        groups = max(self.free_means, 1)
        side = math.isqrt(self.dim // groups)
        if groups * side * side != self.dim:
            return torch.ones(self.hidden, self.dim, dtype=draw["dtype"], device=draw["device"])
        centre = side * torch.rand(self.hidden, 2, **draw)
        width = side / 6 * torch.exp(1.2 * torch.rand(self.hidden, 1, **draw))
        at = torch.arange(side, dtype=draw["dtype"], device=draw["device"]) + 0.5
        rows, columns = (torch.exp(-(((at - centre[:, i, None]) / width) ** 2) / 2) for i in (0, 1))
        return (rows[:, :, None] * columns[:, None, :]).flatten(1).repeat(1, groups)


def _thresholds(inputs: Tensor, places: Tensor | None) -> Tensor:
    """Return the input above which each unit is on, (hidden,), given its inputs, (n, hidden).

    It is the quantile 1 - ON of the inputs, or for each unit the quantile in `places`, from [0, 1).
    """
    if places is None:
        return inputs.kthvalue(math.ceil((1 - ON) * len(inputs)), dim=0).values
    return inputs.sort(dim=0).values.gather(0, (len(inputs) * places).long())[0]
