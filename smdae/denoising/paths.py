"""Run a sampler, or call a function, on an image whose channels may each have their own level of noise."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from smdae.denoising.samplers import SamplerSettings, sample
from smdae.errors import ModelError

if TYPE_CHECKING:
    from smdae.denoising.task import Task

SEED_STRIDE = 2**40  # between the seeds of channels


def paths(model: Any, noisy: Tensor, task: "Task") -> Iterator[Tensor]:
    """Yield the estimate of clean images after each step of a task's sampler, (B, C, h, w) as noisy, white being 1.

    If levels differ between channels, channel c of the result is channel c of the image moved at level c.

    Raises:
        ModelError: The model takes another number of channels.
        SmdaeError: An estimate is not finite.
    """
    levels = task.levels
    if len(set(levels)) == 1:
        walks = [_walk(model, noisy, levels[0], task, task.seed)]
    else:
        is_gray = model.channels == 1
        inputs = noisy.split(1, 1) if is_gray else [noisy] * len(levels)
        # Users ask for samples by consecutive seeds: those of other channels must lie far from them.
        seeds = [(task.seed + is_gray * c * SEED_STRIDE) % 2**63 for c in range(len(levels))]
        walks = [
            _walk(model, images, level, task, seed) if level else iter(())
            for images, level, seed in zip(inputs, levels, seeds, strict=True)
        ]
    planes = list(noisy.split(noisy.shape[1] // len(walks), 1))
    moved = True
    while moved:
        moved = False
        for c, walk in enumerate(walks):
            with torch.inference_mode():  # around a yield it would stay on in the caller
                estimate = next(walk, None)
            if estimate is not None:  # a channel whose path has ended waits for the others
                moved = True
                whole = estimate.reshape(len(noisy), -1, *noisy.shape[2:])
                planes[c] = whole if whole.shape == planes[c].shape else whole[:, c : c + 1]
        if moved:
            yield planes[0] if len(planes) == 1 else torch.cat(planes, 1)


def by_channels(task: "Task", noisy: Tensor, function: Callable[[Tensor, float], Tensor]) -> Tensor:
    """Return function(images, level), with the shape of noisy, (1, C, h, w).

    It is called once where all channels share a level, else once for each channel; a channel without noise is 0.
    """
    if task.model.channels == 1 and noisy.shape[1] > 1:
        planes = zip(noisy.split(1, 1), task.channel_levels, strict=True)
        return torch.cat([function(plane, level) if level else torch.zeros_like(plane) for plane, level in planes], 1)
    if len(set(task.levels)) == 1:
        return function(noisy, task.levels[0])
    parts = [
        function(noisy, level)[:, c : c + 1] if level else torch.zeros_like(noisy[:, c : c + 1])
        for c, level in enumerate(task.levels)
    ]
    return torch.cat(parts, 1)


def _walk(model: Any, noisy: Tensor, sigma: float, task: "Task", seed: int) -> Iterator[Tensor]:
    """Return an iterator over a task's estimates for images, (B, C, h, w), with shape (B, C, h, w) or (B C, 1, h, w).

    A gray model takes each channel as an image.

    Raises:
        ModelError: The model takes another number of channels.
    """
    channels = noisy.shape[1] if model.channels is None else model.channels
    if channels not in (1, noisy.shape[1]):
        raise ModelError(
            f"the model takes {channels} channels, the image has {noisy.shape[1]}",
            "a gray model takes any image channel by channel",
        )
    images = noisy if channels == noisy.shape[1] else noisy.flatten(0, 1)[:, None]
    settings = SamplerSettings(task.steps, task.step_size, Generator().manual_seed(seed))
    return sample(model, images, sigma, task.sampler, settings)
