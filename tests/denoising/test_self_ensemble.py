"""The mean over the eight symmetries of the square does not depend on how an image lies."""

import numpy as np
import pytest

from smdae.denoising import denoise
from tests.conftest import random_network

LEVEL = 0.15


@pytest.mark.parametrize("shape", [(32, 40), (33, 40), (37, 29), (31, 31), (5, 2)])
@pytest.mark.parametrize("tile", [64, 10_000])
def test_an_image_that_is_turned_or_flipped_has_the_same_result_turned_or_flipped(shape, tile):
    model = random_network().float()
    factor = 5 if tile == 64 and min(shape) > 5 else 1  # more than a tile
    y = np.random.default_rng(0).random((factor * shape[0], factor * shape[1])).astype(np.float32)
    result = denoise(y, model, LEVEL, ensemble=True, tile=tile)
    assert np.abs(result - denoise(y, model, LEVEL, tile=tile)).max() > 1e-3  # the network alone is not symmetric
    for turns in range(4):
        for flip in (False, True):
            seen = np.rot90(y, turns)
            seen = np.ascontiguousarray(seen[:, ::-1] if flip else seen)
            back = denoise(seen, model, LEVEL, ensemble=True, tile=tile)
            back = np.rot90(back[:, ::-1] if flip else back, -turns)
            assert np.abs(back - result).max() < 1e-5
