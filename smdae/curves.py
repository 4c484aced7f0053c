"""Noise curves: the standard deviation of the noise as a function of the clean value x.

    Affine   sd(x)^2 = gain max(x - black, 0) + read^2     photon and read noise (Foi et al. 2008)
    Table    sd(x) linear between given values             noise after a camera's processing

In another unit x' = k x + o, k > 0, the same noise has the standard deviation k sd((x' - o)/k).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from smdae import checked
from smdae.checked import Row
from smdae.errors import UsageError


class Curve(Protocol):
    """A standard deviation as a function of the clean value."""

    @property
    def level(self) -> float | None:
        """Return the standard deviation if it is the same for all values, else None."""

    def sd(self, x: Tensor) -> Tensor:
        """Return the standard deviation at clean values x, floats, with the shape of x."""

    def scaled(self, factor: float) -> "Curve":
        """Return the curve of the same noise in units in which every value is `factor` times as large."""

    def shifted(self, offset: float) -> "Curve":
        """Return the curve of the same noise in units in which every value is larger by `offset`."""

    def amplified(self, factor: float) -> "Curve":
        """Return the curve of the noise with `factor` times the standard deviation."""


@dataclass(frozen=True)
class Affine:
    """Photon and read noise, sd^2 = gain max(x - black, 0) + read^2.

    Attributes:
        gain: Variance per unit of signal, in the unit of the picture, not negative.
        black: Value where the signal begins.
        read: Standard deviation without any signal, not negative.

    Raises:
        UsageError: One of them is not a finite number, or gain or read is negative.
    """

    gain: float = 0.0
    black: float = 0.0
    read: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "gain", checked.number(self.gain, "the gain of the noise"))
        object.__setattr__(self, "black", checked.number(self.black, "the black of the noise"))
        object.__setattr__(self, "read", checked.number(self.read, "the read noise"))
        if self.gain < 0:
            raise UsageError(f"the gain of the noise must not be negative, and {self.gain:g} is")
        if self.read < 0:
            raise UsageError(f"the read noise must not be negative, and {self.read:g} is")

    @property
    def level(self) -> float | None:
        """Return the standard deviation if it is the same for all values, else None."""
        return self.read if self.gain == 0 else None

    def sd(self, x: Tensor) -> Tensor:
        """Return the standard deviation at clean values x, floats, with their shape; differentiable if gain > 0."""
        if self.gain == 0:
            return torch.full_like(x, self.read)
        variance = self.gain * (x - self.black).clamp(min=0) + self.read * self.read
        some = variance > 0
        return torch.where(some, torch.where(some, variance, 1.0).sqrt(), 0.0)  # the slope of the root is infinite at 0

    def scaled(self, factor: float) -> "Affine":
        """Return the curve of the same noise in units in which every value is `factor` times as large, factor > 0."""
        return Affine(self.gain * factor, self.black * factor, self.read * factor)

    def shifted(self, offset: float) -> "Affine":
        """Return the curve of the same noise in units in which every value is larger by `offset`."""
        return replace(self, black=self.black + offset)

    def amplified(self, factor: float) -> "Affine":
        """Return the curve of the noise with `factor` times the standard deviation, the factor not being negative."""
        return Affine(self.gain * factor**2, self.black, self.read * factor)


@dataclass(frozen=True)
class Table:
    """Standard deviations at given values, linear between them and constant beyond the ends.

    Attributes:
        at: Clean values, strictly increasing, with shape (n,), n >= 1.
        levels: Standard deviations there, not negative, with shape (n,).

    Raises:
        UsageError: One of them is not finite, they differ in number, values do not increase, or a level is negative.
    """

    at: Row
    levels: Row

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", checked.row(self.at, "the values in a table of the noise"))
        object.__setattr__(self, "levels", checked.row(self.levels, "the levels in a table of the noise"))
        if len(self.at) != len(self.levels):
            raise UsageError(f"a table of the noise has {len(self.at)} values and {len(self.levels)} levels")
        if any(after <= before for before, after in zip(self.at, self.at[1:], strict=False)):
            raise UsageError("the values in a table of the noise must increase from one to the next")
        if min(self.levels) < 0:
            raise UsageError(f"the levels in a table of the noise must not be negative, and {min(self.levels):g} is")

    @property
    def level(self) -> float | None:
        """Return the standard deviation if it is the same for all values, else None."""
        return self.levels[0] if min(self.levels) == max(self.levels) else None

    def sd(self, x: Tensor) -> Tensor:
        """Return the standard deviation at clean values x, floats, with their shape; differentiable if it varies."""
        if self.level is not None:
            return torch.full_like(x, self.level)
        at, levels = x.new_tensor(self.at), x.new_tensor(self.levels)
        x = x.clamp(self.at[0], self.at[-1])
        upper = torch.bucketize(x.detach().contiguous(), at).clamp(1, len(at) - 1)
        width = (at[upper] - at[upper - 1]).clamp(min=torch.finfo(x.dtype).tiny)  # two values may be equal in float32
        return torch.lerp(levels[upper - 1], levels[upper], (x - at[upper - 1]) / width)

    def scaled(self, factor: float) -> "Table":
        """Return the curve of the same noise in units in which every value is `factor` times as large, factor > 0."""
        return Table(tuple(value * factor for value in self.at), tuple(level * factor for level in self.levels))

    def shifted(self, offset: float) -> "Table":
        """Return the curve of the same noise in units in which every value is larger by `offset`."""
        return replace(self, at=tuple(value + offset for value in self.at))

    def amplified(self, factor: float) -> "Table":
        """Return the curve of the noise with `factor` times the standard deviation, the factor not being negative."""
        return replace(self, levels=tuple(level * factor for level in self.levels))


def sds(curves: Sequence[Curve], x: Tensor) -> Tensor:
    """Return the standard deviation at clean pictures x, (B, C, H, W), by one curve or one for each channel."""
    if len(curves) == 1:
        return curves[0].sd(x)
    return torch.stack([curve.sd(x[:, c]) for c, curve in enumerate(curves)], dim=1)
