"""Independent components by score matching, the first example of Hyvarinen (2005).

    python examples/ica.py [--out ica.png] [--quick]

x = A s mixes independent sources of heavy tails. The model log q(x) = sum_i G(w_i'x) + const, with the log-density
G(u) = -2 log cosh(pi u / 2 root 3) of logistic sources, has a normalising constant that score matching never needs:

    psi(x) = sum_i g(w_i'x) w_i,    g = G'

W A should be a permutation with signs and scales. Its Amari distance from one is 0 if it is, and 1 at worst.
"""

import argparse
import math

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import smdae

SLOPE = math.pi / math.sqrt(3)


class Logistic(nn.Module):
    """Rows w_i of W, one for each source."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.eye(dim) + 0.3 * torch.randn(dim, dim))

    def score(self, x: Tensor, sigma: float) -> Tensor:
        """Return psi(x), with the shape of x, (B, dim); the data are clean, and sigma is of no use."""
        return -SLOPE * torch.tanh(SLOPE * x @ self.W.T / 2) @ self.W


def amari(P: np.ndarray) -> float:
    """Return the distance of a matrix from a permutation with scales, 0 to 1 (Amari et al. 1996)."""
    P = np.abs(P)
    rows, columns = P / P.max(1, keepdims=True), P / P.max(0)
    n = len(P)
    return float((rows.sum() - n + columns.sum() - n) / (2 * n * (n - 1)))


def main(arguments: list[str] | None = None) -> float:
    """Fit, draw, and return the Amari distance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="ica.png")
    parser.add_argument("--quick", action="store_true", help="a tenth of the data and the steps")
    given = parser.parse_args(arguments)
    rows, steps = (2000, 300) if given.quick else (20_000, 2000)
    torch.manual_seed(0)  # of W at the start
    chance = np.random.default_rng(0)
    sources = chance.laplace(size=(rows, 4)) / math.sqrt(2)
    A = chance.standard_normal((4, 4))
    x = (sources @ A.T).astype(np.float32)
    whitening = np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).astype(np.float32)  # W need only turn, then
    model = smdae.fit(
        x @ whitening.T, objective="ism", model=Logistic(4), sigma=1.0, probes=0, lr=0.02, max_steps=steps, batch=512
    )
    P = model.patch.module.W.detach().numpy() @ whitening @ A
    before, after = amari(whitening @ A), amari(P)
    print(f"Amari distance: {before:.3f} of whitened data, {after:.3f} of W A")

    drawn = Figure(figsize=(11, 3.6), layout="constrained")
    mixed, unmixed, matrix = drawn.subplots(1, 3)
    found = x @ whitening.T @ model.patch.module.W.detach().numpy().T
    for axes, points, title in ((mixed, x, "mixed"), (unmixed, found, "unmixed: two components")):
        axes.plot(points[:2000, 0], points[:2000, 1], ".", markersize=2, color="#0072B2")
        axes.set_title(title, loc="left")
    image = matrix.imshow(P / np.abs(P).max(1, keepdims=True), cmap="RdBu", vmin=-1, vmax=1)
    matrix.set_title(f"W A, rows scaled; Amari distance {after:.3f}", loc="left")
    matrix.set(xlabel="source", ylabel="component", xticks=range(4), yticks=range(4))
    drawn.colorbar(image, ax=matrix)
    drawn.savefig(given.out, dpi=100)
    return after


if __name__ == "__main__":
    main()
