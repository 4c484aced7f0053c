"""Progress of long work: functions that are called with how many steps are done, and of how many."""

from collections.abc import Callable

Watch = Callable[[int, int], object]


def part_of(watch: Watch | None, number: int, count: int) -> Watch | None:
    """Return a function that reports the steps done in one of several equal pieces of work as steps of all the work.

    Args:
        watch: Called with the steps done and the steps of all the work; None for nobody, which returns None.
        number: The number of the piece, from 0.
        count: The number of pieces.
    """
    return watch and (lambda done, of: watch(number * of + done, count * of))
