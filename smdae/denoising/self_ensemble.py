"""The geometric self-ensemble: the mean of a model's score over the eight symmetries g of the square.

    psi_8(y) = 1/8 sum_g g^-1 psi(g y)

Its error is a little smaller than that of psi, and it takes eight times as long.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from smdae.protocols import HasPrecision, ImageScoreModel, offers


class SelfEnsemble:
    """The mean psi_8 of a model's score over the eight symmetries of an image; its halo is that of the model."""

    def __init__(self, model: ImageScoreModel) -> None:
        self.model = model
        self.channels, self.noise_range = model.channels, model.noise_range
        self.halo, self.shift_multiple, self.bytes_per_pixel = model.halo, model.shift_multiple, model.bytes_per_pixel

    def with_products_in(self, dtype: torch.dtype) -> "SelfEnsemble":
        """Return the ensemble with products of its model in `dtype`; self if the model allows no choice of dtype."""
        return SelfEnsemble(self.model.with_products_in(dtype)) if offers(self.model, HasPrecision) else self

    def score(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return psi_8(x, sigma), with the shape of x, (B, C, H, W)."""
        # Each view is passed as it is, so that the model pads it at its own ends. Padding the image once beforehand
        # would make the result depend on the orientation of the image.
        total = torch.zeros_like(x)
        for turns, flip in _symmetries():
            view = x.rot90(turns, (2, 3))
            view = view.flip(3) if flip else view
            psi = self.model.score(view, sigma=sigma)
            psi = psi.flip(3) if flip else psi
            total += psi.rot90(-turns, (2, 3))
        return total / 8


def _symmetries() -> Iterator[tuple[int, bool]]:
    """Yield the eight symmetries of the square: the number of quarter turns, and whether a flip follows."""
    for turns in range(4):
        yield turns, False
        yield turns, True
