"""Denoise arrays: from noisy ones to clean ones of the same shape and dtype.

Pixels are scaled so that white is 1, moved along the score, and scaled back; integers are then rounded and clipped,
floats are not. A gray model takes the channels of a colour image one at a time. A sampler of one step works tile by
tile; one of several steps moves the whole image, and only its score is computed by tiles. If memory runs out, the
tiles are halved; if even the smallest do not fit, the CPU takes over where that is allowed.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smdae.checked import refuse_other_types
from smdae.denoising.pages import tasks_of
from smdae.denoising.pictures import pictures_of
from smdae.denoising.precision import exact
from smdae.denoising.task import Task
from smdae.denoising.tiles import SMALLEST, Tiled, side_for, tiles_for
from smdae.device import named
from smdae.errors import MemoryLimitError, UsageError
from smdae.estimation.estimate import Kind
from smdae.memory import give_back, is_out_of_memory
from smdae.noise import Noise
from smdae.progress import Watch, part_of

LARGE_TILE = 4096  # pixels a side of the outer tiles, where the network inside the denoiser is tiled by itself
LARGE = 20_000_000  # values of an image, after which freed memory is returned to the system


def denoise(
    image: Any,
    model: Any = None,
    sigma: float | Sequence[float] | None = None,
    *,
    axes: str | None = None,
    noise: Kind | Noise | None = None,
    strength: float = 1.0,
    luma: float = 1.0,
    chroma: float = 1.0,
    sampler: str = "tweedie",
    steps: int | None = None,
    step_size: float | None = None,
    seed: int = 0,
    stride: int | None = None,
    tile: int | None = None,
    ensemble: bool = False,
    white: float | None = None,
    black: float | None = None,
    precision: str = "auto",
    device: torch.device | str = "cpu",
    or_cpu: bool = False,
    watch: Watch | None = None,
    stepper: str | None = None,
) -> np.ndarray:
    """Denoise an image, or the pages of a stack, which share one estimate of the noise.

    Args:
        image: An array with shape (H, W), (H, W, C), (N, H, W) or (N, H, W, C), a Pillow image, or the path of a file.
            Three axes are (H, W, C) if the last has length 1 to 4. Integers of 8, 16 or 32 bits, whose white is the
            largest value of their type, or floats, whose white is 1. No channel of an array counts as alpha.
        model: A loaded model, the path of a model file, or the name of a bundled one; None for the bundled one that
            fits: natural-gray, or natural-color for three channels. Or an object of your own with `score(x)` or
            `score(x, sigma)`, x having shape (B, C, H, W) and white being 1.
        sigma: Level of the noise, white being 255 for integers of any depth, and in the image's own unit for floats. A
            number, or one for each channel, 0 for a channel without noise. None for the one level that the model was
            made for, or, if it was made for a range, the level estimated from the image.
        axes: A letter for each axis of an array in another order: H or Y, W or X, C or S for channels, and N, T or Z
            for pages.
        noise: The kind of noise, `white`, `shot` or `grain`, or a `Noise` in the image's own unit; `auto` or None to
            find it. If sigma is given too, the noise is scaled to that total level.
        strength: How much of the noise is taken out, 0 to 1; 0 returns the image unchanged.
        luma: The share of `strength` for the brightness of a colour image, 0 to 1.
        chroma: The share of `strength` for the colours of a colour image, 0 to 1.
        sampler: A name of SAMPLERS.
        steps: Number of steps, 1 to 1000; None for the sampler's default.
        step_size: Step size in the sampler's own unit; None for its default.
        seed: Seed of the noise that some samplers draw.
        stride: Pixels between the patches of a patch model: more is faster and a little worse. None for the model's.
        tile: Side of the tiles in pixels, 64 or more; None for what memory allows. The result is the same.
        ensemble: Take the mean over the eight flips and turns of the image: a little better, eight times the time.
        white: The value of white; None for that of the type. Without sigma, 16-bit images and floats whose values
            clearly have another range are given the white of that range.
        black: The value of black; None for 0.
        precision: Precision of the products in networks: float32, bfloat16 or float16. auto is float32 for floats. For
            integers auto is float16 on CUDA; on CPUs that multiply bfloat16 faster it is bfloat16, unless the noise is
            strong or the image small; elsewhere float32.
        device: Where to compute: cpu, cuda, cuda:N, mps, or auto for what there is.
        or_cpu: Whether the CPU may take over if the device has too little memory.
        watch: Called with the number of tiles or steps done, and with their total.
        stepper: The name that `sampler` had in version 0.1; None for `sampler`.

    Returns:
        An array of the same shape and dtype; floats are not clipped. Pixels that are not finite, or that alpha hides,
        are as they were. For a file, an array (H, W) or (H, W, C), or with a leading N for several pages; alpha, if
        there is any, is the last channel.

    Raises:
        UsageError: An argument is out of range or unknown, the shape or dtype cannot be denoised, sigma is larger than
            white, or a model of your own failed.
        InputError: The file cannot be read, or no pixel is valid.
        ModelError: The model is missing, broken, or made for other channels.
        DeviceError: There is no such device.
        DivergedError: The step size was too large.
        MemoryLimitError: There is not enough memory even for small tiles.
    """
    device = named(device)
    pictures = pictures_of(image, axes)
    options = {
        "strength": strength,
        "luma": luma,
        "chroma": chroma,
        "sampler": sampler if stepper is None else stepper,
        "steps": steps,
        "step_size": step_size,
        "seed": seed,
        "stride": stride,
        "ensemble": ensemble,
        "white": white,
        "black": black,
        "precision": precision,
    }
    results = []
    for k, task in enumerate(tasks_of(pictures, model, sigma, noise, device, options)):
        if task is None:
            results.append(pictures.arrays[k])
            continue
        progress = part_of(watch, k, len(pictures.arrays))
        result = task.prepared.restored(run_task(task, device, tile=tile, or_cpu=or_cpu, watch=progress))
        results.append(result.astype(pictures.arrays[k].dtype, copy=False))
    return pictures.joined(results)


def run_task(
    task: Task,
    device: torch.device | str = "cpu",
    *,
    tile: int | None = None,
    or_cpu: bool = False,
    watch: Watch | None = None,
    see: Callable[[np.ndarray], object] = lambda image: None,
) -> np.ndarray:
    """Carry out a task, and return the denoised image, an array like the task's image.

    All steps take the same memory: if it runs out at the first, that step is tried again with smaller tiles.

    Args:
        task: The task; its image is returned as it is, in a copy, if there is no noise to take out.
        device: A device of torch, or its name, but not `auto`.
        tile: As for `denoise`.
        or_cpu: As for `denoise`.
        watch: As for `denoise`.
        see: Called with the image after each step, the last included; not called if there is no noise to take out.

    Raises:
        UsageError, DivergedError, MemoryLimitError: As `denoise`.
    """
    refuse_other_types({"tile": tile})
    if tile is not None and tile < SMALLEST:
        raise UsageError(f"a tile is at least {SMALLEST} pixels on a side, not {tile}")
    if not task.changes:
        return task.pixels.copy()
    where = torch.device(device)
    is_small = max(task.pixels.shape[:2]) <= SMALLEST  # asking for the free memory would take longer than the work
    side = tile or (SMALLEST if is_small else side_for(task.base, where))
    steps = _by_tiles if task.is_one_step else _as_a_whole
    result: np.ndarray | None = None
    while result is None:
        try:
            with exact():
                for planes in steps(task, side, where, watch):
                    result = planes.reshape(task.pixels.shape)
                    see(result)
        except Exception as error:
            if result is not None or not is_out_of_memory(error):
                raise
        if result is None:
            side, where = _smaller(task, side, where, tile, or_cpu)
    if task.pixels.size > LARGE:
        give_back()
    return result


def _smaller(task: Task, side: int, where: torch.device, tile: int | None, or_cpu: bool) -> tuple[int, torch.device]:
    """Return the side of smaller tiles, and the device to try them on, after memory ran out; move the model there.

    Raises:
        MemoryLimitError: There are no smaller tiles, nor another device.
    """
    side = min(side, max(task.pixels.shape[:2])) // 2
    if side >= SMALLEST:
        return side, where
    if where.type == "cpu" or not or_cpu:
        raise MemoryLimitError(
            f"not enough memory, even for tiles of {SMALLEST} x {SMALLEST} pixels",
            "close other programs, or cut the image into smaller ones",
        )
    cpu = torch.device("cpu")
    task.loaded.to(cpu)
    return tile or side_for(task.model, cpu), cpu


def _by_tiles(task: Task, side: int, where: torch.device, watch: Watch | None) -> Iterator[np.ndarray]:
    """Yield the image, (H, W, C), after its one step, computed tile by tile."""
    height, width = task.pixels.shape[:2]
    model = task.treat(task.base_on(where))
    if task.is_wide:
        model, side = task.treat(Tiled(task.base_on(where), side, where)), LARGE_TILE
    tiles = [*tiles_for(model, height, width, side)]
    result = np.empty_like(task.planes)
    for done, tile in enumerate(tiles):
        if watch:
            watch(done, len(tiles))
        noisy = task.noisy(tile.padded, torch.device("cpu") if task.is_wide else where)
        (clean,) = task.estimates(noisy, model)
        result[tile.kept] = task.stored(clean)[tile.inner]
    yield result


def _as_a_whole(task: Task, side: int, where: torch.device, watch: Watch | None) -> Iterator[np.ndarray]:
    """Yield the image, (H, W, C), after each of its steps."""
    noisy: Tensor = task.noisy((slice(None), slice(None)), torch.device("cpu"))
    tiled = Tiled(task.treat(task.base_on(where)), side, where)
    if watch:
        watch(0, task.walk.steps)
    for done, estimate in enumerate(task.estimates(noisy, tiled), 1):
        yield task.stored(estimate)
        if watch:
            watch(done, task.walk.steps)
