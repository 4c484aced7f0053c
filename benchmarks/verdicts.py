"""Is a verdict of `compare` ever false, and how often is there none?

    python -m benchmarks.verdicts [FOLDER | TABLE] [seeds=20] [first=0] [sigma=S]

Fits the energy of `compare --quick` by `dsm` to patches of FOLDER, sample_data/patches by default, or to the rows of a
table, CSV or .npy, with one seed after the other, and asks for the verdicts on all pairs, those under a coloured and a
shot-noise kernel among them. Counts by pair: right, undecided, too close, false. On stderr is what each seed gave, so
that a run that was broken off goes on with `first`. Sigma is that of `compare` if it is not given.
"""

import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from smdae.comparing.contest import Contest, applicable
from smdae.comparing.contestants import fit
from smdae.comparing.equivalence.measure import EQUIVALENCE
from smdae.comparing.equivalence.verdict import TOO_CLOSE
from smdae.comparing.part import Context
from smdae.comparing.sizes import HOLD_OUT, QUICK, SIGMA
from smdae.files.corpus import Corpus, gather
from smdae.files.table import gather_rows, kind_of
from smdae.fitting.given import level_for_rows
from smdae.fitting.precision import denormals_flushed
from smdae.fitting.settings import check, for_rows

SAMPLES = Path(__file__).parent.parent / "sample_data" / "patches"
RIGHT = {"equal": "equivalent", "unequal": "different"}
KINDS = ("right", "undecided", TOO_CLOSE, "false")


def verdicts(corpus: Corpus, seed: int, sigma: float | None = None, are_rows: bool = False) -> list:
    """Return the verdicts of one comparison; without a sigma at that of `compare`."""
    if sigma is None:
        white, sigma = level_for_rows(corpus.images[0], corpus.white) if are_rows else (corpus.white, SIGMA)
        corpus = replace(corpus, white=white)
    numbers = {name: value for name, value in QUICK.items() if name != "patches"}
    settings = check({**numbers, "sigma": sigma, "batch": 256, "lr": 0.02, "seed": seed, "hold_out": HOLD_OUT})
    settings = for_rows(settings) if are_rows else settings
    contest = Contest.of(corpus.images, corpus.white, settings, QUICK["patches"])
    *_, course = fit(contest, "dsm")
    measuring = EQUIVALENCE.measure(Context(contest, applicable(), (course,), quick=True))
    try:
        while True:
            next(measuring)
    except StopIteration as end:
        return end.value["verdicts"]


def main() -> None:
    """Print the table."""
    given = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    folders = [Path(word) for word in sys.argv[1:] if "=" not in word] or [SAMPLES]
    seeds, first = int(given.get("seeds", 20)), int(given.get("first", 0))
    sigma = float(given["sigma"]) if "sigma" in given else None
    are_rows = kind_of(folders, None, of_patches=True, noisy=False)[0] == "rows"
    images = None if are_rows else gather(folders, QUICK["patch_size"])
    counts: dict[tuple[str, str, str], Counter] = {}
    widest: dict[tuple[str, str, str], float] = {}
    begun = time.perf_counter()
    with denormals_flushed():
        for seed in range(first, first + seeds):
            corpus = gather_rows(folders, None, seed) if images is None else images
            rows = verdicts(corpus, seed, sigma, are_rows)
            wrong = [f"{row.first}, {row.second}: {row.verdict}" for row in rows if row.verdict != RIGHT[row.theory]]
            print(f"seed {seed}: {len(rows) - len(wrong)} of {len(rows)} right", *wrong, sep="; ", file=sys.stderr)
            for row in rows:
                pair = (row.first, row.second, row.theory)
                kind = "right" if row.verdict == RIGHT[row.theory] else row.verdict
                counts.setdefault(pair, Counter())[kind if kind in KINDS else "false"] += 1
                edge = row.high if row.theory == "equal" else row.low
                extreme = max if row.theory == "equal" else min
                widest[pair] = extreme(edge, widest.get(pair, edge))
    level = "that of compare" if sigma is None else f"{sigma:g}"
    print(f"{seeds} seeds, sigma {level}, {time.perf_counter() - begun:.0f} s")
    print(f"| pair | theory | {' | '.join(KINDS)} | nearest to 5 % |\n{'| --- ' * (len(KINDS) + 3)}|")
    for pair, count in counts.items():
        first, second, theory = pair
        figures = " | ".join(str(count[kind]) for kind in KINDS)
        print(f"| {first}, {second} | {theory} | {figures} | {100 * widest[pair]:.2f} % |")


if __name__ == "__main__":
    main()
