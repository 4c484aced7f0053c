"""Pixels placed at random are even; clusters and lattices are not."""

import numpy as np
import pytest

from smdae.estimation.evenness import are_evenly_placed, fits

SHAPE = (120, 160)
GROUND = np.random.default_rng(1).integers(0, 120 * 160, 10_000)


@pytest.mark.parametrize("count", [40, 400, 4000])
@pytest.mark.parametrize("seed", range(3))
def test_pixels_placed_at_random_are_even(count, seed):
    hits = np.random.default_rng(seed).choice(120 * 160, count, replace=False)
    assert are_evenly_placed(hits, GROUND, SHAPE)


def test_a_cluster_a_line_and_a_lattice_are_not():
    rows, columns = np.mgrid[:120, :160]
    for picked in ((rows < 40) & (columns % 3 == 0), rows == 60, (rows % 4 == 0) & (columns % 4 == 0)):
        assert not are_evenly_placed(np.flatnonzero(picked), GROUND, SHAPE)


def test_groups_may_have_fewer_pixels_where_fewer_are_expected():
    group = np.repeat(np.arange(4), [100, 210, 95, 0])
    assert fits(group, np.array([1, 2, 1, 0]))
    assert not fits(group, np.array([1, 1, 1, 1]))
