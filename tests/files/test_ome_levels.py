"""The levels of pyramids: how they were made is told, and they are made anew so."""

import numpy as np
import pytest

from smdae.files.ome_levels import MEAN, Reduction, factors, reduction_of


def test_the_blocks_by_which_shapes_shrink():
    assert factors((3, 100, 101), (3, 50, 50)) == (1, 2, 2)
    assert factors((3, 101, 101), (3, 51, 50)) == (1, 2, 2)
    assert factors((7, 64, 96), (2, 16, 24)) == (4, 4, 4)
    assert factors((1, 1, 1), (1, 1, 1)) == (1, 1, 1)
    assert factors((100, 100), (67, 50)) is None
    assert factors((10, 10), (20, 10)) is None


def test_means_by_their_formula():
    values = np.array([[0, 1, 2, 10, 100], [1, 1, 4, 5, 200]], "u2")
    assert MEAN.of(values, (2, 2)).tolist() == [[1, 5, 150]]
    assert Reduction(is_cut=True).of(values, (2, 2)).tolist() == [[0, 5, 150]]
    assert Reduction(1).of(values, (1, 2)).tolist() == [[1, 10, 100], [1, 5, 200]]
    assert MEAN.of(values, (2, 2)).dtype == values.dtype
    large = np.full((2, 2), 2**32 - 1, "u4")
    assert MEAN.of(large, (2, 2)).tolist() == [[2**32 - 1]]


@pytest.mark.parametrize("way", [Reduction(0), Reduction(1), MEAN, Reduction(is_cut=True)])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
def test_how_a_level_was_made_is_told(way, dtype):
    before = (np.random.default_rng(0).random((4, 30, 26)) * 100).astype(dtype)
    told = reduction_of([(before, way.of(before, (1, 2, 2)))], (1, 2, 2))
    same = way if dtype != "f4" or way.offset is not None else MEAN  # floats are neither rounded nor cut off
    assert told == same


def test_other_ways_are_not_taken_for_a_known_one():
    before = np.random.default_rng(0).integers(0, 1000, (40, 40))
    median = np.sort(before.reshape(20, 2, 20, 2).swapaxes(1, 2).reshape(20, 20, 4), 2)[..., 1]
    assert reduction_of([(before, median)], (2, 2)) is None
    assert reduction_of([(np.zeros((4, 4)), np.zeros((2, 2)))], (2, 2)) is None
