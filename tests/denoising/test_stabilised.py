"""Noise that depends on the pixel, made white."""

import math

import numpy as np
import pytest
import torch
from torch import Generator

from smdae.curves import Affine, Table
from smdae.denoising.stabilised import Stabilised, Whitening, transforms


class Still:
    """A model that finds no noise."""

    channels, noise_range, halo, shift_multiple, bytes_per_pixel = 1, (0.01, 1.0), 0, 1, 16

    def score(self, x, sigma):
        return torch.zeros_like(x)


class Blurring(Still):
    """The mean of the whole picture: what is best where the clean one is constant."""

    def score(self, x, sigma):
        return (x.mean((2, 3), keepdim=True) - x) / sigma**2


def test_a_constant_level_only_scales():
    (f,), sigma = transforms((Affine(read=0.1),), 0.0, 1.0, None)
    x = torch.linspace(-0.2, 1.2, 50)
    torch.testing.assert_close(f.apply(x), x, atol=1e-5, rtol=0)
    torch.testing.assert_close(f.invert(x), x, atol=1e-5, rtol=0)
    assert sigma == pytest.approx(0.1)


def test_photon_noise_is_transformed_as_anscombe_has_it():
    gain = 0.02
    (f,), sigma = transforms((Affine(gain=gain),), 0.0, 1.0, None)
    x = torch.linspace(0.05, 1, 40)
    off = f.apply(x) / sigma - 2 * (x / gain + 3 / 8).sqrt()  # a constant
    assert off.max() - off.min() < 0.02


@pytest.mark.parametrize("curve", [Affine(gain=0.01, read=0.02), Table((0.0, 0.4, 1.0), (0.03, 0.1, 0.05))])
def test_noise_is_white_after_it_and_its_mean_comes_back(curve):
    (f,), sigma = transforms((curve,), 0.0, 1.0, None)
    generator = Generator().manual_seed(0)
    for value in (0.2, 0.5, 0.8):
        clean = torch.full((1, 1, 500, 500), value)
        y = clean + curve.sd(clean) * torch.randn(clean.shape, generator=generator)
        z = f.apply(y[:, 0])
        assert z.std().item() == pytest.approx(sigma, rel=0.06)
        mean = Stabilised(Blurring(), Whitening((f,), sigma)).reconstruct(y).mean().item()
        assert mean == pytest.approx(value, abs=4 * curve.sd(clean).mean().item() / 500 + 2e-4)


@pytest.mark.parametrize("read", [0.0, 0.02])  # without read noise there is none at all at black
def test_the_mean_of_counts_comes_back_where_they_are_few(read):
    for count in (2.0, 6.0):
        y = torch.poisson(torch.full((1, 1, 600, 600), count), generator=Generator().manual_seed(0)) / 20
        (f,), sigma = transforms((Affine(gain=1 / 20, read=read),), 0.0, 1.0, None)
        mean = Stabilised(Blurring(), Whitening((f,), sigma)).reconstruct(y).mean().item()
        assert 20 * mean == pytest.approx(count, abs=0.1 * count**0.5)  # a tenth of a standard deviation


def test_clipping_at_black_is_undone_in_the_mean():
    curve = Affine(read=0.1)
    clean = torch.full((1, 1, 500, 500), 0.05)
    y = (clean + 0.1 * torch.randn(clean.shape, generator=Generator().manual_seed(0))).clamp(0, 1)
    (f,), sigma = transforms((curve,), 0.0, 1.0, (0.0, math.inf))
    assert Stabilised(Blurring(), Whitening((f,), sigma)).reconstruct(y).mean().item() == pytest.approx(0.05, abs=2e-3)


def test_without_noise_to_remove_nothing_but_the_bias_changes():
    (f,), sigma = transforms((Affine(gain=1e-3, read=0.01),), 0.0, 1.0, None)
    y = torch.rand(1, 1, 20, 30, generator=Generator().manual_seed(0))
    still = Stabilised(Still(), Whitening((f,), sigma)).reconstruct(y)
    assert (still - y).abs().max() < 2e-3
    np.testing.assert_allclose(f.invert(f.apply(y)), still, atol=1e-6)


@pytest.mark.parametrize("count", [0.1, 0.5, 1.0, 3.0, 9.0])
@pytest.mark.parametrize("clip", [None, (0.0, math.inf)])
def test_the_inverse_is_exact_for_counts_however_few(count, clip):
    (f,), _ = transforms((Affine(gain=1 / 20),), 0.0, 1.0, clip)
    chances = [math.exp(k * math.log(count) - count - math.lgamma(k + 1)) for k in range(60)]
    mean = (f.apply(torch.arange(60) / 20) * torch.tensor(chances)).sum()
    assert 20 * f.invert(mean[None]).item() == pytest.approx(count, abs=0.01)


class Ground(Still):
    """A model that takes the value that most pixels have for the clean one."""

    def score(self, x, sigma):
        return (x.flatten(2).mode(2).values[..., None, None] - x) / sigma**2


@pytest.mark.parametrize("clip", [None, (0.0, math.inf)])
def test_the_mean_of_less_than_a_photon_a_pixel_is_put_back(clip):
    y = torch.poisson(torch.full((1, 1, 200, 200), 0.3), generator=Generator().manual_seed(0)) / 20
    each, sigma = transforms((Affine(gain=1 / 20),), 0.0, 1.0, clip)
    clean = Stabilised(Ground(), Whitening(each, sigma)).reconstruct(y)
    assert 20 * clean.mean().item() == pytest.approx(0.3, abs=0.02)
    assert 20 * clean.std().item() < 0.06
