"""At which share of the matrix-product rate does the Parzen score run, does its memory grow with n d or with B n, and
how much of it is left out where patches are very many?

The score of B queries under n patches is two products, B x d by d x n and B x n by n x d, 4 B n d operations, and a
softmax between them. Memory is the growth of the process's peak while the score is taken, each size in a process of its
own.

Given a folder of images: 12 x 12 patches of them without their mean, and as queries 512 of them with noise. The time
with the exact cut-off over that of the fused kernel on all patches, in turn, where a density of so many patches would
use it or not; the parts of all pairs of query and patch of which not even the logarithm of the weight was computed, and
of which no more than that; the largest error of both scores against double precision, sigma being 1; and the time to
sort the patches, once.

    python benchmarks/parzen_score.py [FOLDER OF IMAGES] [PATCHES...]
"""

import subprocess
import sys
import time
from pathlib import Path

import torch
from timing import in_turn, median, ratio

from smdae import cells, densities
from smdae.cells import Sums
from smdae.densities import Parzen
from smdae.files.corpus import gather
from smdae.fitting.patches import Patches

D = 144
SIGMAS = (50, 25, 10, 5)
QUERIES = 512
MEMORY = """
import resource, torch
from smdae.densities import Parzen
n, B = {n}, {B}
density = Parzen(torch.randn(n, {d}), 1.0)
x = torch.randn(B, {d})
density.score(x[:64])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
density.score(x)
print(peak() - before)
"""


def speed(n: int, B: int) -> None:
    patches, x = torch.randn(n, D), torch.randn(B, D)
    density = Parzen(patches, 1.0)
    square = torch.randn(B, D) @ torch.randn(D, 4096)
    block = patches[:4096]

    def products() -> None:
        """The same operations, as blocks of plain products."""
        for _ in range(n // 4096):
            x @ block.T
            square @ block

    times = in_turn({"score": lambda: density.score(x), "products": products}, 7)
    share = ratio(times["products"], times["score"]) * n / (n // 4096 * 4096)
    print(f"n = {n:9,}  B = {B}  {1000 * median(times['score']):8.0f} ms  {100 * share:4.0f}% of the product rate")


def memory(n: int, B: int) -> None:
    run = subprocess.run(
        [sys.executable, "-c", MEMORY.format(n=n, B=B, d=D)], capture_output=True, text=True, check=True
    )
    print(
        f"n = {n:9,}  B = {B:5}  score takes {float(run.stdout):6.0f} MB more; patches {4 * n * D / 2**20:5.0f} MB, "
        f"a B x n table would be {4 * B * n / 2**20:6.0f} MB"
    )


def shares(density: Parzen, x: torch.Tensor) -> tuple[float, float]:
    """The parts of all pairs that were left out by the bound, and by their largest logarithm."""
    seen, used, add = [], [], Sums.add

    def counting(self: Sums, rows: torch.Tensor, keys: torch.Tensor, bias: torch.Tensor) -> int:
        count = add(self, rows, keys, bias)
        seen.append(len(rows) * len(keys))
        used.append(count * len(keys))
        return count

    Sums.add, before = counting, cells.WORTH
    cells.WORTH = 1e9
    density.score(x)
    Sums.add, cells.WORTH = add, before
    pairs = len(x) * len(density.patches)
    return 1 - sum(seen) / pairs, (sum(seen) - sum(used)) / pairs


def in_double(density: Parzen, x: torch.Tensor) -> torch.Tensor:
    """The score in double precision."""
    x, total, weighted = x.double(), torch.full((len(x),), -torch.inf).double(), torch.zeros_like(x).double()
    for patches in density.patches.split(1 << 16):
        patches = patches.double()
        logs = -torch.cdist(x, patches, compute_mode="donot_use_mm_for_euclid_dist").square() / (2 * density.sigma**2)
        new = torch.logaddexp(total, logs.logsumexp(1))
        weighted = weighted * (total - new).exp()[:, None] + (logs - new[:, None]).exp() @ patches
        total = new
    return (weighted - x) / density.sigma**2


def cut_off(images: Patches, n: int) -> None:
    densities.MANY = cells.PAIRS = 0
    patches = images.draw(n, torch.Generator().manual_seed(0))
    patches -= patches.mean(1, keepdim=True)
    for sigma in SIGMAS:
        begun = time.perf_counter()
        density = Parzen(patches, sigma / 255)
        sorting = time.perf_counter() - begun
        x = density.sample(QUERIES, torch.Generator().manual_seed(1))
        x -= x.mean(1, keepdim=True)

        def fused(density: Parzen = density, x: torch.Tensor = x) -> torch.Tensor:
            least, cells.LEAST = cells.LEAST, QUERIES + 1  # as if there were too few queries
            score = density.score(x)
            cells.LEAST = least
            return score

        left, spared = shares(density, x)
        times = in_turn({"cut": lambda density=density, x=x: density.score(x), "fused": fused}, 5)
        exact = sigma / 255 * in_double(density, x[:16])  # the score is of the order of 1 / sigma
        errors = [(sigma / 255 * score[:16] - exact).abs().max() for score in (density.score(x), fused())]
        print(
            f"{n:9,}{sigma:6}{1000 * median(times['fused']):9.0f} ms{ratio(times['cut'], times['fused']):8.2f}"
            f"{100 * left:10.0f}%{100 * spared:8.0f}%{errors[0]:11.0e}{errors[1]:9.0e}{sorting:9.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    torch.manual_seed(0)
    if len(sys.argv) > 1:
        corpus = gather([Path(sys.argv[1])], 12)
        images = Patches.pack(corpus.images, 12, corpus.white)
        print("        n sigma       fused cut-off  left out  spared  its error   fused's  sorting")
        for count in map(int, sys.argv[2:] or (50_000, 500_000, 2_000_000)):
            cut_off(images, count)
        raise SystemExit
    speed(50_000, 1024)
    speed(1_000_000, 64)
    for size, queries in ((50_000, 1024), (50_000, 8192), (200_000, 1024), (1_000_000, 1024)):
        memory(size, queries)
