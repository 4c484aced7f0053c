"""The exact cut-off: what is left out is bounded by theory and by count, and the mean is that of all patches."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Generator, Tensor

from smdae import cells, densities
from smdae.cells import Cells, Sums, boxed, shortened
from smdae.densities import Parzen
from tests.test_densities import patches_of_a_photograph

EPS = torch.finfo(torch.float64).eps


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """Cells for few queries, and whether they pay or not."""
    monkeypatch.setattr(cells, "LEAST", 1)
    monkeypatch.setattr(cells, "PAIRS", 1)
    monkeypatch.setattr(cells, "WORTH", math.inf)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def logits(x: Tensor, u: Tensor, sigma: float) -> Tensor:
    """l_j of each query, by the formula, with shape (B, n)."""
    return x @ u.T / sigma**2 - u.square().sum(1) / (2 * sigma**2)


def exact(x: Tensor, u: Tensor, sigma: float) -> Tensor:
    """The mean by its definition."""
    return logits(x, u, sigma).softmax(1) @ u


def skewed(n: int, d: int, seed: int = 0) -> Tensor:
    """Points of very different contrast, most of it in few directions, as patches are."""
    return drawn(n, d, seed=seed) * torch.logspace(0, -2, d) * drawn(n, 1, seed=seed + 1).exp()


CASES = {
    "skewed": (skewed(700, 10), None),
    "two far clusters": (torch.cat([drawn(300, 6), 100 + drawn(300, 6, seed=1)]), None),
    "all equal": (torch.ones(200, 5, dtype=torch.float64), None),
    "all zero": (torch.zeros(200, 5, dtype=torch.float64), None),
    "in pairs": (drawn(150, 4).repeat(2, 1), None),
    "one patch": (drawn(1, 5), drawn(20, 5, seed=1)),
    "two patches": (drawn(2, 5), drawn(20, 5, seed=1)),
    "a line": (drawn(400, 1) * drawn(1, 7, seed=1), None),
    "far queries": (drawn(400, 6), 1e4 * drawn(30, 6, seed=1)),
    "queries between": (torch.cat([drawn(200, 5) - 30, drawn(200, 5, seed=1) + 30]), drawn(40, 5, seed=2)),
    "one far patch": (torch.cat([drawn(300, 5), torch.full((1, 5), 1e3, dtype=torch.float64)]), None),
    "a photograph": (patches_of_a_photograph(900), None),
}


@pytest.mark.parametrize("sigma", [1e-3, 0.05, 0.5, 5.0, 1e3])
@pytest.mark.parametrize("case", CASES)
def test_the_mean_is_that_of_all_patches(case, sigma):
    patches, x = CASES[case]
    centre = patches.mean(0)
    if x is None:
        x = patches[::7] + sigma * drawn(len(patches[::7]), patches.shape[1], seed=5)
    sorted_ = Cells.of(patches, centre, sigma, size=16)
    found, expected = sorted_.mean(x - centre), exact(x - centre, patches - centre, sigma)
    u = (patches - centre).norm(dim=1).max() / sigma
    # What rounding does to the logarithms is what it does to the weights, here and there.
    off = 20 * EPS * (1 + ((x - centre).norm(dim=1) / sigma + u) ** 2) * (patches - centre).norm(dim=1).max()
    assert ((found - expected).abs().amax(1) <= off).all()


def left_out(sorted_: Cells, x: Tensor, monkeypatch) -> Tensor:
    """Which patches were left out for each query, with shape (B, n)."""
    out = torch.ones(len(x), len(sorted_.keys), dtype=torch.bool)
    add, noticing, noticed = Sums.add, Sums.noticing, []

    def watching(self, rows, more):
        places = noticing(self, rows, more)
        noticed.append(rows[places])
        return places

    def adding(self, rows, keys, bias):
        begin = (keys.data_ptr() - sorted_.keys.data_ptr()) // (keys.element_size() * keys.shape[1])
        count = add(self, rows, keys, bias)
        out[noticed[-1][:, None], torch.arange(begin, begin + len(keys))] = False
        return count

    with monkeypatch.context() as patch:
        patch.setattr(Sums, "noticing", watching)
        patch.setattr(Sums, "add", adding)
        sorted_.mean(x)
    return out


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.5])
def test_what_is_left_out_has_no_weight_and_is_most_where_noise_is_low(sigma, monkeypatch):
    patches = skewed(3000, 12)
    x = patches[::30] + sigma * drawn(100, 12, seed=5)
    sorted_ = Cells.of(patches, torch.zeros(12, dtype=torch.float64), sigma, size=32)
    out = left_out(sorted_, x, monkeypatch)
    weights = logits(x, sorted_.keys, sigma).softmax(1)
    assert ((weights * out).sum(1) <= EPS / 4).all()
    share = out.double().mean().item()
    assert share > {0.02: 0.8, 0.1: 0.5, 0.5: 0.1}[sigma]


@pytest.mark.parametrize("case", CASES)
def test_no_patch_of_a_cell_is_beyond_its_bound(case):
    patches, x = CASES[case]
    centre, sigma = patches.mean(0), 0.3
    sorted_ = Cells.of(patches, centre, sigma, size=16)
    x = (patches[::5] + sigma * drawn(len(patches[::5]), patches.shape[1]) if x is None else x) - centre
    bound = sorted_._bound(x / sigma, x.norm(dim=1) / sigma)
    for cell, part in enumerate(sorted_.keys.split(torch.tensor(sorted_.ends).diff().tolist())):
        true = logits(x, part, sigma).amax(1) + math.log(len(part))
        assert (true <= bound[:, cell] + 1e-9 * (1 + true.abs())).all()


def test_the_bound_is_reached_where_patches_lie_as_the_box_says():
    """Cells of one patch, in no more dimensions than there are directions: then nothing is lost."""
    patches, sigma = drawn(30, 3), 0.3
    sorted_ = Cells.of(patches, torch.zeros(3, dtype=torch.float64), sigma, size=1)
    x = drawn(20, 3, seed=1)
    torch.testing.assert_close(sorted_._bound(x / sigma, x.norm(dim=1) / sigma), logits(x, sorted_.keys, sigma))


def test_the_map_makes_no_distance_larger():
    basis = torch.linalg.qr(drawn(9, 3))[0]
    u, v = drawn(200, 9, seed=1), 3 * drawn(200, 9, seed=2)
    there = (shortened(u, basis) - shortened(v, basis)).norm(dim=1)
    assert (there <= (u - v).norm(dim=1) * (1 + 1e-12)).all()
    torch.testing.assert_close(shortened(u, basis).norm(dim=1), u.norm(dim=1))


@pytest.mark.parametrize(("n", "size"), [(1, 4), (4, 4), (5, 4), (1000, 7), (1024, 16)])
def test_boxes_hold_all_points_once_and_no_more_than_they_may(n, size):
    points = drawn(n, 3).numpy()
    order, ends = boxed(points, size)
    assert sorted(order.tolist()) == list(range(n))
    lengths = torch.tensor(ends).diff()
    assert ends[0] == 0
    assert ends[-1] == n
    assert (lengths <= size).all()
    assert (lengths == size).sum() >= n // size - 1


def test_cells_are_boxes_smaller_than_chance_would_make_them():
    points = drawn(4096, 3)
    order, ends = boxed(points.numpy(), 64)
    sides = [(points[order[a:b]].amax(0) - points[order[a:b]].amin(0)).prod() for a, b in pairwise(ends)]
    assert torch.stack(sides).median() < 0.02 * (points.amax(0) - points.amin(0)).prod()


def test_single_precision_is_as_good_as_the_fused_kernel():
    patches = patches_of_a_photograph(4000)
    density = Parzen(patches.float(), 0.02)
    x = Parzen(patches, 0.02).sample(200, Generator().manual_seed(0))
    expected = Parzen(patches, 0.02).posterior_mean(x)
    centre = patches.float().mean(0)
    sorted_ = Cells.of(patches.float(), centre, 0.02, size=64)
    errors = [
        (found.double() - expected).abs().max()
        for found in (sorted_.mean(x.float() - centre) + centre, density.posterior_mean(x.float()))
    ]
    assert errors[0] < 2 * errors[1]


def test_where_nothing_can_be_left_out_it_is_known_early(monkeypatch):
    monkeypatch.setattr(cells, "WORTH", 0.9)
    patches = drawn(200 * 64, 8)
    sorted_ = Cells.of(patches, torch.zeros(8, dtype=torch.float64), 3.0, size=64)
    added = []
    add = Sums.add

    def watched(self, rows, keys, bias):
        added.append(len(rows) * len(keys))
        return add(self, rows, keys, bias)

    monkeypatch.setattr(Sums, "add", watched)
    assert sorted_.mean(drawn(500, 8, seed=1)) is None
    assert sum(added) < 0.05 * 500 * len(patches)


def test_few_queries_are_left_to_the_fused_kernel(monkeypatch):
    monkeypatch.setattr(cells, "LEAST", 128)
    sorted_ = Cells.of(drawn(100, 4), torch.zeros(4, dtype=torch.float64), 0.1, size=10)
    assert sorted_.mean(drawn(127, 4)) is None
    assert sorted_.mean(drawn(128, 4)).shape == (128, 4)
    monkeypatch.setattr(cells, "PAIRS", 12_801)
    assert sorted_.mean(drawn(128, 4)) is None
    assert sorted_.mean(drawn(129, 4)).shape == (129, 4)


# As a Parzen density


@pytest.fixture
def pair(monkeypatch):
    """The same density with cells and without."""
    patches = 5 + skewed(800, 9)
    plain = Parzen(patches, 0.2)
    monkeypatch.setattr(densities, "MANY", 800)
    monkeypatch.setattr(cells, "SIZE", 32)
    return Parzen(patches, 0.2), plain


def test_a_parzen_density_of_many_patches_is_the_same(pair):
    many, plain = pair
    assert many._cells is not None
    assert plain._cells is None
    x = plain.sample(300, Generator().manual_seed(3))
    torch.testing.assert_close(many.score(x), plain.score(x), rtol=0, atol=1e-10)
    torch.testing.assert_close(many.posterior_mean(x), plain.posterior_mean(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(many.log_prob(x), plain.log_prob(x), rtol=1e-12, atol=0)
    for a, b in zip(
        many.pairs(50, Generator().manual_seed(1)), plain.pairs(50, Generator().manual_seed(1)), strict=True
    ):
        assert torch.equal(a, b)


def test_its_score_is_the_gradient_of_its_logarithm(pair):
    many, _ = pair
    x = many.sample(60, Generator().manual_seed(3)).requires_grad_()
    (gradient,) = torch.autograd.grad(many.log_prob(x).sum(), x)
    torch.testing.assert_close(many.score(x.detach()), gradient, rtol=0, atol=1e-10)


def test_a_gradient_goes_through_its_score(pair):
    x = pair[0].sample(5, Generator().manual_seed(3)).requires_grad_()
    gradients = [torch.autograd.grad(density.score(x).square().sum(), x)[0] for density in pair]
    torch.testing.assert_close(*gradients)


def test_no_table_of_queries_by_patches_is_held(pair):
    import resource

    patches = torch.randn(60_000, 48, generator=Generator().manual_seed(0))
    sorted_ = Cells.of(patches, torch.zeros(48), 1.0)
    x = torch.randn(4096, 48, generator=Generator().manual_seed(1))
    sorted_.mean(x[:8])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sorted_.mean(x)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < len(patches) * len(x) * 4 / 10
