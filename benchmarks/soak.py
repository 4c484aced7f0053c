"""Does a run over thousands of pictures of all kinds keep its memory, and give what each picture gives alone?

    python benchmarks/soak.py [--count 2000] [--jobs 8] [--alone 100] [--address-space 3] [--group 1.5] [--seed 0]

`smdae denoise FOLDER -o OUT -j 8 --fast` takes small pictures of ten kinds, in a process whose address space, or whose
control group, has so many GB. The table has its resident memory by the number of results that are there; it is flat if
after the first 100 it never passes what it was then by more than a tenth. Of the results some, drawn by chance, are
compared byte by byte with those of calls for that picture alone. The exit code is 1 if the memory grows, a result is
missing or differs, or the command fails.

A control group is a real one, of version 1 or 2, where one may be made; elsewhere --max-memory stands for it, and the
table says so. Results and pictures lie in a temporary folder.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
import tifffile
from PIL import Image

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

GB = 1 << 30
FLAT = 1.1  # times the memory after the first pictures, which it may take later
FIRST = 100  # pictures, after which it is flat
LOOK = 0.25  # seconds between two looks
ROWS = 10  # of the table
SMALLEST, LARGEST = 48, 128  # pixels a side
SAMPLE = HERE.parent / "sample_data" / "clean_color.png"


def _saved(format: str, **options: object) -> Callable[[np.ndarray], bytes]:
    def save(samples: np.ndarray) -> bytes:
        buffer = BytesIO()
        Image.fromarray(samples).save(buffer, format, **options)
        return buffer.getvalue()

    return save


def _tiff(samples: np.ndarray, **options: object) -> bytes:
    buffer = BytesIO()
    tifffile.imwrite(buffer, samples, metadata=None, **options)
    return buffer.getvalue()


def _with_alpha(samples: np.ndarray) -> np.ndarray:
    alpha = np.full(samples.shape[:2], 255, np.uint8)
    alpha[: len(alpha) // 4] = 0
    return np.dstack([samples, alpha])


def _deep(samples: np.ndarray) -> np.ndarray:
    return samples.astype(np.uint16) * 257


def _stack(samples: np.ndarray) -> np.ndarray:
    return _deep(np.stack([samples[..., 0], samples[::-1, :, 1], samples[:, ::-1, 2]]))


# Ending and encoder of each kind; the pictures are colour, (H, W, 3), uint8.
KINDS: list[tuple[str, Callable[[np.ndarray], bytes]]] = [
    (".png", lambda samples: _saved("PNG")(samples[..., 0])),
    (".png", _saved("PNG")),
    (".png", lambda samples: _saved("PNG")(_with_alpha(samples))),
    (".png", lambda samples: _saved("PNG")(_deep(samples[..., 0]))),
    (".jpg", lambda samples: _saved("JPEG", quality=92)(samples[..., 0])),
    (".jpg", _saved("JPEG", quality=85)),
    (".webp", _saved("WEBP", lossless=True)),
    (".tif", lambda samples: _tiff(_deep(samples), photometric="rgb", compression="zlib")),
    (".tif", lambda samples: _tiff((samples[..., 0] / 255).astype(np.float32))),
    (".tif", lambda samples: _tiff(_stack(samples), photometric="minisblack")),
]


def fill(folder: Path, count: int, seed: int) -> list[Path]:
    """Write that many noisy pictures, cut from the sample picture, to a new folder."""
    clean = np.asarray(Image.open(SAMPLE).convert("RGB"))
    folder.mkdir()
    files = []
    for number in range(count):
        generator = np.random.default_rng((seed, number))
        height, width = generator.integers(SMALLEST, LARGEST + 1, 2)
        top, left = (generator.integers(0, clean.shape[k] - (height, width)[k]) for k in (0, 1))
        part = np.rot90(clean[top : top + height, left : left + width], number // 4 % 4)
        noisy = part + generator.uniform(4, 30) * generator.standard_normal(part.shape)
        ending, encode = KINDS[number % len(KINDS)]
        files.append(folder / f"{number:05}{ending}")
        files[-1].write_bytes(encode(np.ascontiguousarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))))
    return files


@contextmanager
def group_of(nbytes: int) -> Iterator[Path | None]:
    """Give a control group of this process's own with so much memory; None where none can be made."""
    limits = {"": "memory.max", "memory": "memory.limit_in_bytes"}
    made = None
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            group = Path("/sys/fs/cgroup") / controllers / name.lstrip("/") / f"smdae-soak-{os.getpid()}"
            if made is None and controllers in limits:
                try:
                    group.mkdir()
                except OSError:
                    continue
                try:
                    (group / limits[controllers]).write_text(str(nbytes))
                    made = group
                except OSError:
                    group.rmdir()
    except (OSError, ValueError):
        pass
    try:
        yield made
    finally:
        if made is not None:
            made.rmdir()


