"""Iterative data refinement: a bundled network fitted further to noisy pictures whose noise is shot noise or grain.

Each picture y is denoised to x^, as `denoise` would; new noise is added to x^, and the network learns to find x^ again:

    J = |D(x^ + S K e) - x^|^2,    e ~ N(0, I),    with S(x^) and K of the noise that was estimated in y

in units of the noise (Zhang et al. 2022, "IDR: Self-supervised image denoising via iterative data refinement", of which
this is the first round). So the network learns what pictures of this kind look like.

Whether D has become better is decided by y itself, which J does not use. With b = S K e and any a > 0, y + a b and
y - b/a are independent given x (Pang et al. 2021, "Recorrupted-to-recorrupted"), hence

    risk = E |D(y + a b) - y|^2 + (2/a) b'D(y + a b) - tr C = E |D(y + a b) - x|^2,    cov(y + a b) = (1 + a^2) C

which is Stein's estimate with differences of width a; e and -e are taken in pairs. If the level is estimated wrong, the
risk is off by a constant common to all networks and by a share of tr(C dD/dy). On real pictures, networks trained on
the risk begin to keep noise that the estimate misses (PolyU, FMD). So J is minimised, and the risk only selects.

Shot noise is made white first (see `stabilised`), and the network gets the transformed picture.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.denoising.given_noise import rms_level
from smdae.denoising.task import Task
from smdae.denoising.treatment import whitenings
from smdae.errors import InputError
from smdae.estimation.scale import UNIT
from smdae.fitting.held_out import middle
from smdae.fitting.precision import products_in
from smdae.fitting.splitting import evenly
from smdae.noise import Noise
from smdae.protocols import posterior_mean

WIDTH = 0.3  # a
MAX_VIEWS = 64  # pictures
MAX_PIXELS, MAX_SIDE = 1 << 24, 1024  # of all pictures together, and a side of the middle of one
MAX_REPLACED = 0.005  # share of a picture's values that are impulses
HELD_OUT, MIN_HELD = 8, 64  # one part of so many, and at least so many pixels wide, is held out as a strip
JUDGED = 256  # pixels along the strip that are used

Denoiser = Callable[[Tensor], Tensor]


def noise_like(x: Tensor, noise: Noise, e: Tensor) -> Tensor:
    """Return noise S(x) K e for pictures x and e ~ N(0, I), all (B, C, H, W); UsageError if it has another C."""
    return noise.sd(x) * noise.correlate(e)


def risk(denoise: Denoiser, y: Tensor, b: Tensor, variance: Tensor) -> Tensor:
    """Return an unbiased estimate, (B,), of |D(y') - x|^2 for y' with 1 + a^2 times the noise variance of y.

    D is made for the noise of y'. Noisy pictures y, independent noise b of the same kind, of which both signs are
    taken, and the variance of the noise at each pixel have shape (B, C, H, W).
    """
    total = -variance
    for sign in (1.0, -1.0):
        found = denoise(y + sign * WIDTH * b)
        total = total + ((found - y).square() + (2 * sign / WIDTH) * b * found) / 2
    return total.flatten(1).sum(1)


@dataclass(frozen=True, eq=False)
class Reconstructor:
    """A denoiser made of a score model: all that the objective `dae` needs."""

    model: Any

    def reconstruct(self, y: Tensor, sigma: float) -> Tensor:
        """Return the posterior mean y + sigma^2 psi(y), with the shape of y."""
        return posterior_mean(self.model, y, sigma)


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a picture as the network gets it, and the same denoised, both (C, h, w)."""

    noisy: Tensor
    denoised: Tensor


@dataclass(frozen=True, eq=False)
class View:
    """A noisy picture as the network gets it."""

    training: Part  # the part to learn from
    held_out: Part | None  # the part that is held out; None if the picture is too small
    noise: Noise  # the noise of the picture as the network gets it
    level: float  # the root mean square level of that noise
    error: float  # the mean squared error of the original picture, white being 1
    treat: Callable[[Any], Any]  # turns the network into a model of this noise
    sigma: float  # the level to call that model with
    stronger: tuple[Callable[[Any], Any], float]  # the treatment and sigma for 1 + a^2 times the noise variance
    ends: tuple[float, float] | None  # where noise is clipped; None if the network is not set to clipped pictures

    def clip(self, y: Tensor) -> Tensor:
        """Return y clipped to the range that the picture was clipped to; y itself if it was not clipped."""
        return y if self.ends is None else y.clamp(*self.ends)


def views_of(
    images: Sequence[np.ndarray],
    white: float | None,
    network: Any,
    size: int,
    device: torch.device,
    watch: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[list[View], list[str]]:
    """Return views of the pictures that have noise, and the noise of each in words.

    If there are many pictures, evenly spaced ones are taken, and of large ones only the middle.

    Args:
        images: With shape (H, W) or (H, W, C), and as many channels as the network takes.
        white: The value of white in them; None to find it.
        network: A network that takes the noise model, in eval mode, on the device.
        size: Side of the crops that will be drawn.
        device: Where to compute.
        watch: Called with the number of pictures done, and with their total.

    Raises:
        InputError: Most have impulses, or none has visible noise.
    """
    chosen = evenly(images, MAX_VIEWS)
    side = max(size, min(MAX_SIDE, math.isqrt(MAX_PIXELS // len(chosen))))
    views, words, replaced = [], [], 0
    for k, i in enumerate(chosen):
        image = np.asarray(images[i])
        task = Task.of(image[middle(image.shape[:2], side)], network, white=white, device=device)
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


def _view(task: Task, network: Any, size: int, device: torch.device) -> View:
    """Return the view of the picture of a task."""
    y = task.scaled(task.planes[None], device).float()  # (1, C, H, W)
    stronger = math.sqrt(1 + WIDTH**2)
    is_clipped = task.base is not task.loaded
    error = rms_level(task.prepared, task.noise) ** 2

    def within(treat: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda model: treat(model.clipped(1.0) if is_clipped else model)

    if task.noise.kind == "shot":
        (white,) = whitenings(task.base, task.noise, task.prepared, y.shape[1])
        ends = (-math.inf, 1.0) if is_clipped else None  # the transform maps white to 1, see `stabilised`
        z, treat = white.apply(y), within(lambda model: model)
        view = View(
            training=Part(z[0], z[0]),
            held_out=None,
            noise=Noise.gaussian(white.level),
            level=white.level,
            error=error,
            treat=treat,
            sigma=white.level,
            stronger=(treat, white.level * stronger),
            ends=ends,
        )
    else:
        other = Task.for_noise(task.prepared, network, task.noise.amplified(stronger))
        view = View(
            training=Part(y[0], y[0]),
            held_out=None,
            noise=task.noise,
            level=math.sqrt(error),
            error=error,
            treat=within(task.treat),
            sigma=task.levels[0],
            stronger=(within(other.treat), other.levels[0]),
            ends=UNIT.clip if is_clipped else None,
        )
    with torch.inference_mode(), products_in("auto", device):
        denoised = posterior_mean(view.treat(network), view.training.noisy[None], view.sigma)[0].float()
    return replace(view, **_parted(view.training.noisy.cpu(), denoised.cpu(), size))


def _parted(noisy: Tensor, denoised: Tensor, size: int) -> dict[str, Any]:
    """Return the part to learn from and, if there is room, a strip on the right to hold out, by name of `View`."""
    # Tensors made in inference mode cannot be used in training: copy them.
    noisy, denoised = noisy.clone(), denoised.clone()
    height, width = noisy.shape[1:]
    strip = max(MIN_HELD, width // HELD_OUT)
    if width - strip < size:
        return {"training": Part(noisy, denoised), "held_out": None}
    top = max(0, (height - JUDGED) // 2)
    rows, left, right = slice(top, top + JUDGED), slice(0, width - strip), slice(width - strip, width)
    training = Part(noisy[:, :, left], denoised[:, :, left])
    return {"training": training, "held_out": Part(noisy[:, rows, right], denoised[:, rows, right])}


def held_out_in(
    views: Sequence[View], generator: Generator, device: torch.device
) -> Iterator[tuple[View, Part, Tensor]]:
    """Yield each view that has a held-out part, that part, and new noise for it, (1, C, h, w).

    If all pictures are too small to hold out a part, a corner of what is learnt from stands in for it.
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
        yield view, part, noise_like(denoised, view.noise, e)
