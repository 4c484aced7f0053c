"""Counts of few photons are found by their steps and their variance."""

import numpy as np
import pytest

from smdae.denoising.noise_search import estimate_noise
from smdae.estimation.absence import why_drawn
from smdae.estimation.blocks import survey
from smdae.estimation.counts import few_counts
from smdae.estimation.scale import Scale, scale_of
from tests.estimation.pictures import floyd_steinberg, page, scene


def spots(peak: float, ground: float = 0.3) -> np.ndarray:
    """Return blurred spots on a dark ground, in mean counts, with shape (240, 260)."""
    rows, columns = np.mgrid[:240, :260].astype(float)
    chance = np.random.default_rng(0)
    image = np.zeros((240, 260))
    for y, x, height in zip(chance.uniform(0, 240, 40), chance.uniform(0, 260, 40), chance.random(40), strict=True):
        image += height * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 18)
    return ground + peak * image / image.max()


@pytest.mark.parametrize(("peak", "gain"), [(3, 20.0), (18, 20.0), (3, 1.0), (30, 1.0), (30, 3.4)])
def test_counts_have_their_gain(peak, gain):
    counts = np.random.default_rng(1).poisson(spots(peak))
    y = np.rint(gain * counts).clip(0, 255).astype(np.uint8)
    found = estimate_noise(y)
    assert found.kind == "shot"
    assert found.sd_of(np.array([[0.5 * gain]]))[0, 0] == pytest.approx(gain * 0.5**0.5, rel=0.05)


def test_counts_in_two_bytes_and_as_floats_are_the_same():
    counts = np.random.default_rng(1).poisson(spots(12))
    for dtype in (np.uint16, np.float32):
        found = estimate_noise(counts.astype(dtype))
        assert found.sd_of(np.array([[2.0]]))[0, 0] == pytest.approx(2**0.5, rel=0.05)


def test_what_has_another_variance_is_not_of_counts():
    normal = np.rint(np.random.default_rng(1).normal(scene() / 10, 4)).clip(0, 255).astype(np.uint8)
    flat = np.rint(np.random.default_rng(1).normal(6, 1.2, (240, 260))).clip(0, 255).astype(np.uint8)
    for y in (normal, flat):
        planes = y[:, :, None]
        scale = scale_of(planes)
        assert few_counts(planes, survey(planes, scale), scale) is None


def test_few_values_that_lie_by_chance_were_not_drawn():
    planes = np.random.default_rng(1).poisson(spots(8)).astype(np.uint8)[:, :, None]
    assert why_drawn(planes, survey(planes, Scale(0.0, 20.0))) is None


@pytest.mark.parametrize("drawn", [page(), page(11, 220, 30), floyd_steinberg(8), scene().astype(np.uint8) // 16 * 16])
def test_few_values_that_were_drawn_do_not_lie_by_chance(drawn):
    planes = drawn[:, :, None]
    assert why_drawn(planes, survey(planes, Scale(0.0, 255.0, (0.0, 255.0))))
