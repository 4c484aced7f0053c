"""What was learned: units, scores, and toys on which nothing is left to chance.

    units   h = sigmoid(W u + b) at noisy held-out patches; effective rank exp(H(s^2 / sum s^2)), s the singular values
            of W; what the model says is left of the noise, tr Cov[clean | x~] / (d sigma^2), and what is left
    alike   psi of two models at the same noisy held-out patches
    toys    fits by the expectations of the objectives, judged by Fisher divergences to q_sigma and to q (`toy_fits`)

What is said to be left and what is left agree where the score is that of the patches shown: at those fitted on, if at
all; held-out ones that are rougher have more of it left than the model knows.
"""

import itertools
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cosine_similarity

from smdae.comparing.learned import pictures
from smdae.comparing.learned.toy_fits import Exact, Theta, toy_fits
from smdae.comparing.learned.toys import TOYS
from smdae.comparing.part import Context, Part, Tables
from smdae.comparing.text import grid, number, paragraph
from smdae.objectives import OBJECTIVES

STEPS, QUICK_STEPS = 400, 60  # steps of a fit to a toy
MAX_EQUAL_DISTANCE = 1e-5  # distance of thetas that counts as none
UNITS_SHARE = 0.1  # share of the work that is not toys


@dataclass(frozen=True)
class Units:
    """The units of a model at noisy held-out patches."""

    objective: str  # what was fitted
    outcome: str  # done or degenerated
    units: int  # H, the number of units
    on: float  # share of them that are on, h > 1/2, for any of the patches
    activity: float  # mean of h
    rank: float  # effective rank of W, at most d and H
    height: float  # mean of |W_j| over sigma
    predicted: float | None  # variance of a clean patch given a noisy one, per d sigma^2; None for a clean score
    observed: float | None  # squared error of the patches denoised, likewise


@dataclass(frozen=True)
class Alike:
    """The scores a and b of two models at noisy held-out patches."""

    first: str  # what the one was fitted with
    second: str  # what the other was
    cosine: float  # mean of <a, b> / (|a| |b|)
    difference: float  # root of E |a - b|^2 / (1/2 E |a|^2 + 1/2 E |b|^2)


def measure(context: Context) -> Generator[float, None, Tables]:
    """Measure the units and scores of the fits, then fit the toys.

    Yield the share that is done, and return the tables `units`, `alike`, `toys` and `thetas`.
    """
    yield 0.0
    units, alike = [*_units(context)], [*_alike(context)]
    yield UNITS_SHARE
    toys: list[Exact] = []
    thetas: list[Theta] = []
    for share, row, parts in toy_fits(context.names, QUICK_STEPS if context.quick else STEPS):
        toys.append(row)
        thetas += parts
        yield UNITS_SHARE + (1 - UNITS_SHARE) * share
    return {"units": units, "alike": alike, "toys": toys, "thetas": thetas}


@torch.no_grad()
def _units(context: Context) -> Iterator[Units]:
    contest = context.contest
    x, clean = contest.held_out_batch("dsm").x, contest.held_out
    outcomes = {course.objective: course.outcome or "done" for course in reversed(context.courses)}
    noise = contest.sigma**2 * contest.dim
    for name, model in _models(context).items():
        h, W = model.codes(x), model.centre(model.W)
        square = torch.linalg.svdvals(W.double()).square()
        share = square / square.sum()
        predicted = observed = None
        if _of_noisy(name, context):
            predicted = model.posterior_variance(x).sum(1).mean().item() / noise
            observed = (model.reconstruct(x) - clean).square().sum(1).mean().item() / noise
        yield Units(
            name,
            outcomes[name],
            len(W),
            (h.amax(0) > 0.5).double().mean().item(),
            h.mean().item(),
            torch.special.entr(share).sum().exp().item(),
            W.norm(dim=1).mean().item() / model.sigma,
            predicted,
            observed,
        )


def _models(context: Context) -> dict[str, Any]:
    """Return the fitted models by objective, in the order of the objectives."""
    return {name: context.fitted[name] for name in context.names if name in context.fitted}


def _of_noisy(name: str, context: Context) -> bool:
    """Return whether the score that an objective fits is one of noisy patches."""
    row = OBJECTIVES[name]
    return row.samples != "data" or ("target_score" in row.needs and context.contest.target is None)


