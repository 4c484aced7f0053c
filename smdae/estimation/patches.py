"""The patches of a plane that the level of its noise is estimated from: P x P pixels, each with its mean subtracted."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F

SIDE = 7  # P, in pixels
DIM = SIDE**2
MEAN_ENERGY = 2 * 2  # mean `energy` of white noise with sigma 1: each of two differences has variance 2


@dataclass(frozen=True, eq=False)
class Patches:
    """Patches of one plane, white being 1.

    Attributes:
        x: The patches with their means subtracted, with shape (n, DIM).
        mean: Their means, with shape (n,).
        energy: The gradient energy of each, with shape (n,): its mean squared difference of pixels side by side plus
            that of pixels above each other.
    """

    x: torch.Tensor
    mean: np.ndarray
    energy: np.ndarray

    def __len__(self) -> int:
        return len(self.mean)

    @classmethod
    def of(cls, plane: np.ndarray, white: float, most: int, valid: np.ndarray | None = None) -> Self:
        """Return about `most` patches of a plane on a regular grid, without those that are constant.

        Args:
            plane: With shape (H, W), of any dtype, at least P pixels a side.
            white: The value of white in it.
            most: About how many patches to take, before constant and invalid ones are left out.
            valid: Which pixels count, with shape (H, W); patches with others are left out. None for all.
        """
        rows, columns = (length - SIDE + 1 for length in plane.shape)
        stride = max(1, math.ceil(math.sqrt(rows * columns / most)))
        if stride > SIDE:  # the pixels between patches are not turned into floats, to save memory
            plane = _side_by_side(plane, stride)
            valid = None if valid is None else _side_by_side(valid, stride)
            stride = SIDE
        y = torch.from_numpy(plane.astype(np.float32)) / white
        x = y.unfold(0, SIDE, stride).unfold(1, SIDE, stride).reshape(-1, DIM)
        mean = F.avg_pool2d(y[None], SIDE, stride).flatten()
        across, down = (y.diff(dim=axis).square()[None] for axis in (1, 0))
        energy = F.avg_pool2d(across, (SIDE, SIDE - 1), stride) + F.avg_pool2d(down, (SIDE - 1, SIDE), stride)
        patches = cls(x.sub_(mean[:, None]), mean.numpy(), energy.flatten().numpy())
        counts = patches.energy > 0
        if valid is not None:
            invalid = torch.from_numpy(~valid)[None].float()
            counts &= (F.max_pool2d(invalid, SIDE, stride) == 0).flatten().numpy()
        return patches if counts.all() else patches._at(np.flatnonzero(counts))

    def _at(self, index: np.ndarray) -> Self:
        return type(self)(self.vectors(index), self.mean[index], self.energy[index])

    def every(self, step: int) -> Self:
        """Return every `step`-th of the patches."""
        return type(self)(self.x[::step], self.mean[::step], self.energy[::step])

    def vectors(self, index: np.ndarray) -> torch.Tensor:
        """Return the rows of x at an index, with shape (n, DIM)."""
        return self.x.index_select(0, torch.from_numpy(index))


def _side_by_side(plane: np.ndarray, stride: int) -> np.ndarray:
    """Return a smaller plane, (P h, P w), made of nothing but the patches that begin every `stride` pixels."""
    windows = np.lib.stride_tricks.sliding_window_view(plane, (SIDE, SIDE))[::stride, ::stride]
    rows, columns = windows.shape[:2]
    return windows.swapaxes(1, 2).reshape(rows * SIDE, columns * SIDE)
