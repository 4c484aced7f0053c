"""Other colours: what a linear map of the channels keeps and what it changes."""

import torch
from torch import Generator

from smdae.fitting.colours import MAX_SATURATION, MIN_SATURATION, recoloured


def patches(n: int = 500) -> torch.Tensor:
    return 0.4 + 0.2 * torch.rand(n, 3 * 4, generator=Generator().manual_seed(0))


def test_grays_stay_gray_and_nothing_leaves_the_range():
    gray = torch.rand(50, 4, generator=Generator().manual_seed(0)).repeat(1, 3)
    torch.testing.assert_close(recoloured(gray, 1.0, Generator().manual_seed(1)), gray)
    vivid = torch.rand(50, 12, generator=Generator().manual_seed(0))
    changed = recoloured(vivid, 1.0, Generator().manual_seed(1))
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_the_mean_of_the_channels_stays_and_saturation_changes_by_one_factor():
    x = patches()
    changed = recoloured(x, 1.0, Generator().manual_seed(1)).view(-1, 3, 4)
    before = x.view(-1, 3, 4)
    inside = ((changed > 0) & (changed < 1)).flatten(1).all(1)
    torch.testing.assert_close(changed.mean(1)[inside], before.mean(1)[inside])
    spread = [(y - y.mean(1, keepdim=True)).square().sum(1).sqrt() for y in (changed, before)]
    factor = spread[0][inside] / spread[1][inside]  # (n, 4)
    torch.testing.assert_close(factor, factor[:, :1].expand_as(factor), rtol=1e-3, atol=1e-4)
    assert factor.min() >= MIN_SATURATION * 0.999
    assert 2 < factor.max() <= MAX_SATURATION * 1.001


def test_channels_trade_places_evenly():
    x = torch.zeros(3000, 3, 4)
    x[:, 0] = 0.2
    brightest = recoloured(x.view(3000, 12), 1.0, Generator().manual_seed(2)).view(3000, 3, 4)[:, :, 0].argmax(1)
    assert brightest.bincount(minlength=3).min() > 900


def test_the_share_is_kept_and_the_rest_is_untouched():
    x = patches(4000)
    changed = recoloured(x, 0.3, Generator().manual_seed(0))
    same = (changed == x).all(1)
    assert abs(same.float().mean().item() - 0.7) < 0.03
    assert torch.equal(recoloured(x, 0.0, Generator().manual_seed(0)), x)
    assert torch.equal(recoloured(x, 0.3, Generator().manual_seed(0)), changed)
