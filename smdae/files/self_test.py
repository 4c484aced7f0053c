"""The self-test of a model: what it makes of a fixed picture where it is written, to be compared on another computer.

With the picture x_k = 1/2 + 1/4 sin(k / 2), k counting all values, and the highest level sigma that the model was made
for,

    r = x + sigma^2 psi(x, sigma)

is kept at a few places. Weights that are whole may still give wrong results: where a library, a driver or a processor
is at fault, or a later version of smdae reads them otherwise.
"""

import math
from typing import Any

from smdae.errors import ModelError

ENTRY = "self_test"  # of a card
SIDE = 32  # pixels of the picture
ROWS = 4  # of numbers, of a model of rows
PLACES = 12
DIGITS = 6  # that are kept of a result
MAX_DIFFERENCE = 1e-3  # of the root mean square of the results


def results(model: Any) -> list[float]:
    """Return what a loaded model on the CPU makes of the picture, at up to 12 places; an empty list if not finite."""
    import torch

    from smdae.protocols import posterior_mean, single_level

    channels = model.card["channels"]
    shape = (ROWS, channels) if "rows" in model.card else (1, channels, SIDE, SIDE)
    k = torch.arange(math.prod(shape), dtype=torch.float64, device="cpu").reshape(shape)
    x = (0.5 + 0.25 * torch.sin(k / 2)).float()
    level = single_level(model)
    with torch.no_grad():
        r = posterior_mean(model, x, model.noise_range[1] if level is None else level).flatten().double()
    some = r[:: max(1, len(r) // PLACES)][:PLACES]
    return [float(f"{value:.{DIGITS}g}") for value in some.tolist()] if some.isfinite().all() else []


def refuse_other_results(name: str, expected: Any, found: list[float]) -> float:
    """Return the largest difference of results, as a share of their root mean square.

    Raises:
        ModelError: It is more than 0.1 %, or there are none to compare with.
    """
    numbers = expected if isinstance(expected, list) else []
    if not numbers or not all(isinstance(value, int | float) for value in numbers):
        raise ModelError(f"the model '{name}' holds no self-test", "an earlier smdae wrote it: fit it again for one")
    largest = math.sqrt(sum(value**2 for value in numbers) / len(numbers))
    apart = [abs(one - other) for one, other in zip(numbers, found, strict=False)]
    difference = max(apart) / max(largest, 1e-12) if len(found) == len(numbers) else math.inf
    if not difference <= MAX_DIFFERENCE:
        raise ModelError(
            f"the model '{name}' does not give here what it gave where it was written: "
            + (f"it is {100 * difference:.2g} % off" if math.isfinite(difference) else "its results are not finite"),
            "'smdae --version --json' tells the versions of torch and the rest; report both",
        )
    return difference
