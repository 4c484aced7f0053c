"""What was learned: figures against their definitions, and pictures of whatever there is."""

import dataclasses
import io
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator

from smdae.comparing import contestants
from smdae.comparing.contest import Contest
from smdae.comparing.contestants import Course
from smdae.comparing.learned.fields import view
from smdae.comparing.learned.filters import TILES, mosaic, sheet
from smdae.comparing.learned.measure import LEARNED, Alike
from smdae.comparing.learned.pictures import chosen
from smdae.comparing.learned.samples import langevin
from smdae.comparing.learned.toy_fits import model_of, toy_fits
from smdae.comparing.learned.toys import TOYS
from smdae.comparing.part import Context
from smdae.comparing.parts import PARTS
from smdae.densities import GaussianMixture
from smdae.fitting.settings import check
from tests.conftest import random_energy
from tests.measuring import contest, measured
from tests.tiny import SETTINGS

NAMES = ("esm", "ism", "esm-parzen", "dsm", "dae", "fd-ssm")
PATCHES = ("filters", "responses", "samples", "field")
ALWAYS = ("toy-1d", "toy-2d")


def context(contest: Contest, names: tuple[str, ...] = NAMES, outcome: str | None = None) -> Context:
    courses = [list(contestants.fit(contest, name))[-1] for name in names]
    if outcome:
        courses = [dataclasses.replace(course, outcome=outcome) for course in courses]
    return Context(contest, names, tuple(courses), {}, (), quick=True)


def of_images(images=None) -> Contest:
    return contest(images, max_steps=60)


def of_density(dim: int) -> Contest:
    means = torch.randn(3, dim, generator=Generator().manual_seed(0))
    density = GaussianMixture(torch.ones(3), 0.3 * means, 0.01 * torch.eye(dim).expand(3, dim, dim))
    return Contest.of_density(density, check({**SETTINGS, "max_steps": 5}), 300)


@pytest.fixture(scope="module")
def found():
    made = context(of_images())
    return made, *measured(LEARNED, made)


def test_the_part_has_its_place():
    assert PARTS["learned"] is LEARNED
    assert LEARNED.fits == "all"


def test_shares_rise_and_tables_are_of_their_rows(found):
    _, shares, tables = found
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, pytest.approx(1))
    assert tables.keys() == LEARNED.rows.keys()
    for name, rows in tables.items():
        assert rows
        assert {type(row) for row in rows} == {LEARNED.rows[name]}
        assert json.dumps([dataclasses.asdict(row) for row in rows], allow_nan=False)


def test_units_are_told_by_their_definitions(found):
    context, _, tables = found
    assert [row.objective for row in tables["units"]] == list(NAMES)
    contest = context.contest
    x, clean = contest.held_out_batch("dsm").x[:40], contest.held_out[:40]
    small = dataclasses.replace(contest, held_out=clean, _batches={})
    small.held_out_batch("dsm")
    rows = {
        row.objective: row
        for row in measured(LEARNED, dataclasses.replace(context, contest=small, names=("ism", "dsm")))[1]["units"]
    }
    model = context.fitted["dsm"].double()
    x = small.held_out_batch("dsm").x.double()
    W = model.W - model.W.mean(1, keepdim=True)
    h = 1 / (1 + torch.exp(-(x / contest.sigma @ W.T + model.b)))
    assert rows["dsm"].units == len(W)
    assert rows["dsm"].activity == pytest.approx(h.mean().item(), rel=1e-4)
    assert rows["dsm"].on == pytest.approx(((h > 0.5).any(0)).double().mean().item())
    assert rows["dsm"].height == pytest.approx(W.norm(dim=1).mean().item(), rel=1e-5)
    share = np.linalg.svd(W.detach().numpy())[1] ** 2
    share = share[share > 1e-12 * share.sum()] / share.sum()
    assert rows["dsm"].rank == pytest.approx(math.exp(-(share * np.log(share)).sum()), rel=1e-3)
    jacobians = torch.stack([torch.autograd.functional.jacobian(lambda v: model.reconstruct(v[None])[0], p) for p in x])
    told = jacobians.diagonal(dim1=1, dim2=2).mean()  # Cov = sigma^2 dr/dx
    assert rows["dsm"].predicted == pytest.approx(told.item(), rel=1e-4)
    error = (model.reconstruct(x) - clean).square().mean() / contest.sigma**2
    assert rows["dsm"].observed == pytest.approx(error.item(), rel=1e-4)
    assert (rows["ism"].predicted, rows["ism"].observed) == (None, None)
    model.float()


