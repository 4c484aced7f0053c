"""Score models psi(x; theta), and the one table of their names.

A score model has `score(x, sigma=None)`. What else it knows in closed form it offers by these names, and whoever needs
it looks for them: `energy`, `reconstruct`, `divergence`, `score_and_divergence`, `score_and_diagonal`,
`posterior_variance`. `level` is the noise that it was made for, `settings()` the arguments that build it again.
"""

from collections.abc import Callable
from typing import Any

from smdae.models.energy import EnergyModel
from smdae.models.patchwise import Patchwise

__all__ = ["MODELS", "EnergyModel", "Patchwise"]


def _energy(channels: int, size: int, **settings: Any) -> Patchwise:
    model = EnergyModel(**settings)
    if model.dim != channels * size**2:
        raise ValueError(f"an energy over {model.dim} numbers is none of {channels} x {size} x {size} patches")
    return Patchwise(model, channels, size)


# Name of a model: what builds it from the numbers that its file holds.
MODELS: dict[str, Callable[..., Any]] = {"energy": _energy}
