"""How much a network computes: for tests of its limits, and for the benchmarks."""

from collections.abc import Callable

from torch import nn


def multiplications(model: nn.Module, run: Callable[[], object]) -> int:
    """How many a call makes, counted at the convolutions of the model."""
    counted: list[int] = []
    hooks = [
        layer.register_forward_hook(lambda layer, _, y: counted.append(layer.weight[0].numel() * y.numel()))
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    run()
    for hook in hooks:
        hook.remove()
    return sum(counted)
