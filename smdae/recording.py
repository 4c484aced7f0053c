"""The recording of a noisy picture: blotches of colour, impulses, clipping, rounding and JPEG, in this order."""

import io
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.errors import UsageError

if TYPE_CHECKING:
    from smdae.noise import Noise


def additions(noise: "Noise") -> list[str]:
    """Return the names of what happens to a picture after its Gaussian noise, in order, such as ["clipping"]."""
    there = noise.blotches, noise.impulses or None, noise.clip, noise.rounding, noise.jpeg
    words = ("blotches of colour", "impulses", "clipping", "rounding", "JPEG compression")
    return [word for word, what in zip(words, there, strict=True) if what is not None]


def as_images(x: Tensor) -> Tensor:
    """Return pictures with shape (B, C, H, W); rows of pixels, (B, d), become images of one row."""
    return x if x.ndim == 4 else x[:, None, None]


def recorded(noise: "Noise", y: Tensor, generator: Generator) -> Tensor:
    """Return noisy pictures as they are recorded, with their shape.

    Args:
        noise: The noise, whose `blotches`, `impulses`, `clip`, `rounding` and `jpeg` say what happens.
        y: Pictures with Gaussian noise, in the unit of the noise, with shape (B, C, H, W) or (B, d).
        generator: Draws the blotches, and chooses the pixels that become impulses; it is on the CPU.

    Raises:
        UsageError: A picture with neither 1 nor 3 channels is to become a JPEG file.
    """
    if noise.blotches is not None:
        y = y + noise.blotches.sample(y, generator)
    if noise.impulses:
        low, high = noise.clip or (noise.zero, noise.white)
        chance = torch.rand(as_images(y)[:, :1].shape, generator=generator, dtype=y.dtype).to(y.device)
        chance = chance.expand(as_images(y).shape).reshape(y.shape)
        y = torch.where(chance < noise.impulses / 2, low, torch.where(chance < noise.impulses, high, y))
    if noise.clip is not None:
        y = y.clamp(*noise.clip)
    if noise.rounding is not None:
        y = noise.zero + noise.rounding * ((y - noise.zero) / noise.rounding).round()
    return y if noise.jpeg is None else _compressed(y, noise.jpeg, noise.zero, noise.white)


def _compressed(y: Tensor, quality: int, zero: float, white: float) -> Tensor:
    """Return pictures read back from JPEG files, in which 0 is `zero` and 255 is `white`."""
    images, unit = as_images(y.detach()), (white - zero) / 255
    if images.shape[1] not in (1, 3):
        raise UsageError(f"a JPEG file has 1 or 3 channels, and the picture has {images.shape[1]}")
    values = ((images - zero) / unit).round().clamp(0, 255).to(torch.uint8)
    files = [_through_jpeg(image.numpy(), quality) for image in values.permute(0, 2, 3, 1).cpu()]  # (H, W, C)
    return zero + unit * torch.from_numpy(np.stack(files)).permute(0, 3, 1, 2).reshape(y.shape).to(y)


def _through_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Return 8-bit pixels, (H, W, C), read back from a JPEG file without chroma subsampling (4:4:4)."""
    from PIL import Image

    file = io.BytesIO()
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
    image.save(file, "JPEG", quality=quality, subsampling=0)
    with Image.open(file) as compressed:
        return np.array(compressed).reshape(pixels.shape)
