"""Small pictures by formula, with noise of each kind, for tests of what is found in them."""

import io

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Generator

from smdae.noise import Noise

GRAIN = ((1.0, 0.6, 0.2), (0.6, 0.36, 0.12), (0.2, 0.12, 0.04))


def scene(height: int = 320, width: int = 360) -> np.ndarray:
    """Return smooth ground with edges, discs and a corner of texture, in [20, 230], with shape (height, width)."""
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    image = 40 + 120 * columns / width + 30 * np.sin(rows / 40)
    for y, x, radius, step in ((90, 120, 40, 50), (200, 250, 60, -30), (250, 80, 30, 60)):
        image = image + step * ((rows - y) ** 2 + (columns - x) ** 2 < radius**2)
    image[: height // 4, : width // 4] += 15 * np.sin(1.9 * columns + 1.3 * rows)[: height // 4, : width // 4]
    return np.clip(image, 20, 230)


def in_colour(height: int = 320, width: int = 360) -> np.ndarray:
    """Return a scene in colour, with shape (height, width, 3)."""
    gray = scene(height, width)
    return np.stack([gray, 0.8 * gray + 30, 240 - 0.7 * gray], 2)


def sampled(noise: Noise, clean: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return a noisy picture as 8 bits, the noise being in its unit."""
    x = torch.from_numpy(np.atleast_3d(clean).transpose(2, 0, 1)[None].copy())
    y = noise.sample(x, Generator().manual_seed(seed))[0].permute(1, 2, 0).numpy().reshape(clean.shape)
    return np.clip(np.rint(y), 0, 255).astype(np.uint8)


def page(size: int = 14, ink: int = 0, paper: int = 255) -> np.ndarray:
    """Return a page of print, uint8, with shape (360, 400)."""
    image = Image.new("L", (400, 360), paper)
    pen = ImageDraw.Draw(image)
    for line in range(360 // (size + 3)):
        words = f"{line}: the quick brown fox jumps over the lazy dog, {line * line} times"
        pen.text((8, 6 + (size + 3) * line), words, fill=ink, font=ImageFont.load_default(size))
    return np.asarray(image)


def screenshot(seed: int = 0) -> np.ndarray:
    """Return windows, buttons and words, uint8, with shape (360, 480, 3)."""
    chance = np.random.default_rng(seed)
    image = Image.new("RGB", (480, 360), tuple(chance.integers(200, 256, 3).tolist()))
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        left, top = chance.integers(0, 400), chance.integers(0, 300)
        pen.rectangle((left, top, left + 90, top + 40), fill=tuple(chance.integers(0, 256, 3).tolist()))
        words = f"row {left}: {top}"
        pen.text(
            (left + 4, top + 8), words, fill=tuple(chance.integers(0, 90, 3).tolist()), font=ImageFont.load_default(12)
        )
    return np.asarray(image)


def floyd_steinberg(levels: int) -> np.ndarray:
    """Return a scene dithered to some gray levels by error diffusion, uint8."""
    image = Image.fromarray(scene().astype(np.uint8))
    if levels == 2:
        return np.asarray(image.convert("1")).astype(np.uint8) * 255
    palette = Image.new("P", (1, 1))
    grays = np.linspace(0, 255, levels).round().astype(int)
    palette.putpalette([int(value) for gray in grays for value in (gray, gray, gray)])
    return grays[
        np.asarray(image.convert("RGB").quantize(levels, palette=palette, dither=Image.Dither.FLOYDSTEINBERG))
    ].astype(np.uint8)


def through_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Return what is left of a picture, with shape (H, W, C)."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.atleast_3d(np.asarray(Image.open(file)))
