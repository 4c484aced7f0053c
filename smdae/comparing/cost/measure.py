"""The cost of a step: seconds and bytes, against the size of a patch and the number of patches in the Parzen density.

A step is draw, loss and gradient of the paper's energy with B examples and h units; the optimiser, the same for all, is
left out. Counted in multiplications, and in numbers held at once:

                       seconds      bytes          grows with
    ism-parzen exact   d B d h      d B (d + h)    d, all directions pushed forward and kept for the gradient
    esm                B K d^2      B K d          d, with K components in the mixture
    esm-parzen         B n d        B d + B h      n and d: fused attention holds no weights
    all others         B d h        B d + B h      d

The power of d or n that this comes to where it is large is the expected slope on log axes; the slope found is that of
the upper half of the sizes. Small sizes cost what it takes to call the operations at all, and bytes begin to grow where
d is no longer small beside h. `ism-parzen exact` takes the divergence as of any model, which the energy has in closed
form, and a sixteenth of the examples: more than d = 100 would take too long with all of them. Where objectives are
compared, figures are of one example.

Against d all data are random numbers, as wide as the patches, with n = 2000 and a mixture of as many components as
`esm` is given: what a step costs does not depend on them. Against n they are patches, some of them many times over.
What is held before the step, data, parameters and densities, is not counted.
"""

import math
import statistics
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from smdae.comparing.contest import Contest
from smdae.comparing.cost import pictures
from smdae.comparing.part import Context, Part, Tables
from smdae.comparing.profiling import peak_bytes, seconds
from smdae.comparing.text import grid, number, paragraph
from smdae.densities import GaussianMixture
from smdae.memory import available
from smdae.models import EnergyModel

SIDES, QUICK_SIDES = (4, 6, 8, 12, 16, 24, 32), (4, 8, 12, 16, 24)
COUNTS, QUICK_COUNTS = (1_000, 5_000, 20_000, 100_000), (1_000, 4_000, 16_000)
BATCH = 256  # examples in a step, B, at most
EXACT_BATCH_DIVISOR = 16  # times fewer of them where all directions are pushed through
ROUNDS, QUICK_ROUNDS = 15, 7  # of timing; fewer where they take long
MAX_SECONDS, QUICK_MAX_SECONDS = 1.5, 0.5  # seconds of a step; sizes that would take longer are left out
DATA = 2000  # patches against d
SEED_OFFSET = 2000  # added to the seed for these draws

EXACT = pictures.EXACT
# Slopes of seconds and of bytes that are not 1 and 1 against d, 0 and 0 against n.
EXPECTED = {(EXACT, "d"): (2, 2), ("esm", "d"): (2, 1), ("esm-parzen", "n"): (1, 0)}


@dataclass(frozen=True)
class Step:
    """Time and memory of a step."""

    objective: str  # its name; ism-parzen exact where the divergence is pushed through all directions
    against: str  # what is varied: d or n
    size: int  # d or n: numbers in a patch, or patches of the data
    batch: int  # number of examples in the step
    hidden: int  # number of hidden units
    seconds: float  # time of the step, the median of several
    bytes: int  # the most memory that the step held at once


@dataclass(frozen=True)
class Slope:
    """The powers of the size that time and memory grow with, fitted to the upper half of the sizes."""

    objective: str  # name of the objective, as in `Step`
    against: str  # d or n
    sizes: int  # number of sizes that were timed
    seconds_slope: float | None  # the power of the size that seconds grow with; None of a single size
    seconds_expected: int  # that power in theory, for large sizes
    bytes_slope: float | None  # the power of the size that bytes grow with; None of a single size
    bytes_expected: int  # that power in theory, for large sizes


@dataclass(frozen=True)
class _Bare:
    """A model that has nothing but its score."""

    model: EnergyModel

    def score(self, x: Tensor, sigma: float | None = None) -> Tensor:
        return self.model.score(x, sigma=sigma)


