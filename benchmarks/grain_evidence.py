"""Can grain be distinguished from texture, and how strong is it?

    python -m benchmarks.grain_evidence samples DATA OUT [--seed N] [--minutes M]
    python -m benchmarks.grain_evidence fit OUT... [--write]

DATA is the folder with `train/bsds432`, `train/photos` and `real/PolyU26`. `samples` makes pictures until the time is
over and keeps in OUT, a JSON file, what `smdae.estimation.evidence.features` are of each:

    grain       dslr, phone, compact, film, scan and widefield of `cameras.py`, colours also as gray, half of them once
                more as JPEG of quality 55 to 92; parts of the noisy pictures of PolyU26
    no grain    clean pictures (BSDS shrunk by two; photographs, drawings, text and screens as they are, or larger by
                1.3), as they are and as JPEG of quality 55 to 97, in colour or gray; parts of the clean pictures of
                PolyU26; white noise of sigma 1 to 50; confocal of `cameras.py`

`fit` prints how many of each are taken for grain by the numbers fitted to the other four fifths of the originals, and
how far the level is off; `--write` puts the numbers that all of it gives into smdae/estimation/grain_evidence.json.
Grain counts by its level, as it is worth more to be found the stronger it is, and clean pictures by the level that they
seem to have, which is what would be taken out of them.
"""

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.cameras import photograph
from benchmarks.feature_fits import bounds_of, logistic, main, ridge
from smdae.estimation.estimate import grain_features_of
from smdae.estimation.evidence import FEATURES, NUMBERS, Evidence, roughness
from smdae.estimation.feature_numbers import standardised
from smdae.estimation.grain import with_unseen
from smdae.estimation.scale import scale_of

CAMERAS = ("dslr", "phone", "compact", "film", "scan", "widefield")
GRAIN = (*CAMERAS, "polyu")
RARE = ("screen", "text", "page", "clipart", "micro")
FAINTEST = 1.3  # gray levels: fainter grain is left alone anyway
STRONG = 4.0  # gray levels from which on grain counts fully, or half as much more
HARM, LEAST_HARM = (
    12.0,
    0.15,
)  # gray levels at which a clean picture counts fully, and what those of less count at least
GRAIN_WEIGHT = 0.6  # of all grain, of all that is none
FOLDS = 5
SHRINKAGE = 3e-3
SIDES = (192, 512)  # pixels of parts of pictures


@dataclass(frozen=True)
class Sample:
    """A picture: what it is, the original that it is made of, its noise in gray levels, and its features."""

    kind: str
    original: str
    sigma: float
    features: list[float]


def gray(pixels: np.ndarray) -> np.ndarray:
    """Return a picture (H, W, 3) as luma (H, W)."""
    return np.asarray(Image.fromarray(pixels).convert("L"))


def as_jpeg(pixels: np.ndarray, rng: np.random.Generator, qualities: tuple[int, int]) -> np.ndarray:
    """Return a picture as JPEG leaves it."""
    file = io.BytesIO()
    subsampling = int(rng.choice([0, 2]))
    Image.fromarray(pixels).save(file, "JPEG", quality=int(rng.integers(*qualities)), subsampling=subsampling)
    return np.asarray(Image.open(file))


