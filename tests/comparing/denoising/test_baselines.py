"""Baselines scale with the image, are those of the libraries, and are refused where these are missing."""

import importlib.util

import numpy as np
import pytest
from skimage import data, restoration

from smdae.comparing.denoising import baselines
from smdae.comparing.denoising.baselines import BASELINES, check
from smdae.errors import UsageError
from tests.tiny import python

SIGMA = 25 / 255
CLEAN = data.camera()[100:196, 190:270] / 255
NOISY = CLEAN + SIGMA * np.random.default_rng(0).standard_normal(CLEAN.shape)


def psnr(image: np.ndarray) -> float:
    return -10 * np.log10(np.mean((image.clip(0, 1) - CLEAN) ** 2))


@pytest.mark.parametrize("name", BASELINES)
def test_noise_goes(name):
    for module in BASELINES[name].needs:
        pytest.importorskip(module)
    before = NOISY.copy()
    result = BASELINES[name].run(NOISY, SIGMA)
    assert result.shape == CLEAN.shape
    assert np.array_equal(NOISY, before)
    assert psnr(result) > psnr(NOISY) + 6


@pytest.mark.parametrize("name", ["nlm", "wavelet", "tv"])
def test_the_unit_of_the_image_does_not_matter(name):
    run = BASELINES[name].run
    np.testing.assert_allclose(run(3 * NOISY, 3 * SIGMA), 3 * run(NOISY, SIGMA), atol=1e-6)


@pytest.mark.parametrize("name", ["nlm", "wavelet", "tv"])
def test_what_is_smooth_says_so(name):
    """Differences of half the size give the same derivative, as Stein's estimate asks for."""
    assert BASELINES[name].smooth
    probe = np.random.default_rng(1).choice((-1.0, 1.0), NOISY.shape)

    def divergence(e: float) -> float:
        ahead, behind = (BASELINES[name].run(NOISY + sign * e * SIGMA * probe, SIGMA) for sign in (1, -1))
        return float(np.mean(probe * (ahead - behind)) / (2 * e * SIGMA))

    assert divergence(0.02) == pytest.approx(divergence(0.01), abs=0.01)


def test_wavelets_are_spun():
    how = {"sigma": SIGMA, "wavelet": "db2", "wavelet_levels": 4, "method": "BayesShrink", "rescale_sigma": True}
    expected = restoration.cycle_spin(NOISY, restoration.denoise_wavelet, 3, func_kw=how)
    np.testing.assert_allclose(BASELINES["wavelet"].run(NOISY, SIGMA), expected, atol=1e-12)


def test_small_images_have_fewer_scales(recwarn):
    result = BASELINES["wavelet"].run(NOISY[:12, :8], SIGMA)
    assert np.isfinite(result).all()
    assert not recwarn.list


def test_total_variation_is_nearly_the_least():
    def cost(x: np.ndarray) -> float:
        across, down = np.diff(x, axis=1, append=x[:, -1:]), np.diff(x, axis=0, append=x[-1:])
        return np.hypot(across, down).sum() + ((x - NOISY) ** 2).sum() / (2 * 0.8 * SIGMA)

    least = restoration.denoise_tv_chambolle(NOISY, 0.8 * SIGMA, eps=0, max_num_iter=1000)
    assert cost(least) <= cost(BASELINES["tv"].run(NOISY, SIGMA)) < 1.02 * cost(least)


def test_unknown_names_are_refused():
    check(())
    with pytest.raises(UsageError, match="unknown baseline 'bilateral'; there are nlm, wavelet, tv, bm3d"):
        check(("nlm", "bilateral"))


@pytest.mark.parametrize(
    ("name", "module", "package", "hint"),
    [
        ("nlm", "skimage", "scikit-image", "pip install 'smdae[baselines]'"),
        ("wavelet", "pywt", "PyWavelets", "pip install 'smdae[baselines]'"),
        ("bm3d", "bm3d", "bm3d", "non-commercial"),
    ],
)
def test_missing_packages_are_named(monkeypatch, name, module, package, hint):
    monkeypatch.setattr(baselines, "find_spec", lambda n: None if n == module else importlib.util.find_spec("json"))
    with pytest.raises(UsageError, match=f"the baseline '{name}' needs {package}, which is not installed") as caught:
        check((name,))
    assert hint in caught.value.hint
    check(tuple(other for other in BASELINES if module not in BASELINES[other].needs))


def test_libraries_wait_until_they_are_used():
    code = "import sys; from smdae.comparing.denoising.baselines import check; check(['nlm']); "
    code += "print({*sys.modules} & {'skimage', 'torch'})"
    assert python("-c", code).stdout.strip() == "set()"
