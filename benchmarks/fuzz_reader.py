"""Does anything but a picture or one line of refusal ever come of a damaged image file?

    python benchmarks/fuzz_reader.py [--minutes 60] [--seed N]

Damaged files number N, N + 1, ... are read in processes of 2 GB of address space, so that memory is bounded and a crash
of a decoder is seen. Printed are the outcomes of each format, the slowest readings in CPU seconds, and every violation
with the number that brings it back: another exception, anything printed, more than 2 CPU seconds, a crash, a hang.
"""

import argparse
import os
import resource
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.fuzzing import example, outcome

MEMORY = 2 << 30  # bytes
SLOW, HUNG = 2.0, 60.0  # CPU seconds that are too many; wall-clock seconds without a word
EACH = 20_000  # files a process
SLOWEST = 5


def work(first: int) -> None:
    """Read files from number `first` on; a line on stdout before each, and one after it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for number in range(first, first + EACH):
        name, file = example(number)
        print(number, name, sep="\t", flush=True)
        before, printed = time.process_time(), os.fstat(2).st_size
        try:
            found = outcome(file)
        except BaseException as error:
            found = f"VIOLATION {type(error).__name__}: {error}".replace("\n", " ").replace("\t", " ")
        seconds = time.process_time() - before
        if os.fstat(2).st_size > printed:
            found = "VIOLATION prints something"
        elif seconds > SLOW and not found.startswith("VIOLATION"):
            found = "VIOLATION slow"
        print(found, f"{seconds:.3f}", sep="\t", flush=True)


class Tally:
    """What came of all files so far."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.slowest: list[tuple[float, int, str]] = []
        self.violations = 0

    def add(self, number: int, name: str, found: str, seconds: float) -> None:
        kind, _, what = found.partition(" ") if found.startswith("VIOLATION") else (found, "", "")
        self.counts[name.split()[0], kind] += 1
        self.slowest = sorted([*self.slowest, (seconds, number, name)], reverse=True)[:SLOWEST]
        if what:
            self.violations += 1
            print(f"violation: {what}\n    {seconds:.3f} s, {name}; again by:  {again(number)}", flush=True)

    def show(self, minutes: float) -> None:
        kinds = sorted({kind for _, kind in self.counts})
        print(f"\n{sum(self.counts.values()):,} files in {minutes:.1f} minutes\n")
        print("".join([f"{'':8}", *(f"{kind:>12}" for kind in kinds)]))
        for format in sorted({format for format, _ in self.counts}):
            print("".join([f"{format:8}", *(f"{self.counts[format, kind]:12,}" for kind in kinds)]))
        print("\nslowest, in CPU seconds:")
        for seconds, number, name in self.slowest:
            print(f"    {seconds:.3f}  number {number}, {name}")
        print(f"\n{self.violations} violations")


def again(number: int) -> str:
    return f'python -c "from tests.fuzzing import example, outcome; print(outcome(example({number})[1]))"'


def watch(first: int, end: float, tally: Tally) -> int:
    """Have a process read files from number `first` on until it or the time ends; returns the next number."""
    command = [sys.executable, __file__, "--work", str(first)]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # each asks for address space of its own
    number, name, begun = first, "", False
    with tempfile.TemporaryFile() as stderr:
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=os.environ | threads)
        assert worker.stdout is not None
        with worker, selectors.DefaultSelector() as ready:
            ready.register(worker.stdout, selectors.EVENT_READ)
            while time.monotonic() < end:
                line = worker.stdout.readline() if ready.select(HUNG) else None
                if not line:
                    worker.kill()
                    stopped = "hangs" if line is None else f"crash, exit code {worker.wait()}"
                    if begun:
                        tally.add(number, name, f"VIOLATION {stopped}", HUNG if line is None else 0.0)
                        return number + 1
                    if worker.wait() or number == first:
                        stderr.seek(0)
                        sys.exit(f"the process did not work: {stopped}\n{stderr.read().decode()}")
                    return number
                left, right = line.rstrip("\n").split("\t")
                if begun:
                    tally.add(number, name, left, float(right))
                    number += 1
                else:
                    name = right
                    assert int(left) == number
                begun = not begun
            worker.kill()
    return number


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0, help="number of the first file")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work is not None:
        work(options.work)
        return 0
    begun, tally, number = time.monotonic(), Tally(), options.seed
    while time.monotonic() < begun + 60 * options.minutes:
        number = watch(number, begun + 60 * options.minutes, tally)
    tally.show((time.monotonic() - begun) / 60)
    return 1 if tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())
