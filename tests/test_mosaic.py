"""Mosaics: what linear demosaicings keep, and the covariance of their noise in closed form and by drawing."""

import numpy as np
import pytest
import torch
from torch import Generator

from benchmarks.dng import PATTERNS
from smdae.mosaic import LINEAR, Mosaic, at_sites, bilinear, covariance, demosaiced, edge_directed, gradient_corrected

LEVELS = (0.3, 0.1, 0.2)


def colours(pattern: str) -> np.ndarray:
    return np.array(PATTERNS[pattern]).reshape(2, 2)


def ramps(height: int = 12, width: int = 16) -> torch.Tensor:
    """Three channels that are linear in row and column and differ by constants, (H, W, 3)."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (0.02 * y + 0.03 * x)[..., None] + torch.tensor([0.1, 0.3, 0.2])


@pytest.mark.parametrize("demosaicing", [bilinear, gradient_corrected, edge_directed])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_ramps_come_back_and_what_the_sensor_saw_stays(demosaicing, pattern):
    picture = ramps()
    mosaic = Mosaic(np.zeros(picture.shape[:2], np.float32), colours(pattern))
    seen = at_sites(picture, mosaic)
    made = demosaiced(seen, mosaic.colours, demosaicing).permute(1, 2, 0)
    assert torch.allclose(made[3:-3, 3:-3], picture[3:-3, 3:-3], atol=1e-5)
    assert torch.equal(at_sites(made, mosaic), seen)


def test_the_levels_of_bilinear_noise_in_closed_form():
    sd, rho, channels = covariance("bilinear", (1.0, 1.0, 1.0))
    # Of red a quarter of the pixels is seen, half are means of two, a quarter of four; of green half are means of four.
    assert sd**2 == pytest.approx([9 / 16, 5 / 8, 9 / 16])
    assert np.array_equal(channels, np.eye(3))
    assert rho[0, 0] == 1
    assert abs(rho[3:]).max() < 1e-12


@pytest.mark.parametrize("name", LINEAR)
def test_the_covariance_of_noise_is_that_of_draws(name):
    sd, rho, channels = covariance(name, LEVELS)
    noise = torch.randn(512, 512, generator=Generator().manual_seed(0), dtype=torch.float64)
    mosaic = Mosaic(np.zeros((512, 512), np.float32), colours("RGGB"))
    drawn = demosaiced(noise * at_sites(torch.tensor(LEVELS), mosaic), mosaic.colours, LINEAR[name])[:, 4:-4, 4:-4]
    assert drawn.std((1, 2)).numpy() == pytest.approx(sd, rel=0.02)
    assert np.corrcoef(drawn.reshape(3, -1)) == pytest.approx(channels, abs=0.02)
    along = (drawn[:, :, 1:] * drawn[:, :, :-1]).mean((1, 2)) / drawn.square().mean((1, 2))
    down = (drawn[:, 1:] * drawn[:, :-1]).mean((1, 2)) / drawn.square().mean((1, 2))
    assert float((along.mean() + down.mean()) / 2) == pytest.approx(rho[0, 1], abs=0.02)


def test_the_weights_of_colours_are_bounded():
    plain = Mosaic(np.zeros((4, 4), np.float32), colours("RGGB"), (4.0, 1.0, 1.0))
    assert plain.weights == pytest.approx([1, 0.5, 0.5])
    wild = Mosaic(np.zeros((4, 4), np.float32), colours("RGGB"), (1e6, 1.0, 1e-6))
    assert wild.weights == pytest.approx([1, 0.4, 0.16])
