"""The noise of gradients: designs are without bias, figures those of the definition, and small levels as the theory."""

import math

import pytest
import torch
from torch import Generator, nn

from smdae.comparing.contest import Contest, applicable
from smdae.comparing.estimator import measure as part
from smdae.comparing.estimator.designs import CONTROLS, DESIGNS, FRAME
from smdae.comparing.estimator.spreads import Spread, losses, spreads
from smdae.comparing.evaluation import gradient
from smdae.comparing.part import Context
from smdae.comparing.parts import PARTS
from smdae.densities import Gaussian
from smdae.fitting.draws import among
from smdae.fitting.settings import check
from smdae.objectives import denoising, implicit
from tests.conftest import random_energy
from tests.measuring import contest, measured
from tests.quadrature import noisy_nodes
from tests.tiny import SETTINGS

NOISY = ("dsm", "esm-parzen", "ism-parzen", "ssm", "ssm-vr", "fd-ssm")


@pytest.fixture(scope="module")
def context() -> Context:
    return Context(contest(), applicable(), quick=True)


@pytest.fixture(scope="module")
def found(context):
    return measured(part.ESTIMATOR, context)


def by_kind(rows) -> dict:
    return {(r.theta, r.objective, r.design, r.sigma): r for r in rows}


@pytest.mark.parametrize("d", [3, 9])
@pytest.mark.parametrize("design", DESIGNS)
def test_noise_of_every_design_is_normal(design, d):
    clean = torch.arange(48_000, dtype=torch.float64)[:, None].expand(-1, d)
    patches, noise = DESIGNS[design](clean, Generator().manual_seed(0))
    assert patches.shape == noise.shape == clean.shape
    assert noise.dtype == torch.float64
    torch.testing.assert_close(noise.T @ noise / len(noise), torch.eye(d).double(), rtol=0, atol=0.03)
    assert (noise.pow(4).mean(0) - 3).abs().max() < 0.2
    lengths = noise.square().sum(1)
    assert lengths.var().item() == pytest.approx(2 * d, rel=0.06)
    # Each member of a group by itself, not their mean alone: opposite ones would hide what is one-sided.
    size = {"antithetic": 1, "frames": 2 * min(FRAME, d)}.get(design, 1)
    members = noise[:24_000].view(-1, size, d)
    assert (members.mean(0) * math.sqrt(len(members))).abs().max() < 4.5
    assert (members.pow(3).mean(0) * math.sqrt(len(members) / 15)).abs().max() < 4.5


def test_opposite_noise_is_on_the_same_patch():
    clean = torch.randn(64, 5, generator=Generator().manual_seed(0), dtype=torch.float64)
    patches, noise = DESIGNS["antithetic"](clean, Generator().manual_seed(1))
    assert torch.equal(noise[:32], -noise[32:])
    assert torch.equal(patches, torch.cat([clean[:32], clean[:32]]))
    patches, noise = DESIGNS["frames"](clean, Generator().manual_seed(1))
    for group, same in zip(noise.view(8, 8, 5), patches.view(8, 8, 5), strict=True):
        assert torch.equal(group[:4], -group[4:])
        assert torch.equal(same, same[:1].expand(8, 5))
        products = group[:4] @ group[:4].T
        torch.testing.assert_close(products, products.diagonal().diag(), rtol=0, atol=1e-12)
    assert len({tuple(p.tolist()) for p in patches}) == 8


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("m", [1, 7])
def test_any_number_of_examples_can_be_had(design, m):
    patches, noise = DESIGNS[design](torch.zeros(m, 2), Generator())
    assert patches.shape == noise.shape == (m, 2)


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_have_no_gradient_on_average(name):
    sigma = 0.7
    model = random_energy(2, 5, sigma=0.8)
    x, noisy, weights = noisy_nodes(torch.tensor([[0.3, -0.5], [1.0, 0.2]], dtype=torch.float64), sigma)
    values = CONTROLS[name](model, 0.8, x, (noisy - x) / sigma, sigma)
    parts = torch.autograd.grad((weights * values).sum(), list(model.parameters()), retain_graph=True)
    whole = torch.autograd.grad((weights * values.abs()).sum(), list(model.parameters()))
    assert all(g.abs().max() < 1e-8 * h.abs().max() for g, h in zip(parts, whole, strict=True))


