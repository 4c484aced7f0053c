"""The estimator: how noisy is the gradient of each objective, by level of the noise, and what can be done about it?

With x~ = x + sigma eps, and D psi the derivative in theta, the gradients of one example are

    dsm          D psi(x~)'(psi(x~) + eps/sigma)
    ism-parzen   D psi(x~)'psi(x~) + D tr(d psi/dx)(x~)

Equal on average, they are unlike as sigma goes to 0 with psi as it is. That of `dsm` is then D psi(x)'eps/sigma and
terms that stay bounded: its variance grows like E |D psi(x)|^2 / sigma^2, though its mean does not. That of
`ism-parzen` becomes what `ism` is at x: no noise is left but the choice of x. Integration by parts, which leads from
one to the other, is what takes the large term out. It is odd in eps, so eps and -eps on the same patch cancel it, and
so does the control <eps, psi(x)>/sigma; `stein` finds the best mixture of the two objectives (see `designs`).
`esm-parzen` has for a target the mean over all patches that x~ may have come from, the Rao-Blackwell of `dsm`. That
helps where kernels overlap: as sigma goes to 0 each patch stands alone, and the two are one. Sliced forms add the noise
of v; `ssm` also has (v'psi)^2 for |psi|^2, whose variance is up to 2 |psi|^4.

For two thetas, neither of them fitted:

    fixed   the start of the contest: psi stays as it is while the noise of the pairs changes, as above
    own     the start for each level: the energy sees x/sigma, its psi and the mean gradient grow as sigma falls

With `own` the choice of x, which no design of the noise can do anything about, is most of the variance at small sigma;
designs that show fewer patches then pay for it. A fit of the energy resembles `own`, from its start to its end.

Variance is tr Cov over all parameters, of the mean over a batch, times the examples in the batch, over |E gradient|^2.
It is that of one example where examples are independent, and makes designs comparable where they are not: at equal
numbers of noisy examples. At equal cost it is times seconds an example, as measured, over the same of `dsm`. `dae` is
`dsm` but for a factor, which cancels here.
"""

import statistics
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from smdae.comparing.contest import Contest
from smdae.comparing.estimator import pictures
from smdae.comparing.estimator.designs import CONTROLS, DESIGNS
from smdae.comparing.estimator.spreads import NONE, Kind, Spread, spreads, timed
from smdae.comparing.part import Context, Part, Tables
from smdae.comparing.text import grid, number, paragraph
from smdae.models import MODELS
from smdae.objectives import OBJECTIVES

SHARES, QUICK_SHARES = (0.1, 0.2, 0.4, 1.0, 2.0, 4.0), (0.1, 0.4, 1.0, 4.0)  # levels, of the contest's
BATCHES, QUICK_BATCHES = 32, 24  # K
ROUNDS = 15  # of timing
THETAS = ("fixed", "own")


@dataclass(frozen=True)
class Variance:
    """The variance of a gradient, at one level of the noise."""

    theta: str  # where it is taken: fixed or own
    sigma: float  # level of the noise of the pairs, on 0 to 255
    objective: str  # its name
    design: str  # a name of DESIGNS or CONTROLS; none where there is no noise
    variance: float | None  # tr Cov over |E gradient|^2 for one example; None where the mean is lost in the noise
    error: float | None  # standard error of the variance over the batches
    weight: float | None  # the weight of the control that is best for these batches; None without a control
    seconds: float  # time for an example: draw, loss and gradient, at the contest's level
    cost: float | None  # variance x seconds, over that of `dsm`, else of the first objective, independent


def _names(context: Context) -> list[str]:
    """Return the objectives that are measured: `dsm`, which stands for `dae` too, others on q_sigma, and `ism`."""
    chosen = dict.fromkeys("dsm" if name == "dae" else name for name in context.names)
    noisy = [name for name in chosen if OBJECTIVES[name].samples != "data"]
    return [*sorted(noisy, key=lambda name: name != "dsm"), *(["ism"] if "ism" in chosen else [])]


