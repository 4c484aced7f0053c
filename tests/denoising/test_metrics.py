"""PSNR and SSIM are those of scikit-image, on the same arrays."""

import math

import numpy as np
import pytest
import torch
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from smdae.denoising.metrics import psnr, psnr_and_ssim, ssim

GRAY = data.camera()[100:160, 200:247]
COLOUR = data.astronaut()[40:83, 180:237]
WHITES = {"uint8": 255, "uint16": 65535, "float32": 1.0, "float64": 7.5}


def pair(image, dtype):
    """A picture and a noisy one, inside [0, white]."""
    white = WHITES[dtype]
    noise = np.random.default_rng(0).normal(0, 25 / 255, image.shape)
    clean, noisy = image / 255, (image / 255 + noise).clip(0, 1)
    if np.dtype(dtype).kind == "u":
        return np.rint(clean * white).astype(dtype), np.rint(noisy * white).astype(dtype), white
    return (clean * white).astype(dtype), (noisy * white).astype(dtype), white


def test_a_picture_with_nan_has_no_figure():
    hole = torch.full((1, 16, 16), 0.5)
    hole[0, 3, 3] = math.nan
    whole = torch.full((1, 16, 16), 0.5)
    for pictures in ((hole, whole), (whole, hole)):
        assert math.isnan(psnr(*pictures, 1.0))
        assert math.isnan(ssim(*pictures, 1.0))
    assert psnr(whole, whole, 1.0) == math.inf


@pytest.mark.parametrize("image", [GRAY, COLOUR], ids=["gray", "colour"])
@pytest.mark.parametrize("dtype", WHITES)
def test_figures_are_those_of_scikit_image(image, dtype):
    clean, noisy, white = pair(image, dtype)
    found = psnr_and_ssim((noisy, white), (clean, white))
    wide = clean.astype(np.float64), noisy.astype(np.float64)
    expected = (
        peak_signal_noise_ratio(*wide, data_range=white),
        structural_similarity(
            *wide,
            data_range=white,
            channel_axis=-1 if image.ndim == 3 else None,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        ),
    )
    assert found == pytest.approx(expected, rel=1e-9)


def test_two_depths_of_one_picture_are_the_same_picture():
    found = psnr_and_ssim((GRAY.astype(np.uint16) * 257, 65535.0), (GRAY, 255.0))
    assert found[1] == pytest.approx(1, abs=1e-12)
    assert found[0] > 200


def test_what_is_beyond_white_or_black_counts_as_white_or_black():
    clean = torch.rand(1, 12, 12).round()
    wild = clean + 3 * (clean - 0.5)
    assert psnr(wild, clean, 1.0) == math.inf
    assert ssim(wild, clean, 1.0) == pytest.approx(1, abs=1e-12)


def test_equal_pictures_are_infinitely_close():
    assert psnr_and_ssim((GRAY, 255.0), (GRAY, 255.0)) == (math.inf, pytest.approx(1, abs=1e-12))


@pytest.mark.parametrize(("shape", "defined"), [((11, 11), True), ((10, 50), False), ((50, 10), False)])
def test_there_is_no_ssim_of_a_picture_smaller_than_the_window(shape, defined):
    image = np.zeros(shape, np.uint8)
    image[::2] = 200
    value = psnr_and_ssim((image, 255.0), (image[::-1], 255.0))[1]
    assert math.isnan(value) != defined
