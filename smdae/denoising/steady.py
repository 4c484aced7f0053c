"""The noise of a stream of frames: estimated in the first, and again from time to time.

An estimate varies a little with what a frame shows, and a result that followed it would flicker. So the estimate is
kept until a new one differs clearly: in its kind, or in its level by more than a fifth.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from smdae.noise import Noise

INTERVAL = 100  # frames between estimates
QUIET_INTERVAL = 10  # likewise while there is no noise: streams often begin in black
MAX_LEVEL_RATIO = 1.2  # between levels that are taken for the same

Frame = TypeVar("Frame")


@dataclass
class Steady(Generic[Frame]):
    """An estimate of the noise that is kept from frame to frame.

    Attributes:
        estimate: Returns the noise of a frame.
        noise: The noise of the current frames; None before the first.
        since: The number, from 0, of the frame that `noise` was estimated in.
    """

    estimate: Callable[[Frame], Noise]
    noise: Noise | None = None
    since: int = 0
    _next: int = field(default=0, repr=False)

    def at(self, number: int, frame: Frame) -> Noise:
        """Return the noise of a frame, estimated anew only now and then, and the old one while it still fits.

        Args:
            number: The number of the frame, from 0; frames are asked for in their order.
            frame: The frame, as `estimate` takes it.
        """
        if self.noise is None or number >= self._next:
            found = self.estimate(frame)
            if self.noise is None or has_changed(self.noise, found):
                self.noise, self.since = found, number
            self._next = number + (QUIET_INTERVAL if self.noise.is_none else INTERVAL)
        return self.noise


def has_changed(before: Noise, now: Noise) -> bool:
    """Return whether two estimates of the noise differ clearly: in kind, or in level by a factor above 1.2.

    They do too if just one of them is of no noise.
    """
    if before.is_none or now.is_none:
        return before.is_none != now.is_none
    ratio = now.sigma / before.sigma
    return before.kind != now.kind or not 1 / MAX_LEVEL_RATIO <= ratio <= MAX_LEVEL_RATIO
