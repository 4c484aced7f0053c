"""One result with all that is known of it: pixels as `denoise` gives them, model, noise, quality and uncertainty."""

import base64
import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

import smdae
from smdae.errors import UsageError

CLEAN = 128 + 25 * np.random.default_rng(1).standard_normal((48, 48)).repeat(2, 0).repeat(2, 1)  # blocks of 2 x 2
NOISY = np.rint(CLEAN + 20 * np.random.default_rng(0).standard_normal(CLEAN.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def found():
    return smdae.denoise_image(NOISY, "natural-gray-small", 20, uncertainty=True)


def test_it_has_the_pixels_the_model_the_noise_and_the_quality(found):
    np.testing.assert_array_equal(found.pixels, smdae.denoise(NOISY, "natural-gray-small", 20))
    assert found.model.name == "natural-gray-small@2"
    assert len(found.model.digest) == 32
    assert found.noise.sigma == pytest.approx(20)
    error = np.square(found.pixels - CLEAN).mean()
    assert found.quality.is_trusted
    assert found.quality.psnr == pytest.approx(10 * np.log10(255**2 / error), abs=3 * found.quality.error + 0.3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.pixels = NOISY


def test_uncertainty_has_the_unit_of_the_picture(found):
    """About as large as the error that is made, whatever the unit."""
    rmse = np.sqrt(np.square(found.pixels - CLEAN).mean())
    assert 0.5 * rmse < np.sqrt(np.square(found.uncertainty).mean()) < 2 * rmse
    deep = smdae.denoise_image(NOISY.astype(np.uint16) * 257, "natural-gray-small", 20, uncertainty=True)
    np.testing.assert_allclose(deep.uncertainty / 257, found.uncertainty, rtol=0.05, atol=0.05)
    floats = smdae.denoise_image(NOISY / np.float32(255), "natural-gray-small", 20 / 255, uncertainty=True)
    np.testing.assert_allclose(floats.uncertainty * 255, found.uncertainty, rtol=0.05, atol=0.05)
    assert floats.noise.sigma == pytest.approx(20 / 255)


def test_it_has_the_shape_of_the_picture():
    small = np.repeat(NOISY[:32, :40, None], 3, 2)
    found = smdae.denoise_image(small, "natural-gray-small", 20, uncertainty=True)
    assert found.pixels.shape == found.uncertainty.shape == (32, 40, 3)
    part = (NOISY[:32, :40] / 255).astype(np.float32)
    part[3, 4] = np.nan
    spread = smdae.denoise_image(part, "natural-gray-small", 20 / 255, uncertainty=True).uncertainty
    assert np.isnan(spread[3, 4])
    assert np.isfinite(spread).sum() == spread.size - 1


def test_a_clean_picture_has_no_noise_and_no_uncertainty():
    text = np.full((64, 64), 255, np.uint8)
    text[20:24, 8:56] = 0
    found = smdae.denoise_image(text, "natural-gray-small", uncertainty=True)
    assert found.noise.is_none
    assert not found.uncertainty.any()
    assert not found.quality.is_trusted
    np.testing.assert_array_equal(found.pixels, text)


def test_many_pictures_or_other_noise_are_refused():
    with pytest.raises(UsageError, match="takes one image"):
        smdae.denoise_image(np.stack([NOISY] * 8), "natural-gray-small")
    noise = smdae.Noise.poisson_gaussian(1.0, 2.0)
    with pytest.raises(UsageError, match="is shot"):
        smdae.denoise_image(NOISY, "natural-gray-small", noise=noise, uncertainty=True)


def test_adapting_is_refused_and_the_way_to_it_named():
    with pytest.raises(UsageError, match="does not adapt") as refused:
        smdae.denoise_image(np.zeros((16, 16), np.uint8), adapt=True)
    assert "smdae.adapt" in refused.value.hint


def test_a_notebook_shows_the_picture_and_what_is_known_of_it(found):
    shown = found._repr_html_()
    start = "<img alt='the denoised image' src='data:image/png;base64,"
    assert shown.startswith(start)
    drawn = Image.open(io.BytesIO(base64.b64decode(shown[len(start) :].partition("'")[0])))
    np.testing.assert_array_equal(np.asarray(drawn), found.pixels)
    assert found.quality.text in shown
    assert "white, sigma 20" in shown
    assert len(shown) < 30_000


def test_a_notebook_shows_pictures_of_every_unit_and_no_other_arrays():
    unit = smdae.denoise_image(NOISY / 255, "natural-gray-small", 20 / 255)
    assert unit._repr_html_().startswith("<img")
    dear = dataclasses.replace(unit, pixels=np.full((5, 30, 40), 0.5))
    assert dear._repr_html_().startswith("<table>")
    hidden = dataclasses.replace(unit, pixels=np.full((2000, 30), np.nan))
    assert hidden._repr_html_().startswith("<img")
    doubted = smdae.denoise_image(NOISY[:8, :8], "natural-gray-small", 20)
    assert f"not shown: {doubted.quality.doubts[0]}" in doubted._repr_html_()