def _of_side(contest: Contest, side: int) -> Contest:
    """Return the contest with random numbers in place of patches, of another side."""
    means, chance = contest.origin.free_means, contest.generator(SEED_OFFSET)
    d = max(means, 1) * side**2
    width = contest.patches.std().item() or contest.sigma  # of one flat colour
    x = width * torch.randn(DATA, d, generator=chance, device=contest.device)
    model = EnergyModel(d, contest.origin.hidden, 1.0, contest.sigma, means).to(contest.device).requires_grad_(False)
    components = 1 if contest.settings.target == "gaussian" else contest.settings.components
    spread = width**2 * torch.eye(d, device=contest.device).expand(components, d, d)
    target = GaussianMixture(x.new_ones(components), x[:components], spread)
    x = model.centre(x)
    return replace(contest, origin=model, patches=x, held_out=x, target=target, _batches={})


def _of_count(contest: Contest, n: int) -> Contest:
    """Return the contest with n patches drawn from its own with replacement."""
    chosen = torch.randint(len(contest.patches), (n,), generator=contest.generator(SEED_OFFSET), device=contest.device)
    return replace(contest, patches=contest.patches[chosen], _batches={})


def _step(contest: Contest, name: str, batch: int) -> Callable[[], object]:
    """Return a function that takes one step of an objective."""
    examples = contest.examples("ism-parzen" if name == EXACT else name)
    model, chance = contest.model(), contest.generator(SEED_OFFSET)
    shown: Any = _Bare(model) if name == EXACT else model
    parameters = list(model.parameters())

    def run() -> None:
        losses = examples.draw(_batch(name, batch), chance).losses(examples.objective, shown)
        torch.autograd.grad(losses.mean(), parameters)

    return run


