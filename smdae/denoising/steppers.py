"""How a noisy image moves along the score: generators of estimates, and the one table of their names.

    tweedie    x^ = y + sigma^2 psi(y)        the posterior mean, in one step        (Robbins 1956; Miyasawa 1961)

A stepper yields each estimate it comes to, the last being its answer; whoever drives it shows, saves or stops.
"""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

__all__ = ["STEPPERS", "tweedie"]


def tweedie(model: Any, noisy: Tensor, sigma: float) -> Iterator[Tensor]:
    """The posterior mean under the model's density, in one step.

    Args:
        model: A score model at level sigma.
        noisy: y, with shape (B, C, H, W) or (B, d).
        sigma: Level of the noise, in the unit of y.
    """
    yield noisy + sigma**2 * model.score(noisy, sigma=sigma)


STEPPERS: dict[str, Callable[..., Iterator[Tensor]]] = {"tweedie": tweedie}