@torch.no_grad()
def _alike(context: Context) -> Iterator[Alike]:
    x = context.contest.held_out_batch("dsm").x
    scores = {name: model.score(x).double() for name, model in _models(context).items()}
    for (first, a), (second, b) in itertools.combinations(scores.items(), 2):
        size = (a.square().sum() + b.square().sum()) / 2
        difference = ((a - b).square().sum() / size).sqrt()
        yield Alike(first, second, cosine_similarity(a, b).mean().item(), difference.item())


def summarise(tables: Tables) -> list[str]:
    """Return lines of text on the units, on how alike the scores are, and on the toys."""
    return [
        *_findings_on_units(tables["units"]),
        *_findings_on_likeness(tables["alike"]),
        *_findings_on_toys(tables["toys"]),
    ]


def _findings_on_units(rows: Sequence[Any]) -> list[str]:
    if not rows:
        return []
    tops = (
        "fitted with",
        "units",
        "ever on\n%",
        "mean\nh",
        "rank\nof W",
        "|W_j|\nsigma",
        "left,\nmodel",
        "left,\nfound",
    )
    table = [
        (r.objective, str(r.units), number(100 * r.on, 0), number(r.activity, 3), number(r.rank, 1),
         number(r.height), number(r.predicted, 3), number(r.observed, 3))
        for r in rows
    ]  # fmt: skip
    text = "At noisy held-out patches; left is what the model says is left of the noise, over sigma^2, and what is:"
    return [*paragraph(text), "", *grid(tops, table), ""]


def _findings_on_likeness(rows: Sequence[Any]) -> list[str]:
    known = [row for row in rows if row.difference is not None]
    if not known:
        return []
    if len(known) == 1:
        (row,) = known
        return paragraph(f"The scores of {row.first} and {row.second} differ there by {row.difference:.3f}.")
    said = [
        f"{row.first} and {row.second} by {row.difference:.3f}"
        for row in (pick(known, key=lambda row: row.difference) for pick in (min, max))
    ]
    return paragraph(f"The scores of two models there differ least of {said[0]}, most of {said[1]}.")


def _findings_on_toys(rows: Sequence[Any]) -> list[str]:
    """Return lines on which fits to a toy end at the same theta."""
    lines = []
    for key in dict.fromkeys(row.density for row in rows):
        ours = [row for row in rows if row.density == key]
        said = []
        for like in dict.fromkeys(row.like for row in ours if row.like):
            away = {row.objective: row.distance for row in ours if row.like == like and row.distance is not None}
            same = [name for name, distance in away.items() if distance < MAX_EQUAL_DISTANCE]
            if same:
                farthest = max(away[name] for name in same)
                said.append(f"{', '.join([like, *same])} end at one theta, to {_short(farthest)}")
            said += [f"{name} ends {_short(away[name])} from {like}" for name in away if name not in same]
        said += [f"{row.objective} degenerates" for row in ours if row.outcome == "degenerated"]
        if said:
            lines += paragraph(f"Toy, {TOYS[key].title}: {'; '.join(said)}.")
    return lines


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


LEARNED = Part(
    title="What was learned",
    explains="Which filters did each contestant find, how do they respond, what does it take for a likely patch, and "
    "where does its score point? On toys every expectation is a sum: there equivalent objectives end at one theta to "
    "the last digits, and `ism` on the data ends elsewhere.",
    equation="Vincent (2011), section 4.3, E(x; W, b, c), and the appendix, J_ESMq_sigma = J_DSMq_sigma + C",
    rows={"units": Units, "alike": Alike, "toys": Exact, "thetas": Theta},
    fits="all",
    measure=measure,
    pictures={
        "filters": "Rows of W, the largest first, of at most four models, each from black to white.",
        "responses": "The units of one model that move its answer most, and the held-out patches whose noisy copies "
        "excite each most; how active units are on average, and how many are on at a time.",
        "samples": "Held-out patches, and samples of two fitted densities by Langevin steps along the score, from "
        "noise: above as they are, below after one step to r(x).",
        "field": "The score in the plane of two held-out patches and the flat one, beside that of the Parzen density "
        "of the patches; distances are in sigma, and an arrow is as long as the root of what it stands for.",
        "toy-1d": "Toys of one dimension: densities, scores, and how far the scores are from that of q_sigma.",
        "toy-2d": "A toy of two dimensions: scores over densities, how far the scores are from that of q_sigma, and "
        "the units that they are made of.",
    },
    draw=pictures.draw,
    summarise=summarise,
)
