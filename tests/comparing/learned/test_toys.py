"""Toys: sums against closed forms, the theorem to rounding, and fits that end where they should."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from smdae.comparing.learned.exact import applies, expected, fisher, fit, slopes, start
from smdae.comparing.learned.toys import TOYS, Toy, nodes, sums
from smdae.models import EnergyModel
from smdae.objectives import OBJECTIVES
from tests.conftest import random_energy

SMOOTHED = ("ism-parzen", "dsm", "dae", "ssm", "ssm-vr")
WIDE = Toy("wider than the noise", ((0.3, -1.0), (1.5, 0.5)), (1.0, 2.0), spread=0.7, sigma=0.9, hidden=3)
ALL = {**TOYS, "wide": WIDE}


@pytest.fixture(scope="module")
def summed():
    return {key: nodes(toy) for key, toy in ALL.items()}


@pytest.mark.parametrize("key", ALL)
def test_sums_are_the_moments(summed, key):
    toy, at = ALL[key], summed[key]
    means, weights = toy.smooth.means, toy.smooth.weights
    mean, square = weights @ means, torch.einsum("k,ki,kj->ij", weights, means, means)
    eye = torch.eye(toy.dim, dtype=torch.float64)
    for name, variance in (("data", toy.spread**2), ("parzen", toy.width**2), ("pairs", toy.width**2)):
        x, w = at[name].x, at[name].weights
        assert w.sum().item() == pytest.approx(1, abs=1e-12)
        torch.testing.assert_close(w @ x, mean, rtol=0, atol=1e-11)
        torch.testing.assert_close(torch.einsum("m,mi,mj->ij", w, x, x), square + variance * eye, rtol=0, atol=1e-10)
    pairs, clean = at["pairs"], at["pairs"].offers["clean"]
    for other in (clean, pairs.x):  # E x x' and E x x~' are both the covariance of the clean
        product = torch.einsum("m,mi,mj->ij", pairs.weights, clean, other)
        torch.testing.assert_close(product, square + toy.spread**2 * eye, rtol=0, atol=1e-10)


@pytest.mark.parametrize("mean", [(0.4,), (0.4, -1.2)])
def test_divergence_of_a_gaussian_from_a_gaussian(mean):
    toy = Toy("one", (mean,), (1.0,), spread=0.8, sigma=0.7)
    model = random_energy(len(mean), 3, sigma=toy.sigma).requires_grad_(False)
    model.W.zero_()  # units that are off leave N(c, sigma^2 I)
    at = nodes(toy)
    away = (model.c - torch.tensor(mean, dtype=torch.float64)).square().sum().item() / toy.sigma**4
    for name, variance in (("data", toy.spread**2), ("parzen", toy.width**2)):
        exact = 0.5 * (toy.dim * variance * (1 / variance - 1 / toy.sigma**2) ** 2 + away)
        assert fisher(model, at[name]) == pytest.approx(exact, rel=1e-11)


def on_one_scale(name, toy, model, at):
    return expected(name, model, at) * float(OBJECTIVES[name].scale(toy.sigma, toy.dim))


def gradient(value, model):
    return parameters_to_vector(torch.autograd.grad(value, list(model.parameters())))


@pytest.mark.parametrize("key", ALL)
def test_objectives_on_q_sigma_differ_by_constants_that_are_known(summed, key):
    toy, at = ALL[key], summed[key]
    scale = 2 * toy.sigma**2 / toy.dim
    target, w = at["parzen"].offers["target_score"], at["parzen"].weights
    fisher_information = 0.5 * scale * (w @ target.square().sum(1)).item()
    constants = dict.fromkeys(SMOOTHED, -fisher_information) | dict.fromkeys(("dsm", "dae"), 1 - fisher_information)
    for seed in range(3):
        model = random_energy(toy.dim, 5, seed, sigma=toy.sigma)
        esm = on_one_scale("esm-parzen", toy, model, at)
        slope = gradient(esm, model)
        assert slope.norm() > 0.1
        for name in SMOOTHED:
            value = on_one_scale(name, toy, model, at)
            assert (value - esm).item() == pytest.approx(constants[name], abs=1e-10)
            torch.testing.assert_close(gradient(value, model), slope, rtol=0, atol=1e-10)


@pytest.mark.parametrize("key", ["bumps", "wide"])
def test_objectives_on_q_differ_by_a_constant_that_is_known(summed, key):
    toy, at = ALL[key], summed[key]
    for seed in range(3):
        model = random_energy(toy.dim, 5, seed, sigma=toy.sigma)
        esm, ism = (expected(name, model, at) for name in ("esm", "ism"))
        information = 0.5 * at["data"].weights @ at["data"].offers["target_score"].square().sum(1)
        assert (ism - esm + information).item() == pytest.approx(0, abs=1e-10)
        torch.testing.assert_close(gradient(ism, model), gradient(esm, model), rtol=0, atol=1e-9)


def test_differences_are_biased_by_the_square_of_their_step(summed):
    at = summed["points"]
    model = random_energy(1, 5, sigma=1.0)
    slope = gradient(expected("esm-parzen", model, at), model)
    away = []
    for share in (1, 2):
        parzen = at["parzen"]
        offers = {**parzen.offers, "step": share * parzen.offers["step"]}
        wider = {**at, "parzen": type(parzen)(parzen.x, parzen.weights, offers)}
        away.append((gradient(expected("fd-ssm", model, wider), model) - slope).norm().item())
    assert away[1] / away[0] == pytest.approx(4, rel=0.05)


def test_points_have_no_score(summed):
    assert [name for name in OBJECTIVES if not applies(name, summed["points"])] == ["esm"]
    assert all(applies(name, summed["bumps"]) for name in OBJECTIVES)


def test_slopes_are_the_derivatives_of_the_score():
    model = random_energy(2, 4, sigma=0.8)
    x = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    parameters = list(model.parameters())
    theta = parameters_to_vector(parameters).detach()
    columns = []
    for i in range(len(theta)):
        sides = []
        for step in (1e-5, -1e-5):
            vector_to_parameters(theta + step * torch.eye(len(theta), dtype=theta.dtype)[i], parameters)
            sides.append(model.score(x).detach())
        columns.append((sides[0] - sides[1]) / 2e-5)
    vector_to_parameters(theta, parameters)
    torch.testing.assert_close(slopes(model, x), torch.stack(columns, 2), rtol=0, atol=1e-8)


def ends(key, names, steps, summed):
    return {name: fit(TOYS[key], name, summed[key], steps) for name in names}


def theta(ending):
    return parameters_to_vector(ending.model.parameters())


@pytest.mark.parametrize("key", ["points", "ring"])
def test_equivalent_objectives_end_at_the_same_theta_which_is_exact(summed, key):
    found = ends(key, ("esm-parzen", *SMOOTHED, "ism"), 40, summed)
    first = theta(found["esm-parzen"])
    for name in ("esm-parzen", *SMOOTHED):
        assert found[name].gradient < 1e-11
        assert fisher(found[name].model, summed[key]["parzen"]) < 1e-18
        assert (theta(found[name]) - first).norm() < 1e-9 * first.norm()
    assert TOYS[key].least == 0
    assert fisher(found["ism"].model, summed[key]["parzen"]) > 0.1
    assert (theta(found["ism"]) - first).norm() > 0.1 * first.norm()


def test_on_a_smooth_density_the_one_kind_ends_at_q_and_the_other_at_q_sigma(summed):
    at = summed["bumps"]
    found = ends("bumps", ("esm", "ism", "esm-parzen", "dsm"), 60, summed)
    for first, second, near, far in (("esm", "ism", "data", "parzen"), ("esm-parzen", "dsm", "parzen", "data")):
        assert (theta(found[first]) - theta(found[second])).norm() < 1e-4 * theta(found[first]).norm()
        for name in (first, second):
            assert fisher(found[name].model, at[near]) < 1e-4
            assert fisher(found[name].model, at[far]) > 0.03


def test_steps_never_go_up(summed):
    values = [fit(TOYS["bumps"], "dsm", summed["bumps"], steps).value for steps in range(6)]
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(expected("dsm", start(TOYS["bumps"]), summed["bumps"]).item(), rel=1e-12)


def test_points_on_a_line_are_a_model_with_the_roots_of_a_polynomial(summed):
    toy = TOYS["points"]
    means, weights = np.array(toy.means)[:, 0], np.array(toy.weights)
    distance = means[1] - means[0]
    assert all(weights[k] ** 2 * math.exp(distance**2) > 4 * weights[k - 1] * weights[k + 1] for k in (1, 2, 3))
    roots = np.roots((weights * np.exp(-(means**2) / 2))[::-1])
    assert np.abs(roots.imag).max() == 0
    b = np.sort(np.log(-1 / roots.real))
    model = EnergyModel(1, 4, 1.0).double().requires_grad_(False)
    model.W.fill_(distance)
    model.b.copy_(torch.from_numpy(b))
    model.c.fill_(means[0])
    assert fisher(model, summed["points"]["parzen"]) < 1e-20

    found = fit(toy, "dsm", summed["points"], 60).model  # a unit and its negative are one
    W, found_b, c = found.W[:, 0], found.b, found.c + found.W[found.W < 0].sum()
    torch.testing.assert_close(W.abs(), model.W[:, 0], rtol=0, atol=1e-9)
    torch.testing.assert_close((W.sign() * found_b).sort().values, model.b, rtol=0, atol=1e-9)
    torch.testing.assert_close(c, model.c, rtol=0, atol=1e-9)


def test_sums_of_subsets_are_the_model_multiplied_out():
    model = random_energy(2, 3, sigma=1.0)
    made = Toy("sums", **sums(model.c.tolist(), model.W.tolist(), model.b.tolist()))
    x = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    torch.testing.assert_close(model.score(x), made.smooth.score(x), rtol=0, atol=1e-12)
    difference = made.smooth.log_prob(x) + model.energy(x)
    torch.testing.assert_close(difference, difference[:1].expand_as(difference), rtol=0, atol=1e-12)


def test_a_ring_has_its_corners_at_one_radius_and_little_within():
    toy = TOYS["ring"]
    radii, weights = toy.smooth.means.norm(dim=1), toy.smooth.weights
    corners = (radii - 3.5).abs() < 1e-9
    assert corners.sum() == 8
    assert weights[~corners].sum() < 0.02
    gaps = [(a - b).norm().item() for a, b in itertools.combinations(toy.smooth.means[corners], 2)]
    assert min(gaps) > 2  # the corners are modes of their own
