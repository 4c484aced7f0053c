"""Pictures with blotches of colour, as phones and cameras leave them in dim light: fine, faint noise in the brightness,
coarse noise in the colours, in half of the pictures stronger in the shadows, and JPEG.
"""

import io
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from smdae.blotches import WIDTH, colour_of, difference_of
from smdae.jpeg import LUMA

HOW = {"chroma": (4.0, 15.0), "size": (3.0, 12.0), "quality": (75, 95)}
SHADOWS, HIGHLIGHTS = 1.5, 0.6  # the level there over the usual one


@dataclass(frozen=True)
class Blotching:
    """How pictures get blotches.

    Attributes:
        luma: Level of the noise of the brightness, in gray levels, under a Gaussian filter of half a pixel.
        chroma: Level of Cb and of Cr.
        size: Width of the blotches, at half maximum of the filter, in pixels.
        shaded: Whether they are stronger in the shadows.
        quality: Of the JPEG; None for none.
        halved: Whether it stores the colours at half the size.
    """

    luma: float
    chroma: float
    size: float
    shaded: bool
    quality: int | None
    halved: bool

    @classmethod
    def drawn(
        cls,
        rng: np.random.Generator,
        chroma: tuple[float, float] = HOW["chroma"],
        size: tuple[float, float] = HOW["size"],
        quality: tuple[float, float] = HOW["quality"],
        uncompressed: float = 0.0,
    ) -> Self:
        """Return settings drawn from ranges; a share of them is not compressed."""
        draws = [float(np.exp(rng.uniform(*np.log(ends)))) for ends in (chroma, size)]
        stored = None if rng.random() < uncompressed else int(rng.integers(*map(int, quality), endpoint=True))
        return cls(rng.uniform(0, 6), *draws, bool(rng.random() < 0.5), stored, bool(rng.random() < 0.65))

    def applied(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a picture, uint8, (H, W, 3), with such noise."""
        shape = clean.shape[:2]

        def noise(width: float) -> np.ndarray:
            e = gaussian_filter(rng.standard_normal(shape), width, mode="wrap")
            return np.asarray(e / e.std())

        gray = clean @ np.array(LUMA)
        level = SHADOWS - (SHADOWS - HIGHLIGHTS) * gray / 255 if self.shaded else 1.0
        e = np.stack([self.chroma * level * noise(WIDTH * self.size) for _ in range(2)])
        colour = colour_of(torch.from_numpy(e)[None])[0].permute(1, 2, 0).numpy()
        noisy = clean + self.luma * noise(0.5)[:, :, None] + colour
        pixels = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        if self.quality is None:
            return pixels
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=self.quality, subsampling=2 if self.halved else 0)
        return np.asarray(Image.open(file))


def tensor(picture: np.ndarray) -> torch.Tensor:
    """Return a picture, (H, W, 3), as a tensor, (1, 3, H, W), float64."""
    return torch.from_numpy(np.ascontiguousarray(picture)).double().permute(2, 0, 1)[None]


def psnrs(result: np.ndarray, clean: np.ndarray) -> tuple[float, float]:
    """Return the PSNR of the brightness and that of the colour differences of a picture, (H, W, 3), peak 255."""
    error = tensor(result) - tensor(clean)
    luma = (error * error.new_tensor(LUMA)[:, None, None]).sum(1)
    squares = (luma.square().mean().item(), difference_of(error).square().mean().item())
    of_luma, of_colour = (10 * np.log10(255**2 / max(square, 1e-9)) for square in squares)
    return float(of_luma), float(of_colour)
