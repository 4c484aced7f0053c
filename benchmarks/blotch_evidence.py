"""Can blotches of colour be distinguished from real colour?

    python -m benchmarks.blotch_evidence samples DATA OUT [--seed N] [--minutes M]
    python -m benchmarks.blotch_evidence fit OUT... [--write]

DATA is as for `grain_evidence`. `samples` makes pictures until the time is over: those of `second_look` that are in
colour; clean pictures shrunk; and with blotches of 1 to 15 gray levels and 2.5 to 18 pixels. A fifth of the originals
is left out, for `colour_blotches`. Of each picture that may have blotches it keeps in OUT, a JSON file, what
`smdae.estimation.blotches.look` sees, and the mean squared error if blotches are looked for and if they are not, both
denoised by the small network.

`fit` prints what it comes to if blotches are taken out where the numbers fitted to the other four fifths of the
originals find them, by the odds that are asked for; clean pictures count as having an error of 50 dB. A picture counts
by the decibels that are at stake; `--write` puts the numbers that all of it gives into smdae/estimation/blotches.json.
"""

import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.feature_fits import bounds_of, main, perceptron
from benchmarks.grain_evidence import RARE, SIDES, as_jpeg, made, of_polyu, original
from benchmarks.second_look import CLEAN_ERROR, by_odds, retouched
from benchmarks.synthetic.blotched import Blotching
from smdae.denoising.blotch_search import without_blotches
from smdae.denoising.denoise import denoise
from smdae.denoising.noise_search import find_other_noise, noise_with
from smdae.denoising.second_look import NETWORK
from smdae.estimation.blotches import FEATURES, NUMBERS, Evidence, blotches_of, look
from smdae.estimation.estimate import as_planes
from smdae.estimation.feature_numbers import standardised
from smdae.estimation.scale import scale_of
from smdae.files.model_file import load

REAL_WEIGHT = 12.0  # of pairs of real pictures
LEVELS, WIDTHS = (1.0, 15.0), (2.5, 18.0)
FOLDS = 5
SHRINKAGE = 3e-4
MOST_AT_STAKE, LEAST_AT_STAKE = 10.0, 0.05  # dB
HARM = 3.0  # that a decibel lost counts more than one that is gained
ASKED = (0.0, 1.0, 2.0, 3.0, 4.0)


@dataclass(frozen=True)
class Sample:
    """A picture that may have blotches: what it is, its original, features, and errors without and with the search."""

    kind: str
    original: str
    features: list[float]
    before: float
    after: float


def is_held_out(name: str) -> bool:
    """Return whether a picture, or another part of its original, is left for `colour_blotches`."""
    scene = "_".join(Path(name).stem.split("_")[:2])
    return zlib.crc32(scene.encode()) % 5 == 0


