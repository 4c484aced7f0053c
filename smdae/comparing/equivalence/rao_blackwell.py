"""`dsm` with its target averaged over all the clean patches that a noisy one may come from is `esm-parzen`.

    sum_i p(i | x~) J_dsm(x~, x_i) = J_esm(x~) + 1/2 sum_i p(i | x~) |t_i - t|^2,    t = sum_i p(i | x~) t_i

with t_i = (x_i - x~)/sigma^2 and t = grad log q_sigma(x~): at every single x~ and for finitely many patches, so it
holds to the last digit.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from smdae.comparing.evaluation import gradient
from smdae.comparing.part import Context
from smdae.densities import Parzen
from smdae.fitting.draws import among
from smdae.objectives import denoising, explicit

EXAMPLES = 8  # noisy ones whose clean ones are all taken
SEED_OFFSET = (1 << 20) + 2  # added to the seed for these draws


@dataclass(frozen=True)
class Exact:
    """One noisy example: `dsm` over all the patches that it may come from against `esm-parzen`, in float64."""

    example: int  # number of the example, from 0
    patches: int  # how many it may come from
    effective: float  # how many it does come from, exp of the entropy of p(i | x~)
    constant: float  # sum_i p(i | x~) J_dsm(x~, x_i) - J_esm(x~) at the start, raw: free of theta
    value_deviation: float | None  # change of the constant from start to end of the path, over that of J_esm
    gradient_deviation: float | None  # |grad sum_i p(i | x~) J_dsm - grad J_esm| / |grad J_esm| at the start


def averaged(context: Context, start: Any, end: Any) -> Iterator[Exact]:
    """Yield an `Exact` for each of EXAMPLES noisy examples; none unless `dsm` and `esm-parzen` are both compared."""
    if not {"dsm", "esm-parzen"} <= set(context.names):
        return
    contest = context.contest
    q = Parzen(contest.patches.double(), contest.sigma)
    chance = contest.generator(SEED_OFFSET)
    clean, _ = among(contest.patches)(EXAMPLES, chance)
    noisy = contest.examples("dsm").around(clean, chance).x.double()
    noisy = contest.origin.centre(noisy)
    start, end = (copy.deepcopy(model).double() for model in (start, end))
    start.requires_grad_(True)
    for i, x in enumerate(noisy.split(1)):
        weights = (-(x - q.patches).square().sum(1) / (2 * contest.sigma**2)).softmax(0)  # (N,), p(i | x~)
        target = q.score(x)
        rows = x.expand_as(q.patches)

        def both(model: Any) -> tuple[Tensor, Tensor]:
            over_all = weights @ denoising(model, rows, q.patches, contest.sigma)  # noqa: B023  used at once
            return over_all, explicit(model, x, target).sum()  # noqa: B023

        dsm, esm = both(start)
        by_dsm, by_esm = gradient(start, dsm), gradient(start, esm)
        with torch.no_grad():
            dsm_end, esm_end = both(end)
        moved = (esm_end - esm).abs().item()
        drift = ((dsm_end - esm_end) - (dsm - esm)).abs().item()
        size = by_esm.norm().item()
        yield Exact(
            i,
            len(q.patches),
            torch.special.entr(weights).sum().exp().item(),
            (dsm - esm).item(),
            drift / moved if moved else None,
            (by_dsm - by_esm).norm().item() / size if size else None,
        )
