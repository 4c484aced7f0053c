"""What does the noise of synthetic cameras look like?

    python -m benchmarks.cameras PICTURES [--count N] [--seed N] [--real FOLDER...]

Each camera turns a clean picture into a pair (clean, noisy) by which a blind denoiser is judged and its constants are
chosen. Both pictures go through the same pipeline; only the noisy one receives noise and JPEG, so that their
difference is noise and JPEG alone. The command prints a table of that difference, in which a FOLDER of real pairs
(`clean/` and `noisy/`, files of equal names) may stand beside the cameras.

The cameras dslr, phone and compact are described in `synthetic/mosaic.py`; film, confocal, widefield, scanning and
scan in `synthetic/detectors.py`.
"""

import argparse
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from benchmarks.synthetic.demosaicing import bilinear, edge_directed, gradient_corrected
from benchmarks.synthetic.detectors import Film, Microscope, Scanner, ScanningMicroscope
from benchmarks.synthetic.mosaic import Mosaic
from benchmarks.synthetic.optics import Pair
from benchmarks.synthetic.residuals import Residual, residual
from smdae.errors import InputError, UsageError

MIN_LONG_SIDE, MIN_SHORT_SIDE = 240, 160  # pixels of a clean picture
SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff"}


@dataclass(frozen=True)
class Jpeg:
    """The compression of the file: a range of qualities, and how chroma is stored."""

    quality: tuple[int, int]
    chroma: Literal["4:4:4", "4:2:2", "4:2:0"]

    def stored(self, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return an 8-bit picture as it comes back from the file."""
        file = io.BytesIO()
        quality = int(rng.integers(self.quality[0], self.quality[1], endpoint=True))
        Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling=self.chroma)
        return np.asarray(Image.open(file))


@dataclass(frozen=True)
class Camera:
    """A device that takes pictures, in gray or in colour, and how they are stored: as JPEG or without loss."""

    device: Mosaic | Film | Microscope | ScanningMicroscope | Scanner
    jpeg: Jpeg | None = None
    gray: bool = False


CAMERAS = {
    "dslr": Camera(
        Mosaic(
            shot=(3e-4, 3e-3),
            read=(2.18, 1.20, 0.26),
            demosaic=gradient_corrected,
            matrix=((1.62, -0.48, -0.14), (-0.19, 1.47, -0.28), (0.01, -0.42, 1.41)),
            curve="srgb",
            contrast=(0.0, 0.5),
            luma_blur=(0.6, 0.9),
            chroma_blur=(0.8, 1.2),
            chroma_grain=(0.8, 1.6),
            sharpening=(0.1, 0.4),
        ),
        Jpeg((92, 92), "4:4:4"),
    ),
    "phone": Camera(
        Mosaic(
            shot=(2e-3, 1.4e-2),
            read=(1.85, 0.30, 0.20),
            demosaic=edge_directed,
            matrix=((1.80, -0.70, -0.10), (-0.25, 1.55, -0.30), (0.02, -0.60, 1.58)),
            curve="bt709",
            contrast=(0.3, 0.8),
            luma_blur=(0.0, 0.4),
            chroma_blur=(0.6, 1.0),
            chroma_grain=(0.0, 0.0),
            sharpening=(0.0, 0.3),
            scale=(0.7, 0.8),
        ),
        Jpeg((75, 90), "4:2:0"),
    ),
    "compact": Camera(
        Mosaic(
            shot=(1e-3, 8e-3),
            read=(2.0, 0.6, 0.20),
            demosaic=bilinear,
            matrix=((1.50, -0.40, -0.10), (-0.30, 1.60, -0.30), (-0.05, -0.35, 1.40)),
            curve="bt709",
            contrast=(0.0, 0.6),
            luma_blur=(0.3, 0.6),
            chroma_blur=(1.0, 1.5),
            chroma_grain=(1.0, 3.0),
            sharpening=(0.4, 0.9),
        ),
        Jpeg((80, 95), "4:2:2"),
    ),
    "film": Camera(Film(level=(6.0, 18.0), blur=(0.6, 1.2), shared=(0.7, 0.9))),
    "confocal": Camera(Microscope(gain=(4.0, 21.0), read=(4.0, 25.0), offset=(2.0, 8.0), blur=(0.0, 0.0)), gray=True),
    "widefield": Camera(
        Microscope(gain=(0.4, 1.7), read=(100.0, 200.0), offset=(10.0, 30.0), blur=(0.6, 0.7), tail=0.4), gray=True
    ),
    "scanning": Camera(
        ScanningMicroscope(
            gain=(0.5, 16.0),
            read=(0.0, 40.0),
            offset=(2.0, 25.0),
            peak=(0.3, 1.0),
            power=(1.0, 3.0),
            neighbour=(0.2, 1.0),
            blur=(0.45, 0.9),
            zoom=(1.2, 2.0),
        ),
        gray=True,
    ),
    "scan": Camera(Scanner(shot=(3e-4, 3e-3), read=(1e-6, 1e-5), neighbour=(0.15, 0.35)), Jpeg((90, 90), "4:2:2")),
}


def photograph(camera: str, clean: np.ndarray, seed: int) -> Pair:
    """Return what a camera makes of a clean picture: the same without noise and JPEG, and with both.

    Args:
        camera: A name of `CAMERAS`.
        clean: uint8, (H, W, 3), or (H, W) for gray; a gray camera converts colours by ITU-R BT.601 luma.
        seed: Determines the camera's settings within their ranges and the noise.

    Returns:
        Two uint8 arrays of one shape: (H, W) for a gray camera, else (H, W, 3). A camera that resizes changes H and W.

    Raises:
        UsageError: No such camera.
        InputError: The picture is not uint8 of such a shape.
    """
    if camera not in CAMERAS:
        raise UsageError(f"no camera is named '{camera}'", f"choose one of {', '.join(CAMERAS)}")
    if clean.dtype != np.uint8 or clean.ndim not in (2, 3) or clean.shape[2:] not in ((), (3,)):
        raise InputError(f"a picture is {clean.dtype} with shape {clean.shape}", "give uint8, (H, W) or (H, W, 3)")
    settings, rng = CAMERAS[camera], np.random.default_rng(seed)
    image = Image.fromarray(clean).convert("L" if settings.gray else "RGB")
    taken = settings.device.take(np.asarray(image) / 255, rng)
    without, noisy = (np.clip(np.rint(255 * picture), 0, 255).astype(np.uint8) for picture in taken)
    return without, settings.jpeg.stored(noisy, rng) if settings.jpeg else noisy


def clean_pictures(folder: Path | str, count: int, seed: int, scale: int = 2) -> list[np.ndarray]:
    """Return pictures of a folder without grain or JPEG artefacts of their own, because they are shrunk.

    Args:
        folder: The folder of pictures.
        count: How many, chosen evenly in the order of their names.
        seed: Determines where the choice starts.
        scale: By which factor they are shrunk, each pixel being a mean of `scale` x `scale`.

    Returns:
        uint8 arrays (H, W, 3), of at least 240 x 160 pixels or 160 x 240.

    Raises:
        InputError: The folder has fewer pictures of sufficient size.
    """
    paths = []
    for path in sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in SUFFIXES):
        with Image.open(path) as image:
            short, long = sorted(length // scale for length in image.size)
        if short >= MIN_SHORT_SIDE and long >= MIN_LONG_SIDE:
            paths.append(path)
    if len(paths) < count:
        least = f"{scale * MIN_LONG_SIDE} x {scale * MIN_SHORT_SIDE}"
        raise InputError(f"'{folder}' has {len(paths)} pictures of at least {least} pixels, not {count}")
    start = np.random.default_rng(seed).uniform()
    chosen = [paths[int((k + start) * len(paths) / count)] for k in range(count)]
    pictures = []
    for path in chosen:
        with Image.open(path) as image:
            width, height = (length // scale * scale for length in image.size)
            pictures.append(np.asarray(image.convert("RGB").crop((0, 0, width, height)).reduce(scale)))
    return pictures


COLUMNS = [field.name for field in fields(Residual)]


def row(name: str, pairs: Sequence[Pair]) -> str:
    """Return a line of the table: means over pairs, and the range of the sd."""
    found = np.array([astuple(residual(*pair)) for pair in pairs])
    means = "".join(f"{value:9.2f}" for value in found.mean(0))
    return f"{name:12}{len(pairs):6}{means}{found[:, 0].min():9.1f} to {found[:, 0].max():.1f}"


def real_pairs(folder: Path) -> list[Pair]:
    """Return the pairs of a folder that has `clean` and `noisy`, with files of equal names."""
    names = sorted(path.name for path in (folder / "noisy").iterdir())
    return [(np.asarray(Image.open(folder / "clean" / n)), np.asarray(Image.open(folder / "noisy" / n))) for n in names]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cameras", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pictures", type=Path, help="folder of clean pictures, which are shrunk by 2")
    parser.add_argument("--count", type=int, default=24, help="pictures per camera")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="folders of real pairs")
    given = parser.parse_args()
    print(f"{'':12}{'pairs':>6}{''.join(f'{column:>9}' for column in COLUMNS)}{'sd from':>9}")
    pictures = clean_pictures(given.pictures, given.count, given.seed)
    for camera in CAMERAS:
        print(row(camera, [photograph(camera, picture, given.seed + k) for k, picture in enumerate(pictures)]))
    for folder in given.real:
        print(row(folder.name, real_pairs(folder)))


if __name__ == "__main__":
    main()
