"""What lies around pixels."""

import numpy as np
import pytest

from smdae.estimation.surroundings import (
    AROUND_5X5,
    AROUND_11X11,
    SIGMAS_OF_SPREAD,
    Channel,
    Spreads,
    medians,
    order_statistics,
    predicted,
    thinned,
)


def test_borders_are_mirrors():
    planes = np.random.default_rng(0).integers(0, 255, (17, 19, 2)).astype(np.uint8)
    padded = np.pad(planes[..., 1], 5, mode="reflect")
    around = Channel(planes, 1).around(np.arange(17 * 19), AROUND_11X11)
    for pixel, values in enumerate(around):
        row, column = divmod(pixel, 19)
        np.testing.assert_array_equal(values, [padded[row + 5 + i, column + 5 + j] for i, j in AROUND_11X11])


def test_medians_leave_out_what_is_missing():
    windows = np.array([[3, 1, np.nan, 2], [4, np.nan, np.nan, 1], [np.nan] * 4, [5, 6, 7, 8]], np.float32)
    np.testing.assert_array_equal(medians(windows, 2), [2, 2.5, np.nan, 6.5])


def test_the_spread_of_gaussian_noise_is_known_and_few_outliers_leave_it_alone():
    windows = np.random.default_rng(0).standard_normal((4000, len(AROUND_5X5))).astype(np.float32)
    low, middle, high = order_statistics(windows).T
    assert (high - low).mean() == pytest.approx(SIGMAS_OF_SPREAD, rel=0.05)
    assert middle.mean() == pytest.approx(0, abs=0.1)
    spoilt = windows.copy()
    spoilt[:, :2] = 1000
    assert order_statistics(spoilt)[:, 2].max() < 5


def test_along_continues_lines_in_every_direction():
    rows, columns = np.mgrid[:15, :15]
    middle = np.array([7 * 15 + 7])
    for line in (rows == 7, columns == 7, rows == columns, rows + columns == 14):
        planes = np.where(line, 200.0, 50.0)[..., None]
        assert predicted(Channel(planes, 0).around(middle, AROUND_5X5))[0] == pytest.approx(200, abs=1)
    ramp = (3.0 * rows + 2.0 * columns)[..., None]
    assert predicted(Channel(ramp, 0).around(middle, AROUND_5X5))[0] == pytest.approx(35, abs=0.01)


def test_scales_follow_the_brightness():
    chance = np.random.default_rng(0)
    ground = np.repeat([50.0, 200.0], 64)[:, None] * np.ones((1, 128))
    noisy = ground + np.where(ground > 100, 8, 2) * chance.standard_normal(ground.shape)
    spreads = Spreads.of(Channel(noisy[..., None], 0))
    usual = spreads.median[spreads.bin_of(np.array([50.0, 200.0]))]
    np.testing.assert_allclose(usual / SIGMAS_OF_SPREAD, [2, 8], rtol=0.1)


def test_thinning_takes_about_as_many_as_asked_and_all_of_few():
    index = np.arange(100_000)
    some, part = thinned(index, 10_000)
    assert len(some) == pytest.approx(10_000, rel=0.05)
    assert part == pytest.approx(0.1)
    assert len(thinned(index[:50], 100)[0]) == 50
