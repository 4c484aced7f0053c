"""From a noisy array to a clean one of the same shape and dtype.

Pixels go to a scale where white is 1, move along the score a tile at a time, and come back rounded and clipped, floats
neither. A gray model takes the channels of a colour image one by one. Where memory runs out, tiles become smaller, and
then the CPU takes over if it may.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smdae.denoising import noise_level
from smdae.denoising.steppers import STEPPERS
from smdae.denoising.symmetries import Symmetric
from smdae.denoising.tiles import SMALLEST, side_for, tiles
from smdae.errors import MemoryLimitError, ModelError, SmdaeError, UsageError
from smdae.memory import give_back, is_out_of_memory

__all__ = ["Task", "Watch", "carried_out", "denoise", "levels_for", "move"]

Watch = Callable[[int, int], object]
ALIKE = 0.1  # how far the levels of channels may be apart to count as one
LARGE = 20_000_000  # numbers in an image, after which what the tiles took is given back


def move(model: Any, noisy: Tensor, sigma: float, stepper: str = "tweedie") -> Tensor:
    """The stepper's last estimate.

    Args:
        model: A score model of images.
        noisy: Images, white being 1, with shape (B, C, H, W).
        sigma: Level of the noise, white being 1.
        stepper: A name of STEPPERS.

    Raises:
        ModelError: The model takes another number of channels.
        SmdaeError: The result is not finite.
    """
    channels = getattr(model, "channels", noisy.shape[1])
    if channels == 1 and noisy.shape[1] > 1:
        planes = noisy.flatten(0, 1)[:, None]
        return move(model, planes, sigma, stepper).reshape(noisy.shape)
    if channels != noisy.shape[1]:
        raise ModelError(
            f"the model takes {channels} channels, the image has {noisy.shape[1]}",
            "a gray model takes any image channel by channel",
        )
    estimate = noisy
    with torch.inference_mode():
        for estimate in STEPPERS[stepper](model, noisy, sigma):  # noqa: B007  the last one is the answer
            pass
    if not estimate.isfinite().all():
        raise SmdaeError("the model's answer has values that are not numbers")
    return estimate


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


def denoise(
    image: Any,
    model: Any = None,
    sigma: float | Sequence[float] | None = None,
    *,
    strength: float = 1.0,
    stepper: str = "tweedie",
    stride: int | None = None,
    tile: int | None = None,
    ensemble: bool = False,
    white: float | None = None,
    device: torch.device | str = "cpu",
    or_cpu: bool = False,
    watch: Watch | None = None,
) -> np.ndarray:
    """Denoise one image.

    Args:
        image: With shape (H, W) or (H, W, C); uint8, uint16 or float. White is 255, 65535, or 1 for floats.
        model: A loaded model, the path of a model file, or the name of a bundled one; None for the bundled one that
            fits: natural-gray, or natural-color for three channels.
        sigma: Level of the noise: on the 0 to 255 scale for integers, in the image's own unit for floats; a number, or
            one for each channel, 0 for one without noise; None for the level that the model was made for or, if that
            is many, the image's, estimated.
        strength: How much of the way to the estimate, 0 to 1: 0 is the image itself.
        stepper: A name of STEPPERS.
        stride: Pixels between the patches of a patch model: more is faster and a little worse. None: the model's.
        tile: Side of the tiles in pixels; None for what memory allows. The result is the same.
        ensemble: Take the mean over the eight flips and turns of the image: a little better, eight times the time.
        white: The value of white; None for 255, 65535, or 1 for floats.
        device: Where to compute.
        or_cpu: Whether the CPU may take over where the device has not enough memory.
        watch: Called with the number of tiles done and of all tiles.

    Returns:
        An array of the same shape and dtype; floats are not clipped.

    Raises:
        UsageError: The shape, the dtype, sigma, the tile or the stepper is none that can be taken.
        ModelError: The model is missing, broken, or made for other channels.
        MemoryLimitError: There is not enough memory even for small tiles.
    """
    task = Task.of(
        image,
        model,
        sigma,
        strength=strength,
        stepper=stepper,
        stride=stride,
        ensemble=ensemble,
        white=white,
        device=device,
    )
    return carried_out(task, device, tile=tile, or_cpu=or_cpu, watch=watch)


def carried_out(
    task: "Task",
    device: torch.device | str = "cpu",
    *,
    tile: int | None = None,
    or_cpu: bool = False,
    watch: Watch | None = None,
) -> np.ndarray:
    """The result of a task, an array like its image; arguments and errors as those of `denoise`."""
    if tile is not None and tile < SMALLEST:
        raise UsageError(f"a tile is at least {SMALLEST} pixels on a side, not {tile}")
    pixels = task.pixels
    if not task.changes:
        return pixels.copy()
    where = torch.device(device)
    side = tile or side_for(task.model, where)
    while (result := _by_tiles(task, side, where, watch)) is None:
        side = min(side, max(pixels.shape[:2])) // 2
        if side < SMALLEST:
            if where.type == "cpu" or not or_cpu:
                raise MemoryLimitError(f"not enough memory, even for tiles of {SMALLEST} x {SMALLEST} pixels")
            where, side = torch.device("cpu"), tile or side_for(task.model, torch.device("cpu"))
            task.loaded.to(where)
    if pixels.size > LARGE:
        give_back()
    return result.reshape(pixels.shape)


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
    """

    pixels: np.ndarray
    white: float
    loaded: Any
    model: Any
    levels: tuple[float, ...]
    strength: float
    stepper: str

    @classmethod
    def of(
        cls,
        image: Any,
        model: Any = None,
        sigma: float | Sequence[float] | None = None,
        *,
        strength: float = 1.0,
        stepper: str = "tweedie",
        stride: int | None = None,
        ensemble: bool = False,
        white: float | None = None,
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
        if stepper not in STEPPERS:
            raise UsageError(f"unknown stepper '{stepper}'; there are {', '.join(STEPPERS)}")
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
        levels = (
            levels_for(model, pixels, white) if sigma is None else _checked(sigma, channels, 255 if whole else white)
        )
        chosen = _with_stride(model, stride) if stride is not None else model
        if hasattr(chosen, "clipped") and noise_level.is_clipped(pixels, white):
            chosen = chosen.clipped(1.0)
        if ensemble:
            chosen = Symmetric(chosen)
        return cls(pixels, white, model, chosen, levels, strength, stepper)

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
        with np.errstate(over="ignore"):  # what is too large for float32 has no finite answer, and `move` says so
            values = np.array(self.planes[part].transpose(2, 0, 1), np.float32, order="C")
        return torch.from_numpy(values)[None].to(where) / self.white

    def estimate(self, noisy: Tensor) -> Tensor:
        """The clean images that belong to noisy ones like this, white being 1, with shape (B, C, h, w)."""
        estimate = _by_channels(self.model, noisy, self.levels, self.stepper)
        if self.strength != 1:
            estimate = torch.lerp(noisy, estimate, self.strength)
        return estimate.clamp(0, 1) if self.whole else estimate

    def stored(self, estimate: Tensor) -> np.ndarray:
        """An estimate, (1, C, h, w), as it is stored, with shape (h, w, C)."""
        result = (estimate[0] * self.white).permute(1, 2, 0).cpu().numpy()
        return (np.rint(result) if self.whole else result).astype(self.pixels.dtype)


def _checked(sigma: float | Sequence[float], channels: int, unit: float) -> tuple[float, ...]:
    """Sigma, white being 1: one number, or one for each channel."""
    values = tuple(sigma) if isinstance(sigma, Sequence) else (sigma,)
    if len(values) not in (1, channels):
        raise UsageError(f"sigma has {len(values)} values, the image has {channels} channels")
    if not all(0 <= value < math.inf for value in values) or sigma == 0:
        raise UsageError(f"sigma is a positive number, not {sigma}")
    return tuple(value / unit for value in values)


def _by_channels(model: Any, noisy: Tensor, levels: tuple[float, ...], stepper: str) -> Tensor:
    """`move`, where channels may have levels of their own: each is that of the image moved at its level."""
    if len(set(levels)) == 1:
        return move(model, noisy, levels[0], stepper)
    alone = getattr(model, "channels", None) == 1
    planes = []
    for c, level in enumerate(levels):
        plane = noisy[:, c : c + 1]
        if level > 0:
            plane = move(model, plane, level, stepper) if alone else move(model, noisy, level, stepper)[:, c : c + 1]
        planes.append(plane)
    return torch.cat(planes, 1)


def _by_tiles(task: Task, side: int, where: torch.device, watch: Watch | None) -> np.ndarray | None:
    """All tiles of the image, (H, W, C), worked upon; None if memory ran out."""
    height, width = task.pixels.shape[:2]
    model = task.model
    if not hasattr(model, "reach"):  # what lies beyond a tile might matter however far away
        side = max(height, width)
    cut = [*tiles(height, width, side, getattr(model, "reach", 0), getattr(model, "multiple", 1))]
    result = np.empty_like(task.planes)
    for done, tile in enumerate(cut):
        if watch:
            watch(done, len(cut))
        try:
            result[tile.kept] = task.stored(task.estimate(task.noisy(tile.seen, where)))[tile.inner]
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return None
    return result


def _with_stride(model: Any, stride: int) -> Any:
    if not hasattr(model, "with_stride"):
        raise UsageError("--stride is for models of patches, and this model is none")
    try:
        return model.with_stride(stride)
    except ValueError as error:
        raise UsageError(str(error)) from None
