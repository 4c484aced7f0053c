"""An image moved along the score: the sampler's estimates of all channels, each at its own level of noise."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from smdae.denoising.samplers import SamplerSettings, sample
from smdae.errors import ModelError

if TYPE_CHECKING:
    from smdae.denoising.task import Task

__all__ = ["paths"]

SEED_STRIDE = 2**40  # between the seeds of channels


def paths(model: Any, noisy: Tensor, task: "Task") -> Iterator[Tensor]:
    """Yield the clean images after each step of a task's sampler, with the shape of noisy, (B, C, h, w), white being 1.

    Where channels have levels of their own, each channel is that of the image moved at its level.
    """
    levels = task.levels
    if len(set(levels)) == 1:
        yield from _path(model, noisy, levels[0], task, task.seed)
        return
    alone = model.channels == 1

    def channel(c: int, level: float) -> Iterator[Tensor]:
        if level == 0:
            return
        if alone:
            # Far from the seeds of other samples, which follow each other.
            yield from _path(model, noisy[:, c : c + 1], level, task, (task.seed + c * SEED_STRIDE) % 2**63)
        else:
            yield from (image[:, c : c + 1] for image in _path(model, noisy, level, task, task.seed))

    moving = [channel(c, level) for c, level in enumerate(levels)]
    planes = [*noisy.split(1, 1)]
    while True:  # a channel whose path has ended waits for the others
        moved = [next(path, None) for path in moving]
        if all(plane is None for plane in moved):
            return
        planes = [old if new is None else new for old, new in zip(planes, moved, strict=True)]
        yield torch.cat(planes, 1)


def _path(model: Any, noisy: Tensor, sigma: float, task: "Task", seed: int) -> Iterator[Tensor]:
    """Yield the estimates of a task's sampler, finite, with the shape of noisy, (B, C, h, w).

    Models for gray images take each channel as an image.

    Raises:
        ModelError: The model takes another number of channels.
        SmdaeError: An estimate is not finite.
    """
    channels = noisy.shape[1] if model.channels is None else model.channels
    if channels not in (1, noisy.shape[1]):
        raise ModelError(
            f"the model takes {channels} channels, the image has {noisy.shape[1]}",
            "a gray model takes any image channel by channel",
        )
    images = noisy if channels == noisy.shape[1] else noisy.flatten(0, 1)[:, None]
    settings = SamplerSettings(task.steps, task.step_size, Generator().manual_seed(seed))
    walk = sample(model, images, sigma, task.sampler, settings)
    while True:
        with torch.inference_mode():  # not around a yield, where it would leak to whoever drives
            estimate = next(walk, None)
        if estimate is None:
            return
        yield estimate.reshape(noisy.shape)
