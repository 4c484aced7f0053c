"""What do a real photograph and a real micrograph look like before and after?

    python benchmarks/readme_pictures.py REAL [-o docs/pictures]

REAL is a folder with PolyU26/ and FMD6/, each with noisy/ and clean/. Both files go through `smdae denoise` as anybody
would run it, without options. `photograph.png` and `micrograph.png` show a part of each, enlarged without smoothing,
the file as it is on the left and the result on the right. The PSNR of the whole picture in dB, before and after, is
printed.

The photograph is from PolyU (Xu et al. 2018, "Real-world Noisy Image Denoising: A New Benchmark"), a Canon 600D at ISO
1600. The micrograph is from FMD (Zhang et al. 2019, "A Poisson-Gaussian Denoising Dataset with Real Fluorescence
Microscopy Images"), actin of BPAE cells under a confocal microscope.
"""

import argparse
import math
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
SIDE, GAP = 480, 8  # pixels of each half of a picture, and between them


@dataclass(frozen=True)
class Shown:
    """A part of a picture to show: `side` pixels from (left, top)."""

    name: str
    file: str
    left: int
    top: int
    side: int


PICTURES = (
    Shown("photograph", "PolyU26/noisy/Canon600D_4-5_125_1600_toy_16.jpg", 100, 300, 160),
    Shown("micrograph", "FMD6/noisy/Confocal_BPAE_G_1.png", 100, 200, 160),
)


def denoised(path: Path, folder: Path) -> Path:
    """Return what the command makes of a picture, as PNG."""
    result = folder / f"{path.stem}.png"
    command = [sys.executable, "-m", "smdae", "denoise", str(path), "-o", str(result)]
    subprocess.run(command, cwd=ROOT, check=True)
    return result


def clean_of(path: Path) -> Path:
    """Return the clean picture of a pair, whose ending may be another."""
    return next((path.parent.parent / "clean").glob(f"{path.stem}.*"))


def psnr(picture: Path, clean: Path) -> float:
    """Return the PSNR of a file of 8 bits in dB."""
    a, b = (np.asarray(Image.open(path), np.float64) for path in (picture, clean))
    return 10 * math.log10(255**2 / ((a - b) ** 2).mean())


def side_by_side(shown: Shown, before: Path, after: Path) -> Image.Image:
    """Return the part of both pictures, enlarged, on a ground that is white."""
    canvas = Image.new("RGB", (2 * SIDE + GAP, SIDE), "white")
    box = (shown.left, shown.top, shown.left + shown.side, shown.top + shown.side)
    for place, path in enumerate((before, after)):
        part = Image.open(path).convert("RGB").crop(box).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        canvas.paste(part, (place * (SIDE + GAP), 0))
    return canvas


def main() -> None:
    """Make both pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("real", type=Path, help="a folder with PolyU26/ and FMD6/")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "pictures")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for shown in PICTURES:
            noisy = (asked.real / shown.file).resolve()
            result = denoised(noisy, Path(folder))
            clean = clean_of(noisy)
            side_by_side(shown, noisy, result).save(asked.output / f"{shown.name}.png", optimize=True)
            print(f"{shown.name}: {psnr(noisy, clean):.2f} dB before, {psnr(result, clean):.2f} dB after")


if __name__ == "__main__":
    main()
