"""The noise of a stream of pictures: found in the first, and looked at again from time to time.

An estimate changes a little with what a picture shows, and a result that followed it would flicker. So what was found
holds until the noise is another: its level by more than a fifth, or its kind.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from smdae.noise import Noise

__all__ = ["INTERVAL", "Steady"]

INTERVAL = 100  # frames between looks
QUIET_INTERVAL = 10  # frames, while there is no noise: streams often begin in black
MAX_LEVEL_RATIO = 1.2  # of the level, to that before or back

Frame = TypeVar("Frame")


@dataclass
class Steady(Generic[Frame]):
    """The estimate of the noise from all frames so far.

    Attributes:
        look: Returns the noise of a frame.
        noise: Of the frames now; None before the first.
        since: The frame that it was found in, counted from 0.
    """

    look: Callable[[Frame], Noise]
    noise: Noise | None = None
    since: int = 0
    _next: int = field(default=0, repr=False)

    def at(self, number: int, frame: Frame) -> Noise:
        """Return the noise of a frame; frames come in their order."""
        if self.noise is None or number >= self._next:
            found = self.look(frame)
            if self.noise is None or differ(self.noise, found):
                self.noise, self.since = found, number
            self._next = number + (QUIET_INTERVAL if self.noise.is_none else INTERVAL)
        return self.noise


def differ(one: Noise, other: Noise) -> bool:
    """Return whether noise has changed by more than estimates do."""
    if one.is_none or other.is_none:
        return one.is_none != other.is_none
    ratio = other.sigma / one.sigma
    return one.kind != other.kind or not 1 / MAX_LEVEL_RATIO <= ratio <= MAX_LEVEL_RATIO