def test_a_single_pair_is_neither_the_least_nor_the_most_different():
    pair = Alike("dsm", "dae", 0.99, 0.1234)
    empty = {"units": [], "toys": [], "thetas": []}
    text = " ".join(LEARNED.summarise({**empty, "alike": [pair]}))
    assert "The scores of dsm and dae differ there by 0.123." in text
    assert "least" not in text
    other = Alike("dsm", "ism", 0.5, 0.9)
    text = " ".join(LEARNED.summarise({**empty, "alike": [pair, other]}))
    assert "least of dsm and dae by 0.123, most of dsm and ism by 0.900" in text


def test_alike_are_those_of_one_minimum(found):
    context, _, tables = found
    pairs = {(row.first, row.second): row for row in tables["alike"]}
    assert len(pairs) == len(NAMES) * (len(NAMES) - 1) // 2
    assert pairs["dsm", "dae"].difference < 1e-3
    assert pairs["dsm", "dae"].cosine == pytest.approx(1, abs=1e-5)
    assert pairs["esm-parzen", "dsm"].difference < pairs["ism", "dsm"].difference
    x = context.contest.held_out_batch("dsm").x
    a, b = (context.fitted[name].score(x) for name in ("ism", "dsm"))
    expected = ((a - b).square().sum() / (0.5 * (a.square().sum() + b.square().sum()))).sqrt()
    assert pairs["ism", "dsm"].difference == pytest.approx(expected.item(), rel=1e-4)


def test_toys_tell_equivalent_objectives_from_others(found):
    _, _, tables = found
    rows = {(row.density, row.objective): row for row in tables["toys"]}
    assert {key for key, _ in rows} == set(TOYS)
    assert ("points", "esm") not in rows
    for key in ("points", "ring"):
        assert rows[key, "esm-parzen"].like is None
        for name in ("dsm", "dae"):
            row = rows[key, name]
            assert (row.like, row.biased) == ("esm-parzen", False)
            assert row.distance < 1e-10
            assert row.to_smooth < 1e-18
            assert row.to_clean is None
        assert rows[key, "fd-ssm"].biased
        assert 1e-5 < rows[key, "fd-ssm"].distance < 0.1
        assert rows[key, "ism"].to_smooth > 0.1
    assert rows["bumps", "ism"].like == "esm"
    assert rows["bumps", "ism"].to_clean < 1e-4 < 0.05 < rows["bumps", "ism"].to_smooth


def test_what_is_biased_is_compared_with_what_is_not():
    rows = {(row.density, row.objective): row for _, row, _ in toy_fits(("fd-ssm", "ism-parzen"), 3)}
    for key in TOYS:
        assert (rows[key, "ism-parzen"].like, rows[key, "ism-parzen"].distance) == (None, None)
        assert rows[key, "fd-ssm"].like == "ism-parzen"


def test_thetas_are_the_models(found):
    _, _, tables = found
    ours = [row for row in tables["thetas"] if (row.density, row.objective) == ("ring", "dsm")]
    model, toy = model_of(TOYS["ring"], ours), TOYS["ring"]
    x = torch.randn(20, 2, dtype=torch.float64, generator=Generator().manual_seed(0))
    torch.testing.assert_close(model.score(x), toy.smooth.score(x), rtol=0, atol=1e-9)


def test_lines_fit_the_terminal_and_tell_the_figures(found):
    _, _, tables = found
    lines = LEARNED.summarise(tables)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for row in tables["units"]:
        assert f"{row.rank:,.1f}" in text
    like = [row for row in tables["toys"] if row.like]
    assert like
    for row in like:
        assert (row.distance < 1e-5) or f"{row.objective} ends {row.distance:.1e} from {row.like}" in " ".join(lines)
    worse = [dataclasses.replace(row, outcome="degenerated") for row in tables["toys"]]
    wide = [dataclasses.replace(row, difference=12345.678) for row in tables["alike"]]
    lines = LEARNED.summarise({**tables, "toys": worse, "alike": wide})
    assert max(map(len, lines)) <= 80
    assert " ".join(lines).count("dsm degenerates") == len(TOYS)


