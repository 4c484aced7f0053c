"""How much of real noise is taken out blind, of what the same weights take out where the true noise is told?

    python benchmarks/real_noise.py FOLDER... [--cameras PICTURES [--count N] [--scale K]] [--limit N]
                                    [--bm3d] [--format NAME] [--verbose] [--json FILE]

A FOLDER has `noisy/` and `clean/`, with files of equal names, or has such folders in it. `--cameras` adds the synthetic
cameras of `cameras.py`, each with N of the PICTURES, shrunk by K (1: they are small already). For every picture:

    noisy    the file as it is
    blind    what `smdae denoise` writes, told nothing
    oracle   the same weights told the true noise, found in the residual noisy - clean
    BM3D     at the estimated level, with `--bm3d` and where the package `bm3d` is installed (its licence is for
             non-commercial use); it takes a minute for 512 x 512 pixels in colour, and all else a few seconds

All are judged as they are written, in the format of the noisy file unless told otherwise: rounded, clipped and, where
that is a JPEG, compressed again.

PSNR in dB is 10 log10(peak^2 / mean (result - clean)^2). Of 8 bits, peak = 255. Pictures of 16 bits and floats may show
the scene at another exposure than the clean one, so there the result r becomes a r + b, fitted to the clean picture c
by least squares, and peak = max c - min c. Figures of many pictures are means; the share of the oracle's gain is mean
(blind - noisy) over mean (oracle - noisy).

The true noise is told in three ways, and the oracle is the one with the best mean over the set:

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
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.cameras import CAMERAS, clean_pictures, photograph
from smdae.denoising.denoise import denoise
from smdae.denoising.preparation import prepare
from smdae.files import images
from smdae.files.picture import Picture
from smdae.noise import Affine, Noise, Table

FORMAT = "smdae-real-noise"
LAGS = 4  # 0 to 3 pixels
TORUS = 64  # pixels a side, on which a correlation is made one that noise can have
ROUNDS = 30
BINS, MIN_PIXELS = 32, 500  # of brightness
MIN_CORRELATION = 0.25  # of neighbours, from which noise is grain
MIN_RATIO = 1.3  # of the levels of bins, from which noise is shot
MIN_LEVEL = 0.1  # of the total level, below which a residual is not divided by its level
MAX_WORSE = 0.05  # dB below the noisy picture that no picture should be
MIN_GAIN = 0.05  # dB of the oracle, of which a share says something


@dataclass(frozen=True)
class Result:
    """What became of one picture; PSNR in dB.

    Attributes:
        name: Of the file.
        noisy: PSNR of the noisy picture.
        blind: PSNR of what the command wrote.
        told: PSNR with the true noise, by the way in which it is told.
        bm3d: PSNR of BM3D; None without it.
        kind: Of the true noise.
        level: Root mean square of the true noise, in the unit of the picture.
        found: Level that was found.
        described: The noise that was found, in words.
        truth: PSNR to which the estimate is compared.
        estimate: PSNR that is printed; None if none is.
        error: Its standard error.
        doubts: Why none is printed.
    """

    name: str
    noisy: float
    blind: float
    told: dict[str, float]
    bm3d: float | None
    kind: str
    level: float
    found: float
    described: str
    truth: float
    estimate: float | None
    error: float | None
    doubts: tuple[str, ...]


def group_of(name: str) -> str:
    """Return the camera or microscope in a file name: its first word, and the second too if that begins with a letter.

    Words are parted by underscores: Canon80D_8_8_3200_ball_6 is of Canon80D, Confocal_BPAE_G_1 of Confocal_BPAE. A
    single word counts without the number at its end: kidney3 is of kidney.
    """
    first, *rest = Path(name).stem.split("_")
    if not rest:
        return first.rstrip("0123456789") or first
    return f"{first}_{rest[0]}" if rest[0][:1].isalpha() else first


# Figures.


def is_affine(clean: np.ndarray, noisy: np.ndarray) -> bool:
    """Return whether two pictures may show the scene in different units: they are not both of 8 bits."""
    return not clean.dtype == noisy.dtype == np.uint8


def fitted(x: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Return a x + b, with the shape of x, a and b being those that fit best in the least squares sense."""
    x, to = x.astype(np.float64), to.astype(np.float64)
    variance = x.var()
    slope = ((x - x.mean()) * (to - to.mean())).mean() / variance if variance > 0 else 0.0
    return to.mean() + slope * (x - x.mean())


