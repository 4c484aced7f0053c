"""How much a network computes: for tests of its limits, and for the benchmarks."""

from collections.abc import Callable
from typing import Any

from torch import nn

__all__ = ["at_convolutions", "multiplications"]


def at_convolutions(model: nn.Module, run: Callable[[], object], count: Callable[[Any, Any, Any], int]) -> int:
    """The sum over the convolutions that a call passes of what is counted of layer, input and output."""
    counted: list[int] = []
    hooks = [
        layer.register_forward_hook(lambda layer, given, y: counted.append(count(layer, given[0], y)))
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    run()
    for hook in hooks:
        hook.remove()
    return sum(counted)


def multiplications(model: nn.Module, run: Callable[[], object]) -> int:
    """How many a call makes, counted at the convolutions of the model."""
    return at_convolutions(model, run, lambda layer, _, y: layer.weight[0].numel() * y.numel())
