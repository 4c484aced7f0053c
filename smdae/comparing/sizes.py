"""The size of a comparison, in full and within a minute: patches, steps, fits; and its noise. Loads no torch."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from smdae.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FULL", "HELD_OUT", "HOLD_OUT", "QUICK", "QUICK_HELD_OUT", "SIGMA", "check_numbers", "level_for_rows"]

SIGMA = 25.0  # level of the noise for images, white being 255
SHARE_OF_SPREAD = 1 / 3  # level of the noise for rows, of their spread
MIN_SIGMA, MAX_SIGMA = 1e-3, 1e5  # that a fit takes, white being 255

FULL = {"patches": 20_000, "max_steps": 2000, "patch_size": 12, "hidden": 512}
QUICK = {"patches": 5000, "max_steps": 300, "patch_size": 8, "hidden": 128}
# Of images, held out: more than in a fit, which lives on its data; here they are the judges.
HOLD_OUT = 0.2
HELD_OUT, QUICK_HELD_OUT = 5000, 2000  # patches of these
MAX_COUNT = 100_000_000  # patches, and steps
MAX_SEEDS = 100
MIN_PATCHES = 100


def check_numbers(numbers: Mapping[str, int], seeds: int, called: Callable[[str], str] = str) -> None:
    """Raise UsageError for numbers of patches, steps or fits that make no sense.

    Args:
        numbers: `patches` and `max_steps`.
        seeds: Fits of each objective.
        called: Returns what the caller calls a number of that name.
    """
    if numbers["patches"] < MIN_PATCHES:
        raise UsageError(f"{called('patches')} {numbers['patches']} is less than {MIN_PATCHES}")
    if not 1 <= seeds <= MAX_SEEDS:
        raise UsageError(f"{called('seeds')} {seeds} is not from 1 to {MAX_SEEDS}")
    for name in ("patches", "max_steps"):
        if numbers[name] > MAX_COUNT:
            raise UsageError(f"{called(name)} {numbers[name]} is more than {MAX_COUNT:,}")


def level_for_rows(rows: "np.ndarray", white: float) -> tuple[float, float]:
    """Return a value of white, and the level of the noise for rows of numbers for which none is given, that being 255.

    The level is a third of their spread, the root mean square of the standard deviations of the columns. Rows come in
    any unit. Where the noise is small beside all that their density shows, the smoothed density is nearly that of the
    rows themselves, and objectives that belong to different densities can hardly be told apart.

    Args:
        rows: With the columns as the last axis.
        white: Their value of white, which is kept unless the level would be beyond what a fit takes: then it is the
            power of ten that is nearest to their spread.
    """
    spread = float(rows.var(axis=tuple(range(rows.ndim - 1)), dtype="float64").mean()) ** 0.5
    if not MIN_SIGMA <= 255 * SHARE_OF_SPREAD * spread / white <= MAX_SIGMA:
        white = 10.0 ** round(math.log10(spread))
    return white, float(f"{255 * SHARE_OF_SPREAD * spread / white:.3g}")
