"""A score network for images, conditional on the level of the noise.

    psi(y, sigma) = (D(y, sigma) - y) / sigma^2,    D(y, sigma) = y - R(y, sigma)

R is a U-Net over blocks of 2 x 2 pixels: at each scale residual blocks x + A relu(B x) of 3 x 3 convolutions, strided
2 x 2 convolutions on the way down, 1 x 1 convolutions and a shuffle of channels into pixels on the way up, sums for
skips. Its input has, besides the pixels, a plane of sigma, or planes that describe the noise (see `conditioning`), and,
if it was fitted on clipped pictures too, a plane of the white that the noisy picture was clipped to, 0 for none. No
layer has a bias, so D is jointly homogeneous: D(a y, a sigma) = a D(y, sigma) for a > 0, and a level that was
not fitted scales to one that was (Mohan et al. 2020; Zhang et al. 2021). The last convolution starts at zero: D(y) = y
before the first step.

In nearly every stored picture noise is clipped at black and white, and the mean of clipped noise is not zero.
`clipped(white)` returns the same model set to that. It still estimates E[x | y], which then is no longer y plus sigma^2
times the score of a Gaussian-smoothed density.

With ReLUs psi is piecewise linear and its divergence piecewise constant; then `kinked` is True, and objectives that
differentiate the divergence use finite differences instead.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from smdae.models.borders import mirrored, rounded_up
from smdae.models.conditioning import WHITE_NOISE, Conditioning, plane_count
from smdae.models.inference_graphs import InferenceGraphs
from smdae.models.shown import ImageModel
from smdae.protocols import known_level, per_example

# In place, like the sums: nothing else needs a convolution's output, and small ones are limited by memory access.
ACTIVATIONS = {"relu": partial(F.relu, inplace=True), "silu": partial(F.silu, inplace=True)}


@dataclass(frozen=True)
class Shape:
    """The size of a network: at each scale, finest first, its channels and its residual blocks down and up."""

    widths: tuple[int, ...]
    down: tuple[int, ...]
    up: tuple[int, ...]


# kMAC per pixel with conditioning, gray and colour: small 17.3 and 18.6, medium 92.5 and 94.6. Numbers of channels are
# multiples of 16, the width of vectors and tiles in common processors.
SIZES: dict[str, Shape] = {
    "small": Shape((32, 48, 96), (0, 1, 2), (1, 1, 0)),
    "medium": Shape((48, 96, 176), (1, 1, 4), (1, 2, 0)),
}


def _kernel(into: int, out: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(into, out, size, stride, padding=size // 2 if stride == 1 else 0, bias=False)


class Block(nn.Module):
    """x + A f(B x), with 3 x 3 convolutions A and B."""

    def __init__(self, width: int, activation: str) -> None:
        super().__init__()
        self.first, self.second = _kernel(width, width), _kernel(width, width)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """Return x + A f(B x), with the shape of x, (batch, channels, h, w), f being the activation."""
        found: Tensor = self.second(self.activation(self.first(x))).add_(x)
        return found


class UNet(ImageModel):
    """A U-Net that estimates the noise in images, (B, C, H, W), given its level; its score follows from that.

    Args:
        channels: Channels of an image, C.
        widths: Channels at each scale, finest first, which has half the pixels a side that the image has.
        down: Residual blocks at each scale on the way down; the last counts those at the coarsest.
        up: Residual blocks at each scale on the way up; the last, of the coarsest scale, is 0.
        levels: The lowest and highest level of the noise that it is fitted at, white being 1.
        activation: relu or silu. With silu the input is in noise units, y/sigma, to stay homogeneous.
        clips: Whether it takes the white of clipped pictures as input.
        takes_noise: Whether it is conditioned on noise that is not white.

    Raises:
        ValueError: The lists differ in length, a number is out of range, or the activation is unknown.
    """

    white: float | Tensor = 0.0  # the value that the noisy pictures were clipped to; 0 for none
    conditioning: Conditioning = WHITE_NOISE  # the further input about the noise
    products: torch.dtype | None = None  # the dtype of products in the inner layers; None for that of the image
    graphs: InferenceGraphs | None = None  # CUDA graphs of passes; None to launch layer by layer

    def __init__(
        self,
        channels: int,
        widths: Sequence[int],
        down: Sequence[int],
        up: Sequence[int],
        levels: Sequence[float],
        activation: str = "relu",
        *,
        clips: bool = False,
        takes_noise: bool = False,
    ) -> None:
        super().__init__()
        if not (len(widths) == len(down) == len(up) >= 1) or min(channels, *widths) < 1:
            raise ValueError(f"a network has one width and two depths for each scale, not {widths}, {down} and {up}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation '{activation}'; there are {', '.join(ACTIVATIONS)}")
        low, high = levels
        if not 0 < low <= high:
            raise ValueError(f"levels go from a positive number up, not from {low} to {high}")
        self.channels, self.noise_range, self.activation = channels, (float(low), float(high)), activation
        self.clips, self.takes_noise = clips, takes_noise
        self.shape = Shape(tuple(widths), tuple(down), tuple(up))

        def blocks(depths: Sequence[int]) -> nn.ModuleList:
            return nn.ModuleList(
                nn.Sequential(*(Block(width, activation) for _ in range(n)))
                for width, n in zip(widths, depths, strict=True)
            )

        pairs = list(pairwise(widths))
        self.stem = _kernel(4 * channels + (plane_count(channels) if takes_noise else 1) + clips, widths[0])
        self.down, self.up = blocks(down), blocks(up)
        self.shrink = nn.ModuleList(_kernel(fine, coarse, 2, 2) for fine, coarse in pairs)
        self.grow = nn.ModuleList(_kernel(coarse, 4 * fine, 1) for fine, coarse in pairs)
        self.head = _kernel(widths[0], 4 * channels)
        nn.init.zeros_(self.head.weight)

    @torch.no_grad()
    def initialise(self, generator: Generator | None = None) -> None:
        """Draw all kernels, uniform with variance 1 / (3 fan-in), except the head's, which are zero."""
        for kernel in self.parameters():
            bound = kernel[0].numel() ** -0.5
            kernel.uniform_(-bound, bound, generator=generator)
        self.head.weight.zero_()

    def settings(self) -> dict[str, Any]:
        """Return the arguments that build this model again."""
        shape = {name: list(getattr(self.shape, name)) for name in ("widths", "down", "up")}
        kind = {"levels": list(self.noise_range), "activation": self.activation, "clips": self.clips}
        if self.takes_noise:  # left out otherwise, so that files stay readable by earlier versions
            kind["takes_noise"] = True
        return {"channels": self.channels, **shape, **kind}

    @property
    def kinked(self) -> bool:
        """Return whether psi has kinks, which derivatives of its divergence miss."""
        return self.activation == "relu"

    @property
    def shift_multiple(self) -> int:
        """Return m: sides are padded to multiples of m pixels, and a shift of x by such a multiple shifts psi alike."""
        return int(2 ** len(self.shape.widths))

    @property
    def halo(self) -> int:
        """Return how many pixels away a pixel can have influence, a multiple of `shift_multiple`."""
        # A 3 x 3 convolution reaches a pixel of its scale to each side; strides and shuffles reach to the block's end.
        cells = [2 * (down + up) for down, up in zip(self.shape.down, self.shape.up, strict=True)]
        cells[0] += 2  # stem and head
        pixels = sum(n * 2 ** (scale + 1) for scale, n in enumerate(cells)) + self.shift_multiple
        return rounded_up(pixels, self.shift_multiple)

    @property
    def bytes_per_pixel(self) -> int:
        """Return how many bytes a pixel takes while its score is computed, as measured on a CPU."""
        return 16 * self.channels + 6 * self.shape.widths[0] + 72

    def clipped(self, white: float | Tensor) -> "UNet":
        """Return the same network for noisy pictures clipped to [0, white]; itself if it was fitted without clipping.

        Args:
            white: The upper end, a number or one for each picture, (B,); 0 for pictures that are not clipped.
        """
        if not self.clips:
            return self
        network = copy.copy(self)
        network.white = white
        return network

    def conditioned(self, conditioning: Conditioning) -> "UNet":
        """Return the same network, conditioned on the noise; one for white noise only is returned unchanged."""
        if not self.takes_noise:
            return self
        network = copy.copy(self)
        network.conditioning = conditioning
        return network

    def with_products_in(self, dtype: torch.dtype) -> "UNet":
        """Return the same network with products of that dtype in all layers but the first and the last.

        Rounding in the first layer would round the pixels, and in the last the result; in between it averages out.
        """
        network = copy.copy(self)
        network.products = dtype
        return network

    def reconstruct(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return D(x, sigma), with the shape of x.

        Args:
            x: Noisy images with shape (B, C, H, W), of any size.
            sigma: Level of the noise in the unit of x, a float or (B,); None for the one level of the model.

        Raises:
            ValueError: x has another shape, or sigma is None and the model has many levels.
        """
        return x - self._noise(x, known_level(self, sigma))

    def score(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return psi(x, sigma) = (D(x, sigma) - x) / sigma^2, with the shape of x.

        Arguments and errors are those of `reconstruct`.
        """
        level = known_level(self, sigma)
        is_uniform = not isinstance(level, Tensor) and not isinstance(self.white, Tensor)
        is_uniform = is_uniform and self.conditioning is WHITE_NOISE
        if self.graphs and is_uniform and x.is_cuda and torch.is_inference_mode_enabled():
            replayed = self.graphs.score(self, x, float(level))
            if replayed is not None:
                return replayed
        return self._noise(x, level) / -(per_example(level, x) ** 2)

    def _noise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Return R(x, sigma), with the shape of x."""
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise ValueError(f"images have shape (B, {self.channels}, H, W), not {tuple(x.shape)}")
        height, width = x.shape[2:]
        y = mirrored(x, self.shift_multiple)
        s = _plane(sigma, y)
        planes = self.conditioning.planes(s, y, self.shift_multiple) if self.takes_noise else [s]
        if self.clips:
            planes.append(_plane(self.white, y))
        # Channels last: convolutions of few channels are three times as fast in that order.
        blocks = torch.cat([F.pixel_unshuffle(y, 2), *planes], 1).contiguous(memory_format=torch.channels_last)
        first = self.stem(blocks if self.kinked else blocks / s)
        # oneDNN 3.12 leaves memory unwritten in bfloat16 convolutions with stride 2 whose result is one pixel wide.
        if self.products is None or y.shape[3] <= self.shift_multiple:
            noise = self.head(self._inner(first))
        else:
            with torch.autocast(first.device.type, self.products):
                inner = self._inner(first.to(self.products))
            noise = self.head(inner.to(first.dtype))
        noise = noise if self.kinked else s * noise
        return F.pixel_shuffle(noise, 2)[:, :, :height, :width]

    def _inner(self, x: Tensor) -> Tensor:
        """Apply all layers between the first and the last."""
        skips = []
        for blocks, shrink in zip(self.down[:-1], self.shrink, strict=True):
            skips.append(blocks(x))
            x = shrink(skips[-1])
        x = self.down[-1](x)
        for blocks, grow, skip in zip(reversed(self.up[:-1]), reversed(self.grow), reversed(skips), strict=True):
            x = blocks(F.pixel_shuffle(grow(x), 2).add_(skip))
        return x


def _plane(value: float | Tensor, y: Tensor) -> Tensor:
    """Return a number for each image, spread over its blocks, with shape (B, 1, H/2, W/2)."""
    number = value.to(y) if isinstance(value, Tensor) else y.new_full((1,), value)
    return number.reshape(-1, 1, 1, 1).expand(len(y), 1, y.shape[2] // 2, y.shape[3] // 2)
