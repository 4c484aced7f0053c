"""What is to be done with one image: all that is decided before the first pixel moves."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from smdae.denoising import noise_level
from smdae.denoising.precision import check_precision, lowered
from smdae.denoising.steppers import STEPPERS, Steps, checked, refuse_unable, steps_of
from smdae.denoising.symmetries import Symmetric
from smdae.errors import ModelError, UsageError

__all__ = ["Task", "levels_for", "moves"]

APART = 2**40  # between the seeds of channels
ALIKE = 0.1  # how far the levels of channels may be apart to count as one


def levels_for(model: Any, pixels: np.ndarray, white: float) -> tuple[float, ...]:
    """The level of noise to take out if none is given, white being 1: the model's if it has one, else the image's.

    One number, or one for each channel where they differ; 0 where there is no noise to see.
    """
    if getattr(model, "level", None) is not None:
        return (float(model.level),)
    levels = noise_level.estimate(pixels, white)
    mean = math.sqrt(sum(level**2 for level in levels) / len(levels))
    alike = all(abs(level - mean) <= ALIKE * mean for level in levels)
    return (mean,) if alike else levels


@dataclass(frozen=True, eq=False)
class Task:
    """An image, and all that is decided about how it is denoised.

    Attributes:
        pixels: The image, with shape (H, W) or (H, W, C), as stored.
        white: The value of white in it.
        loaded: The model.
        model: The model as it is used: with another stride, told of clipping, made symmetric.
        levels: Of the noise, white being 1: one, or one for each channel.
        strength: How much of the way to the estimate, 0 to 1.
        stepper: A name of STEPPERS.
        steps: How many.
        step_size: What the stepper takes it to be.
        seed: Of the noise that it draws, if any.
        precision: A name of PRECISIONS.
    """

    pixels: np.ndarray
    white: float
    loaded: Any
    model: Any
    levels: tuple[float, ...]
    strength: float
    stepper: str
    steps: int
    step_size: float
    seed: int
    precision: str = "auto"

    @classmethod
    def of(
        cls,
        image: Any,
        model: Any = None,
        sigma: float | Sequence[float] | None = None,
        *,
        strength: float = 1.0,
        stepper: str = "tweedie",
        steps: int | None = None,
        step_size: float | None = None,
        seed: int = 0,
        stride: int | None = None,
        ensemble: bool = False,
        white: float | None = None,
        precision: str = "auto",
        device: torch.device | str = "cpu",
    ) -> "Task":
        """The task, checked; arguments and errors as those of `denoise`."""
        from smdae.files.model_file import load

        pixels = np.asarray(image)
        if pixels.ndim not in (2, 3) or 0 in pixels.shape:
            raise UsageError(f"an image has shape (H, W) or (H, W, C), not {pixels.shape}")
        if pixels.dtype.newbyteorder("=") not in (np.uint8, np.uint16) and pixels.dtype.kind != "f":
            raise UsageError(f"an image is uint8, uint16 or float, not {pixels.dtype}")
        if not 0 <= strength <= 1:
            raise UsageError(f"strength is between 0 and 1, not {strength}")
        steps, step_size = checked(stepper, steps, step_size)
        whole = pixels.dtype.kind == "u"
        if white is None:
            white = float(np.iinfo(pixels.dtype).max) if whole else 1.0
        if not 0 < white < np.inf:
            raise UsageError(f"white is a positive number, not {white}")
        if not whole and not np.isfinite(pixels).all():
            raise UsageError("the image has values that are not numbers")
        channels = pixels.shape[2] if pixels.ndim == 3 else 1
        if model is None:
            model = "natural-color" if channels == 3 else "natural-gray"
        if isinstance(model, str | Path):
            model = load(model).to(device)
        refuse_unable(stepper, model)
        check_precision(precision, model)
        levels = (
            levels_for(model, pixels, white) if sigma is None else _checked(sigma, channels, 255 if whole else white)
        )
        chosen = _with_stride(model, stride) if stride is not None else model
        if hasattr(chosen, "clipped") and noise_level.is_clipped(pixels, white):
            chosen = chosen.clipped(1.0)
        if ensemble:
            chosen = Symmetric(chosen)
        return cls(pixels, white, model, chosen, levels, strength, stepper, steps, step_size, seed, precision)

    @property
    def planes(self) -> np.ndarray:
        """The pixels with shape (H, W, C)."""
        return self.pixels[:, :, None] if self.pixels.ndim == 2 else self.pixels

    @property
    def channel_levels(self) -> tuple[float, ...]:
        """The level of each channel."""
        return self.levels * (self.planes.shape[2] if len(self.levels) == 1 else 1)

    @property
    def whole(self) -> bool:
        """Whether pixels are integers."""
        return self.pixels.dtype.kind == "u"

    @property
    def changes(self) -> bool:
        """Whether there is noise that could be seen, and that should be taken out."""
        return any(self.levels) and self.strength > 0

    def noisy(self, part: tuple[slice, slice], where: torch.device) -> Tensor:
        """A part of the image, white being 1, with shape (1, C, h, w)."""
        return self.scaled(self.planes[part][None], where)

    def scaled(self, planes: np.ndarray, where: torch.device) -> Tensor:
        """Pixels like the image's, with shape (n, h, w, C), white being 1, with shape (n, C, h, w)."""
        planes = planes.transpose(0, 3, 1, 2)
        if planes.dtype == np.uint8:  # a quarter of what floats are to move
            return torch.from_numpy(np.array(planes, order="C")).to(where).float() / self.white
        with np.errstate(over="ignore"):  # what is too large for float32 has no finite answer, and `moves` says so
            values = np.array(planes, np.float32, order="C")
        return torch.from_numpy(values).to(where) / self.white

    def quick(self, where: torch.device) -> Any:
        """The model as it denoises on that device: its products of the precision asked for."""
        return lowered(self.model, self.precision, where, self.whole)

    @property
    def single(self) -> bool:
        """Whether it is done in one step, so that tiles need not know of each other."""
        return STEPPERS[self.stepper].most == 1

    def estimates(self, noisy: Tensor, model: Any) -> Iterator[Tensor]:
        """The clean images after each step that belong to noisy ones like this, white being 1, (B, C, h, w)."""
        for estimate in _paths(model, noisy, self):
            if self.strength != 1:
                estimate = torch.lerp(noisy, estimate, self.strength)
            yield estimate.clamp(0, 1) if self.whole else estimate

    def estimate(self, noisy: Tensor, model: Any = None) -> Tensor:
        """The last of them, by the model as it is used or by another."""
        *_, last = self.estimates(noisy, self.model if model is None else model)
        return last

    def by_channels(self, noisy: Tensor, of: Callable[[Tensor, float], Tensor]) -> Tensor:
        """What `of` makes of images that the model takes and their level, with the shape of noisy, (1, C, h, w)."""
        if getattr(self.model, "channels", None) == 1 and noisy.shape[1] > 1:
            planes = zip(noisy.split(1, 1), self.channel_levels, strict=True)
            return torch.cat([of(plane, level) if level else torch.zeros_like(plane) for plane, level in planes], 1)
        if len(set(self.levels)) == 1:
            return of(noisy, self.levels[0])
        parts = [
            of(noisy, level)[:, c : c + 1] if level else torch.zeros_like(noisy[:, c : c + 1])
            for c, level in enumerate(self.levels)
        ]
        return torch.cat(parts, 1)

    def mean(self, noisy: Tensor, model: Any = None) -> Tensor:
        """The posterior mean by one step, neither clipped nor blended, with the shape of noisy, (1, C, h, w)."""
        model = self.model if model is None else model
        return self.by_channels(noisy, lambda x, sigma: x + sigma**2 * model.score(x, sigma=sigma))

    def stored(self, estimate: Tensor) -> np.ndarray:
        """An estimate, (1, C, h, w), as it is stored, with shape (h, w, C)."""
        result = (estimate[0] * self.white).permute(1, 2, 0)
        if self.pixels.dtype == np.uint8:
            return result.round().to(torch.uint8).cpu().numpy()
        values = result.cpu().numpy()
        return (np.rint(values) if self.whole else values).astype(self.pixels.dtype)


