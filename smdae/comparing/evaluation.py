"""The figures of a model under its own objective and under all others.

    J_ij = mean over held-out examples of objective j at the theta that objective i ended with

A model should be the best in its own column. Columns of equivalent objectives differ by a constant, so they rank models
in the same order. Values are also scaled by 2 sigma^2/d (1/(d sigma^2) for `dae`), to squared error per dimension over
sigma^2 for explicit objectives, up to a constant for implicit ones; `dsm` and `dae` are then the same number.

`fisher` is 1/2 E |psi - grad log q_sigma|^2 with q_sigma of the patches fitted on, which `esm-parzen` and its
equivalents minimise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from smdae.comparing.contest import Contest
from smdae.fitting.draws import Batch
from smdae.fitting.validation import by_denoising
from smdae.objectives import OBJECTIVES

FISHER = "fisher"


@dataclass(frozen=True)
class Value:
    """J of one model under one objective: the mean over examples, raw, and its standard error."""

    mean: float
    error: float


def scale(contest: Contest, judged_by: str) -> float:
    """Return the factor that makes a raw J squared error per dimension over sigma^2."""
    objective = OBJECTIVES["esm-parzen" if judged_by == FISHER else judged_by]
    return float(objective.scale(contest.sigma, contest.dim))


@torch.no_grad()
def evaluate(model: Any, judged_by: str, batch: Batch) -> Value:
    """Return J of a model under the objective `judged_by`: the mean over a batch and its standard error."""
    losses = OBJECTIVES[judged_by].loss(model, batch.x, **batch.needs).cpu().double()
    return Value(losses.mean().item(), losses.std().item() / math.sqrt(len(losses)))


def gradient(model: nn.Module, value: Tensor) -> Tensor:
    """Return the gradient of a number in all parameters, with shape (parameters,)."""
    return parameters_to_vector(torch.autograd.grad(value, list(model.parameters())))


def judged(contest: Contest, model: Any, names: Sequence[str]) -> dict[str, Value]:
    """Return J of a model on held-out examples by objective, and as `fisher` its divergence to q_sigma."""
    values = {name: evaluate(model, name, contest.held_out_batch(name)) for name in names}
    return values | {FISHER: evaluate(model, "esm-parzen", contest.smoothed)}


def psnr(contest: Contest, model: Any) -> float | None:
    """Return the PSNR in dB of the held-out crops after one Tweedie step; None if there are no images."""
    if contest.crops is None:
        return None
    return by_denoising(contest.crops, contest.lift)(model).value
