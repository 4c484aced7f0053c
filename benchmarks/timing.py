"""Times things in turn, many rounds of all of them in one process, so that what disturbs one disturbs all alike."""

import statistics
import time
from collections.abc import Callable


def in_turn(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each contestant in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for name in contestants:
        contestants[name]()
    for _ in range(rounds):
        for name, run in contestants.items():
            begun = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begun)
    return seconds


def median(values: list[float]) -> float:
    """Return the middle value."""
    return statistics.median(values)


def ratio(above: list[float], below: list[float]) -> float:
    """Return the median over rounds of one contestant's time over another's."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))
