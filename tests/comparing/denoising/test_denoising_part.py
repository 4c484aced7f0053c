"""Denoising, as a part of the comparison: figures are those of the public functions on the same images."""

import io
import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from smdae.comparing import contestants
from smdae.comparing.contest import Contest
from smdae.comparing.denoising.denoisers import denoisers, examples, plan
from smdae.comparing.denoising.measure import DENOISING
from smdae.comparing.part import Context
from smdae.comparing.parts import PARTS
from smdae.denoising import denoise
from smdae.densities import Gaussian
from smdae.fitting.settings import check
from tests.conftest import random_network
from tests.measuring import measured
from tests.tiny import SETTINGS, gray

SIGMA = 30.0  # of three levels, 18, 30 and 60, the network below knows the middle one


class Broken:
    """A model whose answers are no numbers."""

    channels, noise_range = 1, (SIGMA / 255, SIGMA / 255)

    def score(self, x, sigma=None):
        return x * math.nan


def results(context: Context) -> tuple[dict, list[float]]:
    shares, tables = measured(DENOISING, context)
    return tables, shares


def row(tables, contestant, sigma=SIGMA, sampler="tweedie"):
    (found,) = (
        r
        for r in tables["quality"]
        if r.contestant == contestant and math.isclose(r.sigma, sigma) and r.sampler == sampler
    )
    return found


def unlike(tables):
    """The tables, without what a clock measured."""
    return {"left_out": tables["left_out"]} | {
        "quality": [replace(row, seconds_per_megapixel=None) for row in tables["quality"]]
    }


