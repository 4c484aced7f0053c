"""What batches are drawn from: patches of one side or another, patches given, and noise in pairs."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Generator, Tensor

from smdae.fitting.patches import Patches

__all__ = ["Draw", "among", "grown", "paired_noise"]

# Of n flat patches, with shape (n, d), and the levels of their noise, with shape (n,), None of clean ones.
Draw = Callable[[int, Generator | None], tuple[Tensor, Tensor | None]]


def grown(patches: Patches, side: int) -> Draw:
    """Draws patches of another side, (n, C side^2), so many that they have as many pixels as n of the first side."""
    larger = replace(patches, size=side)
    share = (patches.size / side) ** 2

    def draw(n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor | None]:
        return larger.draw_with_levels(max(1, round(n * share)), generator)

    return draw


def among(patches: Tensor) -> Draw:
    """Draws n of the patches given, each as likely as any, with shape (n, d)."""

    def draw(n: int, generator: Generator | None = None) -> tuple[Tensor, None]:
        return patches[torch.randint(len(patches), (n,), generator=generator, device=patches.device)], None

    return draw


def paired_noise(like: Tensor, generator: Generator | None) -> Tensor:
    """Standard normal noise of the shape (n, d): the second half is the first with its sign turned.

    Each row is as normal as any, at half the price of the draws, and the errors of the two halves tend to cancel.
    """
    noise = torch.empty_like(like)
    first, second = noise.tensor_split([-(-len(like) // 2)])
    first.normal_(generator=generator)
    torch.neg(first[: len(second)], out=second)
    return noise
