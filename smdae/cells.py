"""The posterior mean under a great many patches without those that cannot matter: an exact cut-off.

In units of the noise, E[u | x] = sum_j exp(l_j) u_j / Z over the patches u_j, where

    l_j = <x, u_j> - |u_j|^2 / 2 = |x|^2 / 2 - |x - u_j|^2 / 2,    Z = sum_j exp(l_j)

The patches are sorted once into K cells of patches that are alike.

**The bound.** With orthonormal columns V the map f(u) = (V'u, |u - V V'u|) makes no distance larger, for
|x - u|^2 = |V'x - V'u|^2 + |rest of x - rest of u|^2 >= |f(x) - f(u)|^2. So where the f(u_j) of a cell lie in a box,

    l_j <= |x|^2 / 2 - dist(f(x), box)^2 / 2    for all patches of the cell.

V are the leading principal directions, in which patches differ most, and a cell is a box in f.

**The cut-off.** Let Z' <= Z be the sum over what was added so far. A cell of n patches with l_j <= U is left out if
n exp(U) <= t Z' / K. Then all that is left out is a part w <= t of Z, and the mean of the rest differs from that of all
by w |mean of what is left out - mean of the rest| <= 2 t R, R the largest |u_j|. With t = eps/4, eps the distance from
1 to the next number, this is no more than rounding does to a single number of size R. Where the bound is too loose the
l_j are computed, half of the work, and the largest of them is the U that may spare the other half.

Bounds are rounded too: |x|^2, the l_j and the distances are sums of d products; 4 d eps (|x| + R)^2 is allowed for it.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

__all__ = ["Cells"]

SIZE = 1024  # patches in a cell, at most
DIRECTIONS = 3  # columns of V
SEEN = 50_000  # patches that V is found from
QUERIES = 1024  # at a time
LEAST, PAIRS = 128, 50_000_000  # queries, and pairs of query and patch, that it can pay for
PROBES, TRIED = 32, 16  # queries that tell whether it does, in so many cells
PRODUCT, LOGS, WEIGHTS = 0.42, 19, 40  # time for one of the two products, and d times that for what comes with each
WORTH = 0.82  # where a fused kernel takes 1: above, it is called; near 1 the time is told too low
NEAREST = 8  # cells that are added first, so that Z' comes near Z,
FEW = 8  # of which but the nearest only those that are near so many queries


@dataclass(frozen=True, eq=False)
class Cells:
    """Patches sorted into cells.

    Attributes:
        keys: The patches less a centre, sorted, with shape (n, d).
        bias: -|u|^2 / 2, with shape (n,).
        sigma: Width of the noise.
        ends: Where cells begin and end, K + 1 of them.
        basis: V, with shape (d, k).
        low, high: The boxes, with shape (K, k + 1).
        middles: Mean of the keys of each cell, with shape (K, d).
        reach: R.
    """

    keys: Tensor
    bias: Tensor
    sigma: float
    ends: list[int]
    basis: Tensor
    low: Tensor
    high: Tensor
    middles: Tensor
    reach: float

    @classmethod
    def of(cls, patches: Tensor, centre: Tensor, sigma: float, size: int = SIZE) -> Self:
        """Sort patches, with shape (n, d), less a centre, with shape (d,), into cells of no more than `size`."""
        some = patches[:: -(-len(patches) // SEEN)].double() - centre.double()
        basis = torch.linalg.eigh(some.T @ some)[1][:, -DIRECTIONS:].to(patches.dtype)
        features = torch.cat([shortened((part - centre) / sigma, basis) for part in patches.split(1 << 16)])
        order, ends = boxed(features.numpy(), size)
        index = torch.from_numpy(order)
        keys = patches[index].sub_(centre)
        lengths = np.diff(ends).tolist()
        cells = features[index].split(lengths)
        bias = torch.linalg.vector_norm(keys, dim=1).square_().div_(-2 * sigma**2)
        return cls(
            keys,
            bias,
            sigma,
            ends,
            basis,
            torch.stack([cell.amin(0) for cell in cells]),
            torch.stack([cell.amax(0) for cell in cells]),
            torch.stack([cell.mean(0) for cell in keys.split(lengths)]),
            (-2 * bias.min().item()) ** 0.5,
        )

    def mean(self, x: Tensor) -> Tensor | None:
        """E[u | x], both with shape (B, d), less the centre, in their own unit; None where the cut-off does not pay."""
        if len(x) < LEAST or len(x) * len(self.keys) < PAIRS or self._time(x[:: -(-len(x) // PROBES)]) > WORTH:
            return None
        means = []
        for part in x.split(QUERIES):
            sums, wanted = self._begin(part)
            for cell in wanted.any(1).nonzero().flatten().tolist():
                self._add(sums, cell, wanted[cell])
            means.append(sums.mean)
        return torch.cat(means)

    def _begin(self, x: Tensor) -> tuple["Sums", Tensor]:
        """The sums over cells that are near, and which others the bound does not leave out, with shape (K, B)."""
        K, eps = len(self.ends) - 1, torch.finfo(x.dtype).eps
        norm = x.norm(dim=1) / self.sigma
        error = 4 * x.shape[1] * eps * (norm + self.reach) ** 2
        sums = Sums.of(x / self.sigma**2, math.log(eps / 4 / K) - error)
        nearest = torch.cdist(x, self.middles).topk(min(NEAREST, K), largest=False).indices.T
        near = torch.zeros(K, len(x), dtype=torch.bool).scatter_(0, nearest, True)
        near &= (near.sum(1) >= max(FEW, len(x) // 32))[:, None]
        near.scatter_(0, nearest[:1], True)
        for cell in near.any(1).nonzero().flatten().tolist():
            self._add(sums, cell, near[cell])
        return sums, (sums.least < self._bound(x / self.sigma, norm).T) & ~near

    def _time(self, x: Tensor) -> float:
        """How long queries like these take, where a fused kernel takes 1."""
        sums, wanted = self._begin(x)
        cells = wanted.any(1).nonzero().flatten()[:: max(1, len(wanted) // TRIED)]
        asked = int(wanted[cells].sum())
        used = sum(self._add(sums, cell, wanted[cell]) for cell in cells.tolist())
        first, second = (PRODUCT + more / x.shape[1] for more in (LOGS, WEIGHTS))
        return float(wanted.float().mean()) * (first + second * used / max(1, asked))

    def _bound(self, u: Tensor, norm: Tensor) -> Tensor:
        """log(n exp U) of each cell, with shape (B, K), of queries in units of the noise and their norms, (B,)."""
        square = norm.square()[:, None].repeat(1, len(self.low))
        for value, low, high in zip(shortened(u, self.basis).T, self.low.T, self.high.T, strict=True):
            square -= torch.maximum(low - value[:, None], value[:, None] - high).clamp_(min=0).square_()
        return square.div_(2).add_(torch.from_numpy(np.log(np.diff(self.ends))))

    def _add(self, sums: "Sums", cell: int, queries: Tensor) -> int:
        """Add a cell for some of the queries, with shape (B,), true for those; returns for how many it mattered."""
        some = slice(self.ends[cell], self.ends[cell + 1])
        return sums.add(queries.nonzero().flatten(), self.keys[some], self.bias[some])


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over what was added so far, of B queries.

    Attributes:
        x: The queries over sigma^2, with shape (B, d).
        slack: What is added to log Z' for the largest sum, as a logarithm, that may be left out, with shape (B,).
        top: The largest l_j, with shape (B,).
        total: sum_j exp(l_j - top), with shape (B,).
        weighted: sum_j exp(l_j - top) u_j, with shape (B, d).
    """

    x: Tensor
    slack: Tensor
    top: Tensor
    total: Tensor
    weighted: Tensor

    @classmethod
    def of(cls, x: Tensor, slack: Tensor) -> Self:
        """Nothing yet."""
        return cls(x, slack, torch.full_like(slack, -math.inf), torch.zeros_like(slack), torch.zeros_like(x))

    @property
    def least(self) -> Tensor:
        """The logarithm of what matters at least, with shape (B,)."""
        return self.top + self.total.log() + self.slack

    def noticing(self, rows: Tensor, more: Tensor) -> Tensor:
        """Which of the rows would notice more, a logarithm, with shape (m,) as they have: places in them."""
        return (more > self.least.index_select(0, rows)).nonzero().flatten()

    @property
    def mean(self) -> Tensor:
        """E[u | x], with shape (B, d)."""
        return self.weighted / self.total[:, None]

    def add(self, rows: Tensor, keys: Tensor, bias: Tensor) -> int:
        """Add patches, with shape (n, d), for the queries with these numbers; returns for how many they mattered."""
        products = torch.addmm(bias, self.x.index_select(0, rows), keys.T)
        high = products.amax(1)
        matter = self.noticing(rows, high + math.log(len(keys)))
        if len(matter) < len(rows):
            rows, products, high = (t.index_select(0, matter) for t in (rows, products, high))
        if len(rows):
            before = self.top.index_select(0, rows)
            top = torch.maximum(before, high)
            # Numbers too small for all their digits would take twenty times as long.
            weights = products.sub_(top[:, None]).clamp_(min=math.log(torch.finfo(top.dtype).tiny) + 1).exp_()
            shrunk = (before - top).exp_()
            total = self.total.index_select(0, rows).mul_(shrunk).add_(weights.sum(1))
            weighted = self.weighted.index_select(0, rows).mul_(shrunk[:, None]).addmm_(weights, keys)
            for sums, some in ((self.top, top), (self.total, total), (self.weighted, weighted)):
                sums.index_copy_(0, rows, some)
        return len(rows)


def shortened(u: Tensor, basis: Tensor) -> Tensor:
    """f(u) = (V'u, |u - V V'u|), with shape (n, k + 1), for u with shape (n, d)."""
    along = u @ basis
    return torch.cat([along, torch.addmm(u, along, basis.T, alpha=-1).norm(dim=1, keepdim=True)], 1)


def boxed(points: np.ndarray, size: int) -> tuple[np.ndarray, list[int]]:
    """Sort points, with shape (n, k), into boxes of no more than `size`: their order, and where boxes begin and end.

    A box is halved at the median of the coordinate in which its points vary most.
    """
    order, ends, whole = np.arange(len(points)), [0], [(0, len(points))]
    while whole:
        begin, end = whole.pop()
        if end - begin <= size:
            ends.append(end)
            continue
        part = points[order[begin:end]]
        half = -(-(end - begin) // size) // 2 * size
        order[begin:end] = order[begin:end][np.argpartition(part[:, part.var(0).argmax()], half)]
        whole += [(begin + half, end), (begin, begin + half)]
    return order, ends
