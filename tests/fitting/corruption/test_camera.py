"""The camera of the fits: what noise looks like in its photographs."""

import torch
from torch import Generator

from smdae.fitting.corruption.camera import photographs


def test_noise_of_photographs_is_correlated_and_centred() -> None:
    x = torch.full((32, 3, 64, 64), 0.5)
    clean, noisy = photographs(x, Generator().manual_seed(3))
    e = (noisy - clean)[..., 4:-4, 4:-4]
    power = e.square().mean((1, 2, 3))
    beside = (e[..., 1:] * e[..., :-1]).mean((1, 2, 3)) / power
    assert beside.median() > 0.15
    assert (e.mean((1, 2, 3)).abs() < 0.35 * power.sqrt() + 1e-3).all()
    assert 0.5 / 255 < power.sqrt().median() < 30 / 255


def test_photographs_are_reproducible_and_differ_by_camera() -> None:
    x = torch.rand(4, 3, 32, 32, generator=Generator().manual_seed(0))
    first, again = (photographs(x, Generator().manual_seed(5)) for _ in range(2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    other = photographs(x, Generator().manual_seed(6))
    assert (other[0] - first[0]).abs().amax((1, 2, 3)).min() > 0.01
