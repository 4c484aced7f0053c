"""A convolutional product of experts: the paper's energy, equation 4.3, shared by every window of an image.

    E(x, s) = 1/P^2 sum_r sum_j phi_j(<w_j, u_r> + b_j; s),    u = x / s

over all windows r of P x P pixels and K experts j, whose potentials are weighed sums of the shapes in `potentials`; the
weights are polynomials of log s where levels are many. The bare paper is the potential "softplus"; shared by windows
that overlap, the experts of one hidden layer answer for an image as a whole. In closed form, with a_rj the responses
and A the map from u to them,

    psi(x, s)       = -1/s    A' phi'(a)
    d psi_i / dx_i  = -1/s^2  sum_rj A_rj,i^2 phi_j''(a_rj)
    tr(d psi/dx)    = -1/s^2  sum_rj |A_rj|^2 phi_j''(a_rj)
    Var[clean | x]  = s^2 (1 + s^2 d psi_i/dx_i)

**Noise units.** u has noise of width one at every level, so one potential serves all levels.

**Free means, and the border.** Each expert's mean is taken out, so brightness has a flat prior. A window that overhangs
the border sees beyond it the mean of what it sees inside, which for the inner part is w less its own mean there:
A_rj,i = w_j,i-r - beta_rj. No pixel is made up, and E stays a function of the image alone.

**The start.** Orthonormal waves (cosines) but for the constant one, turned at random where experts are more than those,
with potentials that shrink small responses: a denoiser by cosine transforms of all windows.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from smdae.models.energy import without_means
from smdae.models.potentials import POTENTIALS, potential
from smdae.models.shown import ImageModel
from smdae.models.windows import overlap_add, windows
from smdae.protocols import known_level, posterior_mean

DEGREE = 2  # of the polynomials of log s
START_SLOPE = 0.9  # slope of the denoiser's shrinkage at the start


@dataclass(frozen=True, eq=False)
class _Responses:
    """The responses of the experts to some images."""

    s: Tensor  # the level of each image, with shape (B,) or (1,)
    w: Tensor  # the kernels, with shape (K, C P^2)
    a: Tensor  # their responses to n windows of each image, with shape (K, B, n)
    weights: Tensor  # the weights of the shapes of their potentials, with shape (K, M, len(s), 1)
    count: Tensor  # the number of pixels of a window that lie inside the image, with shape (n,)
    beta: Tensor  # the mean of w over these pixels, with shape (K, C, n)


class Experts(ImageModel):
    """An energy of images, flat until its parameters are loaded or `initialise` sets them.

    Args:
        channels: Channels of an image, C.
        filters: Number of experts, K.
        size: Side of a window, P, at least 2.
        levels: The lowest and the highest level of the noise that it is fitted at, white being 1.
        potential: A name of POTENTIALS.

    Raises:
        ValueError: One of them is out of range, or the potential is unknown.
    """

    shift_multiple = 1  # shifting an image by any number of pixels shifts its score alike

    def __init__(
        self, channels: int, filters: int, size: int, levels: tuple[float, float], potential: str = "student"
    ) -> None:
        super().__init__()
        if min(channels, filters) < 1 or size < 2:
            raise ValueError(f"experts need channels, filters and 2 x 2 pixels, not {channels}, {filters} and {size}")
        low, high = levels
        if not 0 < low <= high:
            raise ValueError(f"levels go from a positive number up, not from {low} to {high}")
        if potential not in POTENTIALS:
            raise ValueError(f"unknown potential '{potential}'; there are {', '.join(POTENTIALS)}")
        self.channels, self.filters, self.size = channels, filters, size
        self.noise_range, self.potential = (float(low), float(high)), potential
        self.shapes = POTENTIALS[potential]
        terms = 1 if low == high else DEGREE + 1
        self.W = nn.Parameter(torch.zeros(filters, channels * size**2))
        self.b = nn.Parameter(torch.zeros(filters))
        self.weights = nn.Parameter(torch.zeros(terms, filters, len(self.shapes)))

    @torch.no_grad()
    def initialise(self, generator: Generator | None = None) -> None:
        """Set the experts to cosines, further ones to random rotations of these, and potentials that shrink noise."""
        draw: dict[str, Any] = {"dtype": self.W.dtype, "device": self.W.device}
        basis = _cosines(self.channels, self.size).to(**draw)
        count = len(basis)
        first = 0
        while first < self.filters:
            turn = torch.eye(count, **draw)
            if first:
                turn = torch.linalg.qr(torch.randn(count, count, generator=generator, **draw))[0]
            part = (turn @ basis)[: self.filters - first]
            self.W[first : first + len(part)] = part
            first += len(part)
        self.b.zero_()
        self.weights.zero_()
        share = START_SLOPE / max(1.0, self.filters / count)  # several bases share what one would shrink
        start = torch.tensor([shape.start for shape in self.shapes], **draw)
        bend = sum(
            weight * shape.of(torch.zeros(1, 1, 1, **draw), 2).item()
            for weight, shape in zip(start.tolist(), self.shapes, strict=True)
        )
        self.weights[0] = start * (share / bend)

    def settings(self) -> dict[str, Any]:
        """Return the arguments that build this model again."""
        kind = {"levels": list(self.noise_range), "potential": self.potential}
        return {"channels": self.channels, "filters": self.filters, "size": self.size, **kind}

    @property
    def halo(self) -> int:
        """Return how many pixels away a pixel can have influence."""
        return self.size - 1

    @property
    def bytes_per_pixel(self) -> int:
        """Return how many bytes of memory the score takes for each pixel of an image, all channels together."""
        return 4 * (3 * self.filters + 2 * self.channels * self.size**2) + 32

    def _level(self, sigma: float | Tensor | None, x: Tensor) -> Tensor:
        """Return the level of each image, with shape (B,) or (1,)."""
        sigma = known_level(self, sigma)
        return sigma.to(x).reshape(-1) if isinstance(sigma, Tensor) else x.new_full((1,), sigma)

    def _weights(self, s: Tensor) -> Tensor:
        """Return the weights of the shapes of all potentials at levels s, with shape (K, M, len(s), 1)."""
        low, high = self.noise_range
        width = math.log(high / low) / 2
        t = (s.log() - math.log(low * high) / 2) / width if width else torch.zeros_like(s)
        powers = torch.stack([t**k for k in range(len(self.weights))])  # (terms, B)
        return torch.einsum("tkm,tb->kmb", self.weights / self.size**2, powers)[..., None]

    def _overhang(self, w: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Return how many pixels a window sees, (H' W',), and beta, the mean of w over them, (K, C, H' W')."""
        P = self.size
        # All windows further in than the border are alike: those of a small image stand for all.
        small = (min(height, P), min(width, P))
        inside = windows(torch.ones(1, 1, *small, dtype=w.dtype, device=w.device), P)  # (P^2, n)
        responses = inside.sum(0)
        beta = w.unflatten(1, (self.channels, -1)) @ inside / responses  # (K, C, n)
        rows, columns = (_spread(n, P, w.device) for n in (height, width))
        which = (rows[:, None] * (small[1] + P - 1) + columns).flatten()
        return responses[which], beta[:, :, which]

    def _seen(self, x: Tensor, sigma: float | Tensor | None) -> _Responses:
        P, (images, channels, height, width) = self.size, x.shape
        if channels != self.channels:
            raise ValueError(f"images have shape (B, {self.channels}, H, W), not {tuple(x.shape)}")
        s, w = self._level(sigma, x), without_means(self.W, self.channels)
        u = x / s[:, None, None, None]
        count, beta = self._overhang(w, height, width)
        a = torch.addmm(self.b[:, None], w, windows(u, P)).unflatten(1, (images, -1))
        sums = _boxes(u, P)  # (B, C, n)
        for c in range(channels):
            a.addcmul_(beta[:, c, None].to(a.dtype), sums[:, c].to(a.dtype), value=-1)
        return _Responses(s, w, a, self._weights(s), count, beta)

    def _phi(self, responses: _Responses, order: int) -> Tensor:
        """Return phi or a derivative of it at all responses, with shape (K, B, n)."""
        return potential(responses.a, responses.weights, self.shapes, order)

    def _psi(self, responses: _Responses, shape: torch.Size) -> Tensor:
        """Return -A' phi'(a) / s, images with that shape."""
        slopes = self._phi(responses, 1)
        laid = overlap_add(responses.w.T @ slopes.flatten(1), shape, self.size)
        over = torch.stack([(responses.beta[:, c, None] * slopes).sum(0) for c in range(self.channels)], 1)  # (B, C, n)
        return (laid - _boxes_back(over, shape, self.size)) / -responses.s[:, None, None, None]

    def energy(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return E(x, s) = -log p(x) + const, with shape (B,); arguments and errors are those of `score`."""
        return self._phi(self._seen(x, sigma), 0).sum((0, 2))

    def score(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return psi(x, s) = -grad E, with the shape of x, (B, C, H, W).

        Args:
            x: Images of any size.
            sigma: Level of the noise in the unit of x, a float or (B,); None for the one level of the model.

        Raises:
            ValueError: x has another number of channels, or sigma is None and the model has many levels.
        """
        return self._psi(self._seen(x, sigma), x.shape)

    def score_and_divergence(self, x: Tensor, sigma: float | Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return psi(x, s), with the shape of x, and tr(d psi/dx), (B,); arguments and errors are those of `score`."""
        responses = self._seen(x, sigma)
        inside = windows(torch.ones_like(x[:1, :1]), self.size)  # (P^2, n)
        square = responses.w.square().unflatten(1, (self.channels, -1)).sum(1) @ inside
        norms = square - responses.count * responses.beta.square().sum(1)  # |A_rj|^2, with shape (K, n)
        trace = torch.einsum("kbn,kn->b", self._phi(responses, 2), norms) / -responses.s.square()
        return self._psi(responses, x.shape), trace

    def divergence(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return tr(d psi/dx), with shape (B,); arguments and errors are those of `score`."""
        return self.score_and_divergence(x, sigma)[1]

    def score_and_diagonal(self, x: Tensor, sigma: float | Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return psi(x, s) and all d psi_i/dx_i, both with the shape of x; arguments and errors as in `score`."""
        responses = self._seen(x, sigma)
        bend = self._phi(responses, 2)
        columns = responses.w.square().T @ bend.flatten(1)
        for c in range(self.channels):
            taps = slice(c * self.size**2, (c + 1) * self.size**2)
            beta = responses.beta[:, c, None]
            columns[taps] += (beta.square() * bend).sum(0).flatten() - 2 * (
                responses.w[:, taps].T @ (beta * bend).flatten(1)
            )
        entries = overlap_add(columns, x.shape, self.size) / -responses.s.square()[:, None, None, None]
        return self._psi(responses, x.shape), entries

    def reconstruct(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return D(x, s) = x + s^2 psi(x, s), with the shape of x; arguments and errors are those of `score`."""
        return posterior_mean(self, x, self._level(sigma, x))

    def posterior_variance(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return the diagonal of Cov[clean | noisy = x], s^2 (1 + s^2 d psi_i/dx_i), with the shape of x.

        Arguments and errors are those of `score`.
        """
        s = self._level(sigma, x)[:, None, None, None].square()
        return s * (1 + s * self.score_and_diagonal(x, sigma)[1])


def _waves(n: int) -> Tensor:
    """Return the orthonormal cosines of n numbers, the constant one first, with shape (n, n)."""
    k, i = torch.arange(n)[:, None], torch.arange(n)
    waves: Tensor = torch.cos(torch.pi * (2 * i + 1) * k / (2 * n)) * (2 / n) ** 0.5
    waves[0] /= 2**0.5
    return waves


def _cosines(channels: int, size: int) -> Tensor:
    """Return orthonormal waves over windows, smooth ones first, constants left out, (C P^2 - C, C P^2)."""
    k = torch.arange(size)
    order = (k[:, None] ** 2 + k**2).flatten().argsort(stable=True)[1:]
    planes = torch.kron(_waves(size), _waves(size))[order]
    return torch.einsum("cd,np->ncdp", _waves(channels), planes).reshape(-1, channels * size**2)


def _spread(length: int, size: int, device: torch.device) -> Tensor:
    """Return, for each window along a side, its like along a side of `size` pixels, or of this one if shorter."""
    r = torch.arange(length + size - 1, device=device)
    if length <= size:
        return r
    return torch.where(r < size - 1, r, torch.where(r < length, size - 1, r - length + size))


def _boxes(u: Tensor, size: int) -> Tensor:
    """Return the sum over each window of each channel, with shape (B, C, n), for u with shape (B, C, H, W)."""
    padded = torch.nn.functional.pad(u, (size - 1,) * 4)
    return (torch.nn.functional.avg_pool2d(padded, size, stride=1) * size**2).flatten(2)


def _boxes_back(sums: Tensor, shape: torch.Size, size: int) -> Tensor:
    """Return the adjoint of `_boxes`: images with that shape."""
    grown = sums.unflatten(2, (shape[2] + size - 1, shape[3] + size - 1))
    return torch.nn.functional.avg_pool2d(grown, size, stride=1) * size**2
