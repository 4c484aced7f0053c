"""A network that knows of noise, fitted on to noisy pictures whose noise is shot noise or grain.

The network denoises each picture y, as `denoise` would, to x^; noise is drawn anew, and the network is to find x^ from
that:

    J = |D(x^ + S K e) - x^|^2,    e ~ N(0, I),    S(x^) and K those of the noise that was found in y

with squared errors in units of the noise (Zhang et al. 2022, "IDR: Self-supervised image denoising via iterative data
refinement", whose first round this is). So the network learns what pictures of this kind look like.

Whether D has become better is judged by what J does not see, y itself. With b = S K e and any a > 0, y + a b and
y - b/a are independent for given x (Pang et al. 2021, "Recorrupted-to-recorrupted"), hence

    risk = E |D(y + a b) - y|^2 + (2/a) b'D(y + a b) - tr C = E |D(y + a b) - x|^2,    cov(y + a b) = (1 + a^2) C

which is Stein's estimate with differences as wide as a; e and -e are taken in pairs. Where the level is estimated wrong
this risk is off by what all networks share, and by a part of tr(C dD/dy). On real pictures networks that descend it
begin to keep noise that the estimate misses (PolyU, FMD), so J is what descends, and the risk what decides.

Shot noise is made white first, see `stabilised`, and the network sees what is transformed.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.denoising.stabilised import Whitening
from smdae.denoising.task import Task
from smdae.denoising.treatment import rms_level, whitenings
from smdae.errors import InputError
from smdae.estimation.scale import UNIT
from smdae.fitting.precision import products_in
from smdae.noise import Noise
from smdae.protocols import posterior_mean

__all__ = ["WIDTH", "Part", "Reconstructor", "View", "drawn", "held_out_in", "risk", "views_of"]

WIDTH = 0.3  # a
MOST_VIEWS = 64  # pictures
MOST_PIXELS, MOST_SIDE = 1 << 24, 1024  # of all of them together, and of the middle of one
MAX_REPLACED = 0.005  # share of a picture's values that are impulses
HELD_OUT, LEAST_HELD = 8, 64  # a strip of so many parts of a picture, but at least so many pixels wide, is held out
JUDGED = 256  # pixels along it that are looked at

Denoiser = Callable[[Tensor], Tensor]


def drawn(x: Tensor, noise: Noise, e: Tensor) -> Tensor:
    """Return S(x) K e, with the shape of x, (B, C, H, W), for e ~ N(0, I)."""
    return noise.sd(x) * noise.correlate(e)


def risk(denoise: Denoiser, y: Tensor, b: Tensor, variance: Tensor, width: float = WIDTH) -> Tensor:
    """Return an estimate of |D(y') - x|^2 for y' with 1 + a^2 times the noise of y, without bias, (B,).

    Args:
        denoise: D, of noise that is as strong as that of y'.
        y: Noisy pictures, with shape (B, C, H, W).
        b: Noise like theirs, drawn anew, with their shape; b and -b are both taken.
        variance: Of the noise at each pixel, with their shape.
        width: a.
    """
    total = -variance
    for sign in (1.0, -1.0):
        found = denoise(y + sign * width * b)
        total = total + ((found - y).square() + (2 * sign / width) * b * found) / 2
    return total.flatten(1).sum(1)


@dataclass(frozen=True, eq=False)
class Reconstructor:
    """A network as it is used on the noise of a picture: a model with `reconstruct` alone."""

    model: Any

    def reconstruct(self, y: Tensor, sigma: float) -> Tensor:
        """Return x^, with the shape of y."""
        return posterior_mean(self.model, y, sigma)


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a picture, as the network sees it, and the same denoised, (C, h, w)."""

    noisy: Tensor
    denoised: Tensor


@dataclass(frozen=True, eq=False)
class View:
    """A noisy picture, as the network sees it.

    Attributes:
        training: The part to learn from.
        held_out: The part that is held out; None where the picture is too small.
        noise: The noise of the picture.
        level: The root mean square level of its noise.
        error: The mean square error of the picture itself, white being 1.
        treat: Makes the network a model of this noise.
        sigma: The level to call that model with.
        stronger: Treatment and sigma for 1 + a^2 times the noise.
        ends: Where noise is cut off; None where the network is not told of that.
    """

    training: Part
    held_out: Part | None
    noise: Noise
    level: float
    error: float
    treat: Callable[[Any], Any]
    sigma: float
    stronger: tuple[Callable[[Any], Any], float]
    ends: tuple[float, float] | None

    def cut(self, y: Tensor) -> Tensor:
        """Return y with noise cut off where the picture's is."""
        return y if self.ends is None else y.clamp(*self.ends)


def views_of(
    images: Sequence[np.ndarray],
    white: float | None,
    network: Any,
    size: int,
    device: torch.device,
    watch: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[list[View], list[str]]:
    """Return views of pictures with noise, and what noise each has, in words.

    Of many pictures some are looked at, evenly chosen, and of large ones the middle.

    Args:
        images: With shape (H, W) or (H, W, C), of as many channels as the network has.
        white: The value of white in them; None to find out.
        network: What takes noise; in eval mode.
        size: Side of the crops that will be drawn.
        device: Where the network is.
        watch: Told how many pictures are done, and of how many.

    Raises:
        InputError: Most have impulses, or none has noise to see.
    """
    chosen = sorted({round(i) for i in np.linspace(0, len(images) - 1, min(MOST_VIEWS, len(images)))})
    side = max(size, min(MOST_SIDE, math.isqrt(MOST_PIXELS // len(chosen))))
    views, words, replaced = [], [], 0
    for k, i in enumerate(chosen):
        task = Task.of(_middle(np.asarray(images[i]), side), network, white=white, device=device)
        watch(k + 1, len(chosen))
        outliers = task.prepared.outliers
        if outliers is not None and outliers.share > MAX_REPLACED:
            replaced += 1
        elif all(task.noise.levels) and len(task.levels) == 1:
            views.append(_view(task, network, size, device))
            words.append(task.noise.describe(task.prepared.sample()))
    if 2 * replaced > len(chosen):
        raise InputError(
            f"{replaced} of {len(chosen)} images have impulses, pixels that were replaced, and --noisy is for noise",
            "smdae denoise repairs them",
        )
    if not views:
        raise InputError(
            "the images show no noise, and --noisy is for noisy images", "leave --noisy out to fit on clean images"
        )
    return views, words


def _middle(image: np.ndarray, side: int) -> np.ndarray:
    """Return the middle of a picture, of no more than so many pixels a side."""
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def _view(task: Task, network: Any, size: int, device: torch.device) -> View:
    """Return the view of the picture of a task."""
    y = task.scaled(task.planes[None], device).float()  # (1, C, H, W)
    stronger = math.sqrt(1 + WIDTH**2)
    is_told = task.base is not task.loaded
    error = rms_level(task.prepared, task.noise) ** 2

    def within(treat: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda model: treat(model.clipped(1.0) if is_told else model)

    if task.noise.kind == "shot":
        (white,) = whitenings(task.base, task.noise, task.prepared, y.shape[1])
        ends = (-math.inf, 1.0) if is_told else None  # where the picture ends, see `stabilised`
        view = _whitened(white, white.apply(y), within(lambda model: model), error, ends)
    else:
        other = Task.for_noise(task.prepared, network, task.noise.amplified(stronger))
        level, told = math.sqrt(error), task.levels[0]
        parts = Part(y[0], y[0]), None
        ends = UNIT.clip if is_told else None
        above = within(other.treat), other.levels[0]
        view = View(*parts, task.noise, level, error, within(task.treat), told, above, ends)
    with torch.inference_mode(), products_in("auto", device):
        denoised = posterior_mean(view.treat(network), view.training.noisy[None], view.sigma)[0].float()
    return replace(view, **_parted(view.training.noisy.cpu(), denoised.cpu(), size))


def _whitened(
    white: Whitening, z: Tensor, treat: Callable[[Any], Any], error: float, ends: tuple[float, float] | None
) -> View:
    """Return the view of what is transformed, z, (1, C, H, W), whose noise is white."""
    above = treat, white.level * math.sqrt(1 + WIDTH**2)
    noise = Noise.gaussian(white.level)
    return View(Part(z[0], z[0]), None, noise, white.level, error, treat, white.level, above, ends)


def _parted(noisy: Tensor, denoised: Tensor, size: int) -> dict[str, Any]:
    """Return the part to learn from and, if there is room for both, a strip at the right to hold out, by name."""
    # As a tensor of inference mode it could not be learnt from.
    noisy, denoised = noisy.clone(), denoised.clone()
    height, width = noisy.shape[1:]
    strip = max(LEAST_HELD, width // HELD_OUT)
    if width - strip < size:
        return {"training": Part(noisy, denoised), "held_out": None}
    top = max(0, (height - JUDGED) // 2)
    rows, left, right = slice(top, top + JUDGED), slice(0, width - strip), slice(width - strip, width)
    training, held_out = (
        Part(noisy[:, :, left], denoised[:, :, left]),
        Part(noisy[:, rows, right], denoised[:, rows, right]),
    )
    return {"training": training, "held_out": held_out}


def held_out_in(
    views: Sequence[View], generator: Generator, device: torch.device
) -> Iterator[tuple[View, Part, Tensor]]:
    """Yield each view with a part that is held out, that part, and noise drawn anew for it, (1, C, h, w).

    Where all pictures are too small for a part to be held out, all are judged by the middle of what was learnt from.
    """
    none_held = all(view.held_out is None for view in views)
    for view in views:
        part = view.held_out
        if none_held:
            part = Part(view.training.noisy[:, :JUDGED, :JUDGED], view.training.denoised[:, :JUDGED, :JUDGED])
        if part is None:
            continue
        denoised = part.denoised[None].to(device)
        e = torch.randn(denoised.shape, generator=generator, device=generator.device).to(device)
        yield view, part, drawn(denoised, view.noise, e)