def _at(contest: Contest, share: float, theta: str) -> Contest:
    """Return the same contest at another level, starting with the theta asked for."""
    settings = contest.settings.model_copy(update={"sigma": 255 * contest.sigma * share})
    model = contest.origin
    if theta == "own":
        start = MODELS[settings.model].start
        model = start(contest.patches, model.free_means, settings, contest.generator()).requires_grad_(False)
    return replace(contest, settings=settings, origin=model, _batches={})


def _kinds(context: Context) -> list[Kind]:
    """Return which objectives are measured with which designs: `dsm` and `ism-parzen` with all."""
    few = ["independent"] if context.quick else ["independent", "antithetic"]
    kinds: list[Kind] = []
    for name in _names(context):
        designs = [NONE] if name == "ism" else [*DESIGNS] if name in ("dsm", "ism-parzen") else few
        kinds += [(name, design) for design in (*designs, *(CONTROLS if name == "dsm" else ()))]
    return kinds


def measure(context: Context) -> Generator[float, None, Tables]:
    """Measure the variances of the gradients of all objectives and designs, at all levels and thetas.

    Yield the share of the work that is done, 0 to 1. Return a dict with one table, `variances`, a `Variance` for each.
    """
    contest, kinds = context.contest, _kinds(context)
    shares = QUICK_SHARES if context.quick else SHARES
    places = list(product(THETAS, shares)) if kinds else []
    yield 0.0
    taken = timed(contest, kinds, ROUNDS)
    rows: list[Variance] = []
    for i, (theta, share) in enumerate(places):
        there = _at(contest, share, theta)
        found: Mapping[Kind, Spread] = {}
        for found in spreads(there, kinds, QUICK_BATCHES if context.quick else BATCHES):
            yield (i + len(found) / len(kinds)) / len(places)
        rows += _rows(theta, 255 * there.sigma, found, taken)
    return {"variances": rows}


def _rows(theta: str, sigma: float, found: Mapping[Kind, Spread], taken: Mapping[Kind, float]) -> Iterator[Variance]:
    # On q_sigma the expected gradient is one: its norm is taken from whoever knows it best.
    best = min((s for (_, design), s in found.items() if design != NONE), key=lambda s: s.variance, default=None)
    first = next(iter(found))
    for (name, design), spread in found.items():
        square = (spread if design == NONE or best is None else best).square
        known = square > 0
        cost = spread.variance * taken[name, design] / (found[first].variance * taken[first])
        yield Variance(
            theta,
            sigma,
            name,
            design,
            spread.variance / square if known else None,
            spread.error / square if known else None,
            spread.weight,
            taken[name, design],
            cost if first[1] != NONE and design != NONE else None,
        )


def summarise(tables: Tables) -> list[str]:
    """Return lines of text on the variances by level; none without variances."""
    rows: Sequence[Variance] = tables["variances"]
    if not rows:
        return []
    levels = sorted({row.sigma for row in rows})
    found = {(r.theta, r.objective, r.design, r.sigma): r for r in rows}
    lines = paragraph(
        "Variance of the gradient of one example over its squared expectation, by sigma of the pairs, and microseconds "
        "an example:"
    )
    for theta in THETAS:
        kinds = [k for k in dict.fromkeys((r.objective, r.design) for r in rows) if k[0] == "dsm" or _plain(k[1])]
        table = [
            (
                name if _plain(design) else f"  {design}",
                *(_short(found[theta, name, design, level].variance) for level in levels),
                _short(1e6 * found[theta, name, design, levels[0]].seconds),
            )
            for name, design in kinds
        ]
        lines += ["", *grid((f"theta {theta}", *(f"{level:g}" for level in levels), "us"), table)]
    lines.append("")
    for text in (*_growth(rows), *_opposites(rows), *_sliced(rows), *_cheapest(rows)):
        lines += paragraph(text)
    return lines