def psnr_of(difference: np.ndarray, peak: float) -> float:
    """Return PSNR in dB."""
    return 10 * math.log10(peak**2 / max(float(np.mean(np.square(difference, dtype=np.float64))), 1e-30))


def quality(result: np.ndarray, clean: np.ndarray) -> float:
    """Return PSNR in dB of a result, by the rule above for its type."""
    if not is_affine(clean, result):
        return psnr_of(result.astype(np.float64) - clean, 255.0)
    return psnr_of(fitted(result, clean) - clean, float(clean.max()) - float(clean.min()))


def truth_of(result: np.ndarray, clean: np.ndarray, noisy: np.ndarray) -> float:
    """Return the PSNR in dB that the command means to estimate: in the noisy picture's unit, with its white as peak."""
    if not is_affine(clean, noisy):
        return quality(result, clean)
    return psnr_of(result.astype(np.float64) - fitted(clean, noisy), prepare(noisy).scale.span)


# The true noise.


@dataclass(frozen=True, eq=False)
class Levels:
    """Mean and standard deviation of noise by brightness, and the pixels of each bin."""

    at: np.ndarray
    bias: np.ndarray
    sd: np.ndarray
    pixels: np.ndarray


def levels_of(clean: np.ndarray, noise: np.ndarray) -> Levels:
    """Return the levels of noise (H, W) in bins of the clean values (H, W), merged until each has MIN_PIXELS."""
    low, high = float(clean.min()), float(clean.max())
    bins = np.minimum((clean.ravel() - low) * (BINS / max(high - low, 1e-30)), BINS - 1).astype(int)
    merged, pixels, current = np.zeros(BINS, int), 0, 0
    counts = np.bincount(bins, minlength=BINS)
    for bin_, count in enumerate(counts):
        merged[bin_] = current
        pixels += count
        if pixels >= MIN_PIXELS and counts[bin_ + 1 :].sum() >= MIN_PIXELS:
            current, pixels = current + 1, 0
    bins = merged[bins]
    count = np.bincount(bins)
    at, bias, square = (np.bincount(bins, v.ravel()) / count for v in (clean, noise, noise**2))
    return Levels(at, bias, np.sqrt(np.maximum(square - bias**2, 0)), count)


def grain_of(noise: np.ndarray) -> np.ndarray:
    """Return the correlation (LAGS, LAGS) of noise (H, W, C) with mean 0, rows and columns apart; mean of channels."""
    height, width = noise.shape[:2]
    rho = np.empty((LAGS, LAGS))
    for dy in range(LAGS):
        for dx in range(LAGS):
            right = noise[: height - dy, : width - dx] * noise[dy:, dx:]
            left = noise[: height - dy, dx:] * noise[dy:, : width - dx]
            rho[dy, dx] = (right.mean() + left.mean()) / 2
    return rho / max(rho[0, 0], 1e-30)


def possible(rho: np.ndarray) -> np.ndarray:
    """Return a correlation near rho, (LAGS, LAGS), that noise can have: no power of its spectrum is negative.

    By turns negative powers become 0, and what lies beyond the lags does (Papoulis and Gerchberg); what is left of them
    in the end goes under white noise.
    """
    lag = np.minimum(np.arange(TORUS), TORUS - np.arange(TORUS))
    inside = np.maximum(lag[:, None], lag) < LAGS
    table = np.where(inside, rho[np.ix_(np.minimum(lag, LAGS - 1), np.minimum(lag, LAGS - 1))], 0.0)
    for _ in range(ROUNDS):
        power = np.fft.fft2(table).real.clip(min=0)
        table = np.where(inside, np.fft.ifft2(power).real, 0.0)
        table /= table[0, 0]
    table[0, 0] += max(0.0, -float(np.fft.fft2(table).real.min()))
    return (table / table[0, 0])[:LAGS, :LAGS]


