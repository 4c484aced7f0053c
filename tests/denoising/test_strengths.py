"""How much of the noise is taken out, of brightness and of colour."""

import pytest
import torch
from torch import Generator

from smdae.denoising.strengths import LUMA, Strengths


def pair():
    generator = Generator().manual_seed(0)
    noisy = torch.rand(1, 3, 20, 30, generator=generator)
    return noisy, (noisy + 0.4 * torch.randn(noisy.shape, generator=generator)).clamp(0, 1)


def luma(x):
    return (x * x.new_tensor(LUMA)[:, None, None]).sum(1)


def test_all_and_nothing():
    noisy, estimate = pair()
    assert torch.equal(Strengths().combined(noisy, estimate, (0.0, 1.0)), estimate)
    assert torch.equal(Strengths(0.0, 0.0).combined(noisy, estimate, (0.0, 1.0)), noisy)
    assert Strengths(0.0, 0.0).is_none
    assert Strengths().is_all


def test_colour_alone_leaves_the_luma_even_where_colours_would_leave_the_range():
    noisy, estimate = pair()
    result = Strengths(0.0, 1.0).combined(noisy, estimate, (0.0, 1.0))
    torch.testing.assert_close(luma(result), luma(noisy), atol=1e-6, rtol=0)
    assert result.min() >= 0
    assert result.max() <= 1
    assert (result - noisy).abs().max() > 0.1


def test_luma_alone_adds_the_same_to_all_channels():
    noisy, estimate = pair()
    change = Strengths(1.0, 0.0).combined(noisy, estimate, None) - noisy
    torch.testing.assert_close(change[:, 0], change[:, 2])
    torch.testing.assert_close(luma(noisy + change), luma(estimate))


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_one_strength_for_both_lies_on_the_line(share):
    noisy, estimate = pair()
    expected = noisy + share * (estimate - noisy)
    torch.testing.assert_close(Strengths(share, share).combined(noisy, estimate, None), expected)


def test_a_gray_picture_has_luma_only():
    noisy, estimate = (x[:, :1] for x in pair())
    assert torch.equal(Strengths(0.0, 1.0).combined(noisy, estimate, None), noisy)
