"""What a network is told of noise: the planes, and what they do to it."""

import pytest
import torch
from torch import Generator

from smdae.denoising.correlated import white_level
from smdae.denoising.informed import Informed, InformedOfGrain
from smdae.denoising.tiles import Tiled
from smdae.models.conditioning import WHITE_NOISE, Conditioning, plane_count, smoothed
from smdae.models.unet import UNet
from smdae.noise import Affine, Noise, Table

LAGS = (1.0, 0.6, 0.13)
GRAIN = tuple(tuple(a * b for b in LAGS) for a in LAGS)
CHANNELS = ((1.0, 0.5, 0.3), (0.5, 1.0, 0.4), (0.3, 0.4, 1.0))
CAMERA = Noise((Affine(0.01, 0.0, 0.02),), grain=GRAIN, channels=CHANNELS, jpeg=80)


def network(channels: int, seed: int = 0) -> UNet:
    model = UNet(channels, (8, 12), (1, 1), (1, 0), (0.01, 0.2), clips=True, takes_noise=True)
    generator = Generator().manual_seed(seed)
    model.initialise(generator)
    with torch.no_grad():
        model.head.weight.uniform_(-0.1, 0.1, generator=generator)
    return model.requires_grad_(False).eval()


def pictures(channels: int, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.rand(2, channels, height, width, generator=Generator().manual_seed(1), dtype=torch.float64)


def test_planes_hold_what_is_known_of_the_noise() -> None:
    y = pictures(3)
    sigma = torch.full((2, 1, 16, 16), 0.1, dtype=torch.float64)
    told = Conditioning.of(CAMERA, y, 0.1)
    each, one, two, jpeg, shared = told.planes(sigma, y, 4)
    assert sum(plane.shape[1] for plane in (each, one, two, jpeg, shared)) == plane_count(3)
    squares = CAMERA.sd(smoothed(y)).square()
    blocks = squares.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    torch.testing.assert_close(each, blocks.sqrt())
    mean = blocks.mean(1, keepdim=True).sqrt()
    for plane, factor in ((one, 0.6), (two, 0.13), (jpeg, 0.2), (shared, 0.4)):
        torch.testing.assert_close(plane, factor * mean, rtol=1e-6, atol=0)


def test_white_noise_is_one_setting() -> None:
    model, y = network(3).double(), pictures(3)
    told = model.conditioned(Conditioning.of(Noise.gaussian(0.1), y, 0.1))
    torch.testing.assert_close(told.reconstruct(y, 0.1), model.reconstruct(y, 0.1), rtol=0, atol=0)
    assert model.conditioning is WHITE_NOISE


def test_a_level_for_each_channel_is_seen_in_its_plane() -> None:
    y = pictures(3)
    noise = Noise((Affine(read=0.1), Affine(read=0.2), Affine(read=0.05)))
    each, *_ = Conditioning.of(noise, y, 0.1).planes(torch.full((2, 1, 16, 16), 0.1, dtype=torch.float64), y, 4)
    torch.testing.assert_close(each[0, :, 0, 0], torch.tensor([0.1, 0.2, 0.05], dtype=torch.float64))


def test_denoising_is_homogeneous_whatever_the_noise() -> None:
    for channels in (1, 3):
        model, y = network(channels).double().clipped(1.0), pictures(channels)
        noise = CAMERA if channels == 3 else CAMERA.channel(0)
        clean = model.conditioned(Conditioning.of(noise, y, 0.1)).reconstruct(y, 0.1)
        doubled = Conditioning.of(noise.scaled(2.5), 2.5 * y, 0.25)
        told = model.clipped(2.5).conditioned(doubled)
        torch.testing.assert_close(told.reconstruct(2.5 * y, 0.25), 2.5 * clean, rtol=1e-9, atol=1e-12)


def test_the_unit_in_which_noise_is_told_changes_nothing() -> None:
    model, y = network(3).double(), pictures(3)
    one, two = (model.conditioned(Conditioning.of(CAMERA, y, s)).reconstruct(y, s) for s in (0.05, 0.3))
    torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [Informed, InformedOfGrain])
def test_noise_that_depends_on_brightness_works_by_tiles(kind: type[Informed | InformedOfGrain]) -> None:
    model = network(1)
    y = torch.rand(1, 1, 150, 133, generator=Generator().manual_seed(2))
    noise = Noise((Table((0.0, 0.5, 1.0), (0.02, 0.1, 0.05)),), grain=GRAIN)
    told = kind(model, noise)
    whole = told.score(y, 0.1)
    torch.testing.assert_close(Tiled(told, 64, torch.device("cpu")).score(y, 0.1), whole, rtol=1e-4, atol=1e-4)


def test_grain_works_by_tiles_of_the_network() -> None:
    model = network(1)
    y = torch.rand(1, 1, 150, 133, generator=Generator().manual_seed(2))
    told = InformedOfGrain(model, Noise((Affine(read=0.1),), grain=GRAIN))
    tiled = told.with_model(Tiled(model, 64, torch.device("cpu")))
    torch.testing.assert_close(tiled.score(y, 0.1), told.score(y, 0.1), rtol=1e-4, atol=1e-4)


def test_grain_is_the_mean_of_two_estimates() -> None:
    model, y = network(3).double(), pictures(3)
    sigma, told = CAMERA.sigma, InformedOfGrain(model, CAMERA)
    whole = y + sigma**2 * Informed(model, CAMERA).score(y, sigma)
    level = white_level(CAMERA, sigma)
    z = torch.empty_like(y)
    for i in range(2):
        for j in range(2):
            z[:, :, i::2, j::2] = model.reconstruct(y[:, :, i::2, j::2].contiguous(), level)
    torch.testing.assert_close(told.reconstruct(y, sigma), (whole + z) / 2)


def test_a_network_that_takes_no_noise_stays_as_it_is() -> None:
    model = UNet(1, (8,), (1,), (0,), (0.01, 0.2))
    assert model.conditioned(Conditioning.of(CAMERA.channel(0), pictures(1), 0.1)) is model


def test_settings_build_it_again() -> None:
    model = network(3)
    again = UNet(**model.settings())
    again.load_state_dict(model.state_dict())
    y = pictures(3).float()
    told = Conditioning.of(CAMERA, y, 0.1)
    torch.testing.assert_close(
        again.conditioned(told).reconstruct(y, 0.1), model.conditioned(told).reconstruct(y, 0.1), rtol=0, atol=0
    )
