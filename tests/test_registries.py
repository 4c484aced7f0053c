"""One row is enough: a new objective, model or sampler is found wherever there are any."""

import subprocess
import sys

import pytest
import torch
from torch import nn

import smdae
from smdae import names
from smdae.comparing.contest import applicable
from smdae.comparing.denoising.denoisers import Denoiser
from smdae.denoising import SAMPLERS
from smdae.denoising.samplers import Sampler
from smdae.fitting.settings import check
from smdae.models import MODELS, Family
from smdae.objectives import OBJECTIVES, Objective, kernel_score
from smdae.protocols import posterior_mean
from tests.models import conformance
from tests.tiny import ENVIRONMENT, gray


def charbonnier(model, x, clean, sigma):
    """A robust relative of `denoising`, with shape (B,)."""
    error = model.score(x, sigma=sigma) - kernel_score(x, clean, sigma)
    return (1 + error.flatten(1).square().sum(1)).sqrt() - 1


class Shrink(nn.Module):
    """psi(x, sigma) = (theta - x) w / sigma^2, pixel by pixel."""

    halo, shift_multiple, bytes_per_pixel = 0, 1, 16

    def __init__(self, channels, levels):
        super().__init__()
        self.channels, self.noise_range = channels, tuple(levels)
        self.w, self.theta = nn.Parameter(torch.tensor(0.1)), nn.Parameter(torch.tensor(0.5))

    def settings(self):
        return {"channels": self.channels, "levels": list(self.noise_range)}

    def score(self, x, sigma=None):
        level = self.noise_range[1] if sigma is None else sigma
        level = level.reshape(-1, 1, 1, 1) if isinstance(level, torch.Tensor) else level
        return (self.theta - x) * self.w / level**2


def half(model, noisy, sigma, settings):
    """Half of the way to the posterior mean, in each step."""
    for _ in range(settings.steps):
        noisy = (noisy + posterior_mean(model, noisy, sigma)) / 2
        yield noisy


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(OBJECTIVES, "charbonnier", Objective(charbonnier, "pairs", ("clean", "sigma"), "none"))
    family = Family(Shrink, Shrink, lambda seen, channels, settings, _: Shrink(channels, settings.levels), False)
    monkeypatch.setitem(MODELS, "shrink", family)
    monkeypatch.setitem(SAMPLERS, "half", Sampler(half, 2))


def test_new_rows_are_found_by_fit_and_denoise(registered):
    settings = {"patch_size": 8, "max_steps": 30, "batch": 8}
    images = [gray(seed=seed) for seed in range(2)]
    model = smdae.fit(images, "charbonnier", "shrink", **settings)
    assert model.w.item() != pytest.approx(0.1, abs=1e-3)
    assert check({"objective": "charbonnier", "model": "shrink"}).objective == "charbonnier"
    once, half_way = (smdae.denoise(images[0] / 255.0, model, 0.1, sampler=name) for name in ("tweedie", "half"))
    assert (once != half_way).any()


def test_new_rows_are_found_by_compare(registered):
    assert "charbonnier" in applicable()
    assert "half" in Denoiser("shrink", "file", (Shrink(1, (0.1, 0.2)),)).samplers


@pytest.mark.parametrize("check_model", conformance.CHECKS, ids=lambda one: one.__name__)
def test_a_new_model_is_found_by_the_conformance_test(registered, check_model):
    assert "shrink" in MODELS
    check_model("shrink")


def test_names_for_help_are_those_of_the_tables():
    for listed, table in (
        (names.OBJECTIVE_NAMES, OBJECTIVES),
        (names.MODEL_NAMES, MODELS),
        (names.SAMPLER_NAMES, SAMPLERS),
    ):
        assert sorted(listed) == sorted(table)


@pytest.mark.parametrize(("command", "table"), [("fit", "OBJECTIVE"), ("fit", "MODEL"), ("denoise", "SAMPLER")])
def test_a_new_name_is_found_by_help(command, table):
    code = f"from smdae import names; names.{table}_NAMES.append('newcomer')\n"
    code += f"from smdae.cli.app import main; main([{command!r}, '--help'])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert "newcomer" in told.stdout
