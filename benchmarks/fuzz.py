"""Does anything but a result or one line of refusal ever come from a damaged or crafted file?

    python -m benchmarks.fuzz readers|files|models|states|cache|configuration [--seconds 60] [--seed N]

Examples number N, N + 1, ... are tried in processes of bounded address space, so that crashes and memory that runs away
are noticed. It prints the outcomes, the slowest in CPU seconds, and every violation with its number, which brings
it back: another exception, anything printed, more than 2 CPU seconds, a crash, a hang. A short run of each is a test.
"""

import argparse
import importlib
import os
import resource
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

KINDS = {
    "readers": "pictures",
    "files": "files",
    "models": "models",
    "states": "states",
    "cache": "caches",
    "configuration": "configurations",
}
MEMORY = 1 << 30  # bytes, beyond what the modules take
SLOW, HUNG = 2.0, 60.0  # CPU seconds that are too many; wall-clock seconds without a word
STARTING = 600.0  # wall-clock seconds until a process has loaded all that it needs
EACH = 20_000  # examples a process
SLOWEST = 5


def fuzzer(kind: str) -> Any:
    """Return the module of a kind.

    Its `seeds()` are examples that are whole, by name, `example(number)` is a name and what chance makes of one, and
    `outcome(example)` what comes of it, in a word.
    """
    return importlib.import_module(f"benchmarks.fuzzing.{KINDS[kind]}")


def work(kind: str, first: int) -> None:
    """Try examples from number `first` on; a line on stdout before each, and one after it."""
    tried = fuzzer(kind)
    for example in tried.seeds().values():  # what is loaded or made once is no example's fault
        tried.outcome(example)
    taken = resource.getpagesize() * int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY,) * 2)
    for number in range(first, first + EACH):
        name, example = tried.example(number)
        print(number, name, sep="\t", flush=True)
        before, printed = time.process_time(), os.fstat(2).st_size
        try:
            found = tried.outcome(example)
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

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.counts: Counter[tuple[str, str]] = Counter()
        self.slowest: list[tuple[float, int, str]] = []
        self.violations = 0

    def add(self, number: int, name: str, found: str, seconds: float) -> None:
        kind, _, what = found.partition(" ") if found.startswith("VIOLATION") else (found, "", "")
        self.counts[name.split()[0], kind] += 1
        self.slowest = sorted([*self.slowest, (seconds, number, name)], reverse=True)[:SLOWEST]
        if what:
            self.violations += 1
            print(f"violation: {what}\n    {seconds:.3f} s, {name}; again by:  {again(self.kind, number)}", flush=True)

    def show(self, seconds: float) -> None:
        kinds = sorted({kind for _, kind in self.counts})
        print(f"\n{sum(self.counts.values()):,} examples in {seconds:.0f} s\n")
        print("".join([f"{'':14}", *(f"{kind:>12}" for kind in kinds)]))
        for format in sorted({format for format, _ in self.counts}):
            print("".join([f"{format:14}", *(f"{self.counts[format, kind]:12,}" for kind in kinds)]))
        print("\nslowest, in CPU seconds:")
        for seconds, number, name in self.slowest:
            print(f"    {seconds:.3f}  number {number}, {name}")
        print(f"\n{self.violations} violations")


def again(kind: str, number: int) -> str:
    """Return the command that tries an example once more."""
    made = f"from benchmarks.fuzz import fuzzer; f = fuzzer({kind!r})"
    return f'python -c "{made}; print(f.outcome(f.example({number})[1]))"'


def _lines(descriptor: int, patience: Callable[[], float]) -> Iterator[str | None]:
    """Yield each line of a pipe; None where none comes in time, and an empty one at its end.

    A file object would keep lines that have come, and nothing then says that they can be read.
    """
    data = b""
    with selectors.DefaultSelector() as ready:
        ready.register(descriptor, selectors.EVENT_READ)
        while True:
            while b"\n" in data:
                line, _, data = data.partition(b"\n")
                yield line.decode() + "\n"
            if not ready.select(patience()):
                yield None
                continue
            more = os.read(descriptor, 1 << 16)
            if not more:
                yield ""
            data += more


def watch(first: int, end: float, tally: Tally) -> int:
    """Have a process try examples from number `first` on until it or the time ends; returns the next number."""
    command = [sys.executable, "-m", "benchmarks.fuzz", tally.kind, "--work", str(first)]
    # Each thread asks for address space of its own.
    more = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    number, name, begun = first, "", False
    with tempfile.TemporaryFile() as stderr:
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=os.environ | more)
        assert worker.stdout is not None
        with worker:
            lines = _lines(worker.stdout.fileno(), lambda: HUNG if name else STARTING)
            while time.monotonic() < end:
                line = next(lines)
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


def main(arguments: list[str] | None = None) -> int:
    """Run the fuzzer of a kind for some time; returns 1 if a promise was broken, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0, help="number of the first example")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work is not None:
        work(options.kind, options.work)
        return 0
    begun, tally, number = time.monotonic(), Tally(options.kind), options.seed
    while time.monotonic() < begun + options.seconds:
        number = watch(number, begun + options.seconds, tally)
    tally.show(time.monotonic() - begun)
    return 1 if tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())