def _batch(name: str, batch: int) -> int:
    """Return how many examples a step of an objective has."""
    return max(1, batch // EXACT_BATCH_DIVISOR) if name == EXACT else batch


def _affordable(steps: Sequence[Step], name: str, size: int, longest: float, device: torch.device) -> bool:
    """Return whether a step of this size is expected to be quick and small enough, given the last one measured."""
    last = next((step for step in reversed(steps) if step.objective == name), None)
    if last is None:
        return True
    growth = size / last.size  # of seconds less than the square: small steps take long to begin
    return last.seconds * growth**1.5 < longest and last.bytes * growth**2 < available(device) / 4


def measure(context: Context) -> Generator[float, None, Tables]:
    """Measure time and memory of a step of each objective against d, and against n of those that depend on n.

    Yield the share that is done, and return the tables `steps`, rows of `Step`, and `slopes`, rows of `Slope`.
    """
    contest, quick = context.contest, context.quick
    batch = min(contest.settings.batch, BATCH)
    rounds, longest = (QUICK_ROUNDS, QUICK_MAX_SECONDS) if quick else (ROUNDS, MAX_SECONDS)
    names = context.names
    by_d = [*names, *([EXACT] if "ism-parzen" in names else [])]
    by_n = [name for name in ("dsm", "esm-parzen") if name in names] if "esm-parzen" in names else []
    sides, counts = (QUICK_SIDES, QUICK_COUNTS) if quick else (SIDES, COUNTS)
    places: list[tuple[str, int, Sequence[str]]] = [("d", side, by_d) for side in sides if by_d]
    places += [("n", count, by_n) for count in counts if by_n]
    whole = sum(size**2 if against == "d" else size / 100 for against, size, _ in places)
    steps: list[Step] = []
    done = 0.0
    yield done
    for against, number_of, asked in places:
        there = _of_side(contest, number_of) if against == "d" else _of_count(contest, number_of)
        size = there.dim if against == "d" else number_of
        before = [step for step in steps if step.against == against]
        chosen = [name for name in asked if _affordable(before, name, size, longest, contest.device)]
        runs = {name: _step(there, name, batch) for name in chosen}
        taken = seconds(runs, rounds, contest.device, longest / 4)
        for name, run in runs.items():
            held = peak_bytes(run, contest.device)
            steps.append(Step(name, against, size, _batch(name, batch), contest.origin.hidden, taken[name], held))
        done += number_of**2 if against == "d" else number_of / 100
        yield done / whole
    return {"steps": steps, "slopes": [*_slopes(steps)]}


def _slopes(steps: Sequence[Step]) -> Iterator[Slope]:
    for name, against in dict.fromkeys((step.objective, step.against) for step in steps):
        ours = [step for step in steps if (step.objective, step.against) == (name, against)]
        upper = ours[max(0, min(len(ours) // 2, len(ours) - 2)) :]
        expected = EXPECTED.get((name, against), (1, 1) if against == "d" else (0, 0))
        found = [_power([step.size for step in upper], [getattr(s, of) for s in upper]) for of in ("seconds", "bytes")]
        yield Slope(name, against, len(ours), found[0], expected[0], found[1], expected[1])


def _power(sizes: Sequence[float], values: Sequence[float]) -> float | None:
    """Return the slope of the least-squares line on log axes; None if there is none."""
    if len(sizes) < 2 or min(values) <= 0:
        return None
    return statistics.linear_regression(*([math.log(v) for v in row] for row in (sizes, values))).slope


def summarise(tables: Tables) -> list[str]:
    """Return lines of text on the slopes and the largest step of each objective; none without steps."""
    steps, slopes = tables["steps"], tables["slopes"]
    if not steps:
        return []
    last = {(step.objective, step.against): step for step in steps}
    rows = []
    for s in slopes:
        at = last[s.objective, s.against]
        each = (number(1e6 * at.seconds / at.batch, 0), number(at.bytes / 1024 / at.batch, 1))
        largest = (f"{s.against} = {at.size:,}", *each)
        slope = (f"{number(s.seconds_slope)} ({s.seconds_expected})", f"{number(s.bytes_slope)} ({s.bytes_expected})")
        rows.append((s.objective, *largest, *slope))
    header = ("objective", "at", "us an\nexample", "KiB an\nexample", "slope of\nseconds", "slope of\nbytes")
    first = steps[0]
    lines = paragraph(
        f"Steps of {first.batch} examples ({EXACT}: {_batch(EXACT, first.batch)}) and {first.hidden} units at their "
        "largest, and the power of the size that they grow with, in brackets the one expected of large sizes:"
    )
    lines += ["", *grid(header, rows), ""]
    for text in (*_findings_on_exact(steps), *_findings_on_n(steps)):
        lines += paragraph(text)
    return lines


def _findings_on_exact(steps: Sequence[Step]) -> Iterator[str]:
    """Yield a sentence on what the divergence in closed form saves."""
    found: Mapping[tuple[str, int], Step] = {(s.objective, s.size): s for s in steps if s.against == "d"}
    sizes = [size for name, size in found if name == EXACT]
    if sizes:
        slow, fast = found[EXACT, max(sizes)], found["ism-parzen", max(sizes)]
        fewer = slow.batch / fast.batch
        yield (
            f"At d = {max(sizes)} an example whose divergence goes through all directions takes "
            f"{number(slow.seconds / fast.seconds / fewer, 0)} times the time and "
            f"{number(slow.bytes / fast.bytes / fewer, 0)} times the bytes of one in closed form."
        )


def _findings_on_n(steps: Sequence[Step]) -> Iterator[str]:
    """Yield a sentence on what the Parzen density costs."""
    found: Mapping[tuple[str, int], Step] = {(s.objective, s.size): s for s in steps if s.against == "n"}
    sizes = [size for name, size in found if name == "dsm" and ("esm-parzen", size) in found]
    if sizes:
        said = ", ".join(
            f"{number(found['esm-parzen', n].seconds / found['dsm', n].seconds, 1)} at n = {n:,}" for n in sizes
        )
        yield f"A step of esm-parzen takes as long as so many of dsm: {said}."


COST = Part(
    title="The cost of a step",
    explains="How do time and memory of a step grow with the size of the patches and with their number? Steps are "
    "timed, and what they hold is counted, over sizes on log axes, where powers are straight lines.",
    equation="J_ESMq to J_DAE_sigma, Vincent (2011), sections 3 and 4, as they are computed; tr is a sum over d "
    "directions unless the model has it in closed form",
    rows={"steps": Step, "slopes": Slope},
    fits="none",
    measure=measure,
    pictures={
        "cost": "Time and memory of an example against numbers in a patch, and time against patches in the Parzen "
        "density; dashed lines have the slope that is expected.",
    },
    draw=pictures.draw,
    summarise=summarise,
)
