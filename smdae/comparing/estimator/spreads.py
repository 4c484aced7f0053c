"""The variance of a gradient, from the means of batches.

Of K batches of m examples, g_k the mean gradient of batch k and g that of all:

    variance of an example    m/(K - 1) sum_k |g_k - g|^2
    |E gradient|^2            |g|^2 less variance/(m K), without bias

All kinds of gradients are taken at the same patches; kinds that draw noise alike have the same noise.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from smdae.comparing.contest import Contest
from smdae.comparing.estimator.designs import CONTROLS, DESIGNS, Control
from smdae.comparing.evaluation import gradient
from smdae.comparing.profiling import seconds
from smdae.fitting.draws import among
from smdae.fitting.examples import Examples

DRAWS = 64  # examples in a batch, m
TIMED = 512  # examples that are timed at most
SEED_OFFSET = 1000  # added to the seed for these draws
NONE = "none"  # the design of examples without noise

Kind = tuple[str, str]  # an objective, and a design or a control


@dataclass(frozen=True)
class Spread:
    """The variance and the norm of a gradient."""

    variance: float  # tr Cov of the gradient of one example, over all parameters
    error: float  # its standard error
    square: float  # the squared norm of the expected gradient, without bias
    weight: float | None = None  # the weight of a control that is best for these batches; None without a control

    @classmethod
    def of(cls, gradients: Tensor, draws: int, weight: float | None = None) -> "Spread":
        """Return the spread, given mean gradients of K > 1 batches of `draws` examples, with shape (K, parameters)."""
        K, mean = len(gradients), gradients.mean(0)
        apart = (gradients - mean).square().sum(1) * (draws * K / (K - 1))
        variance = apart.mean().item()
        return cls(variance, apart.std().item() / K**0.5, mean.square().sum().item() - variance / (draws * K), weight)


def losses(examples: Examples, model: Any, design: str, clean: Tensor, chance: Generator) -> Tensor:
    """Return J of m examples made of m clean patches by a design, with shape (m,)."""
    if design == NONE:
        shown = examples.around(clean, chance)
    else:
        patches, noise = DESIGNS[design](clean, chance)
        shown = examples.around(patches, chance, noise=noise)
    # The model takes its own level, as it was fitted; sigma is that of the kernel.
    own_level = {"level": model.level} if "clean" in shown.needs else {"sigma": model.level}
    return examples.objective.loss(model, shown.x, **shown.needs | own_level)


def controlled(row: Control, examples: Examples, model: Any, clean: Tensor, chance: Generator) -> Tensor:
    """Return a control at the examples of the independent design, with shape (m,)."""
    patches, noise = DESIGNS["independent"](clean, chance)
    return row(model, model.level, patches, noise, examples.sigma)


def timed(contest: Contest, kinds: Sequence[Kind], rounds: int) -> dict[Kind, float]:
    """Return the seconds that an example takes for each kind: its drawing, its loss and the gradient together.

    The seconds are measured in batches as in a fit; each figure is the median of `rounds`.
    """
    model, chance, m = contest.model(), contest.generator(SEED_OFFSET), min(contest.settings.batch, TIMED)
    draw = among(contest.patches)

    def run(name: str, design: str) -> Callable[[], object]:
        examples, row = contest.examples(name), CONTROLS.get(design)

        def once() -> None:
            clean, _ = draw(m, chance)
            found = losses(examples, model, design if row is None else "independent", clean, chance)
            if row is not None:
                found = found - controlled(row, examples, model, clean, chance)
            gradient(model, found.mean())

        return once

    taken = seconds({kind: run(*kind) for kind in kinds}, rounds, contest.device)
    return {kind: value / m for kind, value in taken.items()}


def spreads(contest: Contest, kinds: Sequence[Kind], batches: int) -> Iterator[dict[Kind, Spread]]:
    """Yield a mapping from kind to spread at the start of a contest, each time with one kind more.

    Before a control, `kinds` must have its objective with the independent design.
    """
    model, draw = contest.model(), among(contest.patches)
    found: dict[Kind, Spread] = {}
    plain: dict[str, Tensor] = {}

    def gathered(made: Callable[[Tensor, Generator], Tensor]) -> Tensor:
        rows = []
        for k in range(batches):
            clean, _ = draw(DRAWS, contest.generator(SEED_OFFSET + k))
            rows.append(gradient(model, made(clean, contest.generator(SEED_OFFSET + batches + k)).mean()))
        return torch.stack(rows).double()

    for name, design in kinds:
        examples, row, weight = contest.examples(name), CONTROLS.get(design), None
        if row is None:
            gradients = gathered(lambda clean, chance: losses(examples, model, design, clean, chance))  # noqa: B023
            if design == "independent":
                plain = {name: gradients}
        else:
            extra = gathered(lambda clean, chance: controlled(row, examples, model, clean, chance))  # noqa: B023
            apart = extra - extra.mean(0)
            weight = ((apart * plain[name]).sum() / apart.square().sum()).item()
            gradients = plain[name] - weight * extra
        found[name, design] = Spread.of(gradients, DRAWS, weight)
        yield found
