"""The estimators that are compared: an objective, and how its examples are drawn from clean patches and noise.

    esm-parzen, ism-parzen, dsm, dae     at x~ = x + sigma eps, the same for all
    ssm, ssm-vr, fd-ssm                  at some of these x~, along frames: d orthogonal directions of length sqrt(d),
                                         for which the mean of v v' is I, so that the mean over v is taken exactly
    ism-parzen (frames)                  at the same x~ as these, to compare them with
    esm, ism at q                        at samples of a density whose score is known
    ism, ism-reg                         at the data
    dsm at 2 sigma                       at x + 2 sigma eps, of the same psi: a control
    dsm, ... (grain), (shot)             at x~ of noise that is not white, see kernels.py, the same for all of a kernel
    dae, C^-1 (grain)                    |C^-1 (r - x)|^2 there, r = x~ + C psi(x~); without C^-1 it weights otherwise
    dae (shot)                           |r - x|^2, r = x~ + sigma^2 psi(x~): a control, as C depends on x
    dsm as if white (grain), (shot)      there, with the target of white noise: the control of the wrong noise

Theory has those of a class equal in expectation; those of the controls are not, and are there to show what unequal
looks like.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from smdae.comparing.contest import Contest
from smdae.comparing.equivalence.kernels import kernels_of
from smdae.comparing.evaluation import scale
from smdae.divergence import normal_probes
from smdae.fitting.draws import Batch
from smdae.objectives import OBJECTIVES
from smdae.patch_noise import KernelParzen, PatchNoise

ON_NOISY = ("esm-parzen", "ism-parzen", "dsm", "dae")
SLICED = ("ssm", "ssm-vr", "fd-ssm")
MIN_FRAMED = 4  # examples that have frames
FRAMES = "ism-parzen (frames)"
AT_Q = "ism at q"
WIDER = "dsm at 2 sigma"
UNDER = ("esm-parzen", "ism-parzen", "dsm")  # what is taken under kernels that are not white
ASSUMED, METRIC = "dsm as if white", "dae, C^-1"


@dataclass(frozen=True, eq=False)
class Estimator:
    """An objective with its examples."""

    name: str  # what it is called
    objective: str  # its name in OBJECTIVES
    scale: float  # what J is multiplied by: squared error per dimension over sigma^2
    show: Callable[[Tensor, Generator], Batch]  # makes examples of clean patches, (n, d), and a generator
    loss: Callable[..., Tensor] | None = None  # J of each example; None for that of the objective

    def losses(self, model: Any, shown: Batch) -> Tensor:
        """Return the scaled J of each example, with shape (B,)."""
        if self.loss is not None:
            return self.loss(model, shown.x, **shown.needs) * self.scale
        return shown.losses(OBJECTIVES[self.objective], model) * self.scale


@dataclass(frozen=True)
class Pairing:
    """Two estimators, whether theory says that their gradients are equal, and the source of that."""

    first: str
    second: str
    equal: bool
    why: str

    @property
    def theory(self) -> str:
        """Return what theory says of the gradients of the two: "equal" or "unequal"."""
        return "equal" if self.equal else "unequal"


def estimators(contest: Contest, names: Sequence[str]) -> list[Estimator]:
    """Return the estimators of the named objectives, and those with noise that is not white, that are in any pair.

    It raises UsageError if the user's own noise does not suit the patches.
    """
    kernels = kernels_of(contest)
    wanted = {side for pair in pairings(names, kernels) for side in (pair.first, pair.second)}
    made = [_plain(contest, name) for name in names] + [_extra(contest, name) for name in (FRAMES, AT_Q, WIDER)]
    made += [estimator for name, kernel in kernels.items() for estimator in _under(contest, name, kernel, names)]
    return [estimator for estimator in made if estimator.name in wanted]


def pairings(names: Sequence[str], kernels: Mapping[str, PatchNoise]) -> list[Pairing]:
    """Return which estimators to compare, for the named objectives and for kernels that are not white."""
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
    return pairs + [pair for name, kernel in kernels.items() for pair in _pairs_under(name, kernel, names)]


def _pairs_under(name: str, kernel: PatchNoise, names: Sequence[str]) -> list[Pairing]:
    """Return which estimators to compare under a kernel; `ism-parzen` depends on it through its samples only."""
    if not {"dsm", "ism-parzen"} <= {*names}:
        return []
    by_vincent = "for any kernel whose score is known, Vincent (2011), section 4.2"
    pairs = [Pairing(_at("dsm", name), _at("ism-parzen", name), True, by_vincent)]
    if "esm-parzen" in names and (kernel.is_pointwise or not kernel.is_signal_dependent):
        pairs.append(Pairing(_at("dsm", name), _at("esm-parzen", name), True, by_vincent))
    if "dae" in names and kernel.is_signal_dependent:
        why = "control: C depends on x, so that the clean mean follows from no score; dae takes the noise for white"
        pairs.append(Pairing(_at("dsm", name), _at("dae", name), False, why))
    elif "dae" in names:
        pairs.append(Pairing(_at("dsm", name), _at(METRIC, name), True, "|C^-1 (r - x)|^2 = 2 J_DSM, r = x~ + C psi"))
    why = f"control: the noise assumed is white, the noise added is {name}"
    return [*pairs, Pairing(_at("dsm", name), _at(ASSUMED, name), False, why)]


def _at(objective: str, kernel: str) -> str:
    return f"{objective} ({kernel})"


def _under(contest: Contest, name: str, kernel: PatchNoise, names: Sequence[str]) -> list[Estimator]:
    """Return the estimators under a kernel, all at the same x~."""
    sigma = contest.sigma
    kept: list[KernelParzen] = []  # made when first asked for

    def smoothed() -> KernelParzen:
        if not kept:
            kept.append(KernelParzen(contest.patches, kernel))
        return kept[0]

    def at(objective: str, clean: Tensor, generator: Generator) -> Batch:
        x = kernel.sample(clean, generator)
        needs: dict[str, Callable[[], dict[str, Any]]] = {
            "esm-parzen": lambda: {"target_score": smoothed().score(x), "sigma": sigma},
            "ism-parzen": lambda: {"sigma": sigma},
            "dsm": lambda: {"clean": clean, "sigma": kernel, "level": sigma},
            "dae": lambda: {"clean": clean, "sigma": sigma},
            ASSUMED: lambda: {"clean": clean, "sigma": sigma},
            METRIC: lambda: {"clean": clean},
        }
        return Batch(x, needs[objective]())

    def in_metric(model: Any, noisy: Tensor, clean: Tensor) -> Tensor:
        residual = noisy + kernel.covariance(model.score(noisy), noisy) - clean
        return kernel.score(residual, torch.zeros_like(residual)).square().sum(1) / 2

    made = [
        Estimator(_at(each, name), each, scale(contest, each), partial(at, each))
        for each in (*UNDER, "dae")
        if each in names
    ]
    unit = scale(contest, "dsm")
    made.append(Estimator(_at(ASSUMED, name), "dsm", unit, partial(at, ASSUMED)))
    made.append(Estimator(_at(METRIC, name), "dae", unit, partial(at, METRIC), in_metric))
    return made


def _plain(contest: Contest, name: str) -> Estimator:
    examples = contest.examples(name)

    def show(clean: Tensor, generator: Generator) -> Batch:
        if name in SLICED:
            return _framed(contest, name, clean, generator)
        return examples.made_of(clean, generator)

    return Estimator(name, name, scale(contest, name), show)


def _extra(contest: Contest, name: str) -> Estimator:
    if name == FRAMES:
        return Estimator(
            name, "ism-parzen", scale(contest, "ism-parzen"), lambda x, g: _framed(contest, "ism-parzen", x, g)
        )
    if name == AT_Q:

        def at_q(clean: Tensor, generator: Generator) -> Batch:
            return Batch(contest.examples("esm").draw(len(clean), generator).x, {})

        return Estimator(name, "ism", scale(contest, "ism"), at_q)

    def wider(clean: Tensor, generator: Generator) -> Batch:
        near = contest.examples("dsm").around(clean, generator)
        far = clean + 2 * (near.x - clean)
        return Batch(far, {"clean": clean, "sigma": 2 * contest.sigma, "level": contest.sigma})

    return Estimator(name, "dsm", scale(contest, "dsm"), wider)


def _framed(contest: Contest, name: str, clean: Tensor, generator: Generator) -> Batch:
    """Return a batch of the first examples, each d times, along the d directions of a random orthogonal frame."""
    d = contest.dim
    few = clean[: max(MIN_FRAMED, len(clean) // d)]  # as many rows as other batches have
    x = contest.examples("ism-parzen").around(few, generator).x
    sigma = contest.sigma
    if name == "ism-parzen":
        return Batch(x, {"sigma": sigma})
    frame, _ = torch.linalg.qr(normal_probes(x.new_empty(d, d), 1, generator)[0])
    rows = x.repeat_interleave(d, 0)  # (n d, d)
    probes = (d**0.5 * frame.T).repeat(len(x), 1)[None]  # (1, n d, d)
    offered = {"sigma": sigma, "probes": probes, "step": 0.1 * sigma}
    return Batch(rows, {need: offered[need] for need in OBJECTIVES[name].needs})
