"""What is estimated of a denoised array without a clean one: PSNR and the variance of each pixel, in Python."""

import numpy as np
import pytest
import torch

import smdae
from smdae.errors import UsageError
from tests.tiny import model_bytes

CLEAN = 128 + 25 * np.random.default_rng(1).standard_normal((48, 48)).repeat(2, 0).repeat(2, 1)  # blocks of 2 x 2
NOISY = np.rint(CLEAN + 20 * np.random.default_rng(0).standard_normal(CLEAN.shape)).clip(0, 255).astype(np.uint8)
FLOATS = NOISY / np.float32(255)
SMALL = "natural-gray-small"


@pytest.fixture(scope="module")
def model():
    return smdae.load(SMALL)


def test_the_psnr_is_that_of_the_result(model):
    found = smdae.estimate_psnr(NOISY, model, 20)
    error = np.square(smdae.denoise(NOISY, model, 20) - CLEAN).mean()
    assert found.is_trusted
    assert found.psnr == pytest.approx(10 * np.log10(255**2 / error), abs=3 * found.error + 0.3)
    assert found == smdae.denoise_image(NOISY, model, 20).quality


def test_the_psnr_is_the_same_in_any_unit(model):
    whole, deep, floats = (
        smdae.estimate_psnr(image, model, sigma).psnr
        for image, sigma in ((NOISY, 20), (NOISY.astype(np.uint16) * 257, 20), (FLOATS, 20 / 255))
    )
    assert deep == pytest.approx(whole, abs=0.1)
    assert floats == pytest.approx(whole, abs=0.3)


def test_a_weaker_result_is_told_to_be_worse(model):
    assert smdae.estimate_psnr(NOISY, model, 20, strength=0.3).psnr < smdae.estimate_psnr(NOISY, model, 20).psnr - 1


def test_where_nothing_is_taken_out_there_is_no_figure_and_no_variance(model):
    text = np.full((64, 64), 255, np.uint8)
    text[20:24, 8:56] = 0
    found = smdae.estimate_psnr(text, model)
    assert np.isnan(found.psnr)
    assert not found.is_trusted
    assert not smdae.posterior_variance(text, model).any()


def test_the_variance_is_the_square_of_the_uncertainty_in_the_unit_of_the_image(model):
    found = smdae.posterior_variance(FLOATS[:24, :32], model, 20 / 255)
    assert (found.shape, found.dtype) == ((24, 32), np.float32)
    deviations = smdae.denoise_image(FLOATS[:24, :32], model, 20 / 255, uncertainty=True).uncertainty
    np.testing.assert_allclose(found, deviations**2, rtol=1e-5)
    wide = smdae.posterior_variance(100 * FLOATS[:24, :32], model, 100 * 20 / 255, white=100)
    np.testing.assert_allclose(wide, 100**2 * found, rtol=1e-3)


def test_calibrating_moves_all_of_it_towards_the_error_that_is_estimated(model):
    raw = smdae.posterior_variance(NOISY[:32, :48], model, 20, calibrate=False)
    found = smdae.posterior_variance(NOISY[:32, :48], model, 20)
    ratio = found / raw
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)
    seen = 255**2 * 10 ** (-smdae.estimate_psnr(NOISY[:32, :48], model, 20).psnr / 10)
    assert abs(found.mean() - seen) < abs(raw.mean() - seen)


def test_the_variance_of_an_energy_is_that_of_its_formula(tmp_path):
    """sigma^2 W' diag(h (1 - h)) W, which patch models have in closed form."""
    (tmp_path / "m.safetensors").write_bytes(model_bytes())
    energy = smdae.load(tmp_path / "m.safetensors")
    found = smdae.posterior_variance(FLOATS[:24, :24], energy, 25 / 255, calibrate=False)
    with torch.inference_mode():
        own = energy.posterior_variance(torch.from_numpy(FLOATS[None, None, :24, :24]), 25 / 255)[0, 0].numpy()
    np.testing.assert_allclose(found, np.maximum(own, 0), rtol=1e-3, atol=1e-7)


def test_axes_stay_in_the_order_that_is_given(model):
    planes = np.repeat(NOISY[None, :16, :24], 3, 0)
    planes[1] = planes[1, ::-1]
    found = smdae.posterior_variance(planes, model, 20, axes="CYX", calibrate=False)
    assert found.shape == planes.shape
    turned = smdae.posterior_variance(planes.transpose(1, 2, 0), model, 20, calibrate=False)
    np.testing.assert_allclose(found, turned.transpose(2, 0, 1), rtol=1e-4)
    assert smdae.denoise_image(planes, model, 20, axes="CYX", uncertainty=True).uncertainty.shape == planes.shape


@pytest.mark.parametrize("of", [smdae.estimate_psnr, smdae.posterior_variance])
def test_many_images_are_refused(of):
    with pytest.raises(UsageError, match=rf"{of.__name__} takes one image, not 8"):
        of(np.stack([NOISY] * 8), SMALL)


def test_other_noise_and_samplers_are_refused(model):
    shot = smdae.Noise.poisson_gaussian(1.0, 2.0)
    with pytest.raises(UsageError, match="for white noise, and that of this image is shot"):
        smdae.posterior_variance(NOISY, model, noise=shot)
    with pytest.raises(UsageError, match="'langevin' takes several"):
        smdae.estimate_psnr(NOISY, model, 20, sampler="langevin")
    with pytest.raises(UsageError, match="larger than white"):
        smdae.estimate_psnr(FLOATS, model, 20)
