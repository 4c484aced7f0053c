"""Flat areas without noise in a noisy picture: bars beside a scan, margins, pasted parts.

To a network that expects noise, an exactly constant area is very unlikely, and it moves such an area by up to half of
sigma. So a pixel is left as it is if it lies in a square of exactly equal pixels, unless their value is the least or
the largest of the picture: there the noise may have been clipped, or no photon counted.
"""

import torch.nn.functional as F
from torch import Tensor

SIDE = 17  # pixels a side of the square


def flat_areas(y: Tensor, ends: tuple[float, float]) -> Tensor | None:
    """Return where pictures, (B, C, H, W), are flat, with shape (B, 1, H, W), bool; None if nowhere.

    A pixel is flat if it lies in a square of 17 x 17 equal pixels; smaller pictures have none.

    Args:
        y: Noisy pictures.
        ends: The least and the largest value of the whole picture; areas of these values are not taken for flat.
    """
    if min(y.shape[2:]) < SIDE:
        return None
    across = (y[..., 1:] == y[..., :-1]).all(1, keepdim=True)  # (B, 1, H, W - 1)
    if int(across.sum()) < SIDE * (SIDE - 1):
        return None
    down = (y[:, :, 1:] == y[:, :, :-1]).all(1, keepdim=True)
    # From here on each square is known by its upper left pixel: (B, ..., H - SIDE + 1, W - SIDE + 1).
    corner = y[:, :, : 1 - SIDE, : 1 - SIDE]
    between = ((corner > ends[0]) & (corner < ends[1])).any(1, keepdim=True)
    broken = _largest((~across).to(y.dtype), SIDE, SIDE - 1) + _largest((~down).to(y.dtype), SIDE - 1, SIDE)
    squares = between & (broken == 0)
    if not squares.any():
        return None
    return _largest(F.pad(squares.to(y.dtype), (SIDE - 1,) * 4), SIDE, SIDE) > 0


def _largest(x: Tensor, height: int, width: int) -> Tensor:
    """Return the largest value in every rectangle of x, with shape (B, 1, H - height + 1, W - width + 1)."""
    return F.max_pool2d(F.max_pool2d(x, (height, 1), 1), (1, width), 1)
