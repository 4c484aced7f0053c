"""What does a step of each objective cost, beside the matrix products that it is made of?

A step is draw, loss, backward, AdamW and average, of the paper's energy with d = 144 and h = 512 on 1024 patches.
Fitting it by `dsm` takes five products of a (1024 x 144) with a (144 x 512) matrix, 10 B d h operations: two forward,
three backward. They are timed alone, in turn with the steps; the rate of a step is the time they take over its own.

    python benchmarks/step_cost.py [FOLDER OF IMAGES]
"""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from timing import in_turn, median, ratio

from smdae.files.corpus import gather
from smdae.fitting import Settings, prepare
from smdae.fitting.loop import step
from smdae.memory import keep_freed_memory

B, H, D = 1024, 512, 144
ROUNDS, STEPS = 15, 25
SAMPLES = Path(__file__).parent.parent / "sample_data" / "patches"


def products() -> None:
    """Compute the five products of a step, with the shapes and orders that it has them in."""
    for _ in range(STEPS):
        X @ W.T  # codes
        C @ W  # reconstruction
        X @ W.T  # gradient of the codes
        C.T @ X  # gradient of W through the decoder
        C.T @ X  # and through the encoder


def steps(objective: str) -> Callable[[], None]:
    """Return a function that makes steps of a fit by that objective."""
    prepared = prepare(CORPUS.images, CORPUS.white, Settings(objective=objective, hidden=H, batch=B))

    def run() -> None:
        for _ in range(STEPS):
            batch = prepared.examples.draw(B, prepared.state.generator)
            step(prepared.state, batch, prepared.examples, 1e-3)

    return run


if __name__ == "__main__":
    keep_freed_memory()
    torch.manual_seed(0)
    CORPUS = gather([Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES], 12)
    X, W, C = torch.randn(B, D), torch.randn(H, D), torch.rand(B, H)
    names = ("dsm", "dae", "ism", "ism-reg", "ism-parzen")
    times = in_turn({"products": products, **{name: steps(name) for name in names}}, ROUNDS)
    rate = 10 * B * D * H * STEPS / median(times["products"]) / 1e9
    print(f"matrix products: {rate:.0f} GFLOP/s on {torch.get_num_threads()} threads")
    print(f"{'objective':12}{'ms a step':>10}{'in dsm steps':>14}{'of the product rate':>21}")
    for name in names:
        share = ratio(times["products"], times[name])
        print(
            f"{name:12}{1000 * median(times[name]) / STEPS:10.2f}{ratio(times[name], times['dsm']):14.2f}"
            + (f"{100 * share:20.0f}%" if name in ("dsm", "dae") else "")
        )