def _checked(sigma: float | Sequence[float], channels: int, unit: float) -> tuple[float, ...]:
    """Sigma, white being 1: one number, or one for each channel."""
    values = tuple(sigma) if isinstance(sigma, Sequence) else (sigma,)
    if len(values) not in (1, channels):
        raise UsageError(f"sigma has {len(values)} values, the image has {channels} channels")
    if not all(0 <= value < math.inf for value in values) or sigma == 0:
        raise UsageError(f"sigma is a positive number, not {sigma}")
    return tuple(value / unit for value in values)


def _with_stride(model: Any, stride: int) -> Any:
    if not hasattr(model, "with_stride"):
        raise UsageError("--stride is for models of patches, and this model is none")
    try:
        return model.with_stride(stride)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _paths(model: Any, noisy: Tensor, task: Task) -> Iterator[Tensor]:
    """`moves`, where channels may have levels of their own: each is that of the image moved at its level."""
    levels = task.levels
    if len(set(levels)) == 1:
        yield from moves(model, noisy, levels[0], task, task.seed)
        return
    alone = getattr(model, "channels", None) == 1

    def channel(c: int, level: float) -> Iterator[Tensor]:
        if level == 0:
            return
        if alone:
            # Far from the seeds of other samples, which follow each other.
            yield from moves(model, noisy[:, c : c + 1], level, task, (task.seed + c * APART) % 2**63)
        else:
            yield from (image[:, c : c + 1] for image in moves(model, noisy, level, task, task.seed))

    paths = [channel(c, level) for c, level in enumerate(levels)]
    planes = [*noisy.split(1, 1)]
    while True:  # a channel whose path has ended waits for the others
        moved = [next(path, None) for path in paths]
        if all(plane is None for plane in moved):
            return
        planes = [old if new is None else new for old, new in zip(planes, moved, strict=True)]
        yield torch.cat(planes, 1)


def moves(model: Any, noisy: Tensor, sigma: float, task: Task, seed: int) -> Iterator[Tensor]:
    """The estimates of a task's stepper, finite, with the shape of noisy, (B, C, h, w); of each channel by gray models.

    Raises:
        ModelError: The model takes another number of channels.
        SmdaeError: An estimate is not finite.
    """
    channels = getattr(model, "channels", noisy.shape[1])
    if channels not in (1, noisy.shape[1]):
        raise ModelError(
            f"the model takes {channels} channels, the image has {noisy.shape[1]}",
            "a gray model takes any image channel by channel",
        )
    images = noisy if channels == noisy.shape[1] else noisy.flatten(0, 1)[:, None]
    steps = Steps(task.steps, task.step_size, Generator().manual_seed(seed))
    walk = steps_of(model, images, sigma, task.stepper, steps)
    while True:
        with torch.inference_mode():  # not around a yield, where it would leak to whoever drives
            estimate = next(walk, None)
        if estimate is None:
            return
        yield estimate.reshape(noisy.shape)
