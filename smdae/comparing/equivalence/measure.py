"""Equivalence: do the objectives that theory has for one differ by constants alone?

    J_a(theta) - J_b(theta)     along the straight path from the start to the end of a fit: flat for equivalent pairs
    grad J_a - grad J_b         at its start, its end and, unless in a hurry, its middle: zero in expectation, so that
                                of n draws what is left falls as 1/sqrt(n); the verdict is on the relative difference
                                |E grad J_a - E grad J_b| / |E grad J_a| of all places as one vector (see verdict.py)
    E[J_dsm | x~] - J_esm       sum_i p(i | x~) J_dsm(x~, x_i) is J_esm(x~) and a number free of theta, at every single
                                x~ and for finitely many patches, so to the last digit: the Rao-Blackwell form of `dsm`

Scaled as in a fit: squared error per dimension over sigma^2.
"""

import copy
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from smdae.comparing.equivalence import arms as sides
from smdae.comparing.equivalence import pictures
from smdae.comparing.equivalence.arms import Pairing
from smdae.comparing.equivalence.gradients import Gradients, gather, most_batches, parallel, pooled
from smdae.comparing.equivalence.verdict import CONFIDENCE, LIMIT, Evidence, evidence
from smdae.comparing.part import Bench, Part, Tables
from smdae.comparing.text import grid, number, paragraph
from smdae.densities import Parzen
from smdae.fitting.draws import among
from smdae.objectives import denoising, explicit

__all__ = ["EQUIVALENCE"]

DRAWS = 2048  # examples in a batch, m
LOOKS = (32, 64, 128)  # batches after which pairs are looked at, while any is undecided
PLACES = {"start": 0.0, "middle": 0.5, "end": 1.0}
ALONG = 9  # thetas on the path
ENDS = ("dsm", "dae", "esm-parzen", "ism-parzen", "esm")  # whose end the path leads to: the first there is
ON_PATH = 16_384  # examples that J is measured by along the path
EXACT = 8  # noisy examples whose clean ones are all taken
SEED = 1 << 20  # added for draws of this part


@dataclass(frozen=True)
class Verdict:
    """What is known of a pair.

    Attributes:
        first, second: What is compared, see arms.py.
        theory: equal or unequal.
        why: Who says so.
        verdict: equivalent, different or undecided.
        low, high: 99.9 % interval of the relative difference of the expected gradients, all places as one.
        cosine: Between them.
        cosine_error: Its standard error.
        draws: Examples that this was found with.
    """

    first: str
    second: str
    theory: str
    why: str
    verdict: str
    low: float
    high: float | None
    cosine: float | None
    cosine_error: float | None
    draws: int


@dataclass(frozen=True)
class Gradient:
    """A pair at one theta; see gradients.py for the figures."""

    at: str
    first: str
    second: str
    theory: str
    cosine: float | None
    cosine_error: float | None
    difference: float | None
    difference_error: float | None
    noise: float | None
    excess: float | None
    excess_error: float | None
    low: float
    high: float | None


@dataclass(frozen=True)
class Shrinking:
    """The relative difference of gradients averaged over so many draws, and what chance alone makes of it."""

    first: str
    second: str
    theory: str
    draws: int
    difference: float | None
    chance: float | None


@dataclass(frozen=True)
class OnPath:
    """J_first - J_second, scaled, less its value at the start.

    Attributes:
        first, second: What is compared.
        theory: equal or unequal.
        t: Where on the path, 0 the start, 1 the end.
        value: J_first, scaled.
        gap: (J_first - J_second)(t) - (J_first - J_second)(0), scaled.
        error: Standard error of the gap.
    """

    first: str
    second: str
    theory: str
    t: float
    value: float
    gap: float
    error: float


@dataclass(frozen=True)
class Exact:
    """One noisy example: `dsm` over all the patches that it may come from against `esm-parzen`, in float64.

    Attributes:
        example: Which.
        patches: How many it may come from.
        effective: How many it does come from, exp of the entropy of p(i | x~).
        constant: sum_i p(i | x~) J_dsm(x~, x_i) - J_esm(x~) at the start, raw: free of theta.
        value_deviation: By how much that changes to the end of the path, over the change of J_esm.
        gradient_deviation: |grad sum_i p(i | x~) J_dsm - grad J_esm| / |grad J_esm| at the start.
    """

    example: int
    patches: int
    effective: float
    constant: float
    value_deviation: float | None
    gradient_deviation: float | None