def shrunk(picture: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield kinds, and a clean picture shrunk, which has the more real colour in each block, half of them as JPEG."""
    image = Image.fromarray(picture)
    for scale in rng.uniform(0.35, 0.8, 3):
        small = image.resize([int(scale * side) for side in image.size], Image.Resampling.LANCZOS)
        shown = as_jpeg(np.asarray(small), rng, (60, 98)) if rng.random() < 0.5 else np.asarray(small)
        yield "clean", shown, shown


def pictures(data: Path, seed: int, minutes: float) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Yield kinds, names, and pictures without and with noise until the time is over; real ones with seed 0 only."""
    rng, end = np.random.default_rng(seed), time.monotonic() + 60 * minutes
    bsds, photos = (
        [path for path in sorted((data / "train" / name).iterdir()) if not is_held_out(path.name)]
        for name in ("bsds432", "photos")
    )
    paths = {"bsds": bsds, "photos": photos, "rare": [path for path in photos if any(k in path.name for k in RARE)]}
    if seed == 0:
        yield from of_polyu(data / "real" / "PolyU26")
    while time.monotonic() < end:
        name, picture = original(paths, rng)
        if min(picture.shape[:2]) < SIDES[0] * 3 // 4:
            continue
        for make in (made, retouched, shrunk):
            for kind, clean, noisy in make(picture, rng):
                yield kind, name, clean, noisy
        for _ in range(4):
            how = Blotching.drawn(rng, LEVELS, WIDTHS, (60, 98), uncompressed=0.1)
            yield "blotched", name, picture, how.applied(picture, rng)


def samples(data: Path, seed: int, minutes: float) -> Iterator[Sample]:
    """Yield the samples of pictures that may have blotches."""
    network = load(NETWORK)
    for kind, name, clean, noisy in pictures(data, seed, minutes):
        if noisy.ndim == 2:
            continue
        planes, valid, scale = as_planes(noisy, scale_of(noisy, None))
        seen = look(planes, scale, valid) if planes.shape[2] == 3 else None
        if seen is None or not seen.may_be_blotches:
            continue
        blotches = blotches_of(planes, scale, valid, seen)
        if kind == "clean":  # the rest of its noise is not in question
            result = without_blotches(planes, scale, blotches, network)
            after = float(np.mean((result.astype(float) - clean) ** 2))
            yield Sample(kind, name, seen.features.tolist(), 0.0, after)
            continue
        found = find_other_noise(planes, scale, valid, None, "auto")
        if found.is_drawn:
            continue
        noises = found, noise_with(blotches, planes, scale, valid, found.jpeg, "auto")
        results = (denoise(noisy, NETWORK, noise=one.noise.scaled(scale.span)) for one in noises)
        before, after = (float(np.mean((result.astype(float) - clean) ** 2)) for result in results)
        yield Sample(kind, name, seen.features.tolist(), before, after)


@dataclass(frozen=True)
class Table:
    """Samples as arrays of n: kinds, features, decibels gained if blotches are taken out, and folds."""

    kinds: np.ndarray
    features: np.ndarray
    gain: np.ndarray
    folds: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """Return how much each counts, (n,)."""
        at_stake = np.minimum(np.abs(self.gain), MOST_AT_STAKE) + LEAST_AT_STAKE
        return at_stake * np.where(self.gain < 0, HARM, 1.0) * np.where(self.kinds == "polyu", REAL_WEIGHT, 1.0)

    def part(self, chosen: np.ndarray) -> "Table":
        """Return some of the samples."""
        return Table(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def table_of(kept: list[dict[str, Any]]) -> Table:
    """Return samples, as files hold them, as arrays."""
    found = [Sample(**one) for one in kept]
    names = np.unique(["_".join(Path(one.original).stem.split("_")[:2]) for one in found], return_inverse=True)[1]
    before, after = (np.array([getattr(one, name) for one in found]) + CLEAN_ERROR for name in ("before", "after"))
    kinds, features = np.array([one.kind for one in found]), np.array([one.features for one in found])
    return Table(kinds, features, 10 * np.log10(before / after), names % FOLDS)


def fitted(table: Table) -> Evidence:
    """Return the numbers that samples give."""
    lowest, highest, mean, deviation = bounds_of(table.features)
    z = standardised(table.features, lowest, highest, mean, deviation)
    return Evidence(mean, deviation, lowest, highest, perceptron(z, table.gain > 0, table.weights, by_odds, SHRINKAGE))


def report(table: Table) -> str:
    """Return the table of what it comes to."""
    odds = np.zeros(len(table.gain))
    for fold in range(FOLDS):
        numbers = fitted(table.part(table.folds != fold))
        for k in np.flatnonzero(table.folds == fold):
            odds[k] = numbers.log_odds(table.features[k])
    head = ("kind", "pictures", "all: dB", *(f"odds {asked:g}: taken | dB | worst" for asked in ASKED))
    lines = [f"| {' | '.join(head)} |"]
    for kind in [*dict.fromkeys(table.kinds.tolist()), "all"]:
        these = table.kinds == kind if kind != "all" else np.ones(len(odds), bool)
        row = [kind, str(these.sum()), f"{table.gain[these].sum():+.0f}"]
        for asked in ASKED:
            gains = table.gain[these & (odds > asked)]
            row += [str(len(gains)), f"{gains.sum():+.0f}", f"{gains.min():+.1f}" if len(gains) else ""]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(__doc__ or "", samples, table_of, report, fitted, (NUMBERS, FEATURES))