@pytest.fixture(scope="module")
def context() -> Context:
    images = [gray(48, 40, seed) // 4 + 96 for seed in range(4)]  # far enough from black and white
    contest = Contest.of(images, 255.0, check({**SETTINGS, "sigma": SIGMA, "hold_out": 0.5}), 300)
    fits = [("dsm", 0), ("dsm", 1), ("dae", 0), ("ism", 0)]
    *courses, ism = ([*contestants.fit(contest, name, seed=seed)][-1] for name, seed in fits)
    courses = (*courses, replace(ism, outcome="done", reason=None))  # so few grays are no density, and it says so
    files = {"network": random_network().float(), "dae": random_network().float()}
    return Context(contest, ("dsm", "dae", "ism"), courses, files, ("tv",))


@pytest.fixture(scope="module")
def tables(context) -> dict:
    return results(context)[0]


def test_it_is_a_part():
    assert PARTS["denoising"] is DENOISING
    assert DENOISING.fits == "all"


def test_noisy_images_have_the_noise_they_should(tables):
    for sigma in (18.0, 30.0, 60.0):
        expected = 20 * math.log10(255 / sigma)
        error = 10 / math.log(10) * math.sqrt(2 / (2 * 48 * 40))
        assert row(tables, "noisy", sigma, None).psnr == pytest.approx(expected, abs=4 * error)


def test_figures_are_those_of_denoise_on_the_same_images(context, tables):
    for sigma in (18.0, 30.0):
        quality, likeness = [], []
        models = [c.model for c in context.courses if c.objective == "dsm"][: 2 if sigma == SIGMA else 1]
        for model in models:
            by_image = []
            for example in examples(context):
                clean, noisy = (t[0, 0].double().numpy() for t in (example.clean, example.noisy(sigma / 255)))
                estimate = denoise(noisy, context.contest.lift(model), sigma / 255).clip(0, 1)
                by_image.append(peak_signal_noise_ratio(clean, estimate, data_range=1))
                likeness.append(
                    structural_similarity(
                        clean, estimate, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
                    )
                )
            quality.append(statistics.fmean(by_image))
        found = row(tables, "dsm", sigma)
        assert found.fits == len(models)
        assert found.psnr == pytest.approx(statistics.fmean(quality), abs=1e-4)
        assert found.ssim == pytest.approx(statistics.fmean(likeness), abs=2e-3)
        if sigma == SIGMA:
            assert quality[0] != quality[1]
            assert found.psnr_deviation == pytest.approx(abs(quality[0] - quality[1]) / math.sqrt(2), abs=1e-4)
        else:
            assert found.psnr_deviation is None


def test_the_estimate_of_a_linear_filter_is_that_of_its_matrix(context, tables):
    """Away from black and white D is affine: J v = D(v) - D(0)."""
    s, values = SIGMA / 255, []
    wiener = context.contest.lift(context.contest.wiener())

    def filtered(y):
        return wiener.reconstruct(y, s)

    for example in examples(context):
        y, v = example.noisy(s), example.probe
        removed = (filtered(y) - y).double().square().mean().item()
        trace = (v * (filtered(v) - filtered(0 * v))).double().mean().item()
        values.append(-10 * math.log10(removed + 2 * s**2 * trace - s**2))
    found = row(tables, "linear filter")
    assert found.estimated_psnr == pytest.approx(statistics.fmean(values), abs=0.02)
    assert abs(found.estimated_psnr - found.psnr) < 4 * found.estimated_error


def test_estimates_are_made_where_they_are_promised(tables):
    for r in tables["quality"]:
        promised = math.isclose(r.sigma, SIGMA) and r.sampler in (None, "tweedie")
        assert (r.estimated_psnr is not None) == promised
        assert (r.seconds_per_megapixel is None) == (r.contestant == "noisy")


def test_what_is_left_out_says_why(tables):
    reasons = {(out.contestant, out.sigma and round(out.sigma), out.sampler): out.reason for out in tables["left_out"]}
    assert reasons["ism", None, None] == "a score of the clean density, which cannot remove noise"
    assert reasons["network", 18, None] == reasons["network", 60, None] == "fitted from sigma 25.5 to 51"
    assert reasons["dae", None, "ascent"] == "of the fits dsm alone takes more than one step"
    assert not {r.contestant for r in tables["quality"]} & {"ism"}


def test_files_and_fits_of_one_name_are_told_apart(tables):
    assert row(tables, "dae").kind == "fit"
    assert row(tables, "dae (file)").kind == "file"


def test_levels_that_were_not_fitted_are_marked(tables):
    assert {round(r.sigma): r.known for r in tables["quality"] if r.contestant == "dsm"} == {
        18: False,
        30: True,
        60: False,
    }
    assert all(r.known for r in tables["quality"] if r.kind != "fit")


def test_every_contestant_has_one_best_sampler_at_each_level(tables):
    groups: dict = {}
    for r in tables["quality"]:
        groups.setdefault((r.contestant, r.sigma), []).append(r)
    assert {r.sampler for r in groups["dsm", SIGMA]} == {"tweedie", "ascent"}
    assert {r.sampler for r in groups["network", SIGMA]} == {"tweedie", "ascent", "langevin", "ode", "coarse-to-fine"}
    for group in groups.values():
        (best,) = (r for r in group if r.best)
        assert best.psnr == max(r.psnr for r in group)


def test_chance_is_fixed(context, tables):
    again, shares = results(context)
    assert unlike(again) == unlike(tables)
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == pytest.approx(1)


def test_quick_takes_fewer_steps(context):
    jobs, left_out = plan(replace(context, quick=True))
    assert {(job.denoiser.name, job.sampler) for job in jobs if job.sampler not in (None, "tweedie")} == {
        ("dsm", "ascent")
    }
    assert ("network", "ode") in {(out.contestant, out.sampler) for out in left_out}
    alone = replace(context, quick=True, courses=(), files={"network": context.files["network"]})
    jobs, left_out = plan(alone)
    assert {job.sampler for job in jobs if job.denoiser.name == "network"} == {
        "tweedie", "ascent", "ode", "coarse-to-fine"
    }  # fmt: skip
    assert [(out.contestant, out.sampler) for out in left_out if out.sampler] == [("network", "langevin")]


def test_fits_that_failed_are_left_out_one_by_one(context):
    first, second = (replace(c, outcome="diverged", reason="too steep") for c in context.courses[:2])
    left_out = plan(replace(context, courses=(first, *context.courses[1:])))[1]
    assert ("dsm (fit 1)", "too steep") in {(out.contestant, out.reason) for out in left_out}
    left_out = plan(replace(context, courses=(first, second)))[1]
    assert ("dsm", "too steep") in {(out.contestant, out.reason) for out in left_out}


def test_an_answer_that_is_no_number_is_left_out(context):
    alone = replace(context, courses=(), files={"broken": Broken()}, baselines=())
    tables, _ = results(alone)
    assert {r.contestant for r in tables["quality"]} == {"noisy", "linear filter"}
    assert {out.contestant for out in tables["left_out"]} == {"broken"}
    assert "not finite" in tables["left_out"][0].reason
    assert DENOISING.draw(tables, alone).keys() == DENOISING.pictures.keys()


def test_without_images_there_is_nothing_to_denoise():
    density = Gaussian(torch.zeros(16), torch.eye(16))
    context = Context(Contest.of_density(density, check(SETTINGS), 200), ("dsm",))
    tables, _ = results(context)
    assert tables["quality"] == []
    assert DENOISING.draw(tables, context) == {}
    (line,) = DENOISING.summarise(tables)
    assert "no images" in line


def test_it_is_told_in_80_columns(context, tables):
    name = "a-model-file-with-a-name-that-is-far-too-long"
    more, _ = results(replace(context, files={name: context.files["network"]}, quick=True))
    for shown in (tables, more):
        lines = DENOISING.summarise(shown)
        assert max(map(len, lines)) <= 80
        (first, *_) = (line for line in lines if line.startswith("dsm "))
        for sigma in (18.0, 30.0, 60.0):
            assert f"{row(shown, 'dsm', sigma).psnr:.2f}" in first
    assert any(line.startswith("a-model-file-wi...") for line in lines)


def test_pictures_show_the_images(context, tables):
    pictures = DENOISING.draw(tables, context)
    assert pictures.keys() == DENOISING.pictures.keys()
    quality, crops = (Image.open(io.BytesIO(pictures[name])) for name in ("quality", "crops"))
    assert 1000 < quality.width < 2000
    assert 200 < quality.height < 1000
    # Two images of 48 x 40 pixels, five times as large, with clean and noisy six columns, each difference below.
    assert 6 * 5 * 40 < crops.width < 6 * 5 * 40 + 100
    assert 4 * 5 * 48 < crops.height < 4 * 5 * 48 + 150
    seen = np.asarray(crops.convert("L")).astype(int)
    clean = np.rint(255 * examples(context)[0].clean[0, 0].numpy()).astype(int)
    windows = np.lib.stride_tricks.sliding_window_view(seen[:80, :40], (20, 20))
    corner = np.kron(clean[:4, :4], np.ones((5, 5), int))
    assert np.abs(windows - corner).max((2, 3)).min() <= 1


def test_contestants_have_the_names_of_the_rows(context, tables):
    assert [one.name for one in denoisers(context)] == list(dict.fromkeys(r.contestant for r in tables["quality"]))
