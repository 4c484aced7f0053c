"""What do the bundled networks make of real noise, the small ones and the others, nothing told?

    python -m benchmarks.network_sizes [FOLDER...] [--cameras PICTURES] [--count N] [--side S]

A FOLDER has `noisy/` and `clean/` with files of equal stems; `--cameras` adds the synthetic cameras for colours of
`cameras.py`, each with N of the PICTURES shrunk by two. Of each picture the upper left S pixels a side are taken. Both
networks get the noise that is found once. PSNR in dB of the array that comes out, and of the quarter of its pixels at
which the clean picture has the largest gradient.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import smdae
from benchmarks.cameras import clean_pictures, photograph
from smdae.denoising.preparation import prepare
from smdae.denoising.treatment import noise_for
from smdae.files.images import read

COLOUR_CAMERAS = ("dslr", "phone", "compact", "film", "scan")
SEED, FIRST = 11, 200  # of the pictures that are chosen, and of the noise of the first
SHARE = 0.75  # of the pixels, that have less gradient than texture

Pair = tuple[np.ndarray, np.ndarray, int | None]  # noisy, clean, JPEG quality


def pairs_in(folder: Path, side: int) -> Iterator[Pair]:
    """Yield the pairs of a folder."""
    clean = {path.stem: path for path in (folder / "clean").iterdir()}
    for path in sorted((folder / "noisy").iterdir()):
        noisy, truth = read(path, path.name), read(clean[path.stem], path.name)
        yield noisy.pixels[:side, :side], truth.pixels[:side, :side], noisy.quality


def pairs_by(camera: str, pictures: Sequence[np.ndarray]) -> Iterator[Pair]:
    """Yield the pairs that a synthetic camera makes of clean pictures."""
    for i, picture in enumerate(pictures):
        clean, noisy = photograph(camera, picture, FIRST + i)
        yield noisy, clean, None


def psnr(result: np.ndarray, clean: np.ndarray, where: np.ndarray | None = None) -> float:
    """Return the PSNR in dB, of all pixels or of those where `where`, (H, W), is true."""
    error = (result.astype(float) - clean) ** 2
    return 10 * np.log10(255**2 / np.mean(error if where is None else error[where]))


def texture(clean: np.ndarray) -> np.ndarray:
    """Return where a clean picture has the largest gradient, (H, W), bool."""
    gray = clean.astype(float) if clean.ndim == 2 else clean.astype(float).mean(2)
    across, down = np.gradient(gray)
    gradient = np.abs(across) + np.abs(down)
    return gradient >= np.quantile(gradient, SHARE)


def figures(pairs: Iterator[Pair]) -> list[float]:
    """Return means: of the noisy pictures, and of each network all pixels and texture."""
    rows = []
    for noisy, clean, quality in pairs:
        kind = "color" if noisy.ndim == 3 else "gray"
        models = [smdae.load(name) for name in (f"natural-{kind}-small", f"natural-{kind}")]
        noise = noise_for(prepare(noisy, None, None), models[0], "auto", None, quality).noise
        row = [psnr(noisy, clean)]
        for model in models:
            result = noisy if noise.is_none else smdae.denoise(noisy, model, noise=noise.scaled(255.0))
            row += [psnr(result, clean), psnr(result, clean, texture(clean))]
        rows.append(row)
    return [float(value) for value in np.mean(rows, 0)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--cameras", type=Path)
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--side", type=int, default=10_000)
    given = parser.parse_args()
    print("| | noisy | small | texture | medium | texture |\n| --- | --- | --- | --- | --- | --- |")
    sets = {folder.name: pairs_in(folder, given.side) for folder in given.folders}
    if given.cameras:
        pictures = [picture[: given.side, : given.side] for picture in clean_pictures(given.cameras, given.count, SEED)]
        for camera in COLOUR_CAMERAS:
            sets[camera] = pairs_by(camera, pictures)
    for name, pairs in sets.items():
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in figures(pairs)) + " |", flush=True)


if __name__ == "__main__":
    main()
