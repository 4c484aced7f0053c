"""The noise of real pictures, simulated for a fit: see `camera`, `grain` and `jpeg`.

The shares of a batch are fixed, so that all steps have the same shapes, and no Python loop runs over examples:

    colour    camera 0.45, camera reduced to half the size 0.15, grain 0.4
    gray      camera 0.25, camera reduced to half the size 0.1,  grain 0.3, photons 0.35

Clean pictures are taken at twice the side and averaged over 2 x 2 pixels, which removes nearly all of their own noise
and traces of compression. After the noise is added, most are rounded to 8 bits and clipped, and of these most are
compressed.
"""

from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from smdae.fitting.corruption import jpeg
from smdae.fitting.corruption.camera import luma, photographs
from smdae.fitting.corruption.filters import blurred, crops
from smdae.fitting.corruption.grain import counted, grained
from smdae.fitting.corruption.measuring import measured
from smdae.models.borders import rounded_up
from smdae.models.conditioning import Conditioning

__all__ = ["Corrupted", "corrupted", "source_side"]

SHARES = {1: (0.25, 0.1, 0.3, 0.35), 3: (0.45, 0.15, 0.4, 0.0)}  # of camera, camera at half the size, grain, photons
MARGIN = jpeg.MULTIPLE  # pixels beyond a picture's side, so that JPEG blocks may begin anywhere
COMPRESSED_CAMERAS, COMPRESSED_OTHERS = 0.7, 0.25  # shares
QUALITIES = (50, 99)  # of JPEG
HALVED = 0.5  # share of compressed pictures with colours at half the size (4:2:0)
UNROUNDED = 0.3  # share of pictures not from cameras that are neither rounded nor clipped
CAMERA_BLUR = (0.3, 1.4)  # pixels, of clean pictures: photographs at full size are soft
MAX_BLUR = 1.2  # pixels, of two thirds of the other clean pictures
RADIUS = 4  # pixels, after which the blur is cut off


@dataclass(frozen=True)
class Corrupted:
    """Pictures with noise."""

    clean: Tensor  # with shape (n, C, P, P), white being 1
    noisy: Tensor  # with the same shape
    sigma: Tensor  # the level of the noise, with shape (n,)
    conditioning: Conditioning  # the further input of a network about it
    white: Tensor  # 1 for pictures that were clipped at black and white, else 0, with shape (n,)


def source_side(side: int) -> int:
    """Return the side of the clean pictures from which corrupted ones of a given side are made."""
    return 2 * rounded_up(side + MARGIN, MARGIN)


def corrupted(source: Tensor, side: int, generator: Generator | None) -> Corrupted:
    """Return clean pictures of P x P pixels, P = `side`, the same with noise as real ones have, and facts about it.

    They are made of clean ones with shape (n, 1 or 3, S, S), S = source_side(side), white being 1.
    """
    n, channels = source.shape[:2]
    device = source.device

    def random(*shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=generator, device=device)

    cameras, halves, grains, photons = parts(n, channels)
    first, second, third, fourth = source.split([cameras, halves, grains, photons])
    small = F.avg_pool2d(torch.cat([first, third, fourth]), 2)
    u = torch.rand(len(small), generator=generator, device=device)
    blur = MAX_BLUR * (1.5 * u - 0.5).clamp(min=0)
    blur[:cameras] = CAMERA_BLUR[0] + (CAMERA_BLUR[1] - CAMERA_BLUR[0]) * u[:cameras]
    first, third, fourth = blurred(small, blur, RADIUS).split([cameras, grains, photons])
    pairs = [(small[:0], small[:0])]  # so that there is something to concatenate in an empty batch
    if cameras:
        pairs.append(_photographs(first, generator))
    if halves:
        large = _photographs(second, generator)
        pairs.append((F.avg_pool2d(large[0], 2), F.avg_pool2d(large[1], 2)))
    if grains:
        pairs.append(grained(third, generator))
    if photons:
        pairs.append(counted(fourth, generator))
    clean, noisy = (torch.cat([pair[k] for pair in pairs]) for k in range(2))

    is_camera = torch.arange(n, device=device) < cameras + halves
    rounded = is_camera | (random() >= UNROUNDED)
    stored = (255 * noisy).round().clamp(0, 255) / 255
    low, high = QUALITIES
    quality = torch.floor(low + (high - low) * random())
    is_compressed = rounded & (random() < torch.where(is_camera, COMPRESSED_CAMERAS, COMPRESSED_OTHERS))
    noisy = torch.where(rounded[:, None, None, None], stored, noisy)
    through = jpeg.compressed(stored, quality, random() < HALVED)
    noisy = torch.where(is_compressed[:, None, None, None], through, noisy)

    room = clean.shape[2] - side
    top, left = (torch.floor((room + 1) * random()).long().clamp(max=room) for _ in range(2))
    clean = torch.where(rounded[:, None, None, None], clean.clamp(0, 1), clean)
    clean, noisy = crops(clean, top, left, side), crops(noisy, top, left, side)
    sigma, conditioning = measured(clean, noisy, torch.where(is_compressed, 1 - quality / 100, 0.0), generator)
    return Corrupted(clean, noisy, sigma, conditioning, rounded.to(source.dtype))


def parts(n: int, channels: int) -> tuple[int, int, int, int]:
    """Return the numbers of pictures, of n, from cameras, from cameras at half the size, with grain, with photons."""
    ends = [0, *(round(n * end) for end in accumulate(SHARES[channels]))]
    cameras, halves, grains, photons = (last - first for first, last in pairwise(ends))
    return cameras, halves, grains, photons + n - ends[-1]


def _photographs(x: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
    """Return photographs without and with noise; for gray pictures, their luma."""
    if x.shape[1] == 3:
        return photographs(x, generator)
    clean, noisy = photographs(x.expand(-1, 3, -1, -1), generator)
    return luma(clean), luma(noisy)
