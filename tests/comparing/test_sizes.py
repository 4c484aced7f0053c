"""The level of the noise for rows: a share of their spread, in any unit, so that smoothing by it matters."""

import numpy as np
import pytest

from smdae.comparing.sizes import MAX_SIGMA, MIN_SIGMA, SHARE_OF_SPREAD, sigma_of_rows


def rows(columns=2):
    return np.random.default_rng(0).normal(size=(1, 4000, columns)) * (1, 7)[:columns]


def test_it_is_a_share_of_the_spread_of_all_columns():
    spread = ((1 + 49) / 2) ** 0.5
    assert sigma_of_rows(rows(), 1.0) == pytest.approx(255 * SHARE_OF_SPREAD * spread, rel=0.03)
    assert sigma_of_rows(rows(1), 1.0) == pytest.approx(255 * SHARE_OF_SPREAD, rel=0.03)


def test_the_unit_and_where_they_lie_change_nothing():
    one = sigma_of_rows(rows(), 1.0)
    assert sigma_of_rows(1000 * rows() + 5000, 1000.0) == pytest.approx(one)
    assert sigma_of_rows(8 * rows(), 1.0) == pytest.approx(8 * one)


def test_it_is_one_that_a_fit_takes():
    assert sigma_of_rows(1e9 * rows(), 1.0) == MAX_SIGMA
    assert sigma_of_rows(1e-9 * rows(), 1.0) == MIN_SIGMA
