"""From noisy arrays to clean ones of the same shape and dtype.

Pixels go to a scale where white is 1, move along the score, and come back rounded and clipped, floats neither. A gray
model takes the channels of a colour image one by one. In one step every tile is done for itself; where there are more
the whole image takes each, its score computed by tiles. Where memory runs out, tiles become smaller, and then the CPU
takes over if it may.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smdae.checked import refuse_other_types
from smdae.denoising.pages import tasks_of
from smdae.denoising.pictures import given
from smdae.denoising.precision import exact
from smdae.denoising.task import Task
from smdae.denoising.tiles import SMALLEST, Tiled, side_for, tiles_for
from smdae.device import named
from smdae.errors import MemoryLimitError, UsageError
from smdae.estimation.estimate import Kind
from smdae.memory import give_back, is_out_of_memory
from smdae.noise import Noise
from smdae.progress import Watch, part_of

__all__ = ["carried_out", "denoise", "path"]

LARGE_TILE = 4096  # pixels a side, where tiles are cut for each pass of the network
LARGE = 20_000_000  # numbers in an image, after which what the tiles took is given back


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
    """Denoise an image, or the pages of a stack, which share the noise that is found.

    Args:
        image: With shape (H, W), (H, W, C), (N, H, W) or (N, H, W, C), three axes being (H, W, C) if the last has 1 to
            4 numbers; integers of 8, 16 or 32 bits, or floats. White is 255, 65535, the largest value of another type
            of integers, or 1 for floats. Or the path of a file.
        model: A loaded model, the path of a model file, or the name of a bundled one; None for the bundled one that
            fits: natural-gray, or natural-color for three channels. An object of your own has `score(x)` or
            `score(x, sigma)` for tensors (B, C, H, W), white being 1.
        sigma: Level of the noise, white being 255 for integers of any depth, and in the image's own unit for floats; a
            number, or one for each channel, 0 for one without noise; None for the level that the model was made for
            or, if that is many, the image's, estimated.
        axes: A letter for each axis of an array in another order: H or Y, W or X, C or S for channels, and N, T or Z
            for pages.
        noise: What kind it is, `white`, `shot` or `grain`, or a `Noise` in the image's own unit; `auto` or None to
            find out, of which sigma then is the total level.
        strength: How much of the way to the estimate, 0 to 1: 0 is the image itself.
        luma: How much of that for the brightness of an image in colour.
        chroma: How much of that for its colours.
        sampler: A name of SAMPLERS.
        steps: How many, 1 to 1000; None for the sampler's own number.
        step_size: What the sampler takes it to be; None for its own.
        seed: Of the noise that some samplers draw.
        stride: Pixels between the patches of a patch model: more is faster and a little worse. None: the model's.
        tile: Side of the tiles in pixels; None for what memory allows. The result is the same.
        ensemble: Take the mean over the eight flips and turns of the image: a little better, eight times the time.
        white: The value of white; None for 255, 65535, or 1 for floats; without sigma, 16 bits and floats of another
            range are brought to it.
        black: The value of black; None for 0.
        precision: Of products in networks: float32, bfloat16, float16; auto is float16 for integers on CUDA, and
            float32 for all else.
        device: Where to compute: cpu, cuda, cuda:N, mps, or auto for what there is.
        or_cpu: Whether the CPU may take over where the device has not enough memory.
        watch: Called with the number of tiles or steps done and of all.
        stepper: The name that `sampler` had in version 0.1; None for `sampler`.

    Returns:
        An array of the same shape and dtype; floats are not clipped. Of a file its pixels, (H, W) or (H, W, C), alpha
        being the last channel, and (N, H, W) or (N, H, W, C) of one with pages.

    Raises:
        UsageError: The shape, the dtype, sigma, the tile, the sampler or its steps are none that can be taken, sigma is
            larger than white, or a model of your own failed.
        InputError: The file cannot be read, or no pixel counts.
        ModelError: The model is missing, broken, or made for other channels.
        DeviceError: There is no such device.
        DivergedError: The step size was too large.
        MemoryLimitError: There is not enough memory even for small tiles.
    """
    device = named(device)
    told = given(image, axes)
    how = {
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
    for k, task in enumerate(tasks_of(told, model, sigma, noise, device, how)):
        seen = part_of(watch, k, len(told.pictures))
        result = task.prepared.restored(carried_out(task, device, tile=tile, or_cpu=or_cpu, watch=seen))
        results.append(result.astype(told.pictures[k].dtype, copy=False))
    return told.joined(results)


def carried_out(
    task: Task,
    device: torch.device | str = "cpu",
    *,
    tile: int | None = None,
    or_cpu: bool = False,
    watch: Watch | None = None,
) -> np.ndarray:
    """Return the result of a task, an array like its image; arguments and errors as those of `denoise`."""
    result: np.ndarray | None = None
    with exact():
        for result in path(task, device, tile=tile, or_cpu=or_cpu, watch=watch):  # noqa: B007  the last is the answer
            pass
    return task.pixels.copy() if result is None else result


def path(
    task: Task,
    device: torch.device | str = "cpu",
    *,
    tile: int | None = None,
    or_cpu: bool = False,
    watch: Watch | None = None,
) -> Iterator[np.ndarray]:
    """Yield a task's image after each step, arrays like it; nothing if no noise is to be taken out.

    Where memory runs out at the first step, all of which take the same, the path starts again with smaller tiles.
    """
    refuse_other_types({"tile": tile})
    if tile is not None and tile < SMALLEST:
        raise UsageError(f"a tile is at least {SMALLEST} pixels on a side, not {tile}")
    if not task.changes:
        return
    where = torch.device(device)
    fits = max(task.pixels.shape[:2]) <= SMALLEST  # then to ask for the memory would take longer than the work
    side = tile or (SMALLEST if fits else side_for(task.base, where))
    walk = _by_tiles if task.single else _as_a_whole
    begun = False
    while True:
        try:
            for result in walk(task, side, where, watch):
                begun = True
                yield result.reshape(task.pixels.shape)
            break
        except Exception as error:
            if begun or not is_out_of_memory(error):
                raise
        side = min(side, max(task.pixels.shape[:2])) // 2
        if side < SMALLEST:
            if where.type == "cpu" or not or_cpu:
                raise MemoryLimitError(f"not enough memory, even for tiles of {SMALLEST} x {SMALLEST} pixels")
            where, side = torch.device("cpu"), tile or side_for(task.model, torch.device("cpu"))
            task.loaded.to(where)
    if task.pixels.size > LARGE:
        give_back()


def _by_tiles(task: Task, side: int, where: torch.device, watch: Watch | None) -> Iterator[np.ndarray]:
    """Yield the image, (H, W, C), after its one step, taken tile by tile."""
    height, width = task.pixels.shape[:2]
    model = task.form(task.quick(where))
    if task.is_wide:
        model, side = task.form(Tiled(task.quick(where), side, where)), LARGE_TILE
    cut = [*tiles_for(model, height, width, side)]
    result = np.empty_like(task.planes)
    for done, tile in enumerate(cut):
        if watch:
            watch(done, len(cut))
        noisy = task.noisy(tile.seen, torch.device("cpu") if task.is_wide else where)
        (clean,) = task.estimates(noisy, model)
        result[tile.kept] = task.stored(clean)[tile.inner]
    yield result


def _as_a_whole(task: Task, side: int, where: torch.device, watch: Watch | None) -> Iterator[np.ndarray]:
    """Yield the image, (H, W, C), after each of its steps."""
    noisy: Tensor = task.noisy((slice(None), slice(None)), torch.device("cpu"))
    tiled = Tiled(task.form(task.quick(where)), side, where)
    if watch:
        watch(0, task.steps)
    for done, estimate in enumerate(task.estimates(noisy, tiled), 1):
        yield task.stored(estimate)
        if watch:
            watch(done, task.steps)
