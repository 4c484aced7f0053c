"""The roughness of a part of an image: what is held out must have texture or noise.

The roughness of a window is the mean over neighbours in a row of |x_i - x_(i+1)|. It is 0 on a flat bar, where a smooth
model has almost no error, and an absurdly high PSNR. Of several windows the usual one is taken if it has at least half
the typical roughness, that is the median over windows that are not flat; else the one closest to typical.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["choose", "roughness"]

MIN_SHARE = 0.5  # of the typical roughness


def roughness(window: np.ndarray | Tensor) -> float:
    """Return the mean absolute difference of pixels side by side in a window; 0 for one pixel wide.

    The window is an array (H, W) or (H, W, C), or a tensor (C, H, W).
    """
    x = window.double() if isinstance(window, Tensor) else torch.from_numpy(np.asarray(window, np.float64))
    axis = 2 if isinstance(window, Tensor) else 1
    if x.shape[axis] < 2:
        return 0.0
    return x.diff(dim=axis).abs().mean().item()


def choose(roughnesses: Sequence[float], usual: int) -> int:
    """Return the index of the window to take: the usual one, unless it is much smoother than is typical.

    Args:
        roughnesses: The roughness of each window, 0 or more.
        usual: The index of the usual one.
    """
    rough = [value for value in roughnesses if value > 0]
    if not rough:
        return usual
    typical = float(np.median(rough))
    if roughnesses[usual] >= MIN_SHARE * typical:
        return usual
    return min(range(len(roughnesses)), key=lambda k: abs(roughnesses[k] - typical))
