"""The angle between the gradients of objectives that ought to be the same, and the noise of each.

In expectation over q_sigma(x, x~) the gradients in theta of `esm-parzen`, `ism-parzen`, `dsm` and `dae`/(2 sigma^4)
are one vector at every theta, not at the minimum alone, and those of the sliced objectives too, in expectation over v;
so are those of `esm` and `ism` at samples of one density. Of finite draws only estimates can be had. All parameters'
gradients are averaged over K batches of m draws, the same x~ for all objectives. With a_k, b_k the gradients of batch k
and a, b their means:

    cosine       <a, b> / (|a| |b|), each product taken between different batches, <a_k, b_l> with k != l: noise, which
                 turns the vectors by chance, then leaves it unbiased up to O(1/K), and it may pass 1 a little
    difference   |a - b| / |a|
    noise        what the difference would be if the expectations were equal: sqrt(tr Cov(a_k - b_k) / K) / |a|
    excess       (|a - b|^2 - tr Cov(a_k - b_k) / K) / |a|^2, its mean is 0 if the expectations are equal, else positive
    rounding     what the difference may be for lack of digits: 16 epsilon |a_k| / |a|

The unit of excess, |a|^2, is taken between different batches as well. Standard errors are the jackknife's over the K
batches: sqrt((K - 1)/K sum_k (T_k - mean T)^2), T_k without batch k. All of it depends on the K x K inner products of
the batches only; of several thetas together, on their sums. Where expectations are equal, cosine and excess have no
part linear in the noise, and the jackknife then errs on the safe side: it states up to sqrt(2) too much.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from smdae.comparing.contest import Contest
from smdae.comparing.equivalence.estimators import Estimator
from smdae.comparing.evaluation import gradient
from smdae.fitting.draws import among

SEED_OFFSET = 2  # added to the seed for these draws
MAX_BYTES = 2**31  # bytes of gradients to hold; models that need more have fewer batches
MIN_BATCHES = 8  # batches


@dataclass(frozen=True)
class Parallel:
    """The comparison of two gradients; see the head of this file."""

    cosine: float
    cosine_error: float
    difference: float
    difference_error: float
    noise: float
    excess: float
    excess_error: float
    rounding: float


def _without_each(products: Tensor) -> tuple[Tensor, Tensor]:
    """Return <a, b> of the means of all batches but one, for each one left out, over all products and over k != l.

    `products` are <a_k, b_l>, with shape (K, K); both results have shape (K,).
    """
    K = len(products)
    diagonal = products.diagonal()
    total = products.sum() - products.sum(0) - products.sum(1) + diagonal  # (K,), without row and column k
    own = diagonal.sum() - diagonal
    return total / (K - 1) ** 2, (total - own) / ((K - 1) * (K - 2))


def _with_all(products: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same for the means of all batches, each with shape (1,)."""
    K = len(products)
    total = products.sum()[None]
    return total / K**2, (total - products.trace()) / (K * (K - 1))


def _statistics(
    aa: tuple[Tensor, Tensor], ab: tuple[Tensor, Tensor], bb: tuple[Tensor, Tensor], dd: tuple[Tensor, Tensor]
) -> Tensor:
    """Return cosine, difference and excess, with shape (3, n), from pairs (mean product, product between batches)."""
    cosine = ab[1] / (aa[1] * bb[1]).clamp(min=0).sqrt()
    return torch.stack([cosine, (dd[0] / aa[0]).sqrt(), dd[1] / aa[1].clamp(min=0)])


def pooled(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Parallel, list[Parallel]]:
    """Compare gradients, those at all thetas joined to one long vector and those at each theta; return both results.

    Each pair is of the mean gradients of the same K >= 3 batches under two objectives, both with shape (K, parameters).
    """
    grams = [_grams(first.double(), second.double()) for first, second in pairs]
    epsilon = torch.finfo(pairs[0][0].dtype).eps
    return _compared(torch.stack(grams).sum(0), epsilon), [_compared(each, epsilon) for each in grams]


def _compared(grams: Tensor, epsilon: float) -> Parallel:
    """Return the comparison that inner products hold, with shape (4, K, K), of gradients rounded to epsilon."""
    K = grams.shape[1]
    value = _statistics(*(_with_all(g) for g in grams))[:, 0]
    others = _statistics(*(_without_each(g) for g in grams))  # (3, K)
    error = ((K - 1) / K * (others - others.mean(1, keepdim=True)).square().sum(1)).sqrt()
    mean, between = _with_all(grams[3])
    size = _with_all(grams[0])[0]
    spread = ((mean - between).clamp(min=0) / size).sqrt().item()
    rounding = 16 * epsilon * (grams[0].diagonal().mean() / size).sqrt().item()
    (cosine, difference, excess), errors = value.tolist(), error.tolist()
    return Parallel(cosine, errors[0], difference, errors[1], spread, excess, errors[2], rounding)


def _grams(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner products of the batches: of a, of a with b, of b, and of a - b, with shape (4, K, K)."""
    d = a - b
    return torch.stack([a @ a.T, a @ b.T, b @ b.T, d @ d.T])


def max_batches(contest: Contest, thetas: int, estimators: int) -> int:
    """Return how many batches of gradients fit into MAX_BYTES, at least MIN_BATCHES."""
    parameters = sum(p.numel() for p in contest.origin.parameters())
    return max(MIN_BATCHES, MAX_BYTES // (4 * parameters * thetas * estimators))


class Gradients:
    """The gradients of at most `most` batches of m = `draws` examples, at models by name.

    They are scaled as in a fit: `dae` is divided by 2 sigma^4. An estimator whose verdicts are known need not be drawn
    on: it then has fewer batches than others, of the same draws as the first of these.
    """

    def __init__(self, contest: Contest, models: Mapping[str, nn.Module], most: int, draws: int) -> None:
        self.draws = draws
        self._contest, self._most = contest, most
        self._thetas = {at: copy.deepcopy(model).requires_grad_(True) for at, model in models.items()}
        # Room for all is taken at once: many small vectors, each kept, leave holes of the size of the activations.
        self._rows: dict[tuple[str, str], Tensor] = {}
        self._counts: dict[str, int] = {}

    @property
    def places(self) -> list[str]:
        """Return the names of the thetas, in order."""
        return [*self._thetas]

    def add(self, k: int, estimators: Sequence[Estimator]) -> None:
        """Compute and keep the gradients of some estimators at the draws of batch k.

        Batches of an estimator are added in order, from 0: k is how many it has.
        """
        chance = self._contest.generator(SEED_OFFSET + 2 * k)
        clean, _ = among(self._contest.patches)(self.draws, chance)
        for estimator in estimators:
            # Equal seeds make equal noise, whatever the objective does with it.
            shown = estimator.show(clean, self._contest.generator(SEED_OFFSET + 2 * k + 1))
            for at, model in self._thetas.items():
                vector = gradient(model, estimator.losses(model, shown).mean()).cpu()
                rows = self._rows.setdefault((at, estimator.name), vector.new_empty(self._most, len(vector)))
                rows[k] = vector
            self._counts[estimator.name] = k + 1

    def pair(self, at: str, first: str, second: str) -> tuple[Tensor, Tensor]:
        """Return the gradients of two estimators at the theta `at`, of the batches of both, each (K, parameters)."""
        count = min(self._counts[first], self._counts[second])
        return self._rows[at, first][:count], self._rows[at, second][:count]
