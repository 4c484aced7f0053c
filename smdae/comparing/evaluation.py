"""How good is a model, under its own objective and under all others?

    J_ij = mean over held-out examples of objective j at the theta that objective i ended with

A model should be the best of its own column. Columns of equivalent objectives differ by a constant, so they rank the
models alike. Values are also given times 2 sigma^2/d (1/(d sigma^2) for `dae`): squared error per dimension over
sigma^2 for the explicit ones, of which `dsm` and `dae` are then one number, and less a constant for the implicit ones.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from smdae.comparing.contest import Contest
from smdae.fitting.examples import Batch
from smdae.fitting.validation import by_denoising
from smdae.objectives import OBJECTIVES

__all__ = ["Entry", "evaluate", "matrix", "psnr"]


@dataclass(frozen=True)
class Entry:
    """J of one model under one objective.

    Attributes:
        model: The objective that it was fitted with.
        objective: The one it is judged by.
        value: J, raw.
        error: Standard error of J over the examples.
        scaled: J in units of sigma^2/2 times d, see the head of this file.
    """

    model: str
    objective: str
    value: float
    error: float
    scaled: float


@torch.no_grad()
def evaluate(contest: Contest, fitted_with: str, model: Any, judged_by: str, batch: Batch) -> Entry:
    """J on a batch."""
    objective = OBJECTIVES[judged_by]
    losses = objective.loss(model, batch.x, **batch.needs).cpu().double()
    mean, error = losses.mean().item(), losses.std().item() / math.sqrt(len(losses))
    return Entry(fitted_with, judged_by, mean, error, mean * objective.scale(contest.sigma, contest.dim))


def matrix(contest: Contest, models: Mapping[str, Any]) -> Iterator[Entry]:
    """J of each model under each of their objectives, objective by objective."""
    for judged_by in models:
        batch = contest.held_out_batch(judged_by)
        for name, model in models.items():
            yield evaluate(contest, name, model, judged_by, batch)


def psnr(contest: Contest, model: Any) -> float:
    """PSNR in dB of the held-out crops after one Tweedie step."""
    return by_denoising(contest.crops, contest.lift)(model).value