def _plain(design: str) -> bool:
    return design in ("independent", NONE)


def _short(value: float | None) -> str:
    return number(value, 1 if value is not None and abs(value) < 100 else 0)


def _of(rows: Sequence[Variance], theta: str, name: str, design: str = "independent") -> dict[float, float]:
    """Return the variances of an objective and design by level."""
    chosen = (r for r in rows if (r.theta, r.objective, r.design) == (theta, name, design))
    return {r.sigma: r.variance for r in sorted(chosen, key=lambda r: r.sigma) if r.variance is not None}


def _growth(rows: Sequence[Variance]) -> Iterator[str]:
    """Yield a sentence on how variances change between the two smallest levels where theta is fixed."""
    said, low, high = [], 0.0, 0.0
    for name in ("dsm", "esm-parzen", "ism-parzen"):
        by_level = _of(rows, "fixed", name)
        if len(by_level) > 1:
            low, high = sorted(by_level)[:2]
            said.append(f"{name} {number(by_level[low] / by_level[high])}")
    if said:
        yield (
            f"Theta fixed, from sigma {high:g} to {low:g} the variance is multiplied by: {', '.join(said)}; "
            f"1/sigma^2 by {number((high / low) ** 2)}."
        )


def _opposites(rows: Sequence[Variance]) -> Iterator[str]:
    """Yield a sentence on what opposite noise on the same patch does to `dsm`."""
    said = []
    for theta in THETAS:
        plain, both = _of(rows, theta, "dsm"), _of(rows, theta, "dsm", "antithetic")
        shared = sorted(plain.keys() & both.keys())
        said += [f"{number(both[at] / plain[at])} at sigma {at:g} ({theta})" for at in shared[:1] + shared[-1:]]
    if said:
        yield f"Opposite noises on the same patch multiply the variance of dsm by {', '.join(said)}."


def _sliced(rows: Sequence[Variance]) -> Iterator[str]:
    """Yield a sentence on how much variance the random directions add."""
    said = []
    for name in ("ssm", "ssm-vr", "fd-ssm"):
        ratios = []
        for theta in THETAS:
            sliced, whole = _of(rows, theta, name), _of(rows, theta, "ism-parzen")
            ratios += [sliced[at] / whole[at] for at in sliced.keys() & whole.keys()]
        if ratios:
            said.append(f"{name} {number(statistics.median(ratios), 1)}")
    if said:
        yield f"Times the variance of ism-parzen, the median over all levels and thetas: {', '.join(said)}."


def _cheapest(rows: Sequence[Variance]) -> Iterator[str]:
    """Yield a sentence for each theta on which gradient has the least variance times time."""
    for theta in THETAS:
        priced = [r for r in rows if r.theta == theta and r.cost is not None]
        best = [
            min((r for r in priced if r.sigma == at), key=lambda r: r.cost or 0.0)
            for at in sorted({r.sigma for r in priced})
        ]
        if best:
            said = ", ".join(f"{r.sigma:g}: {r.objective} {r.design} {number(r.cost)}" for r in best)
            yield f"Least variance times time, theta {theta}, over that of {priced[0].objective} independent: {said}."


ESTIMATOR = Part(
    title="The estimator",
    explains="How much does the gradient of each objective vary from example to example, at equal draws and at equal "
    "time, as the noise gets small or large? What opposite noise, orthogonal noise and control variates buy is "
    "measured beside it.",
    equation="J_DSMq_sigma and J_ISMq_sigma, Vincent (2011), section 4, whose gradients agree in expectation alone; "
    "E <eps, f(eps)> = E tr f'(eps); Song et al. (2019)",
    rows={"variances": Variance},
    fits="none",
    measure=measure,
    pictures={
        "variance": "Variance of the gradient of one example against sigma, at equal draws (left) and times its time "
        "(right), with theta fixed (above) and with the start of each level (below).",
    },
    draw=pictures.draw,
    summarise=summarise,
)
