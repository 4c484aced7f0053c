"""JPEG compression of pictures: blocks of 8 x 8 pixels, transformed, quantised and transformed back.

    Y = 0.299 R + 0.587 G + 0.114 B,   Cb = 128 + (B - Y)/1.772,   Cr = 128 + (R - Y)/1.402
    block <- D' (T round((D block D') / T)) D,   D the orthonormal cosine transform

T has the steps of the quality, see `smdae.jpeg`. With 4:2:0, colours have half the pixels each way. Entropy coding
loses nothing and is left out.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from smdae.jpeg import CHROMA_STEPS, LUMA, LUMA_STEPS, cosine_transform, steps

MULTIPLE = 16  # pixels: sides of pictures are multiples of it, so that colours at half the size have whole blocks

BLUE, RED = 1 / 1.772, 1 / 1.402


def compressed(x: Tensor, quality: Tensor, halved: Tensor) -> Tensor:
    """Return pictures as they come out of JPEG files, with the shape of x, white being 1: multiples of 1/255.

    x is (n, 1 or 3, h, w), h and w multiples of 16; the quality, from 1 to 100, and whether colours have half the
    pixels each way have shape (n,).
    """
    values = (255 * x).round().clamp(0, 255)
    if x.shape[1] == 1:
        return (_quantised(values - 128, _table(LUMA_STEPS, quality)) + 128).round().clamp(0, 255) / 255
    r, g, b = values.unbind(1)
    y = LUMA[0] * r + LUMA[1] * g + LUMA[2] * b
    colours = torch.stack([BLUE * (b - y), RED * (r - y)], 1).round()  # (n, 2, h, w)
    y = (_quantised(y[:, None].round() - 128, _table(LUMA_STEPS, quality))[:, 0] + 128).round()
    table = _table(CHROMA_STEPS, quality)
    small = _quantised(F.avg_pool2d(colours, 2), table)
    small = F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    colours = torch.where(halved[:, None, None, None], small, _quantised(colours, table)).round()
    blue, red = colours[:, 0] / BLUE, colours[:, 1] / RED
    green = -(LUMA[0] * red + LUMA[2] * blue) / LUMA[1]
    return torch.stack([y + red, y + green, y + blue], 1).round().clamp(0, 255) / 255


def _table(at_50: tuple[int, ...], quality: Tensor) -> Tensor:
    """Return the steps of quantisation, with shape (n, 1, 1, 8, 1, 8)."""
    table = torch.from_numpy(steps(at_50)).to(quality.device)
    return table[quality.long() - 1].view(-1, 1, 1, 8, 1, 8)


def _quantised(x: Tensor, table: Tensor) -> Tensor:
    """Return x with the coefficients of its blocks rounded to multiples of the table, with the shape of x."""
    d = torch.from_numpy(cosine_transform()).to(x)
    blocks = x.reshape(*x.shape[:2], x.shape[2] // 8, 8, x.shape[3] // 8, 8)
    coefficients = torch.einsum("ir,ncarbs,js->ncaibj", d, blocks, d)
    rounded = (coefficients / table).round() * table
    return torch.einsum("ir,ncaibj,js->ncarbs", d, rounded, d).reshape(x.shape)
