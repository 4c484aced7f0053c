"""What is set side by side: an objective, and how its examples are made of clean patches and chance.

    esm-parzen, ism-parzen, dsm, dae     at x~ = x + sigma eps, the same for all
    ssm, ssm-vr, fd-ssm                  at some of these x~, along frames: d orthogonal directions of length sqrt(d),
                                         for which the mean of v v' is I, so that the mean over v is taken exactly
    ism-parzen (frames)                  at the same x~ as these, to compare them with
    esm, ism at q                        at samples of a density whose score is known
    ism, ism-reg                         at the data
    dsm at 2 sigma                       at x + 2 sigma eps, of the same psi: a control

Theory has those of a class equal in expectation; those of the controls are not, and are there to show what unequal
looks like.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from smdae.comparing.contest import Contest
from smdae.divergence import normal_probes
from smdae.fitting.examples import Batch
from smdae.objectives import OBJECTIVES

__all__ = ["SLICED", "Arm", "Pairing", "arms", "pairings"]

ON_NOISY = ("esm-parzen", "ism-parzen", "dsm", "dae")
SLICED = ("ssm", "ssm-vr", "fd-ssm")
FEWEST = 4  # examples that have frames
FRAMES = "ism-parzen (frames)"
AT_Q = "ism at q"
WIDER = "dsm at 2 sigma"


@dataclass(frozen=True, eq=False)
class Arm:
    """An objective at examples.

    Attributes:
        name: What it is called.
        objective: Its name in OBJECTIVES.
        scale: What J is multiplied by: squared error per dimension over sigma^2.
        show: Makes examples of clean patches, (n, d), and a generator.
    """

    name: str
    objective: str
    scale: float
    show: Callable[[Tensor, Generator], Batch]

    def losses(self, model: Any, shown: Batch) -> Tensor:
        """Scaled J of each example, with shape (B,)."""
        return shown.losses(OBJECTIVES[self.objective], model) * self.scale


@dataclass(frozen=True)
class Pairing:
    """Two arms, whether theory has their gradients equal, and who says so, or why not."""

    first: str
    second: str
    equal: bool
    why: str

    @property
    def theory(self) -> str:
        """The same in a word."""
        return "equal" if self.equal else "unequal"


def arms(contest: Contest, names: Sequence[str]) -> list[Arm]:
    """The arms that the objectives named make possible; those that none is compared with are left out."""
    wanted = {side for pair in pairings(names) for side in (pair.first, pair.second)}
    made = [_arm(contest, name) for name in names] + [_extra(contest, name) for name in (FRAMES, AT_Q, WIDER)]
    return [arm for arm in made if arm.name in wanted]


def pairings(names: Sequence[str]) -> list[Pairing]:
    """Which arms to compare."""
    noisy = [name for name in ON_NOISY if name in names]
    pairs = [
        Pairing(a, b, True, f"{OBJECTIVES[a].paper} ~ {OBJECTIVES[b].paper}, Vincent (2011), section 4")
        for i, a in enumerate(noisy)
        for b in noisy[i + 1 :]
    ]
    by_song = "the mean over v, E v v' = I, of J_SSM is J_ISM, Song et al. (2019)"
    pairs += [Pairing(FRAMES, name, True, by_song) for name in SLICED if name in names]
    if "esm" in names and "ism" in names:
        pairs.append(Pairing("esm", AT_Q, True, "J_ESMq ~ J_ISMq, Hyvarinen (2005), theorem 1"))
    if "dsm" in names and "ism" in names:
        pairs.append(Pairing("dsm", "ism", False, "control: the density of the data is not q_sigma"))
    if "dsm" in names:
        pairs.append(Pairing("dsm", WIDER, False, "control: q_sigma is not q_2sigma"))
    return pairs


def _scale(contest: Contest, name: str) -> float:
    return float(OBJECTIVES[name].scale(contest.sigma, contest.dim))


def _arm(contest: Contest, name: str) -> Arm:
    examples = contest.examples(name)

    def show(clean: Tensor, generator: Generator) -> Batch:
        if name in SLICED:
            return _framed(contest, name, clean, generator)
        return examples.draw(len(clean), generator) if examples.density else examples.around(clean, generator)

    return Arm(name, name, _scale(contest, name), show)


def _extra(contest: Contest, name: str) -> Arm:
    if name == FRAMES:
        return Arm(name, "ism-parzen", _scale(contest, "ism-parzen"), lambda x, g: _framed(contest, "ism-parzen", x, g))
    if name == AT_Q:

        def at_q(clean: Tensor, generator: Generator) -> Batch:
            return Batch(contest.examples("esm").draw(len(clean), generator).x, {})

        return Arm(name, "ism", _scale(contest, "ism"), at_q)

    def wider(clean: Tensor, generator: Generator) -> Batch:
        near = contest.examples("dsm").around(clean, generator)
        far = clean + 2 * (near.x - clean)
        return Batch(far, {"clean": clean, "sigma": 2 * contest.sigma, "level": contest.sigma})

    return Arm(name, "dsm", _scale(contest, "dsm"), wider)


def _framed(contest: Contest, name: str, clean: Tensor, generator: Generator) -> Batch:
    """The first few examples, each d times over, along the directions of a random frame."""
    d = contest.dim
    few = clean[: max(FEWEST, len(clean) // d)]  # as many rows as other batches have
    x = contest.examples("ism-parzen").around(few, generator).x
    sigma = contest.sigma
    if name == "ism-parzen":
        return Batch(x, {"sigma": sigma})
    frame, _ = torch.linalg.qr(normal_probes(x.new_empty(d, d), 1, generator)[0])
    rows = x.repeat_interleave(d, 0)  # (n d, d)
    probes = (d**0.5 * frame.T).repeat(len(x), 1)[None]  # (1, n d, d)
    offered = {"sigma": sigma, "probes": probes, "step": 0.1 * sigma}
    return Batch(rows, {need: offered[need] for need in OBJECTIVES[name].needs})
