"""Simulate a camera: from a photograph back to light, through a sensor with noise, and to a photograph again.

    raw = white balance^-1 (M^-1 exposure x^gamma),   mosaic y = raw + sqrt(a raw + b) e,   e ~ N(0, 1)
    photograph = sharpen(denoise(tone(M white balance demosaic(y))))

The same is done to the picture with noise and to the one without, so that the two differ only in the noise.
Demosaicing, tone curve, denoising and sharpening turn white noise into that of real photographs: correlated over some
pixels, dependent on brightness, and shared by the channels. The first half and the ranges of a and b follow Brooks et
al. (2019, "Unprocessing images for learned raw denoising"), and Zamir et al. (2020, CycleISP) for phones in dim light.

    M = s I + (1 - s)/3 1 1'    saturation s, whose inverse is that of 1/s

Demosaicing is bilinear, that of Malvar, He and Cutler, a mixture of the two, or directional (`smdae.demosaicing`).
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from smdae.demosaicing import directional, linear, mosaic_of
from smdae.fitting.corruption.filters import blurred
from smdae.fitting.draws import uniform
from smdae.jpeg import LUMA
from smdae.models.borders import local_mean

GAINS = (3e-5, 3e-2)  # a, of raw values whose white is 1
RED_BLUE_GAINS = (1.2, 2.4)  # of white balance
SHARPENING_WIDTH = 1.0  # pixels
WINDOW = 5  # pixels a side, in which a camera compares the variance with that of the noise


@dataclass(frozen=True)
class Camera:
    """The settings of n cameras, drawn at random; the shapes are (n, 1, 1, 1), of `balance` (n, 3, 1, 1)."""

    gamma: Tensor
    exposure: Tensor
    saturation: Tensor
    balance: Tensor
    gain: Tensor
    read: Tensor  # variance
    malvar: Tensor  # share, the rest being bilinear
    contrast: Tensor
    chroma_denoising: Tensor  # share of the colour that is blurred
    chroma_width: Tensor  # of that blur, in pixels of twice the size
    luma_denoising: Tensor  # share of the brightness that is blurred where there is no more than noise
    everywhere: Tensor  # share of that blur that texture gets too
    width: Tensor  # of that blur, in pixels
    sharpening: Tensor

    @classmethod
    def draw(cls, n: int, generator: Generator | None, device: torch.device) -> "Camera":
        """Return n cameras at random."""
        uniformly = partial(uniform, (n, 1, 1, 1), generator, device)
        red_blue = uniform((n, 2, 1, 1), generator, device, *RED_BLUE_GAINS)
        log_gain = uniformly(math.log(GAINS[0]), math.log(GAINS[1]))
        spread = torch.randn(n, 1, 1, 1, generator=generator, device=device)
        return cls(
            gamma=uniformly(1.9, 2.6),
            exposure=uniformly(0.25, 1.0),
            saturation=uniformly(1.0, 2.0),
            balance=torch.cat([red_blue[:, :1], torch.ones_like(red_blue[:, :1]), red_blue[:, 1:]], 1),
            gain=log_gain.exp(),
            read=(2.0 * log_gain + 0.6 + 0.4 * spread).exp(),
            malvar=uniformly(-0.5, 1.5).clamp(0, 1),
            contrast=uniformly(0.0, 0.6),
            chroma_denoising=uniformly(0.0, 2.0).clamp(0, 1),
            chroma_width=uniformly(0.3, 2.5),
            luma_denoising=uniformly(0.1, 1.6).clamp(0, 1),
            everywhere=uniformly(0.0, 0.9),
            width=uniformly(0.6, 2.2),
            sharpening=uniformly(-0.8, 0.8).clamp(min=0),
        )

    def doubled(self) -> "Camera":
        """Return the settings for 2 n pictures, the second n by the same cameras as the first."""
        return Camera(*(torch.cat([value, value]) for value in vars(self).values()))


def photographs(x: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
    """Return photographs without and with noise, each with the shape of x; sharpening may exceed 0 to 1.

    x are clean pictures with shape (n, 3, h, w), h and w even, white being 1.
    """
    camera = Camera.draw(len(x), generator, x.device)
    light = camera.exposure * x.clamp(0, 1) ** camera.gamma
    raw = _mixed(light, 1 / camera.saturation).clamp(min=0) / camera.balance
    clean = mosaic_of(raw)  # (n, 1, h, w)
    e = torch.randn(clean.shape, generator=generator, dtype=x.dtype, device=x.device)
    noisy = torch.addcmul(clean, (camera.gain * clean + camera.read).sqrt(), e)
    first, second = _developed(torch.cat([clean, noisy]), camera.doubled()).chunk(2)
    return first, second


def _developed(mosaic: Tensor, camera: Camera) -> Tensor:
    """Develop mosaics, (n, 1, h, w), into photographs, (n, 3, h, w)."""
    half = len(mosaic) // 4  # of either kind, clean or noisy, the first part is demosaiced directionally
    parts = mosaic.split([half, len(mosaic) // 2 - half, half, len(mosaic) - len(mosaic) // 2 - half])
    shares = camera.malvar.split([len(part) for part in parts])
    colours = torch.cat(
        [
            part if len(part) == 0 else directional(part) if k % 2 == 0 else linear(part, share)
            for k, (part, share) in enumerate(zip(parts, shares, strict=True))
            if len(part)
        ]
    )
    light = _mixed((camera.balance * colours).clamp(0, 1), camera.saturation).clamp(0, 1)
    shown = (light + 1e-4) ** (1 / 2.2)
    shown = torch.lerp(shown, shown * shown * (3 - 2 * shown), camera.contrast)
    brightness = luma(shown)
    colour = shown - brightness
    brightness = _smoothed_luma(brightness, camera)
    soft = blurred(F.avg_pool2d(colour, 2), camera.chroma_width[:, 0, 0, 0], 6)
    soft = F.interpolate(soft, scale_factor=2, mode="bilinear", align_corners=False)
    return brightness + torch.lerp(colour, soft, camera.chroma_denoising)


def _smoothed_luma(y: Tensor, camera: Camera) -> Tensor:
    """Blur luma, clean and then noisy, (2 n, 1, h, w), where the noisy one shows only noise; then sharpen it.

    The clean one is blurred in the same places, as the mean of many shots would be.
    """
    clean, noisy = y.chunk(2)
    power = (noisy - clean).square().mean((2, 3), keepdim=True)
    variance = (local_mean(noisy.square(), WINDOW) - local_mean(noisy, WINDOW).square()).clamp(min=1e-9)
    flatness = (3 * power / variance).clamp(max=1)  # 1 where there is only noise
    flatness = torch.cat([flatness, flatness])
    share = camera.luma_denoising * (camera.everywhere + (1 - camera.everywhere) * flatness)
    y = torch.lerp(y, blurred(y, camera.width[:, 0, 0, 0], 5), share)
    width = torch.full((len(y),), SHARPENING_WIDTH, dtype=y.dtype, device=y.device)
    return y + camera.sharpening * (y - blurred(y, width, 2))


def _mixed(x: Tensor, saturation: Tensor) -> Tensor:
    """Return x with each pixel's differences from its mean times the saturation."""
    mean = x.mean(1, keepdim=True)
    return mean + saturation * (x - mean)


def luma(x: Tensor) -> Tensor:
    """Return the luma of pictures (n, 3, h, w), with shape (n, 1, h, w)."""
    return (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
