"""A small contest, and parts of a comparison run to their ends."""

import numpy as np

from smdae.comparing.contest import Contest
from smdae.comparing.part import Context, Part, Tables
from smdae.fitting.settings import check
from tests.tiny import SETTINGS, gray


def contest(images: list[np.ndarray] | None = None, patches: int = 300, **settings: object) -> Contest:
    """A contest on some of the patches of three pictures, or of others."""
    images = [gray(seed=seed) for seed in range(3)] if images is None else images
    return Contest.of(images, 255.0, check({**SETTINGS, "hold_out": 0.2, **settings}), patches)


def measured(part: Part, context: Context) -> tuple[list[float], Tables]:
    """The shares of the work that a part tells of on its way, which must not fall, and its tables."""
    shares: list[float] = []
    measuring = part.measure(context)
    try:
        while True:
            shares.append(next(measuring))
    except StopIteration as end:
        assert shares == sorted(shares)
        assert not shares or 0 <= shares[0] <= shares[-1] <= 1 + 1e-9
        return shares, end.value
