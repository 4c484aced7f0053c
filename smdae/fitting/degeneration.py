"""Fits that have ceased to learn: J is no number, or has fallen where no fitted score can be.

noisy data     J, scaled, is the risk less sigma^2 a number, by Stein's estimate: a true one is never below -1
clean data     implicit objectives fall for ever as the density shrinks onto the data; a model may have a floor
"""

import math
from typing import Any

from smdae.errors import DegenerateError, DivergedError
from smdae.fitting.draws import Shown
from smdae.protocols import HasImplicitFloor, offers

__all__ = ["refuse_degenerate"]

MAX_NEGATIVE_RISK = 1.0  # how far below zero the estimated risk of a fit may go, in sigma^2 a number
RUNAWAY = 1e7  # -J sigma^2 beyond which a model without a floor is taken to fall for ever


def refuse_degenerate(examples: Shown, mean: float, weighted: float, model: Any) -> None:
    """Raise an error if a fit no longer learns from its data.

    Args:
        examples: What it is shown.
        mean: J over some recent batches.
        weighted: The same, each example's J multiplied by its scale.
        model: The model that is fitted.

    Raises:
        DivergedError: J is not finite, or below what a risk can be.
        DegenerateError: J has fallen to where it no longer tells of the data.
    """
    if not math.isfinite(mean):
        raise DivergedError("the fit diverged: its objective is no longer a number", "try a lower --lr")
    if examples.noisy and examples.objective.samples != "pairs" and weighted < -1 - MAX_NEGATIVE_RISK:
        raise DivergedError(
            f"the fit diverged: the estimate of the divergence ran away, and with it that of the risk, now "
            f"{1 + weighted:.3g} sigma^2 a pixel, which can be no less than 0",
            "give --sigma if the level found is too high, or a lower --lr",
        )
    if not examples.implicit:
        return
    floor = model.implicit_floor if offers(model, HasImplicitFloor) else -RUNAWAY / examples.sigma**2
    if mean < 0.95 * floor:
        raise DegenerateError(
            f"implicit score matching degenerated: J = {mean:.4g} is within 5 % of its floor {floor:.4g}: the "
            "density is as narrow as the model can make it, whatever the data",
            "fit a smoothed density instead (--objective ism-parzen or dsm), or lower --sigma",
        )
