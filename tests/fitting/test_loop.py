"""The steps of a fit: how far each goes, by the bound on gradients and by the schedule of the learning rate."""

import math

import pytest
import torch
from torch import Generator

from smdae.fitting import loop, prepare
from smdae.fitting.settings import check
from tests.tiny import SETTINGS, gray


def prepared(**settings):
    fit = prepare([gray(seed=seed) for seed in range(3)], 255.0, check(SETTINGS | settings))
    fit.state.optimiser = torch.optim.SGD(fit.state.parameters, lr=1.0)  # its moves are the gradients, times the rate
    return fit


def moved(state, step):
    """Return how far the parameters are from where they were before a step, as one norm."""
    before = [parameter.detach().clone() for parameter in state.parameters]
    step()
    return math.sqrt(sum((a - b).square().sum().item() for a, b in zip(state.parameters, before, strict=True)))


@pytest.mark.parametrize("clip", [1e-4, 1e-2])
def test_gradient_clipping_scales_the_joint_norm_down_to_the_bound(clip):
    fit = prepared(clip=clip)
    batch = fit.examples.draw(16, Generator().manual_seed(0))
    assert moved(fit.state, lambda: loop.step(fit.state, batch, fit.examples, 1.0)) == pytest.approx(clip, rel=2e-3)


def test_gradient_clipping_leaves_gradients_within_the_bound_alone():
    moves = []
    for clip in (1e6, 1e9):
        fit = prepared(clip=clip)
        batch = fit.examples.draw(16, Generator().manual_seed(0))
        moves.append(moved(fit.state, lambda fit=fit, batch=batch: loop.step(fit.state, batch, fit.examples, 1e-3)))
    assert moves[0] == moves[1] > 0


def test_learning_rate_rises_linearly_and_falls_as_a_cosine():
    peak, steps, warmup, clip = 0.02, 12, 3, 1e-3
    fit = prepared(lr=peak, max_steps=steps, warmup=warmup, clip=clip, validations=steps, patience=99)
    reports = fit.run()
    for k in range(steps):
        rate = peak * min(1, (k + 1) / (warmup + 1)) * (1 + math.cos(math.pi * k / steps)) / 2
        found = []
        # So tight a bound holds at every step, and the move is the rate times it.
        distance = moved(fit.state, lambda found=found: found.append(next(reports)))
        assert found[0].step == k + 1
        assert found[0].lr == pytest.approx(rate)
        assert distance == pytest.approx(rate * clip, rel=0.01, abs=1e-7)


def test_noise_of_examples_has_the_level_of_the_settings():
    fit = prepared(sigma=30.0)
    clean = torch.full((4000, 16), 0.5)
    batch = fit.examples.around(clean, Generator().manual_seed(1))
    assert (batch.x - clean).std().item() == pytest.approx(30 / 255, rel=0.015)
