"""The size of a comparison, in full and within a minute: patches, steps, fits; and its noise. Loads no torch."""

from collections.abc import Callable, Mapping

from smdae.errors import UsageError

SIGMA = 25.0  # level of the noise for images, white being 255

FULL = {"patches": 20_000, "max_steps": 2000, "patch_size": 12, "hidden": 512}
QUICK = {"patches": 5000, "max_steps": 300, "patch_size": 8, "hidden": 128}
# Of images, held out: more than in a fit, which lives on its data; here they are the judges.
HOLD_OUT = 0.2
HELD_OUT, QUICK_HELD_OUT = 5000, 2000  # patches of these
MAX_COUNT = 100_000_000  # patches, and steps
MAX_SEEDS = 100
MIN_PATCHES = 100


def chosen_numbers(
    asked: Mapping[str, int | None], quick: bool, seeds: int, called: Callable[[str], str] = str
) -> dict[str, int]:
    """Return the numbers that were asked for, by the names of FULL, and the usual ones in place of None.

    Raises:
        UsageError: The numbers of patches, of steps, or of fits of each objective make no sense. `called` returns what
            the caller calls a number of that name.
    """
    usual = QUICK if quick else FULL
    numbers = {name: usual[name] if value is None else value for name, value in asked.items()}
    if numbers["patches"] < MIN_PATCHES:
        raise UsageError(f"{called('patches')} {numbers['patches']} is less than {MIN_PATCHES}")
    if not 1 <= seeds <= MAX_SEEDS:
        raise UsageError(f"{called('seeds')} {seeds} is not from 1 to {MAX_SEEDS}")
    for name in ("patches", "max_steps"):
        if numbers[name] > MAX_COUNT:
            raise UsageError(f"{called(name)} {numbers[name]} is more than {MAX_COUNT:,}")
    return numbers
