"""What the values of a picture mean."""

import numpy as np
import pytest

from smdae.estimation.scale import Scale, in_bytes, scale_of


def test_eight_bits_and_full_sixteen_are_as_usual():
    assert scale_of(np.array([3, 40], np.uint8)).white == 255
    full = scale_of(np.array([[3, 60000]], np.uint16))
    assert (full.black, full.white, full.standard, full.clip) == (0, 65535, True, (0, 65535))


def test_twelve_bits_in_sixteen_fill_the_range_and_are_not_clipped_there():
    counts = np.random.default_rng(0).integers(100, 4000, (200, 200)).astype(np.uint16)
    scale = scale_of(counts)
    assert not scale.standard
    assert scale.black == pytest.approx(100, abs=20)
    assert scale.white == pytest.approx(4000, abs=20)
    assert scale.unit_clip[0] < 0
    assert scale.unit_clip[1] > 10


@pytest.mark.parametrize("offset", [100, 40000, 60000])
def test_few_levels_of_sixteen_bits_fill_the_range_whatever_their_offset_and_few_large_values(offset):
    counts = np.random.default_rng(0).integers(offset, offset + 3000, (200, 200)).astype(np.uint16)
    counts[:4, :4] = np.arange(45000, 61000, 1000).reshape(4, 4)
    scale = scale_of(counts)
    assert (scale.black, scale.white) == pytest.approx((offset, offset + 3000), abs=20)
    assert scale.clip == (0, 65535)


def test_dark_pictures_of_eight_bits_in_sixteen_stay_pictures_of_eight_bits():
    levels = np.random.default_rng(0).integers(0, 12, (200, 200)).astype(np.uint16)
    levels[0, 0] = 250
    assert scale_of(levels * 257) == Scale(0, 65535, (0, 65535))


@pytest.mark.parametrize("factor", [1e-4, 50.0, 1e6])
def test_floats_of_another_unit_fill_the_range(factor):
    y = (np.random.default_rng(0).random((100, 100)) * factor).astype(np.float32)
    unit = scale_of(y).to_unit(y)
    assert np.quantile(unit, [0.01, 0.99]) == pytest.approx([0.01, 0.99], abs=0.01)


def test_floats_with_white_1_keep_it_noise_and_all():
    y = (np.random.default_rng(0).normal(0.5, 0.3, (100, 100))).clip(-0.4, 1.4).astype(np.float32)
    assert (scale_of(y).black, scale_of(y).white) == (0, 1)
    assert scale_of(y).clip is None
    assert scale_of(y.clip(0, 1)).clip == (0, 1)


def test_what_is_told_is_taken():
    counts = np.full((4, 4), 70, np.uint16)
    scale = scale_of(counts, white=4095, black=64)
    assert (scale.black, scale.span) == (64, 4031)
    assert scale_of(np.full((4, 4), 900.0), keep=True).white == 1


def test_numbers_that_are_none_do_not_count():
    y = np.full((50, 50), np.nan, np.float32)
    assert scale_of(y).white == 1
    y[:20] = np.linspace(0, 5000, 50)
    assert scale_of(y).white == pytest.approx(5000, rel=0.01)


@pytest.mark.parametrize("stored", [np.float16, np.float32, np.float64, np.uint16])
def test_eight_bits_in_another_type_are_eight_bits(stored):
    levels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    planes = levels.astype(stored) * 257 if stored is np.uint16 else (levels / 255).astype(stored)
    if stored is np.float16:  # which is too coarse to tell
        assert in_bytes(planes, Scale())[0] is planes
        return
    found, scale = in_bytes(planes, scale_of(planes, None))
    assert np.array_equal(found, levels)
    assert scale == scale_of(levels, None)


def test_others_stay_what_they_are():
    levels = np.random.default_rng(0).integers(0, 256, (200, 200, 1)) / 255.0
    one = levels.copy()
    one[77, 3] += 0.3 / 255
    for other in (one, levels + 0.5, -levels, levels * 0.9):
        assert in_bytes(other, Scale())[0] is other
    assert in_bytes(levels, Scale(0.1, 1.0))[0] is levels
    valid = np.ones((200, 200), bool)
    valid[77, 3] = False
    assert in_bytes(one, Scale(), valid)[0].dtype == np.uint8
