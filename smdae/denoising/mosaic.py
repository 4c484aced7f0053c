"""Denoise the mosaic of a camera's sensor, before demosaicing.

A sensor sees one colour in each pixel, in a pattern of 2 x 2. With y the mosaic, black being 0 and white 1,

    z = w f(y)          f makes the noise white (`stabilised`), w = the root of the white balance makes gray gray
    u = L z             L a linear demosaicing, so that the noise of u is Gaussian and its covariance known exactly
    u^ = D(u)           the network, told of that covariance
    x^ = g(M u^ / w)    M takes from each pixel the colour that the sensor has there, g the unbiased inverse of f

The mean of two L is taken, bilinear and gradient-corrected (Malvar, He and Cutler, ICASSP 2004): their errors differ.
Both keep what the sensor saw, M L z = z. The four planes, each denoised by itself at half the size, come out 1 dB
worse: what is finer than two pixels is lost to each.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smdae.curves import Affine, Curve
from smdae.denoising.denoise import carried_out
from smdae.denoising.preparation import Prepared
from smdae.denoising.stabilised import Whitening, transforms
from smdae.denoising.task import Task
from smdae.denoising.tiles import tiles
from smdae.estimation.scale import Scale
from smdae.mosaic import DEMOSAICINGS, Mosaic, at_sites, covariance, demosaiced, places
from smdae.noise import Noise
from smdae.progress import Watch, part_of

__all__ = ["denoised"]

SIDE = 3072  # pixels of a part that is done at once
MARGIN = 256  # pixels around it, beyond which nothing matters
MULTIPLE = 32  # pixels, at which parts begin, so that networks see them as they see the whole


def denoised(
    mosaic: Mosaic, curves: tuple[Curve, ...], model: Any, watch: Watch | None = None, **how: Any
) -> np.ndarray:
    """Return the pixels of a mosaic without their noise, with shape (H, W), float32.

    Args:
        mosaic: What the sensor saw.
        curves: The noise of each place of the pattern, row by row, black being 0 and white 1.
        model: A score model of white noise, or a network that takes the noise model.
        watch: Called with the number of parts done and of all.
        how: What `Task.for_noise` takes, and the device, the tile and whether the CPU may take over of `carried_out`.
    """
    pixels = mosaic.pixels
    low, high = float(min(pixels.min(), 0.0)), float(max(pixels.max(), 1.0))
    each, level = transforms(curves, low, high, (mosaic.floor, 1.0))
    whitening = Whitening(each, level)
    noises = [_noise(mosaic, level, name) for name in DEMOSAICINGS]
    result = np.empty_like(pixels)
    parts = [*tiles(pixels.shape[0], pixels.shape[1], SIDE, MARGIN, MULTIPLE)]
    for done, part in enumerate(parts):
        seen = replace(mosaic, pixels=pixels[part.seen])
        made: list[np.ndarray] = []
        for k, (name, noise) in enumerate(zip(DEMOSAICINGS, noises, strict=True)):
            share = part_of(watch, 2 * done + k, 2 * len(parts))
            made.append(_part(seen, whitening, noise, name, model, share, how))
        result[part.kept] = np.mean(made, 0)[part.inner]
    return result


def _part(
    mosaic: Mosaic, whitening: Whitening, noise: Noise, name: str, model: Any, watch: Watch | None, how: dict[str, Any]
) -> np.ndarray:
    """Return a part of a mosaic, denoised by way of one demosaicing."""
    weights = at_sites(torch.from_numpy(mosaic.weights.astype(np.float32)), mosaic)
    z = _by_place(torch.from_numpy(mosaic.pixels), whitening.each, lambda f, y: f.apply(y)) * weights
    seen = demosaiced(z, mosaic.colours, name).permute(1, 2, 0).contiguous().numpy()
    where = {key: how[key] for key in ("device", "tile", "or_cpu") if key in how}
    rest = {key: value for key, value in how.items() if key not in where}
    task = Task.for_noise(Prepared(seen, seen, Scale(0.0, 1.0)), model, noise, **rest)
    clean = torch.from_numpy(carried_out(task, watch=watch, **where))
    back = at_sites(clean, mosaic) / weights
    return _by_place(back, whitening.each, lambda f, y: f.invert(y)).numpy()


def _by_place(pixels: Tensor, each: tuple[Any, ...], of: Callable[[Any, Tensor], Tensor]) -> Tensor:
    """Return pixels, (H, W), after what belongs to their place in the pattern."""
    result = torch.empty_like(pixels)
    for place, one in zip(places(), each, strict=True):
        result[place] = of(one, pixels[place])
    return result


def _noise(mosaic: Mosaic, level: float, name: str) -> Noise:
    """Return the noise of u, of which the pattern's place does not matter."""
    sd, rho, channels = covariance(name, tuple((level * mosaic.weights).tolist()))
    curves = tuple(Affine(read=one) for one in sd.tolist())
    return Noise(curves, grain=tuple(map(tuple, rho.tolist())), channels=tuple(map(tuple, channels.tolist())))
