"""Images mirrored at their ends, so that their sides suit a network."""

import torch
from torch import Tensor

__all__ = ["mirrored"]


def mirrored(x: Tensor, multiple: int) -> Tensor:
    """x mirrored at its right and lower border until both sides are multiples; images of any size, one pixel too."""
    for axis in (2, 3):
        while missing := -x.shape[axis] % multiple:
            side = x.shape[axis]
            # A mirror shows at most side - 1 pixels at a time; of a single pixel there is none to show but itself.
            part = min(missing, max(side - 1, 1))
            mirror = x.narrow(axis, max(side - 1 - part, 0), part).flip(axis)
            x = torch.cat([x, mirror], axis)
    return x
