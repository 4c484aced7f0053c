"""Augmentation of colours: photographs of nature are less vivid than many pictures that people denoise.

    x' = clamp(P (m + s (x - m))),    m = (r + g + b)/3,    s log-uniform in [1/2, 3],    P a random permutation

So each example is multiplied by one 3 x 3 matrix, P (s I + (1 - s) 1 1'/3), and gray stays gray.
"""

import math

import torch
from torch import Generator, Tensor

from smdae.fitting.draws import BatchPart

MIN_SATURATION, MAX_SATURATION = 0.5, 3.0  # s


def recoloured(x: Tensor, share: float, generator: Generator | None = None, part: BatchPart | None = None) -> Tensor:
    """Return clean flat patches, (n, d), a share of them with changed colours, with the shape of x.

    White is 1, and x has three channels, channels first. `part` says which rows of a batch it is, None for all of one.
    """
    part = part or BatchPart(len(x))
    n, device = part.n, x.device
    chosen = part.of(torch.rand(n, generator=generator, device=device)) < share
    low, high = math.log(MIN_SATURATION), math.log(MAX_SATURATION)
    s = (low + (high - low) * part.of(torch.rand(n, generator=generator, device=device))).exp()[:, None, None]
    permutation = part.of(torch.rand(n, 3, generator=generator, device=device)).argsort(1)
    matrix = (s * torch.eye(3, device=device) + (1 - s) / 3).gather(1, permutation[:, :, None].expand(len(x), 3, 3))
    changed = torch.bmm(matrix.to(x.dtype), x.view(len(x), 3, -1)).clamp_(0, 1).view_as(x)
    return torch.where(chosen[:, None], changed, x)
