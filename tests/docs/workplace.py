"""The folder in which snippets are run: small files by the names that the pages use."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from benchmarks.dng import dng, exposed, mosaic, scene
from tests.docs.blocks import ROOT
from tests.volumes import volume

SAMPLES = ROOT / "sample_data"
SIDE = 48  # pixels: little work, and noise is still found
FITTED = 96  # of pictures to fit on, which are larger than a patch


def part(name: str, left: int, top: int, side: int = SIDE) -> Image.Image:
    """Return a part of a sample picture."""
    return Image.open(SAMPLES / name).crop((left, top, left + side, top + side))


def fill(folder: Path) -> None:
    """Put everything that the pages name into a folder."""
    for name in ("photos", "noisy_scans", "scans/box", "holiday/day", "iso6400", "sample_data"):
        (folder / name).mkdir(parents=True)
    part("noisy.png", 200, 100).save(folder / "noisy.png")
    part("clean.png", 200, 100).save(folder / "clean.png")
    part("noisy.png", 200, 100).save(folder / "sample_data" / "noisy.png")
    part("noisy_color.png", 100, 100).save(folder / "photo.jpg", quality=92)
    for k, name in enumerate(("cat", "rocket_left", "grass_1", "gravel_1")):
        part(f"patches/{name}.png", 60, 80, FITTED).save(folder / "photos" / f"{k}.png")
        part("noisy.png", 40 * k, 300, FITTED).save(folder / "noisy_scans" / f"{k}.png")
    for place, side in (
        ("holiday/a.jpg", SIDE),
        ("holiday/day/b.jpg", SIDE),
        ("iso6400/a.jpg", FITTED),
        ("iso6400/b.jpg", FITTED),
    ):
        part("noisy_color.png", 160, 200, side).save(folder / place, quality=95)
    for place in ("scans/page.png", "scans/box/map.png"):
        part("noisy.png", 260, 100).save(folder / place)
    Image.fromarray(np.full((SIDE, SIDE), 255, np.uint8)).save(folder / "sky.png")
    light = np.asarray(part("clean.png", 200, 100), np.float64)
    counts = 20 * np.random.default_rng(0).poisson(light, (3, SIDE, SIDE)) + 100
    tifffile.imwrite(folder / "cells.tif", counts[0].astype(np.uint16), photometric="minisblack")
    tifffile.imwrite(folder / "stack.tif", counts.astype(np.uint16), photometric="minisblack", metadata={"axes": "TYX"})
    np.save(folder / "counts.npy", counts[0].astype(np.uint16))
    (folder / "photo.dng").write_bytes(dng(exposed(mosaic(scene(64, 64)), 4e-3, 4e-3)))
    frame = counts[0].clip(0, 255).astype(np.uint8)
    (folder / "in.y4m").write_bytes(f"YUV4MPEG2 W{SIDE} H{SIDE} F25:1 Cmono\nFRAME\n".encode() + frame.tobytes())
    if find_spec("astropy"):
        from astropy.io import fits

        fits.writeto(folder / "image.fits", counts[0].astype(np.float32))
    if find_spec("zarr"):
        volume(str(folder / "volume.ome.zarr"), "zyx", (2, SIDE, SIDE), (1, SIDE, SIDE))
