"""How many more steps a second do N processes on N cores take than one process on one core?

A step is draw, loss, backward, the sum of the gradients over processes, optimiser and average, with one global batch.
The first process takes steps alone while the others sleep, then all take as many together, then each by itself with its
part of the batch and nothing to say: the most that the machine could give. All in turn, on a core each and on one
thread; ratios are medians over rounds.

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
    ({"model": "energy", "batch": 512}, 40),
    ({"model": "energy", "batch": 2048}, 10),
    ({"model": "unet", "batch": 16}, 4),
)


def steps(settings: dict[str, Any], count: int, group: Group = ALONE) -> Callable[[], None]:
    """Return a function that makes some steps of a fit by a group."""
    corpus = gather([Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES], 64)
    prepared = prepare(corpus.images, corpus.white, check(settings), group=group)

    def run() -> None:
        for _ in range(count):
            batch = prepared.examples.draw(prepared.state.settings.batch, prepared.state.generator, 0.0, group)
            step(prepared.state, batch, prepared.examples, 1e-4, group=group)

    return run


def timed(run: Callable[[], None], group: Group, many: bool) -> float:
    """Return the seconds that a run takes, by all of a group or by the first alone; all begin and end together."""
    group.broadcast([0])
    begun = time.perf_counter()
    if many or group.rank == 0:
        run()
    group.broadcast([0])
    return time.perf_counter() - begun


def contest(settings: dict[str, Any], count: int, group: Group) -> tuple[list[float], list[float], list[float]]:
    """Return the seconds of each round: by one, by all, and by each with its part."""
    part = settings | {"batch": settings["batch"] // group.size}
    runs = (steps(settings, count), False), (steps(settings, count, group), True), (steps(part, count), True)
    seconds: tuple[list[float], ...] = ([], [], [])
    for _ in range(1 + ROUNDS):
        for taken, (run, many) in zip(seconds, runs, strict=True):
            taken.append(timed(run, group, many))
    one, together, apart = (taken[1:] for taken in seconds)
    return one, together, apart


def main() -> None:
    """Print the table."""
    place = Place.among(os.environ)
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[place.local]})
    torch.set_num_threads(1)
    keep_freed_memory()
    store, *_ = next(iter(torch.distributed.rendezvous("env://", place.rank, place.size)))
    with joined(store, place, torch.device("cpu"), own=True) as group, denormals_flushed():
        if place.rank == 0:
            print(f"{'':8}{'batch':>6}{'one, steps/s':>14}{f'{place.size}, steps/s':>14}{'ratio':>8}{'at most':>9}")
        for settings, count in CONTESTS:
            one, together, apart = contest(settings, count, group)
            if place.rank == 0:
                rates = "".join(f"{count / median(taken):14.1f}" for taken in (one, together))
                ratios = f"{ratio(one, together):8.2f}{ratio(one, apart):9.2f}"
                print(f"{settings['model']:8}{settings['batch']:6}{rates}{ratios}", flush=True)


if __name__ == "__main__":
    main()