def original(paths: dict[str, list[Path]], rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """Return the name and the pixels, (H, W, 3), of a picture without noise of its own."""
    kind = str(rng.choice(["bsds", "photos", "rare"], p=[0.4, 0.45, 0.15]))
    path = paths[kind][rng.integers(len(paths[kind]))]
    with Image.open(path) as image:
        if kind == "bsds":
            image = image.crop((0, 0, image.width // 2 * 2, image.height // 2 * 2)).convert("RGB").reduce(2)
        side = int(rng.integers(*SIDES))
        return path.name, np.asarray(image.convert("RGB"))[:side, :side]


def made(picture: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield kinds, and what is made of a clean picture without and with noise."""
    for camera in rng.choice(CAMERAS, 3, replace=False).tolist():
        clean, noisy = map(np.asarray, photograph(camera, picture, int(rng.integers(1 << 30))))
        if noisy.ndim == 3 and rng.random() < 0.15:
            clean, noisy = gray(clean), gray(noisy)
        if camera != "widefield" and rng.random() < 0.5:
            noisy = as_jpeg(noisy, rng, (55, 93))
        yield camera, clean, noisy
    larger = (int(1.3 * picture.shape[1]), int(1.3 * picture.shape[0]))
    for number in range(2):
        shown = picture
        if rng.random() < 0.3:
            shown = np.asarray(Image.fromarray(picture).resize(larger, Image.Resampling.BICUBIC))
        shown = as_jpeg(shown, rng, (55, 98)) if number else shown
        shown = gray(shown) if rng.random() < 0.25 else shown
        yield "clean", shown, shown
    shown = gray(picture) if rng.random() < 0.4 else picture
    noise = rng.normal(0, np.exp(rng.uniform(0, np.log(50))), shown.shape)
    yield "white", shown, np.clip(np.rint(shown + noise), 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        clean, noisy = map(np.asarray, photograph("confocal", picture, int(rng.integers(1 << 30))))
        yield "confocal", clean, noisy


def of_polyu(folder: Path) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Yield kinds, names, and parts of the pairs of PolyU26 without and with noise."""
    for path in sorted((folder / "noisy").iterdir()):
        noisy, clean = (np.asarray(Image.open(folder / name / path.name)) for name in ("noisy", "clean"))
        for top, left, side in ((0, 0, 512), (0, 0, 320), (192, 192, 320), (0, 256, 256), (256, 0, 256)):
            part = slice(top, top + side), slice(left, left + side)
            yield "polyu", path.name, clean[part], noisy[part]
            yield "clean", path.name, clean[part], clean[part]


def sample(kind: str, name: str, clean: np.ndarray, noisy: np.ndarray) -> Sample | None:
    """Return what a picture is; None if it has no features, as when it was drawn."""
    found = grain_features_of(noisy, scale_of(noisy, None))
    if found is None:
        return None
    return Sample(kind, name, float(np.std(noisy.astype(float) - clean)), found.tolist())


def samples(data: Path, seed: int, minutes: float) -> Iterator[Sample]:
    """Yield samples until the time is over; those of PolyU26 first, with seed 0 only."""
    rng, end = np.random.default_rng(seed), time.monotonic() + 60 * minutes
    bsds, photos = (sorted((data / "train" / name).iterdir()) for name in ("bsds432", "photos"))
    paths = {"bsds": bsds, "photos": photos, "rare": [path for path in photos if any(k in path.name for k in RARE)]}
    for kind, name, clean, noisy in of_polyu(data / "real" / "PolyU26") if seed == 0 else ():
        found = sample(kind, name, clean, noisy)
        if found:
            yield found
    while time.monotonic() < end:
        name, picture = original(paths, rng)
        if min(picture.shape[:2]) < SIDES[0] * 3 // 4:
            continue
        for kind, clean, noisy in made(picture, rng):
            found = sample(kind, name, clean, noisy)
            if found:
                yield found


@dataclass(frozen=True)
class Table:
    """Samples as arrays of n: kinds, whether they are grain, sigma, the level by blocks, features, and folds."""

    kinds: np.ndarray
    is_grain: np.ndarray
    sigma: np.ndarray
    level: np.ndarray
    features: np.ndarray
    folds: np.ndarray

    def part(self, chosen: np.ndarray) -> "Table":
        """Return some of the samples."""
        return Table(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def table_of(kept: list[dict[str, Any]]) -> Table:
    """Return samples, as files hold them, as arrays, without grain too faint to count."""
    found = [one for one in (Sample(**values) for values in kept) if one.kind not in GRAIN or one.sigma >= FAINTEST]
    kinds, features = np.array([one.kind for one in found]), np.array([one.features for one in found])
    names = np.unique([one.original for one in found], return_inverse=True)[1]
    sigma = np.array([one.sigma for one in found])
    level = np.array([level_of(row) for row in features])
    return Table(kinds, np.isin(kinds, GRAIN), sigma, level, features, names % FOLDS)


def level_of(features: np.ndarray) -> float:
    """Return the level in gray levels, with what blocks do not see, if all channels have the same."""
    features_by_name = dict(zip(FEATURES, features, strict=True))
    level, shared = np.exp(features_by_name["log level"]), features_by_name["correlation of channels"]
    covariance = level**2 * ((1 - shared) * np.eye(3) + shared)
    return float(np.sqrt(np.trace(with_unseen(covariance)) / 3) if features_by_name["colour"] else level)


def weights_of(samples: Table) -> np.ndarray:
    """Return how much each sample counts, (n,), together 1."""
    grain = np.minimum(samples.sigma / STRONG, 1.5)
    other = np.where(samples.kinds == "clean", 1.0, 0.5) * (LEAST_HARM + samples.level / HARM)
    weights = np.where(samples.is_grain, grain, other)
    weights[samples.is_grain] *= GRAIN_WEIGHT * weights[~samples.is_grain].sum() / weights[samples.is_grain].sum()
    return weights / weights.sum()


def fitted(samples: Table) -> Evidence:
    """Return the numbers that samples give."""
    lowest, highest, mean, deviation = bounds_of(samples.features)
    z = standardised(samples.features, lowest, highest, mean, deviation)
    rows = np.hstack([np.ones((len(z), 1)), z])
    odds = logistic(rows, samples.is_grain, weights_of(samples), SHRINKAGE, free=1)
    grain = samples.is_grain
    rough = np.array([roughness(f) for f in samples.features[grain]])
    level = np.log(samples.sigma[grain] / samples.level[grain])
    factor = ridge(rough[:, None] * rows[grain], level, np.ones(grain.sum()), free=1)
    return Evidence(mean, deviation, lowest, highest, odds[1:], float(odds[0]), factor[1:], float(factor[0]))


def report(samples: Table) -> str:
    """Return the table of what the numbers of other originals say."""
    taken, error = np.zeros(len(samples.kinds), bool), np.zeros(len(samples.kinds))
    for fold in range(FOLDS):
        numbers = fitted(samples.part(samples.folds != fold))
        for k in np.flatnonzero(samples.folds == fold):
            taken[k] = numbers.log_odds(samples.features[k]) > 0
            level = numbers.level_factor(samples.features[k]) * samples.level[k]
            error[k] = np.log(level / max(samples.sigma[k], 1e-9))
    head = ("kind", "pictures", "taken for grain", "their mean level", "off by (rms of log)")
    lines = [f"| {' | '.join(head)} |", "| --- | --- | --- | --- | --- |"]
    compressed = samples.features[:, FEATURES.index("compressed")] > 0
    names = np.where((samples.kinds == "clean") & compressed, "clean, JPEG", samples.kinds)
    for kind in dict.fromkeys(names.tolist()):
        these = names == kind
        hit = these & taken
        off = f"{np.sqrt(np.mean(error[hit] ** 2)):.2f}" if kind in GRAIN and hit.any() else ""
        level = f"{samples.level[hit].mean():.1f}" if hit.any() else ""
        lines.append(f"| {kind} | {these.sum()} | {100 * taken[these].mean():.1f} % | {level} | {off} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(__doc__, samples, table_of, report, fitted, (NUMBERS, FEATURES))
