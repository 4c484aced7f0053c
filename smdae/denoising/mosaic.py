"""Denoise the mosaic of a camera's sensor, before demosaicing.

A sensor sees one colour in each pixel, in a pattern of 2 x 2. With y the mosaic, black being 0 and white 1,

    z = w f(y)          f makes the noise white (`stabilised`); w, the root of the white balance, makes gray gray
    u = L z             L a linear demosaicing, so that the noise of u is Gaussian and its covariance known exactly
    u^ = D(u)           the network, conditioned on that covariance
    v = E(M u^)         M takes from each pixel the colour that the sensor has there, E demosaics along edges

for two L, bilinear and gradient-corrected (Malvar, He and Cutler, ICASSP 2004), of which u^ is the mean, as their
errors differ. Then what the sensor saw is set among what is guessed of the other colours, with noise e of its own level
added to the guess, so that there is white noise everywhere, of which the network knows most:

    v <- mean of D(z where the sensor sees the colour, elsewhere v + e) and of the same with - e,    twice
    x^ = g(M v / w)     g the unbiased inverse of f

The guess becomes better by it, as it no longer has the false colours of L. Measured (`benchmarks.raw`): this is 0.3 dB
better than M u^. Denoising each of the four colour planes by itself, at half the size, is 1 dB worse than that:
structure finer than two pixels is lost to each.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.curves import Affine, Curve
from smdae.denoising.denoise import run_task
from smdae.denoising.preparation import Prepared
from smdae.denoising.stabilised import Transform, Whitening, transforms
from smdae.denoising.strengths import Strengths
from smdae.denoising.task import Task
from smdae.denoising.tiles import tiles
from smdae.estimation.scale import Scale
from smdae.mosaic import LINEAR, Mosaic, at_sites, covariance, demosaiced, edge_directed, gradient_corrected, places
from smdae.noise import Noise
from smdae.progress import Watch, part_of

SIDE = 2560  # pixels a side of the parts
MARGIN = 384  # pixels around a part, beyond which nothing has influence
MULTIPLE = 32  # parts begin at multiples of it, where networks commute with the shift
ROUNDS = 2
PASSES = len(LINEAR) + 2 * ROUNDS  # of the network
PERIOD = 512  # pixels a side after which the added noise comes again

Denoiser = Callable[[Tensor, Noise], Tensor]  # of a picture, (h, w, 3), and its noise


def denoised(
    mosaic: Mosaic,
    curves: tuple[Curve, ...],
    model: Any,
    watch: Watch | None = None,
    *,
    strength: float = 1.0,
    luma: float = 1.0,
    chroma: float = 1.0,
    **options: Any,
) -> np.ndarray:
    """Return the denoised pixels of a mosaic, black being 0 and white 1, float32, with shape (H, W).

    Args:
        mosaic: The values of the sensor, which are not changed.
        curves: The noise at each of the four sites of the pattern, row by row, black being 0 and white 1.
        model: A score model of white noise, or a network that takes the noise model.
        watch: Called with the number of parts done and of all.
        strength: As for `denoise`.
        luma: As for `denoise`.
        chroma: As for `denoise`.
        options: Further arguments of `Task.for_noise`, and `device`, `tile` and `or_cpu` of `run_task`.

    Raises:
        UsageError, DivergedError, MemoryLimitError: As `Task.for_noise` and `run_task`.
    """
    strengths = Strengths.of(strength, luma, chroma, in_colour=True)
    pixels = mosaic.pixels
    if strengths.is_none:
        return pixels.copy()
    low, high = float(min(pixels.min(), 0.0)), float(max(pixels.max(), 1.0))
    whitening = Whitening(*transforms(curves, low, high, (mosaic.floor, 1.0)))
    of_run = {key: options[key] for key in ("device", "tile", "or_cpu") if key in options}
    of_task = {key: value for key, value in options.items() if key not in of_run}
    result = np.empty_like(pixels)
    parts = [*tiles(pixels.shape[0], pixels.shape[1], SIDE, MARGIN, MULTIPLE)]
    steps = (part_of(watch, k, PASSES * len(parts)) for k in range(PASSES * len(parts)))

    def denoise(picture: Tensor, noise: Noise) -> Tensor:
        u = picture.contiguous().numpy()
        task = Task.for_noise(Prepared(u, u, Scale(0.0, 1.0)), model, noise, one_pass=True, **of_task)
        return torch.from_numpy(run_task(task, watch=next(steps), **of_run))

    for part in parts:
        padded = replace(mosaic, pixels=pixels[part.padded])
        weights = at_sites(torch.from_numpy(mosaic.weights.astype(np.float32)), padded)
        z = _by_site(torch.from_numpy(padded.pixels), whitening.each, Transform.apply) * weights
        clean = _clean(z, padded, whitening.level, _white_noise(part.padded), denoise)
        if not strengths.is_all:
            noisy = demosaiced(z, mosaic.colours, gradient_corrected)[None]
            clean = strengths.combined(noisy, clean.permute(2, 0, 1)[None], None)[0].permute(1, 2, 0)
        part_result = _by_site(at_sites(clean, padded) / weights, whitening.each, Transform.invert)
        result[part.kept] = part_result.numpy()[part.inner]
    return result


def _clean(z: Tensor, mosaic: Mosaic, level: float, e: Tensor, denoise: Denoiser) -> Tensor:
    """Return the clean picture, (h, w, 3), of a mosaic z, (h, w), whose noise is white.

    Args:
        z: Values after the transform and the weights.
        mosaic: What they are from.
        level: Of the noise, before the weights.
        e: White noise of level 1, with shape (h, w, 3), which is overwritten.
        denoise: The network.
    """
    levels = level * mosaic.weights
    seen = torch.stack([at_sites(row, mosaic) for row in torch.eye(3)], 2) > 0  # (h, w, 3)
    first = torch.zeros_like(e)
    for name, demosaicing in LINEAR.items():
        u = demosaiced(z, mosaic.colours, demosaicing).permute(1, 2, 0)
        first += denoise(u, _demosaiced_noise(mosaic, level, name)) / len(LINEAR)
    guess = demosaiced(at_sites(first, mosaic), mosaic.colours, edge_directed).permute(1, 2, 0)
    white = Noise(tuple(Affine(read=one) for one in levels.tolist()))
    e *= torch.from_numpy(levels.astype(np.float32))
    for _ in range(ROUNDS):
        total = denoise(torch.where(seen, z[:, :, None], guess + e), white)
        total += denoise(torch.where(seen, z[:, :, None], guess - e), white)
        guess = total.mul_(0.5)
    return guess


def _white_noise(part: tuple[slice, slice]) -> Tensor:
    """Return white noise for a part of a mosaic, (h, w, 3), with the same values wherever the parts are cut."""
    pattern = torch.randn(PERIOD, PERIOD, 3, generator=Generator().manual_seed(0))
    rows, columns = (torch.arange(one.start, one.stop) % PERIOD for one in part)
    return pattern[rows[:, None], columns]


def _by_site(pixels: Tensor, each: tuple[Transform, ...], apply: Callable[[Transform, Tensor], Tensor]) -> Tensor:
    """Return pixels, (h, w), mapped by the transform of their site in the pattern."""
    result = torch.empty_like(pixels)
    for site, transform in zip(places(), each, strict=True):
        result[site] = apply(transform, pixels[site])
    return result


def _demosaiced_noise(mosaic: Mosaic, level: float, name: str) -> Noise:
    """Return the noise of u by the linear demosaicing of a name, averaged over the sites of the pattern."""
    sd, rho, channels = covariance(name, tuple((level * mosaic.weights).tolist()))
    curves = tuple(Affine(read=level) for level in sd.tolist())
    return Noise(curves, grain=tuple(map(tuple, rho.tolist())), channels=tuple(map(tuple, channels.tolist())))
