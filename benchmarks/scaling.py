"""How many more steps a second do N processes on N cores take than one process on one core?

A step is draw, loss, backward, the sum of the gradients over processes, optimiser and average, with one global batch.
The first process takes steps alone while the others sleep, then all take as many together, in turn, each on a core of
its own and on one thread; the ratio is the median over rounds.

    torchrun --standalone --nproc-per-node 2 benchmarks/scaling.py [FOLDER OF IMAGES]
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from timing import median, ratio

from smdae.files.corpus import gather
from smdae.fitting import prepare
from smdae.fitting.distributed import ALONE, Group, joined
from smdae.fitting.loop import step
from smdae.fitting.precision import denormals_flushed
from smdae.fitting.settings import check
from smdae.memory import keep_freed_memory
from smdae.processes import Place

ROUNDS = 15
SAMPLES = Path(__file__).parent.parent / "sample_data" / "patches"
CONTESTS: tuple[tuple[dict[str, Any], int], ...] = (  # settings, and steps a round
    ({"model": "energy", "batch": 512}, 60),
    ({"model": "energy", "batch": 2048}, 15),
    ({"model": "unet"}, 5),
)


def steps(settings: dict[str, Any], count: int, group: Group) -> Callable[[], None]:
    """Some steps of a fit by a group."""
    corpus = gather([Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES], 64)
    prepared = prepare(corpus.images, corpus.white, check(settings), group=group)
    state, examples = prepared.state, prepared.examples

    def run() -> None:
        for _ in range(count):
            batch = examples.draw(state.settings.batch, state.generator, group=group)
            step(state, batch, examples, 1e-4, group=group)

    return run


def timed(run: Callable[[], None], group: Group, many: bool) -> float:
    """Seconds that a run takes, by all of a group or by the first alone; all begin and end together."""
    group.heard([0])
    begun = time.perf_counter()
    if many or group.rank == 0:
        run()
    seconds = time.perf_counter() - begun
    group.heard([0])
    return seconds


def main() -> None:
    """Print the table."""
    place = Place.among(os.environ)
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[place.local]})
    torch.set_num_threads(1)
    keep_freed_memory()
    store, *_ = next(iter(torch.distributed.rendezvous("env://", place.rank, place.size)))
    with joined(store, place, torch.device("cpu"), own=True) as group, denormals_flushed():
        if place.rank == 0:
            print(f"{'':8}{'batch':>6}{'one, steps/s':>14}{f'{place.size}, steps/s':>14}{'ratio':>8}")
        for settings, count in CONTESTS:
            alone, together = steps(settings, count, ALONE), steps(settings, count, group)
            seconds: tuple[list[float], list[float]] = ([], [])
            for _ in range(1 + ROUNDS):
                for many, run in enumerate((alone, together)):
                    seconds[many].append(timed(run, group, bool(many)))
            one, many_ = seconds[0][1:], seconds[1][1:]
            if place.rank == 0:
                rates = "".join(f"{count / median(values):14.1f}" for values in (one, many_))
                name, batch = settings["model"], check(settings).batch
                print(f"{name:8}{batch:6}{rates}{ratio(one, many_):8.2f}", flush=True)


if __name__ == "__main__":
    main()