def test_stein_leads_from_one_objective_to_the_other():
    """J_DSM - C is J_ISM at the same draws, but for what is free of theta."""
    model, chance = random_energy(3, 5, sigma=1.0), Generator().manual_seed(0)
    clean, noise = (torch.randn(6, 3, generator=chance, dtype=torch.float64) for _ in range(2))
    noisy = clean + 0.4 * noise
    mixed = denoising(model, noisy, clean, 0.4, 1.0) - CONTROLS["stein"](model, 1.0, clean, noise, 0.4)
    free = noise.square().sum(1) / (2 * 0.4**2)
    torch.testing.assert_close(mixed, implicit(model, noisy) + free)


def test_every_design_has_the_gradient_of_the_quadrature():
    sigma, data = 0.6, torch.tensor([[0.3, -0.5], [1.0, 0.2], [-0.4, 0.9]], dtype=torch.float64)
    model = random_energy(2, 4, sigma=1.0)
    settings = check({"sigma": 255 * sigma})
    common = Contest(settings, model, data, data)
    x, noisy, weights = noisy_nodes(data, sigma)
    truth = gradient(model, weights @ denoising(model, noisy, x, sigma, 1.0))
    draw = among(data)
    for name in NOISY[:5]:  # `fd-ssm` errs by the square of its step
        examples = common.examples(name)
        for design in DESIGNS:
            rows = []
            for k in range(40):
                clean, _ = draw(1024, Generator().manual_seed(k))
                values = losses(examples, model, design, clean, Generator().manual_seed(100 + k))
                rows.append(gradient(model, values.mean()))
            found = torch.stack(rows)
            apart = found.mean(0) - truth
            chance = found.var(0) / len(found)
            # The square of the error over what it is by chance has mean 1 and few degrees of freedom.
            assert apart.square().sum() < 4 * chance.sum(), (name, design)
            assert (apart.abs() < 5 * chance.sqrt()).all(), (name, design)


def test_spread_is_that_of_an_example():
    rows = [
        Spread.of(1 + 0.5 * torch.randn(40, 30, generator=Generator().manual_seed(k)).double(), draws=16)
        for k in range(200)
    ]
    variance = torch.tensor([row.variance for row in rows])
    assert variance.mean().item() == pytest.approx(0.25 * 30 * 16, rel=0.01)
    assert sum(row.square for row in rows) / 200 == pytest.approx(30, rel=0.01)
    stated = torch.tensor([row.error for row in rows]).square().mean().sqrt()
    assert stated.item() == pytest.approx(variance.std().item(), rel=0.2)


class Constant(nn.Module):
    """psi(x) = theta, whatever x is."""

    level = 1.0

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.full((dim,), 0.5, dtype=torch.float64))

    def centre(self, x):
        return x

    def score(self, x, sigma=None):
        return self.theta.expand(len(x), -1)

    def divergence(self, x, sigma=None):
        return 0 * self.theta.sum().expand(len(x))


def test_a_constant_field_shows_the_law():
    """Its gradients are theta + eps/sigma under `dsm` and theta under `ism-parzen`: d/sigma^2 against nothing."""
    d = 6
    data = torch.randn(50, d, generator=Generator().manual_seed(0), dtype=torch.float64)
    for sigma in (0.5, 0.05):
        common = Contest(check({"sigma": 255 * sigma}), Constant(d), data, data)
        kinds = [("dsm", design) for design in (*DESIGNS, *CONTROLS)] + [("ism-parzen", "independent")]
        *_, found = spreads(common, kinds, 200)
        assert found["dsm", "independent"].variance == pytest.approx(d / sigma**2, rel=0.15)
        assert found["dsm", "independent"].error < 0.1 * d / sigma**2
        for kind in kinds[1:]:
            assert found[kind].variance < 1e-20 / sigma**2
            assert found[kind].square == pytest.approx(0.25 * d)
        assert found["dsm", "control"].weight == pytest.approx(1)
        assert found["dsm", "stein"].weight == pytest.approx(1)


