"""Demosaicing: what comes back of ramps and plain colours, and what a mosaic holds."""

import pytest
import torch
from torch import Generator, Tensor

from smdae.demosaicing import directional, linear, mosaic_of


def demosaiced(mosaic: Tensor, how: str) -> Tensor:
    if how == "directional":
        return directional(mosaic)
    return linear(mosaic, torch.full((len(mosaic), 1, 1, 1), float(how), dtype=mosaic.dtype))


@pytest.mark.parametrize("how", ["0", "0.5", "1", "directional"])
def test_gray_ramps_come_back_from_mosaics(how: str) -> None:
    down, across = torch.meshgrid(*(torch.arange(24, dtype=torch.float64),) * 2, indexing="ij")
    ramp = (0.2 + 0.01 * down + 0.02 * across).expand(1, 3, 24, 24)
    found = demosaiced(mosaic_of(ramp), how)
    torch.testing.assert_close(found[..., 4:-4, 4:-4], ramp[..., 4:-4, 4:-4], rtol=0, atol=1e-12)


@pytest.mark.parametrize("how", ["0", "0.5", "1", "directional"])
def test_a_plain_colour_comes_back_from_mosaics(how: str) -> None:
    plain = torch.tensor([0.7, 0.3, 0.1], dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    torch.testing.assert_close(demosaiced(mosaic_of(plain), how), plain, rtol=0, atol=1e-12)


def test_mosaics_hold_the_pixels_of_one_channel_each() -> None:
    x = torch.rand(2, 3, 6, 8, generator=Generator().manual_seed(0))
    y = mosaic_of(x)
    torch.testing.assert_close(y[:, 0, 0::2, 0::2], x[:, 0, 0::2, 0::2])
    torch.testing.assert_close(y[:, 0, 0::2, 1::2], x[:, 1, 0::2, 1::2])
    torch.testing.assert_close(y[:, 0, 1::2, 0::2], x[:, 1, 1::2, 0::2])
    torch.testing.assert_close(y[:, 0, 1::2, 1::2], x[:, 2, 1::2, 1::2])
