"""Screens of dots as print has them: known where the dots are still to be seen, and nowhere else."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import smdae
from smdae.estimation.estimate import estimate
from smdae.estimation.print_screen import is_print_screen
from smdae.estimation.scale import scale_of


def waves(height=300, width=280):
    """Return a smooth gray picture, 0 to 255."""
    return 128 + 100 * np.sin(np.add.outer(np.arange(height) / 40, np.arange(width) / 55))


def printed(period, angle, blur=0.8, noise=3.0, gray=None):
    """Return a scan of a gray picture printed in dots of a period in pixels, turned by an angle."""
    gray = waves() if gray is None else gray
    y, x = np.mgrid[: gray.shape[0], : gray.shape[1]] * (2 * np.pi / period)
    threshold = (np.cos(np.cos(angle) * x + np.sin(angle) * y) + np.cos(np.cos(angle) * y - np.sin(angle) * x)) / 2
    dots = gaussian_filter(np.where(2 * gray / 255 - 1 > threshold, 255.0, 0.0), blur)
    return stored(dots + noise * np.random.default_rng(0).standard_normal(gray.shape))


def stored(picture):
    return np.rint(picture).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("period", [3, 4, 5.3, 8, 12])
@pytest.mark.parametrize("angle", [0.0, 0.26, np.pi / 4])
def test_screens_of_all_periods_and_angles_are_known(period, angle):
    assert is_print_screen(printed(period, angle)[:, :, None])


def test_a_screen_is_known_for_each_ink_at_its_angle_and_beside_a_margin():
    inks = np.dstack([printed(5, angle, gray=waves() * share) for angle, share in ((0.2, 1), (1.3, 0.8), (0.8, 0.9))])
    assert is_print_screen(inks)
    assert is_print_screen(np.pad(printed(5, 0.5), 60, constant_values=250)[:, :, None])


def grain(sigma):
    noise = gaussian_filter(np.random.default_rng(1).standard_normal(waves().shape), 1.0)
    return waves() + sigma * noise / noise.std()


def railing():
    """Return a smooth picture a part of which is a perforated sheet."""
    picture = waves(420, 400)
    picture[:140] = printed(6, 0.0, noise=0.0, gray=picture)[:140]
    return picture + 10 * np.random.default_rng(0).standard_normal(picture.shape)


def before_a_sheet_of_holes():
    """Return somebody in a dark pullover before a white perforated sheet."""
    picture = printed(9, 0.3, blur=1.2, noise=0.0, gray=np.full((480, 320), 150.0)).astype(float)
    rows, columns = np.mgrid[:480, :320]
    knit = 60 + 45 * np.sin(rows * 0.8) * np.sin(columns * 0.9)
    return np.where(np.hypot((rows - 480) / 300, (columns - 150) / 120) < 1, knit, picture)


@pytest.mark.parametrize(
    "picture",
    [
        waves(),
        before_a_sheet_of_holes(),
        railing(),
        waves() + 20 * np.random.default_rng(0).standard_normal(waves().shape),
        grain(15),
        printed(4, 0.3, blur=3.0),
        np.kron(np.random.default_rng(0).random((20, 20)), np.ones((15, 15))) * 255,
        np.tile(np.where(np.arange(280) // 20 % 2, 200.0, 60.0), (300, 1)),
        128 + 60 * np.sin(np.add.outer(np.arange(300) * 0.7, np.arange(280) * 0.9)),
        np.full((300, 280), 7.0),
        printed(5, 0.3)[:100],
    ],
    ids=[
        "smooth",
        "sheet of holes",
        "railing with noise",
        "white noise",
        "grain",
        "blurred print",
        "blocks",
        "stripes",
        "waves",
        "constant",
        "small",
    ],
)
def test_other_pictures_are_no_screens(picture):
    assert not is_print_screen(stored(picture)[:, :, None])


def test_a_scan_of_print_comes_back_as_it_is():
    scan = printed(4, 0.0)
    assert estimate(scan, scale_of(scan)).reason == "it is a printed screen of dots"
    np.testing.assert_array_equal(smdae.denoise(scan), scan)
    assert not np.array_equal(smdae.denoise(scan, noise="white", sigma=3), scan)
