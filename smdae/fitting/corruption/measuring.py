"""The conditioning of a network in a fit: the noise measured against the clean picture, with errors like an estimate's.

`estimate_noise` finds the level in bins of brightness and the correlations of neighbours and of channels. Here the same
is measured on y - x, in bins of the local mean of y, and perturbed by errors like those of such estimates.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from smdae.models.conditioning import Conditioning, smoothed

BINS = 12  # of brightness, from 0 to 1
PRIOR_PIXELS = 64.0  # pixels of the mean level that are added to each bin
LEVEL_ERROR, TILT_ERROR = 0.1, 0.1  # standard deviations of the logarithm of a level, for all and from dark to bright
GRAIN_ERROR = 0.04  # of correlations
MIN_LEVEL = 0.1 / 255
FLAT_SHARE = 0.15  # of the pictures, whose noise is given one level for all brightnesses


def measured(x: Tensor, y: Tensor, jpeg: Tensor, generator: Generator | None) -> tuple[Tensor, Conditioning]:
    """Return the level of the noise, (n,), and the conditioning, with errors like those of estimates.

    x are clean pictures with shape (n, C, h, w), white being 1, and y the same with noise; `jpeg` is 1 - quality/100,
    (n,), 0 for none.
    """
    n, channels = x.shape[:2]

    def normal(*shape: int) -> Tensor:
        return torch.randn(n, *shape, generator=generator, dtype=x.dtype, device=x.device)

    difference = y - x
    position = (smoothed(y) * BINS - 0.5).clamp(0, BINS - 1 - 1e-4).flatten(2)  # (n, C, h w)
    low = position.long()
    squares = difference.square().flatten(2)
    mean = squares.mean(2, keepdim=True)  # (n, C, 1)
    nearest = position.round().long()
    sums = squares.new_zeros(n, channels, BINS).scatter_add_(2, nearest, squares)
    counts = torch.zeros_like(sums).scatter_add_(2, nearest, torch.ones_like(squares))
    levels = ((sums + PRIOR_PIXELS * mean) / (counts + PRIOR_PIXELS)).sqrt()  # (n, C, bins)
    sd = torch.lerp(levels.gather(2, low), levels.gather(2, low + 1), position - low).view_as(x)
    true_sd = sd.clamp(min=MIN_LEVEL)
    flat = torch.rand(n, 1, 1, 1, generator=generator, device=x.device) < FLAT_SHARE
    sd = torch.where(flat, mean.sqrt()[..., None].expand_as(sd), sd)
    tilt = torch.linspace(-1, 1, BINS, dtype=x.dtype, device=x.device)[low].view_as(x)
    sd = sd * (LEVEL_ERROR * normal(1, 1, 1) + TILT_ERROR * normal(1, 1, 1) * tilt).exp()
    sd = sd.clamp(min=MIN_LEVEL)
    sigma = sd.square().mean((1, 2, 3)).sqrt()
    e = difference / true_sd
    grain = torch.stack([_lag(e, 1), _lag(e, 2)], 1)
    grain = torch.where(grain.abs() > GRAIN_ERROR, grain + GRAIN_ERROR * normal(2), 0.0)
    shared = _shared(e)
    shared = torch.where(shared.abs() > GRAIN_ERROR, shared + GRAIN_ERROR * normal(), 0.0)
    return sigma, Conditioning(sd / sigma[:, None, None, None], grain.clamp(-1, 1), shared.clamp(-1, 1), jpeg)


def _lag(e: Tensor, d: int) -> Tensor:
    """Return the mean correlation of pixels d rows and d columns apart, with shape (n,)."""
    power = e.square().mean((1, 2, 3)).clamp(min=1e-12)
    down = (e[:, :, d:] * e[:, :, :-d]).mean((1, 2, 3))
    across = (e[..., d:] * e[..., :-d]).mean((1, 2, 3))
    return (down + across) / (2 * power)


def _shared(e: Tensor) -> Tensor:
    """Return the mean correlation of two channels, with shape (n,); 0 of one channel."""
    channels = e.shape[1]
    if channels == 1:
        return e.new_zeros(len(e))
    unit = F.normalize(e.flatten(2), dim=2)  # (n, C, h w)
    gram = unit @ unit.mT
    return (gram.sum((1, 2)) - gram.diagonal(dim1=1, dim2=2).sum(1)) / (channels * (channels - 1))
