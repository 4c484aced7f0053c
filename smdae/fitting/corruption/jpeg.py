"""What JPEG compression does to pictures: blocks of 8 x 8 pixels, transformed, quantised and transformed back.

    Y = 0.299 R + 0.587 G + 0.114 B,   Cb = 128 + (B - Y)/1.772,   Cr = 128 + (R - Y)/1.402
    block <- D' (T round((D block D') / T)) D,   D the orthonormal cosine transform

T is the table of ITU-T T.81, annex K, scaled to the quality as the libraries of the Independent JPEG Group scale it.
With 4:2:0, colours have half the pixels each way. Entropy coding loses nothing and is left out.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["MULTIPLE", "compressed"]

MULTIPLE = 16  # pixels: sides of pictures are multiples of it, so that colours at half the size have whole blocks

BLUE, RED = 1 / 1.772, 1 / 1.402
# fmt: off
LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)
CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
    *(99,) * 32,
)
# fmt: on


def compressed(x: Tensor, quality: Tensor, halved: Tensor) -> Tensor:
    """Return pictures as they come out of JPEG files, with the shape of x, white being 1.

    Args:
        x: Pictures with shape (n, 1 or 3, h, w), h and w multiples of 16.
        quality: 1 to 100, with shape (n,).
        halved: Whether colours have half the pixels each way, with shape (n,), bool.
    """
    values = (255 * x).round().clamp(0, 255)
    if x.shape[1] == 1:
        return (_quantised(values - 128, _table(LUMA, quality)) + 128).round().clamp(0, 255) / 255
    r, g, b = values.unbind(1)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    colours = torch.stack([BLUE * (b - y), RED * (r - y)], 1).round()  # (n, 2, h, w)
    y = (_quantised(y[:, None].round() - 128, _table(LUMA, quality))[:, 0] + 128).round()
    table = _table(CHROMA, quality)
    small = _quantised(F.avg_pool2d(colours, 2), table)
    small = F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    colours = torch.where(halved[:, None, None, None], small, _quantised(colours, table)).round()
    blue, red = colours[:, 0] / BLUE, colours[:, 1] / RED
    green = -(0.299 * red + 0.114 * blue) / 0.587
    return torch.stack([y + red, y + green, y + blue], 1).round().clamp(0, 255) / 255


def _table(base: tuple[int, ...], quality: Tensor) -> Tensor:
    """Return the steps of quantisation, with shape (n, 1, 1, 8, 1, 8)."""
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)[:, None]
    table = ((torch.tensor(base, dtype=scale.dtype, device=scale.device) * scale + 50) / 100).floor().clamp(1, 255)
    return table.view(-1, 1, 1, 8, 1, 8)


def _quantised(x: Tensor, table: Tensor) -> Tensor:
    """Return x with the coefficients of its blocks rounded to multiples of the table, with the shape of x."""
    d = _cosines(x)
    blocks = x.reshape(*x.shape[:2], x.shape[2] // 8, 8, x.shape[3] // 8, 8)
    coefficients = torch.einsum("ir,ncarbs,js->ncaibj", d, blocks, d)
    rounded = (coefficients / table).round() * table
    return torch.einsum("ir,ncaibj,js->ncarbs", d, rounded, d).reshape(x.shape)


def _cosines(like: Tensor) -> Tensor:
    """Return the orthonormal cosine transform of 8 numbers, with shape (8, 8)."""
    k = torch.arange(8, dtype=like.dtype, device=like.device)
    d = 0.5 * torch.cos(math.pi * k[:, None] * (2 * k + 1) / 16)
    return torch.cat([d[:1] * 0.5**0.5, d[1:]])
