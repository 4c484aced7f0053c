"""Denoise the mosaic of a camera's sensor, before demosaicing.

A sensor sees one colour in each pixel, in a pattern of 2 x 2. With y the mosaic, black being 0 and white 1,

    z = w f(y)          f makes the noise white (`stabilised`); w, the root of the white balance, makes gray gray
    u = L z             L a linear demosaicing, so that the noise of u is Gaussian and its covariance known exactly
    u^ = D(u)           the network, conditioned on that covariance
    x^ = g(M u^ / w)    M takes from each pixel the colour that the sensor has there, g the unbiased inverse of f

This is done for two L, bilinear and gradient-corrected (Malvar, He and Cutler, ICASSP 2004), and the mean is taken, as
their errors differ. Both keep what the sensor saw, M L z = z. Denoising each of the four colour planes by itself, at
half the size, is 1 dB worse: structure finer than two pixels is lost to each.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smdae.curves import Affine, Curve
from smdae.denoising.denoise import run_task
from smdae.denoising.preparation import Prepared
from smdae.denoising.stabilised import Transform, Whitening, transforms
from smdae.denoising.task import Task
from smdae.denoising.tiles import tiles
from smdae.estimation.scale import Scale
from smdae.mosaic import DEMOSAICINGS, Mosaic, at_sites, covariance, demosaiced, places
from smdae.noise import Noise
from smdae.progress import Watch, part_of

__all__ = ["denoised"]

SIDE = 3072  # pixels a side of the parts
MARGIN = 256  # pixels around a part, beyond which nothing has influence
MULTIPLE = 32  # parts begin at multiples of it, where networks commute with the shift


def denoised(
    mosaic: Mosaic, curves: tuple[Curve, ...], model: Any, watch: Watch | None = None, **options: Any
) -> np.ndarray:
    """Return the denoised pixels of a mosaic, with shape (H, W), float32.

    Args:
        mosaic: What the sensor saw.
        curves: The noise at each of the four sites of the pattern, row by row, black being 0 and white 1.
        model: A score model of white noise, or a network that takes the noise model.
        watch: Called with the number of parts done and of all.
        options: Further arguments of `Task.for_noise`, and `device`, `tile` and `or_cpu` of `run_task`.
    """
    pixels = mosaic.pixels
    low, high = float(min(pixels.min(), 0.0)), float(max(pixels.max(), 1.0))
    each, level = transforms(curves, low, high, (mosaic.floor, 1.0))
    whitening = Whitening(each, level)
    noises = {name: _noise(mosaic, level, name) for name in DEMOSAICINGS}
    result = np.empty_like(pixels)
    parts = [*tiles(pixels.shape[0], pixels.shape[1], SIDE, MARGIN, MULTIPLE)]
    for done, part in enumerate(parts):
        padded = replace(mosaic, pixels=pixels[part.padded])
        estimates: list[np.ndarray] = []
        for k, (name, noise) in enumerate(noises.items()):
            progress = part_of(watch, len(noises) * done + k, len(noises) * len(parts))
            estimates.append(_by_demosaicing(name, padded, whitening, noise, model, progress, **options))
        result[part.kept] = np.mean(estimates, 0)[part.inner]
    return result


def _by_demosaicing(
    name: str, mosaic: Mosaic, whitening: Whitening, noise: Noise, model: Any, watch: Watch | None, **options: Any
) -> np.ndarray:
    """Return a part of a mosaic, (h, w), denoised by way of the demosaicing of that name."""
    weights = at_sites(torch.from_numpy(mosaic.weights.astype(np.float32)), mosaic)
    z = _by_site(torch.from_numpy(mosaic.pixels), whitening.each, Transform.apply) * weights
    u = demosaiced(z, mosaic.colours, name).permute(1, 2, 0).contiguous().numpy()  # (h, w, 3)
    of_run = {key: options[key] for key in ("device", "tile", "or_cpu") if key in options}
    of_task = {key: value for key, value in options.items() if key not in of_run}
    task = Task.for_noise(Prepared(u, u, Scale(0.0, 1.0)), model, noise, **of_task)
    clean = torch.from_numpy(run_task(task, watch=watch, **of_run))
    return _by_site(at_sites(clean, mosaic) / weights, whitening.each, Transform.invert).numpy()


def _by_site(pixels: Tensor, each: tuple[Transform, ...], apply: Callable[[Transform, Tensor], Tensor]) -> Tensor:
    """Return pixels, (h, w), mapped by the transform of their site in the pattern."""
    result = torch.empty_like(pixels)
    for site, transform in zip(places(), each, strict=True):
        result[site] = apply(transform, pixels[site])
    return result


def _noise(mosaic: Mosaic, level: float, name: str) -> Noise:
    """Return the noise of u, averaged over the sites of the pattern."""
    sd, rho, channels = covariance(name, tuple((level * mosaic.weights).tolist()))
    curves = tuple(Affine(read=level) for level in sd.tolist())
    return Noise(curves, grain=tuple(map(tuple, rho.tolist())), channels=tuple(map(tuple, channels.tolist())))
