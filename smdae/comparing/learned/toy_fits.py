"""The fits of objectives to the toys, as rows: how near they end to q_sigma, to q and to each other.

Divergences are squared error per dimension over sigma^2, 2 sigma^2/d times 1/2 E |psi - grad log q_sigma|^2. The thetas
are whole, so that the models can be made of the rows again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from smdae.comparing.learned.exact import Ending, applies, fisher, fit
from smdae.comparing.learned.toys import TOYS, Nodes, Toy, nodes
from smdae.models import EnergyModel
from smdae.objectives import OBJECTIVES

DEGENERATED = 0.95  # of the floor of an implicit objective


@dataclass(frozen=True)
class Exact:
    """A fit to a toy."""

    density: str  # the toy
    objective: str  # what was fitted
    outcome: str  # done or degenerated
    steps: int  # steps made
    gradient: float  # norm of the gradient at the end; the fit is over where it is rounding
    value: float  # J, as squared error per dimension over sigma^2
    to_smooth: float  # Fisher divergence to q_sigma
    least: float | None  # the least that any model with this number of units has, None where it is not known
    to_clean: float | None  # Fisher divergence to q, None for points, which have no score
    like: str | None  # the first objective of the same density, of the data or of q_sigma; None for that itself
    distance: float | None  # |theta - theta'| / |theta'|, theta' being where that one ends
    biased: bool  # whether its expectation has another gradient than theirs: by differences, or regularised


@dataclass(frozen=True)
class Theta:
    """A unit of a model fitted to a toy, or its c."""

    density: str  # the toy
    objective: str  # what was fitted
    unit: int | None  # number of the unit, from 0; None for c
    first: float  # W_j1, or c_1
    second: float | None  # W_j2, or c_2; None in one dimension
    b: float | None  # b_j, None for c


def toy_fits(names: Sequence[str], steps: int) -> Iterator[tuple[float, Exact, list[Theta]]]:
    """Fit each objective to each toy that it applies to, with so many steps at most.

    Yields:
        For each fit the share of all that is done, from 0 to 1, the row on how it ended, and a row for each unit and c.
    """
    for i, (key, toy) in enumerate(TOYS.items()):
        at = nodes(toy)
        first: dict[bool, tuple[str, Tensor]] = {}
        able = sorted((name for name in names if applies(name, at)), key=_biased)
        for j, name in enumerate(able):
            ending = fit(toy, name, at, steps)
            theta = parameters_to_vector(ending.model.parameters())
            like, there = first.setdefault(OBJECTIVES[name].samples == "data", (name, theta))
            distance = ((theta - there).norm() / there.norm()).item()
            compared = (None, None) if like == name else (like, distance)
            row = _row(key, toy, name, at, ending, *compared)
            yield (i + (j + 1) / len(able)) / len(TOYS), row, _thetas(key, name, ending.model)


def _biased(name: str) -> bool:
    return bool({"step", "reg_lambda"} & {*OBJECTIVES[name].needs})


def _row(
    key: str, toy: Toy, name: str, at: Mapping[str, Nodes], ending: Ending, like: str | None, distance: float | None
) -> Exact:
    row, model = OBJECTIVES[name], ending.model
    scale = 2 * toy.sigma**2 / toy.dim
    implicit = row.samples == "data" and "target_score" not in row.needs
    return Exact(
        key,
        name,
        "degenerated" if implicit and ending.value < DEGENERATED * model.implicit_floor else "done",
        ending.steps,
        ending.gradient,
        ending.value * float(row.scale(toy.sigma, toy.dim)),
        scale * fisher(model, at["parzen"]),
        toy.least,
        None if toy.clean is None else scale * fisher(model, at["data"]),
        like,
        distance,
        _biased(name),
    )


def _thetas(key: str, name: str, model: EnergyModel) -> list[Theta]:
    def two(of: list[float]) -> tuple[float, float | None]:
        return of[0], of[1] if len(of) > 1 else None

    units = zip(model.W.tolist(), model.b.tolist(), strict=True)
    return [*(Theta(key, name, j, *two(w), b) for j, (w, b) in enumerate(units)),
            Theta(key, name, None, *two(model.c.tolist()), None)]  # fmt: skip


def model_of(toy: Toy, rows: Sequence[Theta]) -> EnergyModel:
    """Return the energy whose thetas are the rows of one fit."""
    units, rest = [row for row in rows if row.unit is not None], next(row for row in rows if row.unit is None)
    model = EnergyModel(toy.dim, len(units), toy.sigma).double().requires_grad_(False)
    model.W.copy_(torch.tensor([[row.first, row.second][: toy.dim] for row in units], dtype=torch.float64))
    model.b.copy_(torch.tensor([row.b for row in units], dtype=torch.float64))
    model.c.copy_(torch.tensor([rest.first, rest.second][: toy.dim], dtype=torch.float64))
    return model
