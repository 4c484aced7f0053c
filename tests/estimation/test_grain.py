"""Statistics of grain in the flattest blocks."""

import numpy as np

from smdae.estimation.blocks import survey
from smdae.estimation.correlated import channel_blocks
from smdae.estimation.grain import non_normality
from smdae.estimation.scale import scale_of
from smdae.noise import Affine, Noise
from tests.estimation.pictures import GRAIN, sampled


def _non_normality(y: np.ndarray) -> float:
    blocks = survey(np.clip(np.rint(y), 0, 255).astype(np.uint8)[:, :, None], scale_of(np.zeros(1, np.uint8), None))
    seen = channel_blocks(blocks)
    assert seen is not None
    return non_normality(blocks, 0, seen[0].bins, seen[0].weights)


def test_grain_is_normal_though_black_cuts_it_off_in_the_shadows():
    grain = sampled(Noise((Affine(read=8.0),), 255.0, grain=GRAIN), np.full((320, 360), 128.0)) - 128.0
    y = 120 + grain
    assert _non_normality(y) < 0.005
    y[:200] = 12 * np.exp(0.1 * grain[:200]) - 4  # as a tone curve leaves it there
    assert (y[:200] < 0.5).mean() > 0.1
    assert _non_normality(y) < 0.005
    assert _non_normality(30 * np.exp(0.1 * grain) + 20) > 0.06
