"""The strength of denoising: how much of the noise is taken out of brightness and of colour.

With r = x^ - y the change, l its luma (ITU-R 601), and a, b the strengths of luma and chroma, the result is

    y + a l + b (r - l),   l added to all channels alike

If that leaves the range of an integer picture, the colour part r - l is shortened until it fits, so that the luma is
exactly the one asked for.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from smdae.checked import refuse_other_types
from smdae.errors import UsageError
from smdae.jpeg import LUMA


@dataclass(frozen=True)
class Strengths:
    """The strength of denoising for brightness and for colour, each 0 to 1: 0 is the image, 1 the estimate.

    Attributes:
        luma: The strength for brightness; in pictures without colour, for everything.
        chroma: The strength for colour.
    """

    luma: float = 1.0
    chroma: float = 1.0

    @classmethod
    def of(cls, strength: float, luma: float, chroma: float, in_colour: bool) -> Self:
        """Return the strengths that the options `strength`, `luma` and `chroma` give together.

        Raises:
            UsageError: One is not between 0 and 1.
        """
        shares = {"strength": strength, "luma": luma, "chroma": chroma}
        refuse_other_types(shares)
        for name, value in shares.items():
            if not 0 <= value <= 1:
                raise UsageError(f"{name} is between 0 and 1, not {value}")
        return cls(strength * luma, strength * chroma if in_colour else strength * luma)

    @property
    def is_none(self) -> bool:
        """Return whether the image stays as it is."""
        return self.luma == self.chroma == 0

    @property
    def is_all(self) -> bool:
        """Return whether all of the noise is taken out."""
        return self.luma == self.chroma == 1

    def combined(self, noisy: Tensor, estimate: Tensor, bounds: tuple[float, float] | None) -> Tensor:
        """Return the noisy picture blended with its estimate by these strengths.

        Args:
            noisy: y, with shape (B, C, H, W).
            estimate: x^, with the shape of y.
            bounds: The least and largest value of the result; None if there are none.
        """
        if self.luma == self.chroma or noisy.shape[1] != 3:
            result = estimate if self.luma == 1 else torch.lerp(noisy, estimate, self.luma)
            return result if bounds is None else result.clamp(*bounds)
        change = estimate - noisy
        luma = (change * change.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
        base = noisy + self.luma * luma
        colour = self.chroma * (change - luma)
        if bounds is None:
            return base + colour
        base = base.clamp(*bounds)
        room = torch.where(colour > 0, bounds[1] - base, base - bounds[0])
        share = (room / colour.abs().clamp(min=1e-12)).amin(1, keepdim=True).clamp(0, 1)
        return (base + share * colour).clamp(*bounds)