def test_small_levels_are_as_the_theory_says(found):
    shares, tables = found
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    rows = by_kind(tables["variances"])
    levels = sorted({sigma for *_, sigma in rows})
    assert levels == [2.5, 10, 25, 100]
    low, higher = levels[:2]

    def ratio(theta, name, design="independent", to=None):
        to = to or (name, design, higher)
        return rows[theta, name, design, low].variance / rows[theta, *to].variance

    law = (higher / low) ** 2
    assert 0.8 * law < ratio("fixed", "dsm") < 1.25 * law
    assert ratio("fixed", "esm-parzen", to=("dsm", "independent", low)) == pytest.approx(1, rel=0.01)
    assert ratio("fixed", "ism-parzen") < 1.3
    assert ratio("fixed", "ism-parzen", to=("ism", "none", low)) == pytest.approx(1, rel=0.1)
    assert ratio("fixed", "dsm", "antithetic", ("dsm", "independent", low)) < 3 / law
    assert ratio("fixed", "dsm", "control", ("dsm", "independent", low)) < 3 / law
    # The choice of the patch is what is left, and half the patches are twice its noise.
    assert 1.5 < ratio("own", "dsm", "antithetic", ("dsm", "independent", low)) < 2.5


def test_controls_do_no_worse_than_what_they_mix(found):
    for (theta, name, design, sigma), row in by_kind(found[1]["variances"]).items():
        if name == "dsm" and design in CONTROLS:
            others = by_kind(found[1]["variances"])
            assert row.variance <= others[theta, "dsm", "independent", sigma].variance * (1 + 1e-9)
            assert row.weight is not None
            if design == "stein":
                assert row.variance <= others[theta, "ism-parzen", "independent", sigma].variance * (1 + 1e-6)
        else:
            assert row.weight is None


def test_costs_are_variances_times_seconds(found):
    rows = by_kind(found[1]["variances"])
    for (theta, _, design, sigma), row in rows.items():
        plain = rows[theta, "dsm", "independent", sigma]
        if design == "none":
            assert row.cost is None
        else:
            expected = row.variance * row.seconds / (plain.variance * plain.seconds)
            assert row.cost == pytest.approx(expected)
        assert row.seconds > 0
        assert 0 < row.error < row.variance


def test_pictures_and_lines(context, found):
    shown = PARTS["estimator"]
    assert set(found[1]) == set(shown.rows)
    assert all(isinstance(row, shown.rows["variances"]) for row in found[1]["variances"])
    drawn = shown.draw(found[1], context)
    assert set(drawn) == set(shown.pictures)
    assert drawn["variance"].startswith(b"\x89PNG")
    lines = shown.summarise(found[1])
    assert max(map(len, lines)) <= 80
    text = " ".join(lines)
    rows = by_kind(found[1]["variances"])
    grown = rows["fixed", "dsm", "independent", 2.5].variance / rows["fixed", "dsm", "independent", 10.0].variance
    assert f"from sigma 10 to 2.5 the variance is multiplied by: dsm {grown:.2f}" in text


@pytest.mark.parametrize(
    ("names", "objectives"),
    [(("dae",), {"dsm"}), (("ism", "ism-parzen"), {"ism", "ism-parzen"}), (("ism",), {"ism"}), (("esm",), set())],
)
def test_only_what_is_asked_for(monkeypatch, names, objectives):
    monkeypatch.setattr(part, "QUICK_BATCHES", 3)
    monkeypatch.setattr(part, "QUICK_SHARES", (0.5, 1.0))
    asked = Context(contest(), names, quick=True)
    _, tables = measured(part.ESTIMATOR, asked)
    rows = tables["variances"]
    assert {row.objective for row in rows} == objectives
    plain = [row for row in rows if row.design == "independent"]
    assert all(row.cost == pytest.approx(1) for row in plain)
    assert all(len(line) <= 80 for line in part.summarise(tables))
    assert bool(part.ESTIMATOR.draw(tables, asked)) == bool(objectives)


def test_a_density_will_do(monkeypatch):
    monkeypatch.setattr(part, "QUICK_BATCHES", 3)
    monkeypatch.setattr(part, "QUICK_SHARES", (1.0,))
    target = Gaussian(torch.zeros(5), torch.eye(5))
    common = Contest.of_density(target, check({**SETTINGS, "sigma": 50.0}), 200)
    _, tables = measured(part.ESTIMATOR, Context(common, NOISY, quick=True))
    assert {row.objective for row in tables["variances"]} == set(NOISY)
    assert all(math.isfinite(row.variance or 0) for row in tables["variances"])


def test_the_contest_is_left_as_it_was(context, found):
    again = contest()
    assert context.contest.settings == again.settings
    for a, b in zip(context.contest.origin.parameters(), again.origin.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not context.contest._batches
