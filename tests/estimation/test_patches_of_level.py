"""Patches are those of the image, however few of them are taken."""

import math

import numpy as np
import pytest

from smdae.estimation.patches import Patches
from tests.estimation.pictures import scene


@pytest.mark.parametrize("most", [100, 400, 2000, 10**6])  # patches far apart, side by side, overlapping, and all
def test_patches_are_those_of_the_image(most):
    plane = scene(120, 150) + 25 * np.random.default_rng(0).standard_normal((120, 150))
    found = Patches.of(plane, 255.0, most)
    every = max(1, math.ceil(math.sqrt(114 * 144 / most)))
    windows = np.lib.stride_tricks.sliding_window_view(plane / 255, (7, 7))[::every, ::every].reshape(-1, 7, 7)
    mean = windows.mean((1, 2))
    np.testing.assert_allclose(found.mean, mean, atol=1e-5)
    np.testing.assert_allclose(found.x, (windows - mean[:, None, None]).reshape(-1, 49), atol=1e-5)
    gradients = (np.diff(windows, axis=axis) ** 2 for axis in (1, 2))
    np.testing.assert_allclose(found.energy, sum(g.mean((1, 2)) for g in gradients), rtol=1e-3)
