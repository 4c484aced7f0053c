"""How much of blotches of colour is taken out, and how often is real colour taken for them?

    python -m benchmarks.colour_blotches noisy DATA [--count N] [--fast] [--pictures FOLDER]
    python -m benchmarks.colour_blotches clean DATA [--every K]

DATA is as for `grain_evidence`; only the originals that were held out there are used. The first gives N pictures, half
of them photographs and half of BSDS shrunk by two, blotches of colour of 4 to 15 gray levels and of several widths,
fine noise of 0 to 6 in the brightness, and JPEG of quality 75 to 95, most with colours at half the size. They are
denoised without options, and as if blotches were not looked for; the PSNR of the brightness and of the colours is a
mean over pictures. The second looks at every Kth picture as it is, as JPEG, enlarged, blurred, filtered and shrunk, and
counts those that blotches are found in.
"""

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter

from benchmarks.blotch_evidence import is_held_out
from benchmarks.markdown_table import head, row
from benchmarks.synthetic.blotched import Blotching, psnrs
from smdae.denoising.blotch_search import find_blotches
from smdae.denoising.denoise import denoise
from smdae.denoising.noise_search import find_noise, find_other_noise
from smdae.estimation.estimate import as_planes
from smdae.estimation.scale import scale_of
from smdae.memory import keep_freed_memory

WIDTHS = (3.0, 5.0, 8.0, 12.0)  # of blotches, in pixels
LEVELS = (4.0, 15.0)
GRAPHICS = ("screen", "text", "page", "clipart", "micro", "source")  # in the names of what is no photograph
CLEAN: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as they are": lambda image: image,
    "JPEG of quality 75, colours at half the size": lambda image: _stored(image, 75),
    "enlarged 2 times": lambda image: image.crop((0, 0, 240, 240)).resize((480, 480), Image.Resampling.BICUBIC),
    "blurred, 2 px": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "median of 5 x 5": lambda image: image.filter(ImageFilter.MedianFilter(5)),
    "shrunk to a half": lambda image: image.reduce(2),
}


def _stored(image: Image.Image, quality: int) -> Image.Image:
    """Return a picture as JPEG leaves it, with colours at half the size."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling=2)
    return Image.open(file).convert("RGB")


def originals(data: Path, count: int) -> list[np.ndarray]:
    """Return clean pictures that were held out, half of them photographs and half of BSDS, shrunk by two."""
    pictures = []
    for name, scale in (("photos", 1), ("bsds432", 2)):
        paths = [path for path in sorted((data / "train" / name).iterdir()) if is_held_out(path.name)]
        paths = [path for path in paths if not path.name.startswith(GRAPHICS)]
        for k in range(count // 2):
            with Image.open(paths[k * len(paths) // (count // 2)]) as image:
                width, height = (side // scale * scale for side in image.size)
                pictures.append(np.asarray(image.convert("RGB").crop((0, 0, width, height)).reduce(scale)))
    return pictures


def noisy_table(data: Path, count: int, model: str, folder: Path | None) -> None:
    """Print the PSNR of brightness and of colours before and after, with the search for blotches and without it."""
    pictures = originals(data, count)
    columns = ("found", "noisy", "without the search", "denoised", "least gain in colour", "in brightness")
    print("PSNR of the brightness / of the colours")
    print(head("blotches", *columns), flush=True)
    for width in WIDTHS:
        found, figures = 0, []
        for seed, clean in enumerate(pictures):
            rng = np.random.default_rng(seed)
            noisy = Blotching.drawn(rng, LEVELS, (width, width)).applied(clean, rng)
            planes, valid, scale = as_planes(noisy, scale_of(noisy))
            without = find_other_noise(planes, scale, valid, None, "auto").noise.scaled(scale.span)
            noise = find_noise(noisy, scale_of(noisy)).noise.scaled(scale.span)
            found += noise.blotches is not None
            results = [noisy, denoise(noisy, model, noise=without), denoise(noisy, model, noise=noise)]
            figures.append([psnrs(result, clean) for result in results])
            if folder:
                shown = np.hstack([clean, *results]).astype(np.uint8)
                Image.fromarray(shown).save(folder / f"{width:g}_{seed}.png")
        mean, least = np.mean(figures, 0), (np.array(figures)[:, 2] - np.array(figures)[:, 1]).min(0)
        cells = (f"{luma:.2f} / {colour:.2f}" for luma, colour in mean)
        print(row(f"{width:g} px", f"{found} of {count}", *cells, f"{least[1]:+.2f}", f"{least[0]:+.2f}"), flush=True)


def clean_table(data: Path, every: int) -> None:
    """Print in how many of every Kth picture blotches are found."""
    paths = [path for path in sorted((data / "train" / "photos").iterdir()) if is_held_out(path.name)][::every]
    print(head("clean pictures", "count", "taken for blotched"), flush=True)
    for name, change in CLEAN.items():
        wrong = 0
        for path in paths:
            with Image.open(path) as image:
                pixels = np.asarray(change(image.convert("RGB")))
            wrong += is_taken_for_blotched(pixels)
        print(row(name, len(paths), wrong), flush=True)


def is_taken_for_blotched(pixels: np.ndarray) -> bool:
    """Return whether blotches are found in a picture, (H, W, 3), uint8."""
    planes, valid, scale = as_planes(pixels, scale_of(pixels))
    if find_blotches(planes, scale, valid) is None:  # as is the case for most: the other noise takes longer
        return False
    return find_noise(pixels, scale).noise.blotches is not None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("table", choices=("noisy", "clean"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--pictures", type=Path, help="where to write what is compared")
    options = parser.parse_args()
    if options.table == "noisy":
        model = "natural-color-small" if options.fast else "natural-color"
        noisy_table(options.data, options.count, model, options.pictures)
    else:
        clean_table(options.data, options.every)


if __name__ == "__main__":
    keep_freed_memory()
    torch.set_num_threads(1)
    main()
