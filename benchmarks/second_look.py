"""Does a second look, at what would be taken out, tell grain from texture?

    python -m benchmarks.second_look samples DATA OUT [--seed N] [--minutes M]
    python -m benchmarks.second_look fit OUT... [--write]

DATA is as for `grain_evidence`. `samples` makes pictures until the time is over, as that does, and more: clean pictures
as JPEG of quality 40 to 98, sharpened, resized and turned; scanned print; white noise that was blurred, resized, turned
or compressed; pictures that a synthetic camera recorded and LibRaw developed; those of a scanning microscope. An eighth
of all is framed. Of each that blocks may take for grain it keeps in OUT, a JSON file, what
`smdae.denoising.second_look.features_of` are, and the mean squared error before and after the noise that was found is
taken out by the small networks.

`fit` prints what it comes to if pictures are denoised that the numbers fitted to the other four fifths of the originals
take for grain, and if those are that blocks alone do: how many, the decibels gained or lost, and the worst. Clean
pictures count as having an error of 50 dB. A second table tells how far levels are off. A picture counts by the
decibels that are at stake, and pairs of real pictures REAL_WEIGHT times; `--write` puts the numbers that all of it
gives into smdae/denoising/second_look.json.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from benchmarks.cameras import photograph
from benchmarks.dng import dng, exposed, mosaic
from benchmarks.feature_fits import HUBER, bounds_of, main, perceptron
from benchmarks.grain_evidence import RARE, SIDES, as_jpeg, gray, made, of_polyu, original
from benchmarks.synthetic.retouching import blurred, framed, resized_or_turned, rounded, scanned_print, sharpened
from smdae.denoising.denoise import denoise
from smdae.denoising.second_look import FEATURES, NETWORK, NUMBERS, SecondLook, features_of
from smdae.estimation.estimate import as_planes, estimate
from smdae.estimation.feature_numbers import standardised
from smdae.estimation.scale import scale_of
from smdae.files import raw
from smdae.files.model_file import load

REAL, REAL_WEIGHT, REAL_WEIGHT_OF_LEVELS = ("polyu", "fmd"), 12.0, 8.0
CLEAN_ERROR = 255**2 / 10**5  # 50 dB
MOST_AT_STAKE, LEAST_AT_STAKE = 10.0, 0.05  # dB
FOLDS = 5
SHRINKAGE = 3e-4
LEAST_ERROR = 1.0  # mean squared, of pictures whose level counts
RAW_SHARE, FRAMED_SHARE = 0.4, 0.125  # of originals that are developed, of pictures that are framed
GAINS, READ_NOISES = (2e-4, 1e-2), (3e-4, 6e-3)  # of the synthetic camera, white being 1
FAINT, LEAST_ODDS_OF_FAINT = 6.0, -1.0  # gray levels; what blocks alone asked of faint grain in JPEGs


@dataclass(frozen=True)
class Sample:
    """A picture that blocks may take for grain: what it is, its original, features, and errors before and after."""

    kind: str
    original: str
    features: list[float]
    before: float
    after: float


def retouched(picture: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield kinds, and what work on pictures makes of a clean one, without and with noise."""
    clean = (gray(picture) if rng.random() < 0.4 else picture).astype(float)
    noise = rng.normal(0, np.exp(rng.uniform(np.log(3), np.log(30))), clean.shape)
    work = resized_or_turned(rng)
    yield "processed", rounded(work(clean)), rounded(work(clean) + work(noise))
    yield "processed", rounded(clean), rounded(clean + blurred(noise, rng))
    quality = int(rng.integers(40, 96))
    alike = (np.random.default_rng(quality) for _ in range(2))
    compressed = [
        as_jpeg(rounded(shown), same, (quality, quality + 1))
        for shown, same in zip((clean, clean + noise), alike, strict=True)
    ]
    yield "compressed", compressed[0], compressed[1]
    shown = sharpened(clean, rng) if rng.random() < 0.5 else resized_or_turned(rng)(clean)
    shown = as_jpeg(rounded(shown), rng, (40, 98)) if rng.random() < 0.3 else rounded(shown)
    yield "clean", shown, shown
    for _ in range(3):
        small = picture
        if min(picture.shape[:2]) >= 320 and rng.random() < 0.5:
            small = np.asarray(Image.fromarray(picture).reduce(2))
        stored = as_jpeg(small, rng, (40, 98))
        stored = gray(stored) if rng.random() < 0.25 else stored
        yield "clean", stored, stored
    page = scanned_print(rng)
    page = as_jpeg(page, rng, (55, 96)) if rng.random() < 0.5 else page
    yield "clean", page, page