def true_noise(clean: np.ndarray, noisy: np.ndarray) -> tuple[dict[str, Noise], float]:
    """Return the noise of a pair, (H, W) or (H, W, C), by the way in which it is told, and its root mean square."""
    x, y = (np.atleast_3d(picture).astype(np.float64) for picture in (clean, noisy))
    zero, white = 0.0, 255.0
    if is_affine(clean, noisy):
        x = fitted(x, y)
        zero, white = float(x.min()), float(x.max())
    noise = y - x
    each = [levels_of(x[..., c], noise[..., c]) for c in range(x.shape[2])]
    for c, levels in enumerate(each):  # where a curve bends, noise has a mean, which no one could take out
        noise[..., c] -= np.interp(x[..., c], levels.at, levels.bias)
    total = float(np.sqrt(np.mean(noise**2)))
    plain = Noise((Affine(read=total),), white, zero)
    if total == 0:
        return {"curve": plain, "level": plain, "white": plain}, total

    sd = np.stack([np.interp(x[..., c], levels.at, levels.sd) for c, levels in enumerate(each)], -1)
    shape = noise / np.maximum(sd, MIN_LEVEL * total)
    rho = grain_of(shape)
    channels = None
    if x.shape[2] > 1:
        matrix = np.corrcoef(shape.reshape(-1, x.shape[2]), rowvar=False)
        matrix = (matrix + matrix.T) / 2
        np.fill_diagonal(matrix, 1.0)
        channels = tuple(map(tuple, matrix.tolist()))
    table = tuple(Table(tuple(levels.at.tolist()), tuple(levels.sd.tolist())) for levels in each)
    filled = [levels.sd[levels.pixels >= 0.01 * x[..., 0].size] for levels in each]
    ratio = float(np.mean([sd.max() / max(sd.min(), 1e-9 * total) for sd in filled]))
    if (rho[0, 1] + rho[1, 0]) / 2 > MIN_CORRELATION:
        grain = tuple(map(tuple, possible(rho).tolist()))
        level = replace(plain, grain=grain, channels=channels)
        return {"curve": replace(level, curves=table), "level": level, "white": plain}, total
    curve = replace(plain, curves=table) if ratio > MIN_RATIO else plain
    return {"curve": curve, "level": replace(plain, channels=channels), "white": plain}, total


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
    # The command tells levels as of white 255, whatever the white of the file's type is.
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
    """Return the folders with `noisy/` and `clean/`: this one, or those in it; tells of those without `clean/`."""
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
    """Yield the figures of the pictures of a set; tells of those that failed."""
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


# Tables.


@dataclass(frozen=True)
class Line:
    """A line of the tables: figures of a set or a group in it; the fields are the columns."""

    name: str
    pictures: int
    noisy: float
    blind: float
    oracle: float
    way: str
    bm3d: float | None
    share: float | None
    worst: float
    worst_name: str
    worse: int
    printed: int
    within: int
    median_error: float | None
    largest_error: float | None


def best_way(results: Sequence[Result]) -> str:
    """Return the way of telling the true noise that is best on average."""
    return max(results[0].told, key=lambda way: float(np.mean([result.told[way] for result in results])))


