"""Run a sampler, or call a function, on an image whose channels may each have their own level of noise."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from smdae.denoising.samplers import SamplerSettings, sample
from smdae.errors import ModelError

SEED_STRIDE = 2**40  # between the seeds of channels


@dataclass(frozen=True)
class Walk:
    """How an image moves along the score.

    Attributes:
        sampler: A name of SAMPLERS.
        steps: Number of steps of the sampler.
        size: Size of a step, in the sampler's own unit.
        seed: Seed of the noise that the sampler draws, if any.
    """

    sampler: str
    steps: int
    size: float
    seed: int


def paths(model: Any, noisy: Tensor, levels: Sequence[float], walk: Walk) -> Iterator[Tensor]:
    """Yield the estimate of clean images after each step of a sampler, (B, C, h, w) as noisy, white being 1.

    If levels differ between channels, channel c of the result is channel c of the image moved at level c.

    Args:
        model: A score model of images.
        noisy: Noisy images, white being 1, with shape (B, C, h, w).
        levels: Sigma, white being 1: one level, or one for each channel.
        walk: The sampler, its steps and its seed.

    Raises:
        ModelError: The model takes another number of channels.
        SmdaeError: An estimate is not finite.
    """
    if len(set(levels)) == 1:
        estimates = [_estimates(model, noisy, levels[0], walk, walk.seed)]
    else:
        is_gray = model.channels == 1
        inputs = noisy.split(1, 1) if is_gray else [noisy] * len(levels)
        # Users ask for samples by consecutive seeds: those of other channels must lie far from them.
        seeds = [(walk.seed + is_gray * c * SEED_STRIDE) % 2**63 for c in range(len(levels))]
        estimates = [
            _estimates(model, images, level, walk, seed) if level else iter(())
            for images, level, seed in zip(inputs, levels, seeds, strict=True)
        ]
    planes = list(noisy.split(noisy.shape[1] // len(estimates), 1))
    moved = True
    while moved:
        moved = False
        for c, of_channel in enumerate(estimates):
            with torch.inference_mode():  # around a yield it would stay on in the caller
                estimate = next(of_channel, None)
            if estimate is not None:  # a channel whose path has ended waits for the others
                moved = True
                whole = estimate.reshape(len(noisy), -1, *noisy.shape[2:])
                planes[c] = whole if whole.shape == planes[c].shape else whole[:, c : c + 1]
        if moved:
            yield planes[0] if len(planes) == 1 else torch.cat(planes, 1)


def by_channels(
    model: Any, noisy: Tensor, levels: Sequence[float], function: Callable[[Tensor, float], Tensor]
) -> Tensor:
    """Return function(images, level), with the shape of noisy, (1, C, h, w).

    It is called once where all channels share a level, else once for each channel; a channel without noise is 0. A gray
    model is given one channel at a time.
    """
    if model.channels == 1 and noisy.shape[1] > 1:
        each = levels if len(levels) > 1 else [levels[0]] * noisy.shape[1]
        planes = zip(noisy.split(1, 1), each, strict=True)
        return torch.cat([function(plane, level) if level else torch.zeros_like(plane) for plane, level in planes], 1)
    if len(set(levels)) == 1:
        return function(noisy, levels[0])
    parts = [
        function(noisy, level)[:, c : c + 1] if level else torch.zeros_like(noisy[:, c : c + 1])
        for c, level in enumerate(levels)
    ]
    return torch.cat(parts, 1)


def _estimates(model: Any, noisy: Tensor, sigma: float, walk: Walk, seed: int) -> Iterator[Tensor]:
    """Return an iterator over a sampler's estimates for images, (B, C, h, w), each with that shape.

    A gray model takes each channel as an image, and its estimates have shape (B C, 1, h, w).

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
    settings = SamplerSettings(walk.steps, walk.size, Generator().manual_seed(seed))
    return sample(model, images, sigma, walk.sampler, settings)
