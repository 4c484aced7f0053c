"""The level of the noise for rows: a share of their spread, in any unit, so that smoothing by it matters."""

import numpy as np
import pytest

from smdae.fitting.given import MAX_SIGMA, MIN_SIGMA, SHARE_OF_SPREAD, level_for_rows


def rows(columns=2):
    return np.random.default_rng(0).normal(size=(1, 4000, columns)) * (1, 7)[:columns]


def test_it_is_a_share_of_the_spread_of_all_columns():
    spread = ((1 + 49) / 2) ** 0.5
    assert level_for_rows(rows(), 1.0) == (1.0, pytest.approx(255 * SHARE_OF_SPREAD * spread, rel=0.03))
    assert level_for_rows(rows(1), 1.0) == (1.0, pytest.approx(255 * SHARE_OF_SPREAD, rel=0.03))


def test_the_unit_and_where_they_lie_change_nothing():
    _, one = level_for_rows(rows(), 1.0)
    assert level_for_rows(1000 * rows() + 5000, 1000.0) == (1000.0, pytest.approx(one, rel=0.01))
    assert level_for_rows(8 * rows(), 1.0) == (1.0, pytest.approx(8 * one, rel=0.01))


@pytest.mark.parametrize("factor", [1e9, 1e-9])
def test_it_is_one_that_a_fit_takes(factor):
    """Prices, or charges of electrons: white is one in which they are numbers of a usual size."""
    _, one = level_for_rows(rows(), 1.0)
    white, level = level_for_rows(factor * rows(), 1.0)
    assert level * white == pytest.approx(factor * one, rel=0.01)
    assert MIN_SIGMA < 255 / 10 < level < 255 * 10 < MAX_SIGMA