def line_of(name: str, results: Sequence[Result], way: str) -> Line:
    """Return the figures of some results, the true noise being told in one way."""
    noisy, blind, oracle = (
        float(np.mean(values)) for values in zip(*((r.noisy, r.blind, r.told[way]) for r in results), strict=True)
    )
    scores = [r.bm3d for r in results if r.bm3d is not None]
    worst = min(results, key=lambda r: r.blind - r.noisy)
    # What is printed has an error, but for infinite figures, which JSON does not know.
    printed = [(r.estimate, r.error, r.truth) for r in results if r.estimate is not None and r.error is not None]
    errors = [error for _, error, _ in printed]
    return Line(
        name=name,
        pictures=len(results),
        noisy=noisy,
        blind=blind,
        oracle=oracle,
        way=way,
        bm3d=float(np.mean(scores)) if scores else None,
        share=(blind - noisy) / (oracle - noisy) if oracle - noisy > MIN_GAIN else None,
        worst=worst.blind - worst.noisy,
        worst_name=worst.name,
        worse=sum(r.blind - r.noisy < -MAX_WORSE for r in results),
        printed=len(printed),
        within=sum(abs(estimate - truth) <= 2 * error for estimate, error, truth in printed),
        median_error=float(np.median(errors)) if errors else None,
        largest_error=max(errors) if errors else None,
    )


def lines_of(name: str, results: Sequence[Result]) -> list[Line]:
    """Return the line of a set and, if it has several cameras or microscopes, one for each."""
    way = best_way(results)
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(group_of(result.name), []).append(result)
    some = groups if len(groups) > 1 else {}
    return [line_of(name, results, way), *(line_of(f"  {group}", them, way) for group, them in some.items())]


def cell(value: float | None, layout: str, width: int) -> str:
    """Return a number, or a dash, at the right of a column."""
    return f"{'-' if value is None else format(value, layout):>{width}}"


QUALITY = (
    f"{'PSNR in dB':24}{'pictures':>9}{'noisy':>8}{'blind':>8}{'oracle':>8} {'told':6}{'BM3D':>8}{'of gain':>9}"
    f"{'worst':>8}{'worse':>7}  worst picture"
)
PRINTED = f"{'printed PSNR':24}{'pictures':>9}{'printed':>9}{'within 2':>10}{'median error':>14}{'largest':>9}"


def quality_row(line: Line) -> str:
    """Return a line of the first table."""
    return (
        f"{line.name:24}{line.pictures:9}{line.noisy:8.2f}{line.blind:8.2f}{line.oracle:8.2f} {line.way:6}"
        f"{cell(line.bm3d, '.2f', 8)}{cell(line.share, '.0%', 9)}{line.worst:+8.2f}{line.worse:7}  {line.worst_name}"
    )


def printed_row(line: Line) -> str:
    """Return a line of the second table."""
    within = line.within / line.printed if line.printed else None
    return (
        f"{line.name:24}{line.pictures:9}{line.printed:9}{cell(within, '.0%', 10)}"
        f"{cell(line.median_error, '.2f', 14)}{cell(line.largest_error, '.2f', 9)}"
    )


def picture_row(result: Result) -> str:
    """Return a line about one picture."""
    told = " ".join(f"{way} {value:.2f}" for way, value in result.told.items())
    estimate = f"{result.estimate:.2f} +- {result.error:.2f}" if result.estimate and result.error else "not printed"
    doubts = f" ({'; '.join(result.doubts)})" if result.doubts else ""
    return (
        f"    {result.name}: noisy {result.noisy:.2f}, blind {result.blind:.2f}, {told}, "
        f"BM3D {cell(result.bm3d, '.2f', 0)}; true {result.kind} {result.level:.3g}, found {result.described}, "
        f"level {result.found:.3g}; estimate {estimate}{doubts}, truth {result.truth:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", type=Path, nargs="*", help="folders with noisy/ and clean/, or of such folders")
    parser.add_argument("--cameras", type=Path, metavar="PICTURES", help="clean pictures for the synthetic cameras")
    parser.add_argument("--count", type=int, default=12, help="pictures for each camera")
    parser.add_argument("--scale", type=int, default=1, help="by which the PICTURES are shrunk")
    parser.add_argument("--limit", type=int, metavar="N", help="pictures of a FOLDER, evenly spaced")
    parser.add_argument("--bm3d", action="store_true", help="BM3D too, where it is installed: a minute a picture")
    parser.add_argument("--format", help="that results are written in, such as png; the noisy file's unless told")
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
