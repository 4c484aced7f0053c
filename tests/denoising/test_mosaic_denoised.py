"""Sensors' noise is found from their mosaics, and taking it out before demosaicing is better than after."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.dng import BLACK, WHITE, dng, exposed, mosaic, scene
from smdae.curves import Affine
from smdae.denoising.denoise import denoise
from smdae.denoising.mosaic import denoised
from smdae.denoising.sensor import sensor_curves
from smdae.files.model_file import load
from smdae.mosaic import Mosaic

SAMPLES = Path(__file__).parents[2] / "sample_data"
EXPOSURES = ((5e-4, 1e-3), (2e-3, 3e-3), (8e-3, 8e-3))  # gain and read noise
FLOOR = -BLACK / (WHITE - BLACK)


def seen(values: np.ndarray) -> Mosaic:
    pixels = ((values.astype(np.float32) - BLACK) / (WHITE - BLACK)).astype(np.float32)
    return Mosaic(pixels, np.array([[0, 1], [1, 2]]), (2.0, 1.0, 1.6), FLOOR)


@pytest.mark.parametrize(("gain", "read"), EXPOSURES)
def test_the_noise_of_a_sensor_is_found(gain, read):
    planes = seen(exposed(mosaic(scene(384, 512)), gain, read)).planes
    for curve in sensor_curves(planes, FLOOR):
        for at in (0.05, 0.3):
            true, found = gain * at + read**2, curve.gain * at + curve.read**2
            assert found == pytest.approx(true, rel=0.2)


def test_noise_that_is_cut_off_at_white_does_not_mislead():
    gain, read = 2e-3, 3e-3
    down, across = np.linspace(0.5, 1, 154)[:, None], np.linspace(0.2, 0.75, 512)
    picture = np.ones((384, 512, 3))
    picture[:154] = np.stack([across * down, across * (1.5 - down), 0.3 * across + 0 * down], 2)
    planes = seen(exposed(mosaic(picture), gain, read)).planes
    for curve in sensor_curves(planes, FLOOR):
        for at in (0.05, 0.3):
            assert curve.gain * at + curve.read**2 == pytest.approx(gain * at + read**2, rel=0.12)


def test_planes_that_the_camera_has_scaled_have_gains_of_their_own():
    planes = seen(exposed(mosaic(scene(384, 512)), 2e-3, 3e-3)).planes.copy()
    planes[:, :, 0] *= 2
    curves = sensor_curves(planes, FLOOR)
    assert curves[0].gain == pytest.approx(4e-3, rel=0.25)
    assert curves[1].gain == pytest.approx(2e-3, rel=0.25)


def test_a_mosaic_of_one_value_has_no_noise_to_tell():
    assert sensor_curves(np.full((64, 64, 4), 0.3, np.float32)) is None


def test_strength_0_changes_nothing():
    mosaic_ = seen(exposed(mosaic(scene()), 2e-3, 3e-3))
    curves = sensor_curves(mosaic_.planes, FLOOR)
    same = denoised(mosaic_, curves, load("natural-color-small"), strength=0.0)
    assert np.abs(same - mosaic_.pixels).max() < 1e-3


def test_parts_are_as_the_whole(monkeypatch):
    from smdae.denoising import mosaic as module

    whole = seen(exposed(mosaic(scene(64, 448)), 2e-3, 3e-3))
    curves = sensor_curves(whole.planes, FLOOR)
    model = load("natural-color-small")
    expected = denoised(whole, curves, model)
    monkeypatch.setattr(module, "SIDE", 224)
    monkeypatch.setattr(module, "MARGIN", 128)
    assert np.abs(denoised(whole, curves, model) - expected).max() < 2e-3


def test_what_is_guessed_of_the_other_colours_makes_the_result_better(monkeypatch):
    from smdae.denoising import mosaic as module

    with Image.open(SAMPLES / "clean_color.png") as picture:
        clean = mosaic(np.asarray(picture.convert("RGB"))[:128, :128] / 255)
    noisy = seen(exposed(clean, 2e-3, 3e-3))
    model = load("natural-color-small")
    psnr = {}
    for rounds in (module.ROUNDS, 0):
        monkeypatch.setattr(module, "ROUNDS", rounds)
        monkeypatch.setattr(module, "PASSES", 2 + 2 * rounds)
        found = denoised(noisy, (Affine(2e-3, 0.0, 3e-3),) * 4, model)
        psnr[rounds] = -10 * np.log10(np.mean((found.clip(0, 1) ** 0.5 - clean**0.5) ** 2))
    assert psnr[2] > psnr[0] + 0.15


def test_before_demosaicing_is_better_than_after():
    pytest.importorskip("rawpy")
    from smdae.files import raw

    clean = mosaic(scene(160, 192))
    model = load("natural-color-small")
    gained = []
    with raw.opened(dng(exposed(clean, 0, 0)), "clean") as shot:
        truth = shot.developed(brighter=False).pixels.astype(float)
    for gain, read in EXPOSURES:
        with raw.opened(dng(exposed(clean, gain, read)), "noisy") as shot:
            after = denoise(shot.developed(brighter=False).pixels, model)
            curves = sensor_curves(shot.mosaic.planes, shot.mosaic.floor)
            before = shot.developed(denoised(shot.mosaic, curves, model), brighter=False).pixels
        wrong = [float(np.mean((one - truth) ** 2)) for one in (after, before)]
        gained.append(10 * np.log10(wrong[0] / wrong[1]))
    assert np.mean(gained) > 0.5
