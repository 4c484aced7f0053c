"""How parallel are the gradients of objectives that ought to be the same, and how noisy is each?

In expectation over q_sigma(x, x~) the gradients in theta of `esm-parzen`, `ism-parzen`, `dsm` and `dae`/(2 sigma^4)
are one vector at every theta, not at the minimum alone; so are those of `esm` and `ism` at samples of one density. Of
finite draws only estimates can be had. All parameters' gradients are averaged over K batches of m draws, the same x~
for all objectives. With a_k, b_k the gradients of batch k and a, b their means:

    cosine       <a, b> / (|a| |b|), each product taken between different batches, <a_k, b_l> with k != l: noise, which
                 turns the vectors by chance, then leaves it unbiased up to O(1/K), and it may pass 1 a little
    difference   |a - b| / |a|
    noise        what the difference would be if the expectations were equal: sqrt(tr Cov(a_k - b_k) / K) / |a|
    excess       (|a - b|^2 - tr Cov(a_k - b_k) / K) / |a|^2, its mean is 0 if the expectations are equal, else positive
    rounding     what the difference may be for lack of digits: 16 epsilon |a_k| / |a|

Standard errors are the jackknife's over the K batches: sqrt((K - 1)/K sum_k (T_k - mean T)^2), T_k without batch k. All
of it depends on the K x K inner products of the batches only. Where expectations are equal, cosine and excess have no
part linear in the noise, and the jackknife then errs on the safe side: it states up to sqrt(2) too much.

The noise of the mini-batch gradient tells why one objective needs more steps than another of the same minimum: averaged
to the same noise, twice the noise takes four times the draws.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from smdae.comparing.contest import Contest
from smdae.fitting.draws import among
from smdae.fitting.examples import Batch
from smdae.objectives import OBJECTIVES

__all__ = ["BATCHES", "DRAWS", "EQUIVALENT", "Parallel", "gather", "noise", "pairs", "parallel"]

BATCHES = 32  # K
DRAWS = 2048  # m
DRAWN = 2  # added to the seed for these draws
LARGEST = 2**31  # bytes of gradients to hold; models that need more have fewer batches
EQUIVALENT = ("esm-parzen", "ism-parzen", "dsm", "dae")
ISM_AT_KNOWN = "ism at q"  # `ism` at the samples of `esm`

Gradients = Mapping[tuple[str, str], Sequence[Tensor]]


@dataclass(frozen=True)
class Parallel:
    """How parallel two gradients are; see the head of this file."""

    cosine: float
    cosine_error: float
    difference: float
    difference_error: float
    noise: float
    excess: float
    excess_error: float
    rounding: float


def _without_each(products: Tensor) -> tuple[Tensor, Tensor]:
    """<a, b> of the means of all batches but one, for each one, and the same between different batches only.

    Args:
        products: <a_k, b_l>, with shape (K, K).
    """
    K = len(products)
    diagonal = products.diagonal()
    total = products.sum() - products.sum(0) - products.sum(1) + diagonal  # (K,), without row and column k
    own = diagonal.sum() - diagonal
    return total / (K - 1) ** 2, (total - own) / ((K - 1) * (K - 2))


def _with_all(products: Tensor) -> tuple[Tensor, Tensor]:
    """The same of all batches, each with shape (1,)."""
    K = len(products)
    total = products.sum()[None]
    return total / K**2, (total - products.trace()) / (K * (K - 1))


def _statistics(aa: Any, ab: Any, bb: Any, dd: Any) -> Tensor:
    """Cosine, difference and excess, with shape (3, n), from pairs (mean product, product between batches)."""
    cosine = ab[1] / (aa[1] * bb[1]).clamp(min=0).sqrt()
    return torch.stack([cosine, (dd[0] / aa[0]).sqrt(), dd[1] / aa[0]])


def parallel(first: Tensor, second: Tensor) -> Parallel:
    """Compare two gradients.

    Args:
        first: The mean gradient of each batch under one objective, with shape (K, parameters), K >= 3.
        second: The same of another, at the same draws.
    """
    a, b = first.double(), second.double()
    d = a - b
    grams = (a @ a.T, a @ b.T, b @ b.T, d @ d.T)
    K = len(a)
    value = _statistics(*(_with_all(g) for g in grams))[:, 0]
    others = _statistics(*(_without_each(g) for g in grams))  # (3, K)
    error = ((K - 1) / K * (others - others.mean(1, keepdim=True)).square().sum(1)).sqrt()
    mean, between = _with_all(grams[3])
    size = _with_all(grams[0])[0]
    spread = ((mean - between).clamp(min=0) / size).sqrt().item()
    rounding = 16 * torch.finfo(first.dtype).eps * (grams[0].diagonal().mean() / size).sqrt().item()
    (cosine, difference, excess), errors = value.tolist(), error.tolist()
    return Parallel(cosine, errors[0], difference, errors[1], spread, excess, errors[2], rounding)


def noise(gradients: Tensor, draws: int, batch: int) -> tuple[float, float]:
    """The standard deviation of the gradient of one batch, and the norm of its expectation.

    Args:
        gradients: Mean gradients of batches, with shape (K, parameters).
        draws: Examples in each of these.
        batch: Examples in the batch that is asked about.
    """
    g = gradients.double()
    variance = (g - g.mean(0)).square().sum() / (len(g) - 1)
    square = (g.mean(0).square().sum() - variance / len(g)).clamp(min=0)
    return (variance * draws / batch).sqrt().item(), square.sqrt().item()


def pairs(names: Sequence[str]) -> list[tuple[str, str, bool]]:
    """Which gradients to compare, and whether they should be equal: the last pair, a control, should not."""
    same = [name for name in EQUIVALENT if name in names]
    chosen = [(same[0], other, True) for other in same[1:]]
    if len(same) > 2 and "dae" in same and "dsm" in same:
        chosen.append(("dsm", "dae", True))
    if "esm" in names and "ism" in names:
        chosen.append(("esm", ISM_AT_KNOWN, True))
    if "dsm" in names and "ism" in names:
        chosen.append(("dsm", "ism", False))
    return chosen


def gather(
    contest: Contest, names: Sequence[str], models: Mapping[str, nn.Module], draws: int = DRAWS
) -> Iterator[Gradients]:
    """Gradients of batches of draws, in the scale of a fit: `dae` is divided by 2 sigma^4.

    Args:
        contest: Where examples come from.
        names: Objectives.
        models: Where to take the gradients, under names such as "start" and "end".
        draws: Examples in a batch, m.

    Yields:
        After each batch: by name of model and objective, one vector for each batch so far.
    """
    examples = {name: contest.examples(name) for name in names}
    both = "esm" in names and "ism" in names
    parameters = sum(p.numel() for p in contest.origin.parameters())
    batches = min(BATCHES, max(8, LARGEST // (4 * parameters * len(models) * (len(names) + both))))
    thetas = {at: copy.deepcopy(model).requires_grad_(True) for at, model in models.items()}
    found: dict[tuple[str, str], list[Tensor]] = {}
    for k in range(batches):
        chance = contest.generator(DRAWN + k)
        clean, _ = among(contest.patches)(draws, chance)
        noise_seed = DRAWN + batches + k
        for name, source in examples.items():
            # Equal seeds make equal noise, whatever the objective does with it.
            chance = contest.generator(noise_seed)
            shown = source.draw(draws, chance) if source.density else source.around(clean, chance)
            asked = [(name, name, shown)]
            if both and source.density:
                asked.append((ISM_AT_KNOWN, "ism", Batch(shown.x, {})))
            for label, objective, batch in asked:
                for at, model in thetas.items():
                    found.setdefault((at, label), []).append(_gradient(contest, model, objective, batch))
        yield found


def _gradient(contest: Contest, model: nn.Module, name: str, batch: Batch) -> Tensor:
    """The gradient of the mean of a scaled objective in all parameters, with shape (parameters,)."""
    objective = OBJECTIVES[name]
    loss = objective.loss(model, batch.x, **batch.needs).mean() * objective.scale(contest.sigma, contest.dim)
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(model.parameters()))]).cpu()
