"""How much memory does a volume take that is larger than it?

    python -m benchmarks.volume [--gigabytes N] [--chunk Z Y X] [--full] [--planes N] [--model NAME]

Writes an OME-Zarr of 16 bits to a temporary folder, of planes of 2,048 x 2,048 pixels with shot noise, denoises it in a
process of its own, and prints how long that takes and the most memory that it holds. `--full` is for chunks of a
plane; `--planes` is how many are denoised, the others being read and written as they are, part by part too. The folder
is deleted at the end.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
SIDE = 2048  # pixels


def written(path: Path, planes: int, chunks: tuple[int, int, int]) -> int:
    """Write the volume, some planes at a time, and return its bytes."""
    import zarr

    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    array = group.create_array("0", shape=(planes, SIDE, SIDE), chunks=chunks, dtype="u2", fill_value=0)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    clean = 200 + 60 * np.sin(y / 19) * np.cos(x / 23) + 80 * ((y // 32 + x // 32) % 2)
    rng = np.random.default_rng(0)
    for start in range(0, planes, chunks[0]):
        count = min(chunks[0], planes - start)
        array[start : start + count] = rng.poisson(clean, (count, SIDE, SIDE)).astype("u2")
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
    return planes * SIDE * SIDE * 2


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--chunk", type=int, nargs=3, default=(16, 256, 256), metavar=("Z", "Y", "X"))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--planes", type=int)
    parser.add_argument("--model", default="natural-gray-small")
    asked = parser.parse_args()
    chunks = (1, SIDE, SIDE) if asked.full else tuple(asked.chunk)
    planes = max(chunks[0], round(asked.gigabytes * 1e9 / (2 * SIDE * SIDE)))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "a.ome.zarr"
        size = written(source, planes, chunks)
        begun = time.perf_counter()
        command = [sys.executable, "-m", "smdae", "denoise", str(source), "-m", asked.model, "--sigma", "0.06", "-q"]
        command += ["--noise", "white", *(["--pages", f"1-{asked.planes}"] if asked.planes else [])]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
        seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    shape = " x ".join(map(str, chunks))
    print(f"{size / 1e9:.2f} GB, {asked.planes or planes} of {planes} planes, chunks of {shape}:", end=" ")
    print(f"{peak:.2f} GB at most, {seconds:.0f} s")


if __name__ == "__main__":
    main()
