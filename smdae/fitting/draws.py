"""Batches, the sources that they are drawn from, and the part of a batch that one of several processes makes.

Chance is drawn for all of a batch by every process, from generators that are alike, and each makes its rows only: the
parts make up the batch that one process would have made, to the last bit.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from smdae.fitting.distributed import ALONE, Group
from smdae.models.conditioning import Conditioning
from smdae.objectives import Objective
from smdae.patch_noise import PatchNoise

__all__ = ["Batch", "Draw", "Part", "Shown", "among", "antithetic_noise", "evenly"]


class Draw(Protocol):
    """A source of n flat patches, (n, d), and the levels of their noise, (n,), or None where they are clean.

    Of the n patches some rows may be asked for.
    """

    def __call__(
        self, n: int, generator: Generator | None = None, rows: slice = slice(None)
    ) -> tuple[Tensor, Tensor | None]:
        """Return the patches and their levels, or those of some rows."""


@dataclass(frozen=True)
class Part:
    """Some rows of a batch of n examples."""

    n: int
    rows: slice = field(default_factory=lambda: slice(None))

    def of(self, drawn: Tensor) -> Tensor:
        """Return this part's rows of what was drawn for all n examples, (n, ...)."""
        return drawn[self.rows]

    def whole(self, x: Tensor) -> Tensor:
        """Return an empty tensor with the shape of all n examples, (n, ...), given this part's, (m, ...)."""
        return x.new_empty(()).expand(self.n, *x.shape[1:])


@dataclass(frozen=True)
class Batch:
    """The examples of one step.

    Attributes:
        x: Examples, with shape (B, d) or (B, C, P, P).
        needs: The loss's further arguments by name.
        scale: What J is multiplied by before it is averaged, a float or (B,).
        white: What each example was clipped to, with shape (B,), 0 for none; None if none was.
        whole: How many examples the parts of all processes have; None if this is all.
        conditioning: What the model is told of each example's noise beside its level; None where all noise is white.
        treat: Turns the model into the one whose loss is taken; None for the model itself.
    """

    x: Tensor
    needs: dict[str, Any]
    scale: float | Tensor = 1.0
    white: Tensor | None = None
    whole: int | None = None
    conditioning: Conditioning | None = None
    treat: Callable[[Any], Any] | None = None

    @property
    def n(self) -> int:
        """Return how many examples there are in all processes together."""
        return len(self.x) if self.whole is None else self.whole

    def joined(self, other: "Batch") -> "Batch":
        """Return these examples of white noise and after them others, which the model is told more of."""
        assert other.conditioning is not None
        assert other.conditioning.sd is not None
        assert other.white is not None
        m, white = len(self.x), self.x.new_zeros(len(self.x)) if self.white is None else self.white
        told = other.conditioning
        one = self.x.new_ones(())
        sigma = torch.cat([(one * self.needs["sigma"]).expand(m), other.needs["sigma"]])
        scale = torch.cat([(one * self.scale).expand(m), one * other.scale])
        conditioning = Conditioning(
            torch.cat([one.expand_as(self.x), other.conditioning.sd]),
            torch.cat([told.grain.new_zeros(m, 2), told.grain]),
            torch.cat([told.channels.new_zeros(m), told.channels]),
            torch.cat([told.jpeg.new_zeros(m), told.jpeg]),
        )
        needs = {"clean": torch.cat([self.needs["clean"], other.needs["clean"]]), "sigma": sigma}
        x, white = torch.cat([self.x, other.x]), torch.cat([white, other.white])
        return Batch(x, needs, scale, white, self.n + other.n, conditioning)

    def losses(self, objective: Objective, model: Any) -> Tensor:
        """Return the objective's loss for each example, with shape (B,)."""
        told = model if self.white is None else model.clipped(self.white)
        told = told if self.conditioning is None else told.conditioned(self.conditioning)
        told = told if self.treat is None else self.treat(told)
        return objective.loss(told, self.x, **self.needs)


class Shown(Protocol):
    """A source of the batches of a fit, and facts about it."""

    @property
    def objective(self) -> Objective:
        """Return the objective that batches are for."""

    @property
    def sigma(self) -> float:
        """Return the highest level of the noise, white being 1."""

    @property
    def noisy(self) -> bool:
        """Return whether the images are noisy themselves."""

    @property
    def implicit(self) -> bool:
        """Return whether J is taken at clean data themselves."""

    @property
    def kernel(self) -> PatchNoise | None:
        """Return the noise that is added to patches, where it is not white; else None."""

    def draw(self, n: int, generator: Generator | None = None, progress: float = 0.0, group: Group = ALONE) -> Batch:
        """Return n examples, or fewer if they have grown."""

    def prefetch(self, n: int, generator: Generator, progress: float = 0.0) -> None:
        """Begin to read what `draw` will be asked for next."""


def among(patches: Tensor) -> Draw:
    """Return a source of patches drawn with replacement from those given, (N, d), each equally likely."""

    def draw(n: int, generator: Generator | None = None, rows: slice = slice(None)) -> tuple[Tensor, None]:
        return patches[torch.randint(len(patches), (n,), generator=generator, device=patches.device)[rows]], None

    return draw


def evenly(
    shape: tuple[int, ...], generator: Generator | None, device: torch.device, low: float, high: float
) -> Tensor:
    """Draw numbers with the given shape, evenly from low to high."""
    return low + (high - low) * torch.rand(shape, generator=generator, device=device)


def antithetic_noise(like: Tensor, generator: Generator | None) -> Tensor:
    """Return standard normal noise with the shape of `like`, (n, d): the second half is minus the first.

    Each row is as normal as any, at half the price of the draws, and the errors of the two halves tend to cancel.
    """
    noise = torch.empty_like(like)
    first, second = noise.tensor_split([-(-len(like) // 2)])
    first.normal_(generator=generator)
    torch.neg(first[: len(second)], out=second)
    return noise
