"""The uncertainty of a denoised image: the posterior covariance, from the derivatives of the score.

    Cov[x | y] = sigma^2 (I + sigma^2 d psi/dy) = sigma^2 J,   J = dD/dy            (Tweedie, of second order)

and its diagonal is the variance of each pixel. Energies have it in closed form, `posterior_variance`. For networks
probes v single it out: with +-1 on every eighth pixel of rows and columns and 0 elsewhere, v * (J v) at those pixels
is J_ii and what reaches them from the next of those pixels, eight away, which is next to nothing; 64 such probes cover
the image. Dense probes of as many signs would each be off by the whole of a row of J. What is still off differs from
pixel to pixel, and a light mean over neighbours takes some of it out.

No network is quite the posterior mean, and sigma^2 J is then off by a factor that Stein's estimate of the error tells:
`calibrated` weighs the two, as far as each is to be believed.

The first principal components of the covariance, the ways in which the posterior varies most, come of subspace
iteration with products J v (Manor and Michaeli 2024). By differences, all of them: D(y + e v) is all that is needed.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.denoising.judgement import Judgement
from smdae.denoising.task import Task
from smdae.denoising.tiles import Tiled, side_for, tiles_for
from smdae.errors import UsageError
from smdae.progress import Watch
from smdae.protocols import HasPosteriorVariance, offers

__all__ = [
    "SPACING",
    "PrincipalComponent",
    "calibrated",
    "deviation_of",
    "ends_of",
    "principal_components",
    "variance",
]

SPACING = 8  # pixels between those that a probe is at
STEP = 0.3  # of differences, in sigma: J as it is in the noise around y
CENTRE = 0.8  # weight of a pixel among its neighbours, in rows and in columns
BELIEF = 0.2  # relative error of the mean variance by the Jacobian
ROUNDS = 12  # of subspace iteration
SEED = 0


def variance(task: Task, device: torch.device | str = "cpu", watch: Watch = lambda done, of: None) -> np.ndarray:
    """Return the posterior variance of each pixel, white being 1, float32 with the shape of the task's image.

    Args:
        task: What was denoised; its levels are not all 0.
        device: Where the model is.
        watch: Told how many probes are done, and of how many.
    """
    where = torch.device(device)
    height, width = task.pixels.shape[:2]
    model = task.model
    cut = [*tiles_for(model, height, width, side_for(model, where))]
    signs = 2 * torch.randint(0, 2, (height, width), generator=Generator().manual_seed(SEED), dtype=torch.int8) - 1
    found = np.empty(task.planes.shape, np.float32)
    for done, tile in enumerate(cut):
        noisy = task.noisy(tile.seen, where)
        with torch.inference_mode():
            if offers(model, HasPosteriorVariance):
                watch(done, len(cut))
                of_tile = task.by_channels(noisy, lambda planes, sigma: model.posterior_variance(planes, sigma))
            else:
                corner = tuple(part.start % SPACING for part in tile.seen)
                told = _counting(watch, done, len(cut), len(_groups(task)))
                of_tile = _probed(task, noisy, signs[tile.seen].to(where), corner, told)
        found[tile.kept] = of_tile[0, :, *tile.inner].permute(1, 2, 0).cpu().numpy()
    if not offers(model, HasPosteriorVariance):
        found = _lightly_averaged(found)
    return np.maximum(found, 0).reshape(task.pixels.shape)


def _lightly_averaged(planes: np.ndarray) -> np.ndarray:
    """Return planes, (H, W, C), in which each pixel has a little of its eight neighbours."""
    for axis in (0, 1):
        grown = np.pad(planes, [(1, 1) if i == axis else (0, 0) for i in range(3)], mode="edge")
        before, after = (np.take(grown, range(k, k + planes.shape[axis]), axis) for k in (0, 2))
        planes = CENTRE * planes + (1 - CENTRE) / 2 * (before + after)
    return planes.astype(np.float32)


def calibrated(variance: np.ndarray, judgement: Judgement) -> np.ndarray:
    """Return a variance, white being 1, scaled so that its mean comes nearer to the estimated error of the result."""
    told = float(variance.mean())
    seen = 10 ** (-judgement.psnr / 10)
    error = seen * judgement.error * math.log(10) / 10
    if judgement.doubts or told <= 0:
        return variance
    trust, weight = 1 / (BELIEF * told) ** 2, 1 / max(error, 1e-12) ** 2
    return variance * np.float32((trust * told + weight * seen) / (trust + weight) / told)


def deviation_of(
    task: Task,
    judgement: Judgement | None,
    device: torch.device | str = "cpu",
    watch: Watch = lambda done, of: None,
) -> np.ndarray:
    """Return the posterior standard deviation of each pixel in the unit of the picture, float32 with the task's shape.

    Args:
        task: What was denoised; its levels are not all 0.
        judgement: How good the result is, by which it is calibrated; None if that is not known.
        device: Where the model is.
        watch: Told how many probes are done, and of how many.
    """
    spread = variance(task, device, watch)
    if judgement and task.strengths.is_all:  # else the error is that of noise left in, too
        spread = calibrated(spread, judgement)
    found: np.ndarray = np.sqrt(spread) * np.float32(task.scale.span)
    return found


def _groups(task: Task) -> list[Any]:
    """Return the channels that are probed together: all for gray models, which keep them apart; else one at a time."""
    return [slice(None)] if task.model.channels in (1, None) else [*range(task.planes.shape[2])]


def _counting(watch: Watch, done: int, of: int, groups: int) -> Callable[[int], object]:
    probes = SPACING**2 * groups
    return lambda k: watch(done * probes + k, of * probes)


def _probed(
    task: Task, noisy: Tensor, signs: Tensor, corner: tuple[int, ...], report: Callable[[int], object]
) -> Tensor:
    """Return sigma^2 J_ii, with the shape of noisy, (1, C, h, w).

    Args:
        task: What was denoised.
        noisy: A part of its image.
        signs: +-1 for each pixel, with shape (h, w).
        corner: Row and column of its first pixel in the pattern.
        report: Called with the number of probes done.
    """
    levels = torch.tensor(task.channel_levels, device=noisy.device)
    steps = (STEP * levels)[None, :, None, None]
    before = task.mean(noisy)
    result = torch.zeros_like(noisy)
    count = 0
    for group in _groups(task):
        for i in range(SPACING):
            for j in range(SPACING):
                at = (slice((i - corner[0]) % SPACING, None, SPACING), slice((j - corner[1]) % SPACING, None, SPACING))
                probe = torch.zeros_like(noisy)
                probe[:, group, *at] = signs[at].to(noisy.dtype)
                change = (task.mean(noisy + steps * probe) - before) / steps.clamp(min=1e-12)
                result[:, group, *at] = (probe * change)[:, group, *at]
                count += 1
                report(count)
    return result * levels.square()[None, :, None, None]


@dataclass(frozen=True, eq=False)
class PrincipalComponent:
    """A principal component of the posterior covariance.

    Attributes:
        direction: Of norm 1, white being 1, with shape (H, W, C).
        deviation: The posterior standard deviation along it.
    """

    direction: np.ndarray
    deviation: float


def principal_components(
    task: Task, count: int, device: torch.device | str = "cpu", watch: Watch = lambda done, of: None
) -> list[PrincipalComponent]:
    """Return the first principal components of the posterior covariance, the widest first.

    Args:
        task: What was denoised; all of its channels have noise.
        count: How many, K.
        device: Where the model is.
        watch: Told how many products are done, and of how many.

    Raises:
        UsageError: There are fewer pixels than directions.
    """
    if not 1 <= count <= task.pixels.size:
        raise UsageError(
            f"an image of {task.pixels.size} numbers has at most as many principal components, not {count}"
        )
    where = torch.device(device)
    noisy = task.noisy((slice(None), slice(None)), torch.device("cpu"))
    model = Tiled(task.model, side_for(task.model, where), where)
    levels = torch.tensor(task.channel_levels)[None, :, None, None]
    generator = Generator().manual_seed(SEED)
    basis = _orthonormal(torch.randn(count, noisy.numel(), generator=generator))
    done = 0

    def along(v: Tensor) -> Tensor:
        """Return Cov v, by central differences."""
        direction = v.reshape(noisy.shape)
        e = STEP * levels / direction.abs().amax()
        upper, lower = (task.mean(noisy + sign * e * direction, model) for sign in (1, -1))
        return ((upper - lower) / (2 * e) * levels.square()).flatten()

    with torch.inference_mode():
        for _ in range(ROUNDS):
            products = []
            for v in basis:
                products.append(along(v))
                done += 1
                watch(done, ROUNDS * count)
            image = torch.stack(products)
            small = basis @ image.T
            basis = _orthonormal(image)
        values, turn = torch.linalg.eigh((small + small.T) / 2)
        # The last products were of the basis before: their span is the new one, their widths are as good.
        order = values.argsort(descending=True)
        directions = _orthonormal((turn.T @ image)[order])
    return [
        PrincipalComponent(v.reshape(noisy.shape)[0].permute(1, 2, 0).numpy(), float(max(value, 0.0)) ** 0.5)
        for v, value in zip(directions, values[order].tolist(), strict=True)
    ]


def _orthonormal(rows: Tensor) -> Tensor:
    return torch.linalg.qr(rows.T)[0].T


def ends_of(
    task: Task, mean: np.ndarray, component: PrincipalComponent, deviations: float = 2.0
) -> Iterator[np.ndarray]:
    """Yield the mean moved along a component, to one side and to the other, images like the mean."""
    planes = np.atleast_3d(mean).astype(np.float32)
    for sign in (-1, 1):
        moved = planes + sign * deviations * component.deviation * task.white * component.direction
        if task.whole:
            moved = np.rint(moved.clip(0, task.white))
        yield moved.astype(task.pixels.dtype).reshape(mean.shape)