def measure(bench: Bench) -> Generator[float, None, Tables]:
    """Gradients at three thetas, values along the path, and the exact form."""
    path = _path(bench)
    pairs = sides.pairings(bench.names)
    arms = sides.arms(bench.contest, bench.names)
    wanted = {at: t for at, t in PLACES.items() if at != "middle" or not bench.quick}
    places = {at: path(t) for at, t in wanted.items()} if path.leads else {"start": path(0.0)}
    most = most_batches(bench.contest, len(places), max(1, len(arms)))
    looks = [min(look, most) for look in LOOKS]
    batches: Gradients = {}
    found: dict[Pairing, Evidence] = {}
    count = 0
    # What is drawn after a look is drawn only if the look left something undecided.
    for batches in gather(bench.contest, arms, places, looks[-1], DRAWS) if pairs else ():
        count += 1
        yield 0.8 * min(1.0, count / looks[0])
        if count in looks:
            found = {pair: _all(batches, pair, places, count) for pair in pairs}
            if all(known.verdict != "undecided" for known in found.values()):
                break
    verdicts = []
    for pair, known in found.items():
        figures = pooled([_pair(batches, at, pair) for at in places])
        theory = "equal" if pair.equal else "unequal"
        verdicts.append(
            Verdict(pair.first, pair.second, theory, pair.theory, known.verdict, known.low, known.high,
                    figures.cosine, figures.cosine_error, count * DRAWS)
        )  # fmt: skip
    yield 0.85
    on_path = [*_on_path(bench, path, pairs, {arm.name: arm for arm in arms})] if path.leads else []
    yield 0.95
    return {
        "verdicts": verdicts,
        "gradients": [*_gradients(batches, pairs, places, count)],
        "shrinking": [*_shrinking(batches, pairs, count)],
        "on_path": on_path,
        "exact": [*_exact(bench, path)],
    }


class _Path:
    """theta(t) = (1 - t) start + t end, as models; it leads nowhere if there is no end."""

    def __init__(self, start: Any, end: Any | None) -> None:
        self.start, self.end, self.leads = start, end, end is not None

    def __call__(self, t: float) -> Any:
        model = copy.deepcopy(self.start)
        if self.end is not None:
            with torch.no_grad():
                for here, there in zip(model.parameters(), self.end.parameters(), strict=True):
                    here.lerp_(there, t)
        return model


def _path(bench: Bench) -> _Path:
    sound = {course.objective: course.model for course in reversed(bench.courses) if course.outcome == "done"}
    return _Path(bench.contest.origin, next((sound[name] for name in ENDS if name in sound), None))


def _pair(batches: Gradients, at: str, pair: Pairing) -> tuple[Tensor, Tensor]:
    return torch.stack([*batches[at, pair.first]]), torch.stack([*batches[at, pair.second]])


def _all(batches: Gradients, pair: Pairing, places: Mapping[str, Any], count: int) -> Evidence:
    return evidence(pooled([_pair(batches, at, pair) for at in places]), count, len(LOOKS))


def _gradients(batches: Gradients, pairs: list[Pairing], places: Mapping[str, Any], count: int) -> Iterator[Gradient]:
    for at in places:
        for pair in pairs:
            p = parallel(*_pair(batches, at, pair))
            known = evidence(p, count, len(LOOKS))
            theory = "equal" if pair.equal else "unequal"
            yield Gradient(at, pair.first, pair.second, theory, p.cosine, p.cosine_error, p.difference,
                           p.difference_error, p.noise, p.excess, p.excess_error, known.low, known.high)  # fmt: skip


def _shrinking(batches: Gradients, pairs: list[Pairing], count: int) -> Iterator[Shrinking]:
    """At the start, of means over 1, 2, 4, ... batches: the root mean square over all such groups of them."""
    for pair in pairs:
        a, b = (side.double() for side in _pair(batches, "start", pair))
        size = a.mean(0).norm()
        spread = (a - b - (a - b).mean(0)).square().sum() / (count - 1)
        groups = 1
        while groups <= count:
            means = (a - b)[: count - count % groups].view(-1, groups, a.shape[1]).mean(1)  # (count / groups, params)
            difference = means.square().sum(1).mean().sqrt() / size
            theory = "equal" if pair.equal else "unequal"
            chance = (spread / groups).sqrt() / size
            yield Shrinking(pair.first, pair.second, theory, groups * DRAWS, difference.item(), chance.item())
            groups *= 2


