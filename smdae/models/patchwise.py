"""A model of patches lifted to whole images, as the mean over all overlapping patches.

    D(y)   = mean over the patches that cover a pixel of r(patch),  r(p) = p + sigma^2 psi(p)
    psi(y) = (D(y) - y) / sigma^2

For noise of another covariance C than sigma^2 I, r(p) = p + C psi(p). If the patch model has posterior variances, their
mean over the patches is sigma^2 dD_i/dy_i.

A pixel lies in up to P^2 patches. Patches are cut, denoised and added up a band of rows at a time, so memory does not
grow with the image.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from smdae.models.shown import ImageModel
from smdae.patch_noise import PatchNoise
from smdae.protocols import HasPosteriorVariance, known_level, offers, posterior_mean


class Patchwise(ImageModel):
    """A patch model that also takes images.

    Args:
        patch: A score model of flat patches, (B, C P^2), channels first.
        channels: C.
        size: P.
        stride: Pixels between neighbouring patches, 1 to P: more is faster and a little worse.
        tile: Number of patches held in memory at once.
        noise: The noise that the model was made for, white being 1; None for white noise.

    Raises:
        ValueError: The stride is not from 1 to the size.
    """

    def __init__(
        self, patch: Any, channels: int, size: int, stride: int = 1, tile: int = 4096, noise: PatchNoise | None = None
    ) -> None:
        super().__init__()
        if not 1 <= stride <= size:
            raise ValueError(f"the stride is between 1 and the patch size {size}, not {stride}")
        self.patch, self.channels, self.size, self.stride, self.tile = patch, channels, size, stride, tile
        self.noise = noise

    def with_stride(self, stride: int) -> "Patchwise":
        """Return the same model with `stride` pixels between patches; ValueError unless from 1 to the patch size."""
        return Patchwise(self.patch, self.channels, self.size, stride, self.tile, self.noise)

    def settings(self) -> dict[str, Any]:
        """Return the settings that build this model again."""
        noise = {} if self.noise is None else {"noise": self.noise.noise.to_yaml()}
        return {"channels": self.channels, "size": self.size, **noise, **self.patch.settings()}

    @property
    def shift_multiple(self) -> int:
        """Return m: shifting an image by a multiple of m pixels shifts D alike."""
        return self.stride

    @property
    def halo(self) -> int:
        """Return how many pixels away a pixel can have influence."""
        return self.size - 1

    @property
    def bytes_per_pixel(self) -> int:
        """Return how many bytes a pixel takes while its score is computed; patches are held a band at a time."""
        return 24 * self.channels

    @property
    def noise_range(self) -> tuple[float, float]:
        """Return the lowest and the highest level that the model was made for, white being 1."""
        found: tuple[float, float] = self.patch.noise_range
        return found

    def score(self, x: Tensor, sigma: float | None = None) -> Tensor:
        """Return psi(x), with the shape of x: images, (B, C, H, W), or flat patches of the patch model, (B, C P^2).

        Raises:
            ValueError: x has another shape, or sigma is None and the model has many levels.
        """
        if x.ndim == 2:
            psi: Tensor = self.patch.score(x, sigma=sigma)
        else:
            s = known_level(self, sigma)
            psi = (self.reconstruct(x, s) - x) / s**2
        return psi

    def reconstruct(self, x: Tensor, sigma: float | None = None) -> Tensor:
        """Return D(x) = x + sigma^2 psi(x), with the shape of x; shapes and errors are those of `score`."""
        s = known_level(self, sigma)
        if x.ndim == 2:
            return self._denoised(x, s)
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise ValueError(f"images have shape (B, {self.channels}, H, W), not {tuple(x.shape)}")
        return torch.stack([self._lift(image, lambda p: self._denoised(p, s)) for image in x])

    def _denoised(self, p: Tensor, s: Any) -> Tensor:
        """Return r(p) = p + C psi(p) at the level s, with the shape of p, (B, d)."""
        if self.noise is None:
            return posterior_mean(self.patch, p, s)
        found: Tensor = p + (s / self.noise.sigma) ** 2 * self.noise.covariance(self.patch.score(p, sigma=s), p)
        return found

    def __getattr__(self, name: str) -> Any:
        is_white = vars(self).get("noise") is None
        if name == "posterior_variance" and is_white and offers(self.patch, HasPosteriorVariance):
            return self._variance
        return super().__getattr__(name)

    def _variance(self, x: Tensor, sigma: float | None = None) -> Tensor:
        """Return sigma^2 dD_i/dx_i, with the shape of x, images: the mean over patches of their posterior variance."""
        s = known_level(self, sigma)
        return torch.stack([self._lift(image, lambda p: self.patch.posterior_variance(p, sigma=s)) for image in x])

    def _lift(self, image: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply a function to all patches of an image, (C, H, W), and return its mean over those that cover a pixel."""
        height, width = image.shape[1:]
        P, step = self.size, self.stride
        # The last patches must reach the border: repeat it until the strides come out even.
        padding = [max(P - side, -(side - P) % step if side > P else 0) for side in (height, width)]
        padded = F.pad(image[None], (0, padding[1], 0, padding[0]), mode="replicate")[0]
        rows, columns = ((side - P) // step + 1 for side in padded.shape[1:])
        total = torch.zeros_like(padded)
        band = max(1, self.tile // columns)
        for first in range(0, rows, band):
            last = min(first + band, rows)
            lines = slice(first * step, (last - 1) * step + P)
            strip = padded[None, :, lines]
            noisy = F.unfold(strip, P, stride=step)[0].T  # (B, C P^2)
            total[:, lines] += F.fold(function(noisy).T[None], strip.shape[2:], P, stride=step)[0]
        cover = [_cover(n, P, step, image) for n in (rows, columns)]
        return (total / (cover[0][:, None] * cover[1]))[:, :height, :width]


def _cover(count: int, size: int, step: int, like: Tensor) -> Tensor:
    """Return how many of `count` windows cover each coordinate, with shape ((count - 1) step + size,)."""
    windows = torch.ones(1, size, count, dtype=like.dtype, device=like.device)
    return F.fold(windows, (1, (count - 1) * step + size), (1, size), stride=(1, step)).flatten()