def decoded(pictures):
    """The names of what was drawn, every one of them a picture of something."""
    for name, data in pictures.items():
        assert name in LEARNED.pictures
        image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        assert min(image.shape[:2]) > 300
        assert len(np.unique(image)) > 20
    return tuple(sorted(pictures))


# Matplotlib before 3.10 calls functions of pyparsing by names that are deprecated.
only_old_names_are_warned_of = pytest.mark.filterwarnings("error", "ignore:.*deprecated,? .*use :DeprecationWarning")


@only_old_names_are_warned_of
def test_all_pictures_are_drawn_of_patches(found):
    context, _, tables = found
    assert decoded(LEARNED.draw(tables, context)) == tuple(sorted(LEARNED.pictures))


@only_old_names_are_warned_of
@pytest.mark.parametrize("dim", [1, 5])
def test_pictures_of_a_density_of_any_dimension(dim):
    made = context(of_density(dim), ("ism", "dsm"))
    tables = {"units": [], "thetas": []}
    assert decoded(LEARNED.draw(tables, made)) == tuple(sorted(PATCHES))


@only_old_names_are_warned_of
def test_flat_patches_and_models_that_degenerated_are_shown():
    made = context(of_images([np.full((30, 30), 90, np.uint8)] * 3), ("ism",), outcome="degenerated")
    _, tables = measured(LEARNED, made)
    assert [row.outcome for row in tables["units"]] == ["degenerated"]
    assert decoded(LEARNED.draw({**tables, "thetas": []}, made)) == tuple(sorted(PATCHES))


def test_without_a_fit_the_toys_remain():
    contest = of_images()
    gone = (Course("dsm", 0, contest.model(), outcome="diverged"),)
    for courses in ((), gone):
        made = Context(contest, ("dsm",), courses, {}, (), quick=True)
        _, tables = measured(LEARNED, made)
        assert (tables["units"], tables["alike"]) == ([], [])
        assert {row.density for row in tables["toys"]} == set(TOYS)
        assert not LEARNED.summarise(tables)  # of one fit there is nothing to say, and nothing goes wrong
    assert decoded(LEARNED.draw(tables, made)) == ALWAYS


def test_one_model_of_each_kind_is_shown_and_the_reference_is_of_noisy_patches():
    contest = of_images()

    def names(*fitted):
        courses = tuple(Course(name, 0, contest.model(), outcome="done") for name in fitted)
        return chosen(Context(contest, fitted, courses))

    assert names("esm", "ism", "ism-reg", "esm-parzen", "ism-parzen", "dsm", "dae") == [
        "dsm",
        "ism-parzen",
        "esm",
        "ism",
    ]
    assert names("ism", "ssm") == ["ssm", "ism"]
    assert names("ism") == ["ism"]


def test_steps_of_langevin_have_the_variance_that_is_known():
    model = random_energy(3, 2, sigma=0.5).requires_grad_(False)
    model.W.zero_()  # N(c, sigma^2 I)
    start = torch.zeros(20_000, 3, dtype=torch.float64)
    x = langevin(model, start, model.level, 100, Generator().manual_seed(0), size=0.8)
    torch.testing.assert_close(x.mean(0), model.c, rtol=0, atol=0.02)
    assert x.var(0).mean().item() == pytest.approx(0.25 / (1 - 0.8 / 4), rel=0.02)


def test_a_plane_holds_its_patches():
    contest = of_images()
    seen = view(contest)
    torch.testing.assert_close(seen.directions @ seen.directions.T, torch.eye(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(seen.at(seen.of(seen.patches)), seen.patches, rtol=0, atol=1e-5)
    assert seen.of(seen.patches).abs().max() < seen.half_side


@pytest.mark.parametrize("hidden", [1, 7, 64, 512])
def test_every_filter_has_its_tile(hidden):
    W = torch.randn(hidden, 16, generator=Generator().manual_seed(0))
    shown = min(hidden, TILES)
    picture = mosaic(W, 4)
    assert (picture[0] == 1).all()
    assert (picture.min(), picture.max()) == (0, 1) or hidden == 1
    tiles = [W[j] / W[j].abs().max() for j in W.norm(dim=1).argsort(descending=True)[:shown]]
    across = (picture.shape[1] - 1) // 5
    again = sheet(0.5 + 0.5 * torch.stack(tiles).reshape(-1, 4, 4), across)
    torch.testing.assert_close(picture, again)
    assert across * (picture.shape[0] - 1) // 5 - shown < across