def watched(command: list[str], out: Path, space: int | None, group: Path | None) -> tuple[int, list[tuple[int, int]]]:
    """Run a command; returns its exit code, and (results, resident bytes) as long as it runs."""

    def begin() -> None:
        if group is not None:
            (group / "cgroup.procs").write_text(str(os.getpid()))
        if space is not None:
            resource.setrlimit(resource.RLIMIT_AS, (space, space))

    samples: list[tuple[int, int]] = []
    with subprocess.Popen(command, preexec_fn=begin) as process:
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
                kilobytes = next(line for line in status.splitlines() if line.startswith("VmRSS"))
                samples.append((_count(out), 1024 * int(kilobytes.split()[1])))
            except (OSError, StopIteration):
                pass
            time.sleep(LOOK)
    return process.returncode, samples


def _count(folder: Path) -> int:
    """Return the number of results in a folder that may not be there yet."""
    try:
        return sum(not name.startswith(".") and not name.endswith(".part") for name in os.listdir(folder))
    except OSError:
        return 0


def different(files: list[Path], out: Path, alone: Path, options: list[str]) -> list[str]:
    """Denoise each file by a call of its own; returns the names of those whose results are others.

    Sums are rounded otherwise with another number of threads. Each of many pictures at once has one; if memory is short
    they are done one by one, with all.
    """
    import torch

    from smdae.cli.app import main

    alone.mkdir()
    counts = sorted({1, torch.get_num_threads()})
    odd = set(files)
    for count in counts:
        torch.set_num_threads(count)
        for file in sorted(odd):
            code = main(["denoise", str(file), "-o", str(alone / file.name), "-q", "--overwrite", *options])
            beside, single = out / file.name, alone / file.name
            if not code and beside.exists() and beside.read_bytes() == single.read_bytes():
                odd.remove(file)
    return sorted(file.name for file in odd)


def table(samples: list[tuple[int, int]], count: int) -> tuple[str, float]:
    """Return the memory by the number of results, and the most after the first over that of then."""
    after = [(results, taken) for results, taken in samples if results >= min(FIRST, count)]
    if not after:
        return "no result in time to look at the memory", 0.0
    then, most = after[0][1], max(taken for _, taken in after)
    lines = [f"{'results':>8}{'resident MB':>14}{'of the first':>14}"]
    for k in range(ROWS):
        results, taken = after[min(len(after) - 1, k * (len(after) - 1) // (ROWS - 1))]
        lines.append(f"{results:8,}{taken / 2**20:14.1f}{taken / then:14.3f}")
    lines.append(f"{'most':>8}{most / 2**20:14.1f}{most / then:14.3f}")
    return "\n".join(lines), most / then


def main(arguments: list[str] | None = None) -> int:
    """Run the soak; returns 1 if anything is not as it should be, else 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--alone", type=int, default=100, help="results that are compared with those of a call alone")
    parser.add_argument("--address-space", type=float, help="of the process, in GB")
    parser.add_argument("--group", type=float, help="memory of its control group, in GB")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    options = ["--fast", "-d", "cpu"]
    with tempfile.TemporaryDirectory() as room:
        place, out = Path(room), Path(room) / "out"
        files = fill(place / "in", given.count, given.seed)
        command = [sys.executable, "-m", "smdae", "denoise", str(place / "in"), "-o", f"{out}/", "-q", *options]
        command += ["-j", str(given.jobs)]
        limit = None if given.group is None else int(given.group * GB)
        space = None if given.address_space is None else int(given.address_space * GB)
        begun = time.perf_counter()
        if limit is None:
            code, samples = watched(command, out, space, None)
        else:
            with group_of(limit) as group:
                print("a real control group" if group else "no control group can be made: --max-memory for it")
                code, samples = watched(command + ([] if group else ["--max-memory", str(limit)]), out, space, group)
        seconds = time.perf_counter() - begun
        text, ratio = table(samples, given.count)
        there = _count(out)
        print(f"{given.count:,} pictures, -j {given.jobs}: exit code {code}, {there:,} results in {seconds:.0f} s\n")
        print(text)
        some = Random(given.seed).sample(files, min(given.alone, given.count))
        odd = different(some, out, place / "alone", options)
        print(f"\n{len(some) - len(odd)} of {len(some)} results are those of a call alone")
        for name in odd:
            print(f"    {name} differs")
    flat = 0 < ratio <= FLAT
    print(f"memory is {'flat' if flat else 'NOT flat'}: {ratio:.3f} of that after {FIRST} results, at most")
    return int(bool(code or odd or not flat or there != given.count))


if __name__ == "__main__":
    sys.exit(main())
