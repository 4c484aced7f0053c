"""Detect fits that no longer learn: J is not finite, or lower than that of any fitted score.

noisy data     J, scaled, is risk / sigma^2 - 1 per dimension by Stein's estimate, so its true value is never below -1
clean data     implicit objectives fall without bound as the density shrinks onto the data, unless the model has a floor
"""

import math
from typing import Any

from smdae.errors import DegenerateError, DivergedError
from smdae.fitting.draws import BatchSource
from smdae.protocols import HasImplicitFloor, offers

MAX_NEGATIVE_RISK = 1.0  # how far below zero the estimated risk may fall, in sigma^2 per dimension
RUNAWAY = 1e7  # -J sigma^2, beyond which the objective of a model without a floor is taken to fall without bound


def refuse_degenerate(examples: BatchSource, mean: float, weighted: float, model: Any) -> None:
    """Raise an error if a fit no longer learns.

    Args:
        examples: The source of the batches.
        mean: The objective J, the mean over recent batches.
        weighted: The same scaled, so that 1 + `weighted` estimates the risk in sigma^2 a pixel if images are noisy.
        model: The model that is fitted.

    Raises:
        DivergedError: `mean` is not finite, or the estimated risk is below -MAX_NEGATIVE_RISK.
        DegenerateError: `mean` is so low that it no longer depends on the data.
    """
    if not math.isfinite(mean):
        raise DivergedError("the fit diverged: its objective is NaN or infinite", "try a lower --lr")
    if examples.noisy and examples.objective.samples != "pairs" and weighted < -1 - MAX_NEGATIVE_RISK:
        raise DivergedError(
            f"the fit diverged: its estimated risk is {1 + weighted:.3g} sigma^2 a pixel, and a risk is never below 0",
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
