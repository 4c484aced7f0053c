"""Noise that is coarser than white noise is told from it."""

import numpy as np

from smdae.estimation.coarseness import MAX_COARSENESS_OF_WHITE, coarseness
from tests.estimation.pictures import scene


def test_white_noise_is_not_coarse_and_enlarged_noise_is():
    y = (scene(400, 400) + 25 * np.random.default_rng(0).standard_normal((400, 400))) / 255
    assert coarseness(y, 1.0) < 1.1
    grown = y.repeat(2, 0).repeat(2, 1)
    smooth = (grown + np.roll(grown, 1, 0) + np.roll(grown, 1, 1) + np.roll(grown, (1, 1), (0, 1))) / 4
    assert coarseness(smooth, 1.0) > MAX_COARSENESS_OF_WHITE


def test_images_too_small_to_tell_pass_for_white():
    assert coarseness(np.random.default_rng(0).random((40, 40)), 1.0) == 1.0
