"""How much of real noise is taken out blind, of what the same weights take out where the true noise is given?

    python benchmarks/real_noise.py FOLDER... [--cameras PICTURES [--count N] [--scale K]] [--limit N]
                                    [--bm3d] [--format NAME] [--verbose] [--json FILE]

A FOLDER has `noisy/` and `clean/`, with files of equal names, or has such folders in it. `--cameras` adds the synthetic
cameras of `cameras.py`, each with N of the PICTURES, shrunk by K (1: they are small already). For every picture:

    noisy    the file as it is
    blind    what `smdae denoise` writes without options
    oracle   the same weights given the true noise, found in the residual noisy - clean
    BM3D     at the estimated level, with `--bm3d` and where the package `bm3d` is installed (its licence is for
             non-commercial use); it takes a minute for 512 x 512 pixels in colour, and all else a few seconds

All are judged as they are written, in the format of the noisy file by default: rounded, clipped and, where
that is a JPEG, compressed again.

PSNR in dB is 10 log10(peak^2 / mean (result - clean)^2). Of 8 bits, peak = 255. Pictures of 16 bits and floats may show
the scene at another exposure than the clean one, so there the result r becomes a r + b, fitted to the clean picture c
by least squares, and peak = max c - min c. Figures of many pictures are means; the share of the oracle's gain is mean
(blind - noisy) over mean (oracle - noisy).

The true noise is described in three ways, and the oracle is the one with the best mean over the set:

    curve    a standard deviation for each brightness (at most 32 bins of 500 pixels or more) and channel; with the
             correlation of pixels and channels if that of neighbours is over 0.25, or else, if the deviations of the
             bins are less than 1.3 apart, one level
    level    one level, with the correlation of channels, and of pixels if that of neighbours is over 0.25
    white    one level, the root mean square, and nothing else

The second table holds the printed estimates of PSNR against the truth. One is printed if the JSON of the command has it
without a doubt. For it, the truth of 16 bits and floats is in the unit of the noisy picture, with the peak that the
command took for white: the clean picture is fitted to the noisy one, not the result to the clean one.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.blind.results import Result, quality, truth_of
from benchmarks.blind.tables import PRINTED, QUALITY, Line, lines_of, picture_row, printed_row, quality_row
from benchmarks.blind.true_noise import true_noise
from benchmarks.cameras import CAMERAS, clean_pictures, photograph
from smdae.denoising.denoise import denoise
from smdae.files import images
from smdae.files.picture import Picture

FORMAT = "smdae-real-noise"


# Methods.


def bm3d(noisy: np.ndarray, sigma: float) -> np.ndarray:
    """Return what BM3D makes of a picture with white noise of level sigma, in float64."""
    import bm3d as package

    if sigma == 0:
        return noisy.astype(np.float64)
    low, high = (0.0, 255.0) if noisy.dtype == np.uint8 else (float(noisy.min()), float(noisy.max()))
    method = package.bm3d_rgb if noisy.ndim == 3 else package.bm3d
    return low + (high - low) * method((noisy.astype(np.float64) - low) / (high - low), sigma / (high - low))


def as_written(values: np.ndarray, picture: Picture, kind: str) -> np.ndarray:
    """Return values, like the pixels of a picture, as they come back from a file of that kind."""
    if picture.pixels.dtype.kind == "u":
        values = np.rint(values).clip(0, np.iinfo(picture.pixels.dtype).max)
    result = replace(picture, pixels=values.astype(picture.pixels.dtype))
    return images.read(images.encode(result, kind), "the result").pixels


def commanded(paths: Sequence[Path], target: Path, format_: str | None) -> dict[str, dict[str, Any]]:
    """Return what `smdae denoise --json` says of each file, by name; what it writes goes to a folder."""
    command = [sys.executable, "-m", "smdae", "denoise", *map(str, paths), "-o", f"{target}/", "-y", "--json"]
    run = subprocess.run([*command, *(["--format", format_] if format_ else [])], capture_output=True, text=True)
    records = [json.loads(line) for line in run.stdout.splitlines()]
    if not records:
        raise SystemExit(f"smdae denoise failed with exit code {run.returncode}:\n{run.stderr.strip()}")
    return {Path(record["input"]).name: record for record in records}


def judged(noisy: Picture, clean: np.ndarray, record: dict[str, Any], with_bm3d: bool) -> Result:
    """Return the figures of one picture of which the command has said and written something."""
    written = images.read(Path(record["output"]), record["output"])
    kind, pixels = written.format, noisy.pixels
    ways, level = true_noise(clean, pixels)
    told = {
        noise: quality(as_written(denoise(pixels, noise=noise), noisy, kind), clean) for noise in set(ways.values())
    }
    # The command gives levels as of white 255, whatever the white of the file's type is.
    found = float(np.sqrt(np.mean(np.square(record["sigma"])))) * noisy.white / 255
    doubts = tuple(record["doubts"])
    printed = record["psnr_estimated"] is not None and not doubts
    return Result(
        name=Path(record["input"]).name,
        noisy=quality(pixels, clean),
        blind=quality(written.pixels, clean),
        told={way: told[noise] for way, noise in ways.items()},
        bm3d=quality(as_written(bm3d(pixels, found), noisy, kind), clean) if with_bm3d else None,
        kind=ways["curve"].kind,
        level=level,
        found=found,
        described=record["noise"]["described"],
        truth=truth_of(written.pixels, clean, pixels),
        estimate=record["psnr_estimated"] if printed else None,
        error=record["psnr_estimated_error"] if printed else None,
        doubts=doubts,
    )


# Sets of pictures.


def sets_in(folder: Path) -> list[Path]:
    """Return the folders with `noisy/` and `clean/`: this one, or those in it; warns of those without `clean/`."""
    if not folder.is_dir():
        raise SystemExit(f"there is no folder '{folder}'")
    found = [folder] if (folder / "noisy").is_dir() else [p for p in sorted(folder.iterdir()) if (p / "noisy").is_dir()]
    if not found:
        raise SystemExit(f"'{folder}' has no folder 'noisy', nor has any folder in it")
    for path in found:
        if not (path / "clean").is_dir():
            print(f"{path.name} is skipped: it has no clean pictures")
    return [path for path in found if (path / "clean").is_dir()]


def some_of(paths: Sequence[Path], limit: int | None) -> list[Path]:
    """Return at most `limit` paths, evenly spaced."""
    count = min(len(paths), limit or len(paths))
    return [paths[k * len(paths) // count] for k in range(count)]


def photographed(camera: str, pictures: Sequence[np.ndarray], folder: Path) -> Path:
    """Write the pairs that a synthetic camera makes of clean pictures to a folder, as PNG files."""
    for part in ("clean", "noisy"):
        (folder / part).mkdir(parents=True)
    for k, picture in enumerate(pictures):
        for part, pixels in zip(("clean", "noisy"), photograph(camera, picture, k), strict=True):
            data = images.encode(Picture(pixels, 255.0, "PNG"), "PNG")
            (folder / part / f"{camera}_{k}.png").write_bytes(data)
    return folder


def results_of(folder: Path, limit: int | None, format_: str | None, with_bm3d: bool) -> Iterator[Result]:
    """Yield the figures of the pictures of a set; prints those that failed."""
    paths = [path for path in sorted((folder / "noisy").iterdir()) if (folder / "clean" / path.name).is_file()]
    if not paths:
        raise SystemExit(f"'{folder}' has no clean picture of the same name as a noisy one")
    with tempfile.TemporaryDirectory() as target:
        paths = some_of(paths, limit)
        records = commanded(paths, Path(target), format_)
        for path in paths:
            record = records[path.name]
            if "error" in record:
                print(f"{path.name} failed: {record['error']}")
                continue
            if "pages" in record:
                print(f"{path.name} is skipped: it has many pages")
                continue
            noisy, clean = (images.read(folder / part / path.name, path.name) for part in ("noisy", "clean"))
            if clean.pixels.shape != noisy.pixels.shape:
                print(f"{path.name} is skipped: its clean picture has another shape")
                continue
            yield judged(noisy, clean.pixels, record, with_bm3d)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", type=Path, nargs="*", help="folders with noisy/ and clean/, or of such folders")
    parser.add_argument("--cameras", type=Path, metavar="PICTURES", help="clean pictures for the synthetic cameras")
    parser.add_argument("--count", type=int, default=12, help="pictures for each camera")
    parser.add_argument("--scale", type=int, default=1, help="by which the PICTURES are shrunk")
    parser.add_argument("--limit", type=int, metavar="N", help="pictures of a FOLDER, evenly spaced")
    parser.add_argument("--bm3d", action="store_true", help="BM3D too, where it is installed: a minute a picture")
    parser.add_argument("--format", help="that results are written in, such as png; the noisy file's by default")
    parser.add_argument("--verbose", action="store_true", help="a line for every picture")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all figures")
    given = parser.parse_args()
    if not given.folders and not given.cameras:
        parser.error("give a FOLDER, or --cameras PICTURES")

    with tempfile.TemporaryDirectory() as made:
        waiting: list[tuple[str, Callable[[], Path], int | None]] = [
            (path.name, partial(Path, path), given.limit) for folder in given.folders for path in sets_in(folder)
        ]
        if given.cameras:
            pictures = clean_pictures(given.cameras, given.count, 0, given.scale)
            for camera in CAMERAS:
                waiting.append((camera, partial(photographed, camera, pictures, Path(made) / camera), None))
        with_bm3d = given.bm3d and find_spec("bm3d") is not None
        lines: list[Line] = []
        kept: dict[str, list[Result]] = {}
        print(QUALITY)
        for name, folder_of, limit in waiting:
            results = []
            for result in results_of(folder_of(), limit, given.format, with_bm3d):
                results.append(result)
                if given.verbose:
                    print(picture_row(result), flush=True)
            if results:
                kept[name] = results
                lines += (new := lines_of(name, results))
                print("\n".join(map(quality_row, new)), flush=True)
    print(f"\n{PRINTED}")
    print("\n".join(map(printed_row, lines)))
    if given.json:
        sets = {name: [asdict(result) for result in results] for name, results in kept.items()}
        content = {"format": FORMAT, "lines": [asdict(line) for line in lines], "pictures": sets}
        given.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
