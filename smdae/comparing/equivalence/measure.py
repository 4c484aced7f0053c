"""Equivalence: do the objectives that theory has for one differ by constants alone?

    J_a(theta) - J_b(theta)     along the path from the start to the end of a fit: flat for equivalent pairs (path.py)
    grad J_a - grad J_b         at its start, its end and, unless in a hurry, its middle: zero in expectation, so that
                                of n draws what is left falls as 1/sqrt(n); the verdict is on the relative difference
                                |E grad J_a - E grad J_b| / |E grad J_a| of all places as one vector, or of the
                                one that tells the pair apart (verdict.py)
    noise that is not white     the same under a correlated kernel and one that depends on x (kernels.py), and what
                                comes of assuming white noise there
    E[J_dsm | x~] - J_esm       free of theta at every x~, to the last digit (rao_blackwell.py)

Scaled as in a fit: squared error per dimension over sigma^2.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

from smdae.comparing.equivalence import pictures
from smdae.comparing.equivalence.estimators import Pairing, pairings
from smdae.comparing.equivalence.estimators import estimators as estimators_for
from smdae.comparing.equivalence.gradients import Gradients, Parallel, max_batches, pooled
from smdae.comparing.equivalence.kernels import kernels_of
from smdae.comparing.equivalence.path import OnPath, gaps, path_of
from smdae.comparing.equivalence.rao_blackwell import Exact, averaged
from smdae.comparing.equivalence.verdict import ALL, CONFIDENCE, LIMIT, TOO_CLOSE, Evidence, evidence, judged
from smdae.comparing.part import Context, Part, Tables
from smdae.comparing.text import grid, number, paragraph

DRAWS, FEW, DRAWS_OF_FEW = 2048, 16, 8192  # examples in a batch, m, and of few numbers each, which cost less
LOOKS = (8, 32, 64, 128)  # batches after which pairs are looked at, and more are drawn of those that are undecided
PLACES = {"start": 0.0, "middle": 0.5, "end": 1.0}


@dataclass(frozen=True)
class Verdict:
    """A pair of estimators, and whether their expected gradients are equal.

    A figure that is not finite is None once it was read from a record.
    """

    first: str  # of the two estimators that are compared, see estimators.py
    second: str
    theory: str  # equal or unequal
    why: str  # the theorem or the paper that says so
    verdict: str  # equivalent, different or undecided; too close for a control that differs by less than 5 %
    at: str  # where the following figures are from: all places as one, or the one that shows the pair to be different
    low: float  # 99.9 % interval of the relative difference of the expected gradients
    high: float | None
    cosine: float | None  # cosine of the angle between the expected gradients
    cosine_error: float | None  # standard error of the cosine
    draws: int  # number of examples that the gradients were averaged over


@dataclass(frozen=True)
class Gradient:
    """A pair at one theta; see gradients.py for the figures, which are None in a record where they are not finite."""

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
    """The relative difference of gradients averaged over some draws, and what chance alone would make it.

    One that is not finite is None once it was read from a record.
    """

    first: str
    second: str
    theory: str
    draws: int
    difference: float | None
    chance: float | None


def measure(context: Context) -> Generator[float, None, Tables]:
    """Compare gradients at some thetas, values along the path, and the exact form.

    Yield the share that is done, and return the tables `verdicts`, `gradients`, `shrinking`, `on_path` and `exact`. It
    raises UsageError if the user's own noise does not suit the patches.
    """
    path, estimators = path_of(context), estimators_for(context.contest, context.names)
    pairs = pairings(context.names, kernels_of(context.contest))
    wanted = {at: t for at, t in PLACES.items() if at != "middle" or not context.quick}
    places = {at: path(t) for at, t in wanted.items()} if path.leads else {"start": path(0.0)}
    most = max_batches(context.contest, len(places), max(1, len(estimators)))
    looks = [*dict.fromkeys(min(look, most) for look in LOOKS)]
    draws = DRAWS_OF_FEW if context.contest.dim <= FEW else DRAWS
    batches = Gradients(context.contest, places, looks[-1], draws)
    found: dict[Pairing, Found] = {}
    undecided, count = pairs, 0
    for look in looks if pairs else ():
        sides = {side for pair in undecided for side in (pair.first, pair.second)}
        drawn = [estimator for estimator in estimators if estimator.name in sides]
        for k in range(count, look):
            batches.add(k, drawn)
            yield 0.8 * min(1.0, k / looks[min(1, len(looks) - 1)])
        count = look
        found |= {pair: _found(batches, pair) for pair in pairs if {pair.first, pair.second} <= sides}
        undecided = [pair for pair, figures in found.items() if not figures.is_settled]
        if not undecided:
            break
    yield 0.85
    on_path = [*gaps(context, path, pairs, estimators)] if path.leads else []
    yield 0.95
    return {
        "verdicts": [_verdict(pair, figures, draws) for pair, figures in found.items()],
        "gradients": [*_gradients(found, batches.places)],
        "shrinking": [*_shrinking(batches, pairs)],
        "on_path": on_path,
        "exact": [*averaged(context, path(0.0), path(1.0))],
    }


@dataclass(frozen=True)
class Found:
    """The parallelism of the gradients of a pair, of all places together and at each, over `count` batches."""

    together: Parallel
    single: Mapping[str, Parallel]
    count: int

    @property
    def judged(self) -> tuple[str, Evidence]:
        """Return the name of the place whose evidence decides, or "all", and that evidence."""
        return judged(self.together, self.single, self.count, len(LOOKS))

    @property
    def is_settled(self) -> bool:
        """Return whether the verdict is final, so that no more batches need be drawn.

        After the first look a pair is equivalent only if it is so at each place: that one place tells a pair apart
        may be known later than that all places together differ by less than 5 %.
        """
        verdict = self.judged[1].verdict
        if verdict != "equivalent" or self.count > LOOKS[0]:
            return verdict != "undecided"
        return all(evidence(one, self.count, len(LOOKS)).verdict == verdict for one in self.single.values())


def _found(batches: Gradients, pair: Pairing) -> Found:
    sides = [batches.pair(at, pair.first, pair.second) for at in batches.places]
    together, single = pooled(sides)
    return Found(together, dict(zip(batches.places, single, strict=True)), len(sides[0][0]))


def _verdict(pair: Pairing, found: Found, draws: int) -> Verdict:
    at, known = found.judged
    figures = found.together if at == ALL else found.single[at]
    verdict = TOO_CLOSE if known.verdict == "equivalent" and not pair.equal else known.verdict
    return Verdict(pair.first, pair.second, pair.theory, pair.why, verdict, at, known.low, known.high,
                   figures.cosine, figures.cosine_error, found.count * draws)  # fmt: skip


def _gradients(found: Mapping[Pairing, Found], places: Sequence[str]) -> Iterator[Gradient]:
    for at in places:
        for pair, figures in found.items():
            p = figures.single[at]
            known = evidence(p, figures.count, len(LOOKS))
            yield Gradient(at, pair.first, pair.second, pair.theory, p.cosine, p.cosine_error, p.difference,
                           p.difference_error, p.noise, p.excess, p.excess_error, known.low, known.high)  # fmt: skip


def _shrinking(batches: Gradients, pairs: list[Pairing]) -> Iterator[Shrinking]:
    """Yield, at the start, the root mean square difference of means over 1, 2, 4, ... batches."""
    for pair in pairs:
        a, b = (side.double() for side in batches.pair("start", pair.first, pair.second))
        count = len(a)
        size = a.mean(0).norm()
        spread = (a - b - (a - b).mean(0)).square().sum() / (count - 1)
        groups = 1
        while groups <= count:
            means = (a - b)[: count - count % groups].view(-1, groups, a.shape[1]).mean(1)  # (count / groups, params)
            difference = means.square().sum(1).mean().sqrt() / size
            chance = (spread / groups).sqrt() / size
            yield Shrinking(
                pair.first, pair.second, pair.theory, groups * batches.draws, difference.item(), chance.item()
            )
            groups *= 2


def summarise(tables: Tables) -> list[str]:
    """Return lines of text on the verdicts and their evidence."""
    rows = [
        (f"{v.first}, {v.second}", v.theory, v.verdict, _percent(v.low), _percent(v.high), number(v.cosine, 4))
        for v in tables["verdicts"]
    ]
    if not rows:
        return ["There are no two objectives that theory says anything of."]
    lines = grid(("pair", "theory", "verdict", "from", "to", "cosine"), rows)
    most = max(v.draws for v in tables["verdicts"])
    text = (
        f"From, to: {100 * CONFIDENCE:g} % interval of the relative difference of the expected gradients, of up to "
        f"{most:,} draws; equivalent below {100 * LIMIT:g} %, different above, else undecided."
    )
    lines += ["", *paragraph(text)]
    alone = [f"{v.first}, {v.second} ({v.at})" for v in tables["verdicts"] if v.at != ALL]
    if alone:
        lines += paragraph(f"Told apart by the start, middle or end of the fit alone: {'; '.join(alone)}.")
    close = [f"{v.first}, {v.second}" for v in tables["verdicts"] if v.verdict == TOO_CLOSE]
    if close:
        lines += paragraph(
            f"Too close: {'; '.join(close)}. Theory has them different, but at this sigma by less than "
            f"{100 * LIMIT:g} %; a larger sigma tells them apart."
        )
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
        "above it different, across it undecided; a control below it is too close to tell apart at this sigma.",
        "equivalence": "Left: J_a - J_b on the path from the start to the end of a fit, flat where the two are equal "
        "but for a constant; right: the difference of their gradients averaged over so many draws, which falls as one "
        "over the root where nothing but chance is left, and levels off where there is more.",
    },
    draw=pictures.draw,
    summarise=summarise,
)
