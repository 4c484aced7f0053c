"""The grain of film and of resized pictures, and the noise of counted photons.

    grain     y = x + sd(x) K e,   sd(x)^2 = sigma^2 (1 - t + 2 t x) (1 + 4 u x (1 - x)),   sigma log-uniform
    photons   y = B (g Poisson(P x / g) + r e)                                               g log-uniform

K e is a mixture of white and of blurred normal noise, partly shared by the channels. B is a narrow blur, applied to the
clean picture too, in half of the pictures: cameras may mix pixels after counting. P is the blur of a microscope, in
three quarters of the pictures, whose finest detail covers several pixels.
"""

import math
from functools import partial

import torch
from torch import Generator, Tensor

from smdae.fitting.corruption.filters import blurred, gaussian
from smdae.fitting.draws import uniform

LEVELS = (1 / 255, 60 / 255)  # sigma of grain
WIDTHS = (0.4, 2.0)  # of its blur, in pixels
RADIUS = 5  # pixels, of that blur
GAINS = (0.5 / 255, 80 / 255)  # g
MAX_READ = 6 / 255  # r
MAX_OPTICAL_BLUR, OPTICAL_RADIUS = 3.0, 8  # of P, in pixels


def grained(x: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
    """Return clean pictures, as given, and the same with noise, both (n, C, h, w), white being 1.

    In the first third of them the noise of pixels is independent, and only its level depends on brightness; the others
    have grain.
    """
    n, channels = x.shape[:2]
    uniformly = partial(uniform, (n,), generator, x.device)
    width, share = uniformly(*WIDTHS), uniformly(0.0, 1.0) ** 0.5
    share[: n // 3] = 0.0
    white, soft = (torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device) for _ in range(2))
    weights = (
        gaussian(width, RADIUS).square().sum(1)
    )  # the variance that a blur along one axis leaves; along both, its square
    mix = _column(share / weights), _column((1 - share**2).clamp(min=0).sqrt())
    e = mix[0] * blurred(soft, width, RADIUS) + mix[1] * white
    if channels > 1:
        shared = uniformly(-0.5, 1.5).clamp(0, 1)
        common = e.sum(1, keepdim=True) / channels**0.5
        e = _column((1 - shared).sqrt()) * e + _column(shared.sqrt()) * common
    tilt, bump = uniformly(-0.9, 0.9), uniformly(-0.5, 1.5).clamp(min=0)
    sigma = uniformly(math.log(LEVELS[0]), math.log(LEVELS[1])).exp()
    variance = (1 - _column(tilt) + 2 * _column(tilt) * x).clamp(min=0.02) * (1 + 4 * _column(bump) * x * (1 - x))
    return x, torch.addcmul(x, _column(sigma) * variance.sqrt(), e)


def counted(x: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
    """Return pictures darkened and blurred at random, and the same as noisy photon counts, (n, C, h, w), white 1."""
    uniformly = partial(uniform, (len(x), 1, 1, 1), generator, x.device)
    light = uniformly(0.2, 1.0) * x.clamp(0, 1) ** uniformly(1.0, 2.5) + uniformly(-0.05, 0.1).clamp(min=0)
    optical = uniformly(-MAX_OPTICAL_BLUR / 3, MAX_OPTICAL_BLUR).clamp(min=0)[:, 0, 0, 0]
    light = blurred(light, optical, OPTICAL_RADIUS)
    gain = uniformly(math.log(GAINS[0]), math.log(GAINS[1])).exp()
    read = uniformly(-MAX_READ, MAX_READ).clamp(min=0)
    y = gain * torch.poisson(light / gain, generator=generator)
    y = torch.addcmul(y, read, torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device))
    width = uniformly(-1.0, 1.0).clamp(min=0)[:, 0, 0, 0]
    return blurred(light, width, RADIUS), blurred(y, width, RADIUS)


def _column(number: Tensor) -> Tensor:
    """Return a number for each picture with shape (n, 1, 1, 1)."""
    return number[:, None, None, None]
