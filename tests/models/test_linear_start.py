"""The energy as a linear filter: what it makes of patches, and when it is offered."""

from itertools import pairwise

import pytest
import torch
from torch import Generator

from smdae.models.energy import without_means
from smdae.models.linear_start import Moments, linear_energy, linear_starts
from smdae.models.wiener import Wiener

LEVEL = 0.01


def rough(n, generator, noise=0.0):
    """Patches of 4 x 4 with a standard deviation of 0.2 that falls to 0.02, with shape (n, 16)."""
    mixing = torch.linalg.qr(torch.randn(16, 16, generator=Generator().manual_seed(5)))[0]
    x = 0.4 + torch.randn(n, 16, generator=generator) * torch.linspace(0.02, 0.2, 16) @ mixing
    return x + noise * torch.randn(n, 16, generator=generator)


@pytest.mark.parametrize("groups", [0, 1])
@pytest.mark.parametrize("hidden", [16, 40])
def test_with_caution_1_the_energy_is_the_wiener_filter(groups, hidden, generator):
    x = rough(4000, generator)
    moments = Moments.of(x, LEVEL, groups, False, generator)
    model = linear_energy(moments, hidden, LEVEL, groups, caution=1.0, generator=generator)

    def centre(x):
        return without_means(x, groups) if groups else x

    wiener = Wiener(centre(x), LEVEL, centre)
    noisy = rough(500, generator, LEVEL)
    wanted, found = (LEVEL**2 * of.score(noisy, LEVEL) for of in (wiener, model))
    assert (found - wanted).square().mean() < 0.02 * wanted.square().mean()


def test_the_less_the_caution_the_less_is_taken_out(generator):
    x = rough(4000, generator)
    noisy = x[:500] + LEVEL * torch.randn(500, 16, generator=generator)
    removed = [
        (model.reconstruct(noisy) - noisy).square().mean().item()
        for model in linear_starts(x, 16, LEVEL, 1, False, generator)
    ]
    assert all(less < more for more, less in pairwise(removed))


def test_of_noisy_patches_the_noise_is_no_part_of_what_is_kept(generator):
    clean, noisy = rough(20_000, generator), rough(20_000, generator, LEVEL)
    of_clean, of_noisy = (Moments.of(x, LEVEL, 1, x is noisy, generator).variance.sum().item() for x in (clean, noisy))
    assert of_noisy == pytest.approx(of_clean, rel=0.02)


@pytest.mark.parametrize(
    ("level", "hidden"),
    [(0.2, 16), (LEVEL, 10_000), (LEVEL, 8)],
    ids=["much noise", "units for all", "fewer units than directions"],
)
def test_it_is_offered_only_where_units_are_too_few(level, hidden, generator):
    assert list(linear_starts(rough(2000, generator), hidden, level, 1, False, generator)) == []
