"""How well do the bundled networks denoise real noise, small ones and others, where no option is given?

    python -m benchmarks.network_sizes [FOLDER[:S]...] [--cameras PICTURES] [--count N] [--side S]

A FOLDER has `noisy/` and `clean/` with files of equal stems; of FOLDER:S the upper left S pixels a side are taken.
`--cameras` adds the synthetic cameras for colours of `cameras.py`, each with the upper left S pixels a side of N of the
PICTURES shrunk by two. Both networks get the noise that is found once. PSNR in dB of the array that comes out, and,
under "texture", of the quarter of its pixels at which the clean picture has the largest gradient.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import smdae
from benchmarks.cameras import clean_pictures, photograph
from benchmarks.markdown_table import head, row
from smdae.denoising.preparation import prepare
from smdae.denoising.treatment import noise_for
from smdae.files.images import read

COLOUR_CAMERAS = ("dslr", "phone", "compact", "film", "scan")
SEED, FIRST = 11, 200  # of the pictures that are chosen, and of the noise of the first
ALL = 10_000  # pixels a side: more than any picture has
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
    """Return the number of pictures and means: of the noisy ones, and of both networks all pixels, then texture."""
    rows = []
    for noisy, clean, quality in pairs:
        kind = "color" if noisy.ndim == 3 else "gray"
        models = [smdae.load(name) for name in (f"natural-{kind}-small", f"natural-{kind}")]
        noise = noise_for(prepare(noisy, None, None), models[0], "auto", None, quality).noise
        results = [noisy if noise.is_none else smdae.denoise(noisy, m, noise=noise.scaled(255.0)) for m in models]
        where = texture(clean)
        rows.append([psnr(one, clean) for one in (noisy, *results)] + [psnr(one, clean, where) for one in results])
    return [len(rows), *(float(value) for value in np.mean(rows, 0))]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", metavar="FOLDER[:S]")
    parser.add_argument("--cameras", type=Path)
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--side", type=int, default=ALL)
    given = parser.parse_args()
    print(head("", "pictures", "noisy", "`--fast`", "`smdae denoise`", "texture, `--fast`", "texture"), flush=True)
    sets: dict[str, Iterator[Pair]] = {}
    for text in given.folders:
        name, _, side = text.partition(":")
        label = Path(name).name + (f", upper left {side} x {side}" if side else "")
        sets[label] = pairs_in(Path(name), int(side or ALL))
    if given.cameras:
        pictures = [picture[: given.side, : given.side] for picture in clean_pictures(given.cameras, given.count, SEED)]
        for camera in COLOUR_CAMERAS:
            sets[f"synthetic: {camera}"] = pairs_by(camera, pictures)
    for name, pairs in sets.items():
        count, *means = figures(pairs)
        print(row(name, int(count), *(f"{value:.2f}" for value in means)), flush=True)


if __name__ == "__main__":
    main()
