"""Runs a part to its end."""

from smdae.comparing.part import Bench, Part, Tables
from smdae.comparing.record import finite


def measured(part: Part, bench: Bench) -> Tables:
    """The tables of a part; the shares that it tells on the way must not fall."""
    before = 0.0
    measuring = part.measure(bench)
    try:
        while True:
            share = next(measuring)
            assert before <= share <= 1
            before = share
    except StopIteration as end:
        return finite(end.value)
