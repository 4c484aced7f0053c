"""Integers of every type go in and out of the Python interface as they are, sigma being told for white 255."""

import numpy as np
import pytest
import tifffile

import smdae
from smdae.errors import InputError, UsageError
from tests.tiny import SETTINGS

TYPES = ["int8", "int16", "int32", "uint32", ">u2", ">i2", ">u4"]


def pictures(dtype: str) -> tuple[np.ndarray, np.ndarray, float]:
    """A clean and a noisy picture, the latter of that type, and the level of its noise."""
    y, x = np.mgrid[0:64, 0:64]
    size = 0.05 if dtype == "int8" else 1.0
    clean = size * (1000 + 600 * np.sin(y / 9) + 500 * np.cos(x / 11))
    clean -= 0 if "u" in dtype else clean.mean()
    noise = 60 * size
    noisy = clean + noise * np.random.default_rng(0).standard_normal(clean.shape)
    return clean, np.rint(noisy).clip(0 if "u" in dtype else -np.inf, None).astype(dtype), noise


@pytest.mark.parametrize("dtype", TYPES)
def test_arrays_come_back_as_they_were_but_for_noise(dtype):
    clean, noisy, noise = pictures(dtype)
    result = smdae.denoise(noisy, "natural-gray-small")
    assert result.dtype == noisy.dtype
    assert result.shape == noisy.shape
    assert np.abs(result - clean).mean() < 0.5 * np.abs(noisy - clean).mean()
    told = smdae.denoise(noisy, "natural-gray-small", noise * 255 / np.iinfo(noisy.dtype).max)
    assert np.abs(told - clean).mean() < 0.5 * np.abs(noisy - clean).mean()
    stack = smdae.denoise(np.stack([noisy, noisy], dtype=dtype), "natural-gray-small")
    assert (stack.dtype, stack.shape) == (noisy.dtype, (2, 64, 64))


def test_files_give_what_arrays_do(tmp_path):
    _, noisy, _ = pictures("int16")
    tifffile.imwrite(tmp_path / "a.tif", noisy)
    result = smdae.denoise(str(tmp_path / "a.tif"), "natural-gray-small")
    assert result.dtype == np.int16
    assert np.array_equal(result, smdae.denoise(noisy, "natural-gray-small"))


def test_strength_0_changes_no_value():
    for dtype in TYPES:
        ends = np.iinfo(np.dtype(dtype))
        values = np.random.default_rng(0).integers(ends.min, ends.max, (32, 32), np.dtype(dtype).newbyteorder("="))
        values = values.astype(dtype)
        assert np.array_equal(smdae.denoise(values, "natural-gray-small", strength=0.0), values)


def test_other_integers_are_refused():
    for dtype in ("int64", "bool"):
        with pytest.raises(UsageError, match="8, 16 or 32 bits"):
            smdae.denoise(np.zeros((32, 32), dtype), "natural-gray-small")
        with pytest.raises(InputError, match="8, 16 or 32 bits"):
            smdae.fit(np.zeros((2, 32, 32), dtype), **SETTINGS)


@pytest.mark.parametrize("dtype", ["int16", "uint32", "uint8"])
def test_sigma_of_a_fit_is_told_for_white_255(dtype, tmp_path):
    """Of integers of every type, in arrays and files, the level is that part of white."""
    ends = np.iinfo(dtype)
    values = np.random.default_rng(0).integers(0, ends.max, (2, 32, 32)).astype(dtype)
    for k in range(2):
        tifffile.imwrite(tmp_path / f"{k}.tif", values[k])
    for given in (values, list(values), tmp_path):
        assert smdae.fit(given, sigma=25.5, **SETTINGS).level == pytest.approx(0.1)
    tifffile.imwrite(tmp_path / "1.tif", np.random.default_rng(0).random((32, 32), np.float32))
    assert smdae.fit(tmp_path / "1.tif", sigma=0.1, **SETTINGS).level == pytest.approx(0.1)
