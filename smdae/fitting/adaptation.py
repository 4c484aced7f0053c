"""Adapt a network to the image that it is to denoise, by a few hundred steps of implicit score matching: `smdae.adapt`.

The image is noisy, y = x + sigma eps, so it is a sample of q_sigma, and no clean image is needed (see `noisy`). All
weights are fitted, on crops of the image in its eight symmetries. A fifth of the image, in blocks, is held out. There
Stein's estimate gives the error of the averaged weights from time to time, always along the same probe. The best are
kept if they beat the original weights by two standard errors of the difference.

Pixels whose noise may have been clipped at black or white are not fitted to: there the network is held to its first
estimate, and departing from it counts as an error.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.checked import refuse_other_types
from smdae.denoising import sure
from smdae.denoising.denoise import run_task
from smdae.denoising.denoised import identity_of, one_task, require_white_noise
from smdae.denoising.task import Task
from smdae.denoising.unclipped import SAFE_SIGMAS, safe_in
from smdae.device import named
from smdae.divergence import normal_probes, probes
from smdae.errors import UsageError
from smdae.estimation.estimate import Kind
from smdae.files.bundle import Identity
from smdae.fitting.held_out import block_difference, block_error, blocks, crops, middle, window
from smdae.fitting.optimisers import OPTIMISERS
from smdae.fitting.precision import products_in
from smdae.models import UNet
from smdae.noise import Noise
from smdae.objectives import OBJECTIVES, explicit
from smdae.progress import Watch
from smdae.protocols import has, per_example, posterior_mean

STEPS = 800
RATE, WARMUP = 5e-4, 10
DECAY = 0.98  # of the average of the weights
BATCH = 8  # crops a step
STEP = 0.3  # of differences, in sigma
HELD_OUT = 0.2  # share of the blocks
CHECKS = 10  # evaluations on the held-out blocks
MIN_GAIN_ERRORS = 2.0  # standard errors that a gain must exceed
SEED = 0


@dataclass(frozen=True)
class Adaptation:
    """The state of an adaptation after a step."""

    step: int  # steps done
    steps: int  # steps planned
    gain: float  # estimated gain in PSNR of the best weights so far on the held-out blocks, in dB; 0 for none
    model: Any  # the network with these weights
    error: float = 0.0  # standard error of that gain, in dB


@dataclass(frozen=True)
class _Masked:
    """A score that is 0 outside a mask of 0 and 1, so that an objective counts only what is inside."""

    model: Any
    mask: Tensor

    def score(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        psi = self.model.score(x, sigma)
        found: Tensor = psi * self.mask.repeat(len(psi) // len(self.mask), 1, 1, 1)
        return found


def adapting(
    model: Any,
    noisy: Tensor,
    sigma: Tensor,
    safe: Tensor,
    generator: Generator,
    steps: int = STEPS,
    level_error: float = 0.0,
) -> Iterator[Adaptation]:
    """Adapt a network, which is left as it is, to noisy images.

    Args:
        model: The network.
        noisy: The images, white being 1, with shape (B, C, H, W).
        sigma: The levels of their noise, with shape (B,).
        safe: Which values were not clipped, bool, with the shape of noisy.
        generator: Source of random numbers, on the CPU.
        steps: Number of steps.
        level_error: Relative standard error of the levels.

    Yields:
        The state after every step; the model of the last is the result. If too few values are safe, only one state
        with the original model.
    """
    network = copy.deepcopy(model).train().requires_grad_(True)
    average = copy.deepcopy(model).eval().requires_grad_(False)
    best = Adaptation(0, steps, 0.0, model)
    held = blocks(noisy, HELD_OUT, generator)
    part = window(noisy, generator)
    probe = probes(noisy[part].cpu(), 1, generator)[0].to(noisy.device)
    judged = (held & safe)[part]
    if not judged.any() or not (~held & safe).any():
        yield best
        return
    trained = (~held & safe).to(noisy.dtype)
    guarded = held.expand_as(safe)[part] & ~safe[part]
    before = _errors(model, noisy[part], sigma, probe, judged)
    with torch.no_grad():
        first_estimate = posterior_mean(model, noisy[part], sigma)
    all_safe = bool(safe.all())
    optimiser = OPTIMISERS["muon"](network, RATE, 0.0)
    parameters, averages = [*network.parameters()], [*average.parameters()]
    row = OBJECTIVES["ism"]
    every = max(1, steps // CHECKS)
    for step in range(1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, step / WARMUP)
        (x, mask, unsafe), chosen = crops((noisy, trained, (~safe).to(noisy.dtype)), BATCH, generator)
        level = sigma[chosen]
        v = normal_probes(x.cpu(), 1, generator).to(x.device)
        with products_in("auto", x.device):
            losses = row.loss(_Masked(network, mask), x, sigma=level, probes=v, step=STEP * level)
            if not all_safe:
                with torch.no_grad():
                    target = model.score(x, level) * unsafe
                losses = losses + explicit(_Masked(network, unsafe), x, target, sigma=level)
        optimiser.zero_grad()
        (losses * row.scale(level, x[0].numel())).mean().backward()
        optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, parameters, max(1 - DECAY, 1 / step))
        if step % every == 0 or step == steps:
            after = _errors(average, noisy[part], sigma, probe, judged)
            with torch.no_grad():
                after += (posterior_mean(average, noisy[part], sigma) - first_estimate).square() * guarded
            gain, error = _gain(before, after, judged, sigma, level_error)
            if gain > best.gain:
                best = Adaptation(step, steps, gain, copy.deepcopy(average), error)
        yield Adaptation(step, steps, best.gain, best.model, best.error)


@torch.no_grad()
def _errors(model: Any, noisy: Tensor, sigma: Tensor, probe: Tensor, judged: Tensor) -> Tensor:
    """Return r^2 + 2 sigma^2 v (J v), r = D(y) - y, with the shape of noisy, and 0 where `judged` is False.

    Its sum is Stein's estimate of the squared error, up to a constant that does not depend on the weights.
    """
    found = torch.zeros_like(noisy)
    for i, level in enumerate(sigma.tolist()):
        part = slice(i, i + 1)

        def denoise(y: Tensor, level: float = level) -> Tensor:
            return posterior_mean(model, y, level)

        product = sure.jacobian_product(denoise, noisy[part], probe[part], level)
        found[part] = (denoise(noisy[part]) - noisy[part]).square() + 2 * level**2 * probe[part] * product
    return found * judged


def _gain(
    before: Tensor, after: Tensor, judged: Tensor, sigma: Tensor, level_error: float = 0.0
) -> tuple[float, float]:
    """Return the gain in PSNR in dB, and its standard error.

    It is 0 unless it is more than two standard errors of the difference between blocks. The difference is known far
    better than the errors themselves, which may come out near 0: then the gain is large, and so is its error.
    """
    noise = judged * per_example(sigma**2, judged)
    difference, error = block_difference(before, after)
    first = before.sum().item() - noise.sum().item()
    last = first + difference
    if difference > -MIN_GAIN_ERRORS * error or last <= 0 or not math.isfinite(last):
        return 0.0, 0.0
    # The sum of the noise is twice as far off, relatively, as its level.
    error_of_first = math.hypot(block_error(before, judged), 2 * level_error * noise.sum().item())
    spread = math.hypot((1 / last - 1 / first) * error_of_first, block_error(after - before, judged) / last)
    return 10 * math.log10(first / last), 10 / math.log(10) * spread


def refuse_unadaptable(model: Any) -> None:
    """Raise UsageError for a model that cannot be adapted to a picture, as it is not a network."""
    if not isinstance(model, UNet):
        raise UsageError(
            "--adapt is for networks, and this model is not one",
            "leave it out, or name a network such as natural-gray with -m",
        )


def adapted(
    task: Task,
    result: np.ndarray,
    watch: Watch = lambda done, of: None,
    steps: int = STEPS,
    *,
    level_error: float = 0.0,
) -> tuple[Any, float, float]:
    """Return the network of a task adapted to its image, the estimated gain in dB, and the standard error of that.

    If no gain is sure, they are the original network and 0.

    Args:
        task: The task; its image has noise.
        result: Its result, with the shape of the image.
        watch: Called with the number of steps done, and with their total.
        steps: Number of steps.
        level_error: Relative standard error of the level, if that was estimated from this image.

    Raises:
        UsageError: The model is not a network.
    """
    model = task.loaded
    refuse_unadaptable(model)
    where = next(model.parameters()).device
    rows, columns = middle(task.pixels.shape[:2])
    noisy = task.noisy((rows, columns), where)
    safe = torch.ones_like(noisy, dtype=torch.bool)
    if task.scale.may_clip:
        model = model.clipped(1.0)
        margins = SAFE_SIGMAS * np.array(task.channel_levels)
        inside = safe_in(np.atleast_3d(result)[rows, columns], task.scale, margins)
        safe = torch.from_numpy(np.moveaxis(inside, 2, 0).copy())[None].to(where)
    levels = torch.tensor(task.channel_levels, device=where)
    if model.channels == 1:
        has_noise = levels > 0
        noisy, safe, levels = noisy[0, has_noise, None], safe[0, has_noise, None], levels[has_noise]
    else:
        levels = levels.square().mean().sqrt()[None]
    last = Adaptation(0, 0, 0.0, task.loaded)
    for last in adapting(model, noisy, levels, safe, Generator().manual_seed(SEED), steps, level_error):
        watch(last.step, last.steps)
    return (last.model, last.gain, last.error) if last.gain else (task.loaded, 0.0, 0.0)


def adapt(
    image: Any,
    model: Any = None,
    sigma: float | Sequence[float] | None = None,
    *,
    axes: str | None = None,
    noise: Kind | Noise | None = None,
    steps: int = STEPS,
    device: torch.device | str = "cpu",
    watch: Watch | None = None,
    **options: Any,
) -> Any:
    """Adapt a network to the image that it is to denoise; no clean image is needed.

    Args:
        image: With shape (H, W) or (H, W, C); uint8, uint16 or float. White is 255, 65535, or 1 for floats. Or a path.
        model: As for `denoise`; a network. A loaded one is not changed.
        sigma: Level of the noise, white being 255 for integers of any depth, and in the image's own unit for floats; a
            number, or one for each channel; None to estimate it.
        axes: As for `denoise`; an axis of pages has length 1.
        noise: As for `denoise`; it must be white.
        steps: Number of steps, 1 or more.
        device: Where to compute.
        watch: Called with the number of steps done, and with their total.
        options: Further arguments of `denoise`: white and black.

    Returns:
        A model for `denoise(image, model, sigma)`, whose `card["gain"]` is the estimated gain in PSNR, in dB, on a part
        of the image that was held out. If no gain is sure, or there is no noise, the original model.

    Raises:
        UsageError: As `denoise`, or there is more than one image, the noise is not white, or the model is not a
            network.
        InputError, ModelError, DeviceError, MemoryLimitError: As `denoise`.
    """
    device = named(device)
    refuse_other_types({"steps": steps})
    if steps < 1:
        raise UsageError(f"steps is 1 or more, not {steps}")
    _, task = one_task("adapt", image, model, sigma, axes=axes, noise=noise, device=device, options=options)
    original = task.loaded
    if not isinstance(original, UNet):
        raise UsageError("networks can be adapted, and this model is not one: leave model out, or name 'natural-gray'")
    require_white_noise(task, "a network can be adapted")
    if not task.changes:
        return original
    # The result is needed only to find pixels whose noise may have been clipped.
    result = run_task(task, device) if task.scale.may_clip else task.pixels
    better, gain, _ = adapted(task, result, watch or (lambda done, of: None), steps)
    if gain:
        better.identity = Identity(f"{identity_of(original).name}, adapted")
        better.card = {**(task.loaded.card if has(task.loaded, "card") else {}), "gain": gain}
    return better
