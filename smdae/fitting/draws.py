"""Batches, their sources, and the part of a batch that one of several processes makes.

Every process draws the random numbers of the whole batch, from generators in the same state, and makes only its own
rows. So the parts together are the batch that a single process would have made, to the last bit.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from smdae.errors import UsageError
from smdae.fitting.distributed import ALONE, Group
from smdae.models.conditioning import Conditioning
from smdae.objectives import Objective
from smdae.patch_noise import PatchNoise


class Draw(Protocol):
    """A source of flat patches and the levels of their noise."""

    def __call__(
        self, n: int, generator: Generator | None = None, rows: slice = slice(None)
    ) -> tuple[Tensor, Tensor | None]:
        """Return some rows of n random patches, (n, d), and of their noise levels, (n,); None if they are clean."""


@dataclass(frozen=True)
class BatchPart:
    """Some rows of a batch of n examples."""

    n: int
    rows: slice = field(default_factory=lambda: slice(None))

    def of(self, drawn: Tensor) -> Tensor:
        """Return this part's rows of numbers drawn for all n examples, (n, ...)."""
        return drawn[self.rows]

    def whole(self, x: Tensor) -> Tensor:
        """Return a tensor for its shape alone, that of all n examples, (n, ...), if x has that of a part, (m, ...)."""
        return x.new_empty(()).expand(self.n, *x.shape[1:])


@dataclass(frozen=True)
class Batch:
    """The examples of one step."""

    x: Tensor  # examples, with shape (B, d) or (B, C, P, P)
    needs: dict[str, Any]  # the loss's further arguments by name
    scale: float | Tensor = 1.0  # the factor of each loss, a float or (B,)
    white: Tensor | None = None  # the white that each example was clipped to, (B,), 0 for none; None if no example was
    whole: int | None = None  # the number of examples in the parts of all processes; None if this is the whole batch
    conditioning: Conditioning | None = None  # the network's further input about the noise; None if all is white
    treat: Callable[[Any], Any] | None = None  # makes the model whose loss is taken; None for the model itself

    @property
    def n(self) -> int:
        """Return the number of examples in all processes together."""
        return len(self.x) if self.whole is None else self.whole

    def joined(self, other: "Batch") -> "Batch":
        """Return these examples, which have white noise, followed by others that have a conditioning."""
        assert other.conditioning is not None
        assert other.conditioning.sd is not None
        assert other.white is not None
        m, white = len(self.x), self.x.new_zeros(len(self.x)) if self.white is None else self.white
        theirs = other.conditioning
        unit = self.x.new_ones(())
        sigma = torch.cat([(unit * self.needs["sigma"]).expand(m), other.needs["sigma"]])
        scale = torch.cat([(unit * self.scale).expand(m), unit * other.scale])
        conditioning = Conditioning(
            torch.cat([unit.expand_as(self.x), other.conditioning.sd]),
            torch.cat([theirs.grain.new_zeros(m, 2), theirs.grain]),
            torch.cat([theirs.channels.new_zeros(m), theirs.channels]),
            torch.cat([theirs.jpeg.new_zeros(m), theirs.jpeg]),
        )
        needs = {"clean": torch.cat([self.needs["clean"], other.needs["clean"]]), "sigma": sigma}
        x, white = torch.cat([self.x, other.x]), torch.cat([white, other.white])
        return Batch(x, needs, scale, white, self.n + other.n, conditioning)

    def losses(self, objective: Objective, model: Any) -> Tensor:
        """Return the loss of each example, with shape (B,); UsageError if the objective's has another shape."""
        model = model if self.white is None else model.clipped(self.white)
        model = model if self.conditioning is None else model.conditioned(self.conditioning)
        model = model if self.treat is None else self.treat(model)
        losses = objective.loss(model, self.x, **self.needs)
        if losses.shape != self.x.shape[:1]:
            raise UsageError(
                f"a loss of {len(self.x)} examples has shape ({len(self.x)},), and that of this objective has "
                f"{tuple(losses.shape)}",
                "sum over all but the first axis",
            )
        return losses


class BatchSource(Protocol):
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
        """Return whether J is taken at the clean data."""

    @property
    def kernel(self) -> PatchNoise | None:
        """Return the noise that is added to patches; None if it is white."""

    def draw(self, n: int, generator: Generator | None = None, progress: float = 0.0, group: Group = ALONE) -> Batch:
        """Return n examples, or fewer once patches have grown."""

    def prefetch(self, n: int, generator: Generator, progress: float = 0.0) -> None:
        """Begin to read what the next `draw` will need."""


def among(patches: Tensor) -> Draw:
    """Return a source of patches drawn with replacement from those given, (N, d), each equally likely."""

    def draw(n: int, generator: Generator | None = None, rows: slice = slice(None)) -> tuple[Tensor, None]:
        return patches[torch.randint(len(patches), (n,), generator=generator, device=patches.device)[rows]], None

    return draw


def uniform(
    shape: tuple[int, ...], generator: Generator | None, device: torch.device, low: float, high: float
) -> Tensor:
    """Return random numbers with the given shape, uniform from low to high."""
    return low + (high - low) * torch.rand(shape, generator=generator, device=device)


def antithetic_noise(like: Tensor, generator: Generator | None) -> Tensor:
    """Return antithetic standard normal noise with the shape of `like`, (n, d): the second half is minus the first.

    Each row is standard normal, half of the random numbers are saved, and errors of the two halves tend to cancel.
    """
    noise = torch.empty_like(like)
    first, second = noise.tensor_split([-(-len(like) // 2)])
    first.normal_(generator=generator)
    torch.neg(first[: len(second)], out=second)
    return noise
