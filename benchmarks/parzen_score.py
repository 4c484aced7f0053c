"""At which share of the matrix-product rate does the Parzen score run, and does its memory grow with n d or with B n?

The score of B queries under n patches is two products, B x d by d x n and B x n by n x d, 4 B n d operations, and a
softmax between them. Memory is the growth of the process's peak while the score is taken, each size in a process of its
own.

    python benchmarks/parzen_score.py
"""

import subprocess
import sys

import torch
from timing import in_turn, median, ratio

from smdae.densities import Parzen

D = 144
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
        """Compute the same operations as blocks of plain products."""
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


if __name__ == "__main__":
    torch.manual_seed(0)
    speed(50_000, 1024)
    speed(1_000_000, 64)
    for size, queries in ((50_000, 1024), (50_000, 8192), (200_000, 1024), (1_000_000, 1024)):
        memory(size, queries)