def developed(picture: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield kinds, and a picture developed of a mosaic without and with noise; half of them as JPEG."""
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    blur = float(rng.uniform(0, 0.8))
    clean = mosaic(gaussian_filter(picture[:height, :width] / 255.0, (blur, blur, 0)))
    for _ in range(2):
        gain, read = (float(np.exp(rng.uniform(*np.log(ends)))) for ends in (GAINS, READ_NOISES))
        files = dng(exposed(clean, 0, 0)), dng(exposed(clean, gain, read, int(rng.integers(1 << 30))))
        shown = []
        for file in files:
            with raw.opened(file, "file") as shot:
                shown.append(rounded(shot.developed(brighter=False).pixels / 257))
        yield "developed", shown[0], as_jpeg(shown[1], rng, (55, 98)) if rng.random() < 0.5 else shown[1]


def scanned(picture: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield kinds, and what a scanning microscope makes of a picture, without and with noise."""
    for _ in range(2):
        clean, noisy = map(np.asarray, photograph("scanning", picture, int(rng.integers(1 << 30))))
        yield "clean", clean, clean
        yield "scanning", clean, noisy


def of_fmd(folder: Path) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Yield kinds, names, and parts of the pairs of FMD6 without and with noise."""
    for path in sorted((folder / "noisy").iterdir()):
        noisy, clean = (np.asarray(Image.open(folder / name / path.name)) for name in ("noisy", "clean"))
        for top, left in ((0, 0), (0, 256), (256, 0), (200, 200)):
            part = slice(top, top + 256), slice(left, left + 256)
            yield "fmd", path.name, clean[part], noisy[part]


def pictures(data: Path, seed: int, minutes: float) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Yield kinds, names, and pictures without and with noise until the time is over; real ones with seed 0 only."""
    rng, end = np.random.default_rng(seed), time.monotonic() + 60 * minutes
    bsds, photos = (sorted((data / "train" / name).iterdir()) for name in ("bsds432", "photos"))
    paths = {"bsds": bsds, "photos": photos, "rare": [path for path in photos if any(k in path.name for k in RARE)]}
    if seed == 0:
        yield from of_polyu(data / "real" / "PolyU26")
        yield from of_fmd(data / "real" / "FMD6")
    while time.monotonic() < end:
        name, picture = original(paths, rng)
        if min(picture.shape[:2]) < SIDES[0] * 3 // 4:
            continue
        for make in (made, retouched, scanned, *(developed,) * (rng.random() < RAW_SHARE)):
            for kind, clean, noisy in make(picture, rng):
                if rng.random() < FRAMED_SHARE and noisy.dtype == np.uint8:
                    frame = framed(rng)
                    clean, noisy = frame(clean), frame(noisy)
                    if rng.random() < 0.5:
                        noisy = as_jpeg(noisy, rng, (55, 98))
                        clean = noisy if kind == "clean" else clean
                yield kind, name, clean, noisy


def samples(data: Path, seed: int, minutes: float) -> Iterator[Sample]:
    """Yield the samples of pictures that blocks may take for grain."""
    network = load(NETWORK)
    for kind, name, clean, noisy in pictures(data, seed, minutes):
        scale = scale_of(noisy, None)
        found = estimate(noisy, scale)
        if found.instead is None:
            continue
        planes, valid, scale = as_planes(noisy, scale)
        features = features_of(planes, scale, valid, found.noise, found.odds, found.jpeg, network)
        if features is None:
            continue
        model = NETWORK if noisy.ndim == 3 else "natural-gray-small"
        result = denoise(noisy, model, noise=found.noise.scaled(scale.span))
        before, after = (float(np.mean((shown.astype(float) - clean) ** 2)) for shown in (noisy, result))
        yield Sample(kind, name, features.tolist(), before, after)


@dataclass(frozen=True)
class Table:
    """Samples as arrays of n: kinds, features, decibels gained if denoised, log(level / level told), and folds."""

    kinds: np.ndarray
    features: np.ndarray
    gain: np.ndarray
    factor: np.ndarray
    folds: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """Return how much each counts, (n,)."""
        at_stake = np.minimum(np.abs(self.gain), MOST_AT_STAKE) + LEAST_AT_STAKE
        return at_stake * np.where(np.isin(self.kinds, REAL), REAL_WEIGHT, 1.0)

    def part(self, chosen: np.ndarray) -> "Table":
        """Return some of the samples."""
        return Table(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    @property
    def is_grain(self) -> np.ndarray:
        """Return which have noise that is grain, (n,)."""
        return np.isfinite(self.factor)


def table_of(kept: list[dict[str, Any]]) -> Table:
    """Return samples, as files hold them, as arrays."""
    found = [Sample(**one) for one in kept]
    names = np.unique([one.original for one in found], return_inverse=True)[1]
    before, after = (np.array([getattr(one, name) for one in found]) + CLEAN_ERROR for name in ("before", "after"))
    kinds, features = np.array([one.kind for one in found]), np.array([one.features for one in found])
    level = np.log(np.maximum(before - CLEAN_ERROR, 1e-9)) / 2 - features[:, FEATURES.index("log level")]
    is_grain = ~np.isin(kinds, ("clean", "white")) & (before > LEAST_ERROR)
    return Table(kinds, features, 10 * np.log10(before / after), np.where(is_grain, level, np.nan), names % FOLDS)


def fitted(table: Table) -> SecondLook:
    """Return the numbers that samples give: the odds of a gain, and the level."""
    bounds = lowest, highest, mean, deviation = bounds_of(table.features)
    z = standardised(table.features, *bounds)
    odds = perceptron(z, table.gain > 0, table.weights, by_odds, SHRINKAGE)
    grain = table.is_grain
    counts = np.where(np.isin(table.kinds[grain], REAL), REAL_WEIGHT_OF_LEVELS, 1.0)
    level = perceptron(z[grain], table.factor[grain], counts, by_distance, SHRINKAGE)
    return SecondLook(mean, deviation, lowest, highest, odds, level)


def by_odds(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the logarithmic loss of log odds."""
    return torch.nn.functional.binary_cross_entropy_with_logits(predicted, target, reduction="none")


def by_distance(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return Huber's loss of logarithms of levels."""
    return torch.nn.functional.huber_loss(predicted, target, reduction="none", delta=HUBER)


def by_blocks_alone(table: Table) -> np.ndarray:
    """Return which samples blocks alone take for grain, (n,)."""
    odds, level, compressed = (
        table.features[:, FEATURES.index(name)] for name in ("first odds", "log level", "compressed")
    )
    faint = (compressed > 0) & (np.exp(level) < FAINT)
    return np.asarray(odds > np.where(faint, LEAST_ODDS_OF_FAINT, 0.0))


def report(table: Table) -> str:
    """Return the tables of what it comes to, and of the levels of grain."""
    second, told = np.zeros(len(table.gain), bool), np.zeros(len(table.gain))
    for fold in range(FOLDS):
        numbers = fitted(table.part(table.folds != fold))
        for k in np.flatnonzero(table.folds == fold):
            second[k] = numbers.log_odds(table.features[k]) > 0
            told[k] = math.log(numbers.level_factor(table.features[k]))
    head = ("kind", "pictures", "blocks alone: denoised", "dB in all", "worst", "second look: denoised", "dB", "worst")
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    compressed = table.features[:, FEATURES.index("compressed")] > 0
    names = np.where((table.kinds == "clean") & compressed, "clean, JPEG", table.kinds)
    for kind in [*dict.fromkeys(names.tolist()), "all"]:
        these = names == kind if kind != "all" else np.ones(len(names), bool)
        row = [kind, str(these.sum())]
        for taken in (by_blocks_alone(table), second):
            gains = table.gain[these & taken]
            row += [str(len(gains)), f"{gains.sum():+.0f}", f"{gains.min():+.1f}" if len(gains) else ""]
        lines.append(f"| {' | '.join(row)} |")
    lines += ["", "| kind | pictures | level off by (rms of log) | with a second look |", "| --- | --- | --- | --- |"]
    for kind in [*dict.fromkeys(table.kinds[table.is_grain].tolist()), "all"]:
        these = table.is_grain & ((table.kinds == kind) | (kind == "all"))
        off = table.factor[these]
        both = (f"{np.sqrt(np.mean(error**2)):.2f}" for error in (off, off - told[these]))
        lines.append(f"| {kind} | {these.sum()} | {' | '.join(both)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(__doc__, samples, table_of, report, fitted, (NUMBERS, FEATURES))
