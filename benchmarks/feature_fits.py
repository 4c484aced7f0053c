"""What do the fits of numbers to features of pictures have in common?

Used by `grain_evidence` and `second_look`: the two commands, `samples` and `fit`, and the regressions.
"""

import argparse
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smdae.estimation.feature_numbers import Perceptron

OUTERMOST = 0.005  # quantile beyond which features count no more
RIDGE = 3.0
HUBER = 0.25  # of the logarithm of a level
MEMBERS, HIDDEN = 4, 16  # perceptrons of which the mean is taken, and units of each
STEPS, RATE = 400, 0.02
LEAST_PENALTY = 1e-6  # of what is not shrunk, so that a column of zeros has a solution


def bounds_of(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the lowest and the highest of features, (m, n), that count, and their mean and deviation, each (n,)."""
    lowest, highest = np.quantile(features, (OUTERMOST, 1 - OUTERMOST), 0)
    inside = np.clip(features, lowest, highest)
    return lowest, highest, inside.mean(0), inside.std(0) + 1e-9


def logistic(rows: np.ndarray, target: np.ndarray, counts: np.ndarray, shrinkage: float, free: int) -> np.ndarray:
    """Return the weights of rows, (m, k), in the log odds of a target that is true or false: (k,).

    Args:
        rows: With shape (m, k).
        target: With shape (m,).
        counts: How much each row counts, with shape (m,).
        shrinkage: What the squares of the weights count.
        free: Number of the first weights, which are not shrunk.
    """
    x, truth, weights = (torch.from_numpy(np.asarray(values, float)) for values in (rows, target, counts))
    odds = torch.zeros(rows.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([odds], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        each = torch.nn.functional.binary_cross_entropy_with_logits(x @ odds, truth, reduction="none")
        total = (weights * each).sum() / weights.sum() + shrinkage * odds[free:].square().sum()
        total.backward()
        return total

    optimiser.step(loss)
    return odds.detach().numpy()


def ridge(rows: np.ndarray, target: np.ndarray, counts: np.ndarray, free: int) -> np.ndarray:
    """Return the weights of rows, (m, k), that predict a target, (m,), with Huber's loss: (k,).

    Args:
        rows: With shape (m, k).
        target: With shape (m,).
        counts: How much each row counts, with shape (m,).
        free: Number of the first weights, which are not shrunk.
    """
    penalty = np.diag([LEAST_PENALTY] * free + [RIDGE] * (rows.shape[1] - free))
    near = np.ones(len(rows))
    for _ in range(10):
        weighed = rows * (counts * near)[:, None]
        found = np.linalg.solve(weighed.T @ rows + penalty, weighed.T @ target)
        near = np.minimum(1, HUBER / np.maximum(np.abs(target - rows @ found), 1e-9))
    return found


def perceptron(
    z: np.ndarray,
    target: np.ndarray,
    counts: np.ndarray,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    shrinkage: float,
) -> Perceptron:
    """Return the mean of perceptrons that predict a target from features, each fitted from a start of its own.

    Args:
        z: The features, standardised, with shape (m, n).
        target: With shape (m,).
        counts: How much each row counts, with shape (m,).
        loss: Takes predictions and targets, (MEMBERS, m), and returns the loss of each, likewise.
        shrinkage: What the squares of the weights count.
    """
    x, truth, weights = (torch.from_numpy(np.asarray(values, float)) for values in (z, target, counts))
    generator = torch.Generator().manual_seed(0)

    def start(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) / math.sqrt(shape[-1])

    inner, outer = start(MEMBERS, HIDDEN, x.shape[1]), start(MEMBERS, HIDDEN)
    shift, constant = torch.zeros_like(outer), torch.zeros(MEMBERS, dtype=torch.float64)
    parameters = [one.requires_grad_() for one in (inner, shift, outer, constant)]
    optimiser = torch.optim.Adam(parameters, lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        optimiser.zero_grad()
        hidden = torch.tanh(x @ inner.mT + shift[:, None])  # (MEMBERS, m, HIDDEN)
        each = loss((hidden @ outer[..., None])[..., 0] + constant[:, None], truth.expand(MEMBERS, -1))
        total = (weights * each).sum() / weights.sum() + shrinkage * (inner.square().sum() + outer.square().sum())
        total.backward()
        optimiser.step()
        schedule.step()
    inner, shift, outer, constant = (one.detach().numpy() for one in parameters)
    return Perceptron(inner.reshape(-1, x.shape[1]), shift.ravel(), outer.ravel() / MEMBERS, float(constant.mean()))


def _encoded(numbers: Any, features: tuple[str, ...]) -> str:
    """Return numbers, a dataclass of arrays and floats, as a JSON file holds them, with four digits."""

    def short(value: float | np.ndarray | dict[str, Any]) -> Any:
        if isinstance(value, dict):
            return {name: short(one) for name, one in value.items()}
        return [short(one) for one in value] if isinstance(value, np.ndarray) else float(f"{value:.4g}")

    text = json.dumps(
        {"features": features, **{name: short(value) for name, value in asdict(numbers).items()}}, indent=1
    )
    one_line_each = re.sub(r"\[[^][{}]*\]", lambda row: " ".join(row[0].split()), text)
    return one_line_each.replace("[ ", "[").replace(" ]", "]") + "\n"


def main(
    about: str,
    samples: Callable[[Path, int, float], Iterator[Any]],
    table_of: Callable[[list[dict[str, Any]]], Any],
    report: Callable[[Any], str],
    fitted: Callable[[Any], Any],
    place: tuple[Path, tuple[str, ...]],
) -> None:
    """Make samples, or fit to them, as the command line asks.

    Args:
        about: What the command says of itself.
        samples: Makes samples of DATA, with a seed, for so many minutes.
        table_of: Makes a table of samples, as dictionaries.
        report: Makes the text about a table.
        fitted: Makes the numbers of a table.
        place: The file that `--write` writes, and the names of the features.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("samples")
    making.add_argument("data", type=Path)
    making.add_argument("out", type=Path)
    making.add_argument("--seed", type=int, default=0)
    making.add_argument("--minutes", type=float, default=10)
    fitting = commands.add_parser("fit")
    fitting.add_argument("samples", type=Path, nargs="+")
    fitting.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if given.command == "samples":
        found = [asdict(one) for one in samples(given.data, given.seed, given.minutes)]
        given.out.write_text(json.dumps(found))
        print(f"{len(found)} samples")
        return
    table = table_of([one for path in given.samples for one in json.loads(path.read_text())])
    print(report(table))
    if given.write:
        path, features = place
        path.write_text(_encoded(fitted(table), features))
