"""Fits at levels far below the contrast: no worse than the noisy pictures, nor than the linear filter."""

import pytest

from smdae.fitting.prepare import prepare
from smdae.fitting.settings import check
from tests.tiny import gray


@pytest.mark.parametrize("objective", ["dsm", "dae", "ism-parzen"])
@pytest.mark.parametrize("sigma", [0.5, 2.0, 8.0])
def test_a_fit_to_little_noise_harms_no_picture(objective, sigma):
    images = [gray(48, 64, seed) for seed in range(4)]
    settings = check({"sigma": sigma, "objective": objective, "patch_size": 6, "hidden": 48, "max_steps": 10})
    prepared = prepare(images, 255.0, settings)
    for _ in prepared.run():
        pass
    found = prepared.crops.psnr(prepared.fitted())
    assert found > prepared.crops.psnr()
    assert found > prepared.crops.psnr(prepared.wiener()) - 0.05
