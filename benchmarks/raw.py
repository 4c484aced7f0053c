"""Is it better to denoise the values of a sensor, or the picture that is developed from them?

    python -m benchmarks.raw PICTURES [--count N] [--side N] [--seed N] [--fast] [--noise auto|grain]

Photographs are laid out in squares of N x N, blurred as lenses do (0.5 pixels), and recorded through the mosaic of a
synthetic camera of 14 bits, with photon and read noise of three strengths. Each exposure is a DNG file, which LibRaw
develops (AHD, sRGB, no change of brightness) three times:

    noisy           as it is
    after           as it is, and then denoised, as `smdae denoise` does with a 16-bit TIFF: --noise auto, or as given
    before          denoised, as `smdae denoise` does with a DNG without NoiseProfile, and then developed

PSNR is that to the picture developed of the same mosaic without noise.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from benchmarks.dng import dng, exposed, mosaic
from benchmarks.markdown_table import head
from benchmarks.markdown_table import row as line
from smdae.denoising.denoise import denoise
from smdae.denoising.mosaic import denoised
from smdae.denoising.sensor import sensor_curves
from smdae.errors import InputError
from smdae.files import raw
from smdae.files.model_file import load

SIZE = 384  # pixels a side of a photograph
BLUR = 0.5  # pixels
EXPOSURES = ((5e-4, 1e-3), (2e-3, 3e-3), (8e-3, 8e-3))  # gain and read noise, white being 1


@dataclass(frozen=True)
class Row:
    """PSNR in dB of one exposure."""

    noisy: float
    after: float
    before: float


def layouts(folder: Path, count: int, side: int) -> list[np.ndarray]:
    """Return pictures, sRGB from 0 to 1, of photographs that are spread evenly over a folder."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".png"))
    large = []
    for path in files:
        with Image.open(path) as image:
            if min(image.size) >= SIZE:
                large.append(path)
    wanted = count * side * side
    if len(large) < wanted:
        raise InputError(f"'{folder}' has {len(large)} pictures of {SIZE} pixels a side, and {wanted} are needed")
    chosen = [large[i * len(large) // wanted] for i in range(wanted)]
    pictures = []
    for n in range(count):
        tiles = [
            np.asarray(Image.open(path).convert("RGB"))[:SIZE, :SIZE] / 255.0
            for path in chosen[n::count]  # neighbours in a folder are often alike
        ]
        rows = [np.concatenate(tiles[r * side : (r + 1) * side], 1) for r in range(side)]
        pictures.append(gaussian_filter(np.concatenate(rows, 0), (BLUR, BLUR, 0)))
    return pictures


def psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    """Return the PSNR of 16-bit samples in dB."""
    return float(-10 * np.log10(np.mean(((picture.astype(np.float64) - truth) / 65535) ** 2)))


def row(picture: np.ndarray, gain: float, read: float, seed: int, name: str, kind: str) -> Row:
    """Return the figures of one exposure of a picture, with a bundled model and the kind of noise when developed."""
    clean, model = mosaic(picture), load(name)
    with raw.opened(dng(exposed(clean, 0, 0)), "clean") as shot:
        truth = shot.developed(brighter=False).pixels
    with raw.opened(dng(exposed(clean, gain, read, seed)), "noisy") as shot:
        assert shot.mosaic is not None
        noisy = shot.developed(brighter=False).pixels
        curves = sensor_curves(shot.mosaic.planes, shot.mosaic.floor)
        assert curves is not None
        result = np.where(shot.mosaic.pixels >= 1, shot.mosaic.pixels, denoised(shot.mosaic, curves, model))
        before = shot.developed(result, brighter=False).pixels
    return Row(*(psnr(one, truth) for one in (noisy, denoise(noisy, model, noise=kind), before)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--count", type=int, default=2)
    parser.add_argument("--side", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--noise", choices=("auto", "grain"), default="auto")
    asked = parser.parse_args()
    name = "natural-color-small" if asked.fast else "natural-color"
    pictures = layouts(asked.pictures, asked.count, asked.side)
    print(head("gain, read noise", "noisy", "after", "before", "gained"), flush=True)
    rows = []
    for gain, read in EXPOSURES:
        found = [row(picture, gain, read, asked.seed + n, name, asked.noise) for n, picture in enumerate(pictures)]
        rows += found
        _print(f"{gain:g}, {read:g}", found)
    _print("mean", rows)


def _print(label: str, rows: list[Row]) -> None:
    noisy, after, before = (
        float(np.mean([getattr(one, part) for one in rows])) for part in ("noisy", "after", "before")
    )
    print(line(label, f"{noisy:.2f}", f"{after:.2f}", f"{before:.2f}", f"{before - after:+.2f}"), flush=True)


if __name__ == "__main__":
    main()