@torch.no_grad()
def _on_path(bench: Bench, path: _Path, pairs: list[Pairing], arms: Mapping[str, sides.Arm]) -> Iterator[OnPath]:
    contest = bench.contest
    clean, _ = among(contest.patches)(ON_PATH // 2 if bench.quick else ON_PATH, contest.generator(SEED))
    at = [i / (ALONG - 1) for i in range(ALONG)]
    thetas = [path(t) for t in at]
    values: dict[str, Tensor] = {}
    for name, arm in arms.items():
        shown = arm.show(clean, contest.generator(SEED + 1))
        losses = torch.stack([arm.losses(theta, shown) for theta in thetas]).double()  # (ALONG, n)
        if name in sides.SLICED:  # the mean over a frame is what belongs to one x~
            losses = losses.unflatten(1, (-1, contest.dim)).mean(2)
        values[name] = losses
    for pair in pairs:
        first, second = values[pair.first], values[pair.second]
        gaps = first - second if first.shape == second.shape else None
        theory = "equal" if pair.equal else "unequal"
        for i, t in enumerate(at):
            if gaps is None:
                raise AssertionError(f"{pair.first} and {pair.second} are not shown the same examples")
            change = gaps[i] - gaps[0]
            error = change.std() / len(change) ** 0.5
            yield OnPath(pair.first, pair.second, theory, t, first[i].mean().item(), change.mean().item(), error.item())


def _exact(bench: Bench, path: _Path) -> Iterator[Exact]:
    if not {"dsm", "esm-parzen"} <= set(bench.names):
        return
    contest = bench.contest
    q = Parzen(contest.patches.double(), contest.sigma)
    chance = contest.generator(SEED + 2)
    clean, _ = among(contest.patches)(EXACT, chance)
    noisy = contest.examples("dsm").around(clean, chance).x.double()
    noisy = contest.origin.centre(noisy)
    start, end = path(0.0).double(), path(1.0).double()
    parameters = [p.requires_grad_(True) for p in start.parameters()]
    for i, x in enumerate(noisy.split(1)):
        weights = (-(x - q.patches).square().sum(1) / (2 * contest.sigma**2)).softmax(0)  # (N,), p(i | x~)
        target = q.score(x)
        rows = x.expand_as(q.patches)

        def both(model: Any) -> tuple[Tensor, Tensor]:
            over_all = weights @ denoising(model, rows, q.patches, contest.sigma)  # noqa: B023  used at once
            return over_all, explicit(model, x, target).sum()  # noqa: B023

        dsm, esm = both(start)
        by_dsm, by_esm = (
            torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters)]) for value in (dsm, esm)
        )
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


def tell(tables: Tables) -> list[str]:
    """The verdicts with their evidence."""
    rows = [
        (f"{v.first}, {v.second}", v.theory, v.verdict, _percent(v.low), _percent(v.high), number(v.cosine, 4))
        for v in tables["verdicts"]
    ]
    if not rows:
        return ["There are no two objectives that theory says anything of."]
    lines = grid(("pair", "theory", "verdict", "from", "to", "cosine"), rows)
    most = max(v.draws for v in tables["verdicts"])
    text = (
        f"From, to: {100 * CONFIDENCE:g} % interval of the relative difference of the expected gradients, of {most:,} "
        f"draws; equivalent below {100 * LIMIT:g} %, different above, else undecided."
    )
    lines += ["", *paragraph(text)]
    flat = _largest(tables, "equal")
    control = _largest(tables, "unequal")
    if flat:
        text = f"From start to end of the fit J_a - J_b of equal pairs changes by {flat:.4f} at most"
        lines += paragraph(text + (f", of controls by up to {control:.4f}." if control else "."))
    if tables["exact"]:
        worst = max(e.gradient_deviation or 0.0 for e in tables["exact"])
        lines += paragraph(
            f"dsm over all patches that a noisy one may come from is esm-parzen: gradients to {worst:.0e} in float64."
        )
    return lines


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _largest(tables: Tables, theory: str) -> float:
    return max((abs(row.gap) for row in tables["on_path"] if row.theory == theory), default=0.0)


EQUIVALENCE = Part(
    title="Equivalence",
    explains="Do the objectives that theory has for one differ by a constant, so that their gradients are equal? Each "
    "pair is judged by an interval of the relative difference of its expected gradients, from the start to the end of "
    "a fit, never by a bare tick.",
    equation="J_ESMq_sigma ~ J_ISMq_sigma ~ J_DSMq_sigma ~ J_DAE_sigma: Vincent (2011), section 4; J_ESMq ~ J_ISMq: "
    "Hyvarinen (2005), theorem 1; J_SSM: Song et al. (2019)",
    rows={
        "verdicts": Verdict,
        "gradients": Gradient,
        "shrinking": Shrinking,
        "on_path": OnPath,
        "exact": Exact,
    },
    fits="one",
    measure=measure,
    pictures={
        "verdicts": "The 99.9 % interval of each pair's relative gradient difference: below 5 % a pair is equivalent, "
        "above it different, across it undecided.",
        "equivalence": "Left: J_a - J_b on the path from the start to the end of a fit, flat where the two are equal "
        "but for a constant; right: the difference of their gradients averaged over so many draws, which falls as one "
        "over the root where nothing but chance is left, and levels off where there is more.",
    },
    draw=pictures.draw,
    tell=tell,
)
