"""The inputs that condition a network on the noise, besides its level.

    noise planes of block (i, j):   sigma m_c,   sigma m g_1,   sigma m g_2,   sigma m q,   and of colours sigma m r

with m_c the standard deviation of the noise of channel c there, relative to sigma, m its root mean square over the
channels, g_1 and g_2 the correlation of pixels one and two apart, q = 1 - quality/100 of a JPEG file, 0 for none, and r
the mean correlation of two channels. Every plane is a multiple of sigma, so that a network without biases stays
homogeneous: D(a y, a sigma) = a D(y, sigma).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from smdae.models.borders import local_mean, mirrored
from smdae.noise import Noise

SMOOTHED = 5  # pixels a side, over which the brightness that noise depends on is averaged


def plane_count(channels: int) -> int:
    """Return the number of input planes that describe the noise of pictures with `channels` channels."""
    return channels + 3 + (channels > 1)


@dataclass(frozen=True)
class Conditioning:
    """The noise of a batch of pictures, relative to the level sigma."""

    sd: Tensor | None  # standard deviation divided by sigma, with shape (B, C, H, W); None if it is 1 everywhere
    grain: Tensor  # correlation of pixels one apart and two apart, with shape (B, 2) or (1, 2)
    channels: Tensor  # mean correlation of two channels, with shape (B,) or (1,)
    jpeg: Tensor  # 1 - quality/100, with shape (B,) or (1,); 0 for pictures that were not compressed

    @classmethod
    def of(cls, noise: Noise, y: Tensor, sigma: float) -> Self:
        """Return the conditioning for pictures y, (B, C, H, W), with noise in their unit.

        For signal-dependent noise the clean value is taken to be the mean of y around each pixel.
        """
        sd = noise.sd(smoothed(y)) / sigma if noise.is_signal_dependent or len(set(noise.levels)) > 1 else None
        lags = [_lag(noise.grain, d) for d in (1, 2)]
        return cls(
            sd,
            y.new_tensor([lags]),
            y.new_tensor([0.0 if noise.channels is None else _off_diagonal(noise.channels)]),
            y.new_tensor([0.0 if noise.jpeg is None else 1 - noise.jpeg / 100]),
        )

    def planes(self, sigma: Tensor, like: Tensor, multiple: int) -> list[Tensor]:
        """Return the planes for pictures of shape (B, C, H, W), each with shape (B, 1 or C, H/2, W/2).

        sigma is the level, (B, 1, H/2, W/2). The pictures were padded by mirroring until H and W are multiples of
        `multiple`, an even number.
        """
        count = like.shape[1]
        if self.sd is None:
            each, mean = sigma.expand(-1, count, -1, -1), sigma
        else:
            squares = F.avg_pool2d(mirrored(self.sd, multiple).square(), 2)
            each, mean = sigma * squares.sqrt(), sigma * squares.mean(1, keepdim=True).sqrt()
        numbers = [self.grain[:, 0], self.grain[:, 1], self.jpeg, *([self.channels] if count > 1 else [])]
        return [each, *(mean * number.to(mean)[:, None, None, None] for number in numbers)]

    def of_part(self, part: slice) -> "Conditioning":
        """Return the conditioning of the pictures that a slice selects from the batch."""
        sd = None if self.sd is None else self.sd[part]
        return Conditioning(sd, *(t if len(t) == 1 else t[part] for t in (self.grain, self.channels, self.jpeg)))


WHITE_NOISE = Conditioning(None, torch.zeros(1, 2), torch.zeros(1), torch.zeros(1))


def smoothed(y: Tensor) -> Tensor:
    """Return the estimated clean value on which noise depends, the local mean of y, with the shape of y."""
    return local_mean(y, SMOOTHED)


def _lag(grain: Sequence[Sequence[float]], d: int) -> float:
    """Return the mean correlation of pixels d rows and d columns apart."""
    return (grain[d][0] + grain[0][d]) / 2 if len(grain) > d else 0.0


def _off_diagonal(matrix: Sequence[Sequence[float]]) -> float:
    pairs = [matrix[i][j] for i in range(len(matrix)) for j in range(i)]
    return sum(pairs) / len(pairs)
