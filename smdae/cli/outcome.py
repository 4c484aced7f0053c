"""What comes of the pixels of one picture: denoised, adapted to, judged, and what else was asked for made of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from smdae.cli.extras import refuse_for, sampling
from smdae.cli.manner import Manner

if TYPE_CHECKING:
    from smdae.denoising.judgement import Judgement
    from smdae.denoising.selfchecks import SelfChecks
    from smdae.denoising.task import Task
    from smdae.files.picture import Picture

__all__ = ["Outcome", "denoised", "is_found", "self_checked", "white_of"]

Watch = Callable[[int, int], object]
CHECKED = 256  # pixels a side, from the middle, that self-checks are made on


@dataclass(frozen=True, eq=False)
class Outcome:
    """A denoised picture.

    Attributes:
        picture: The result.
        levels: On the 0 to 255 scale, that were taken out.
        judgement: How good it is, estimated; None where nothing was done or a sample was drawn.
        task: What was done to its pixels; None where nothing was.
        mean: The task's own result, before it was finished or blended.
        frames: The pixels and what they were after each step, if they are wanted.
        finished: Makes a picture like the result of pixels like the task's.
    """

    picture: "Picture"
    levels: tuple[float, ...]
    judgement: "Judgement | None"
    task: "Task | None" = None
    mean: np.ndarray | None = None
    frames: Sequence[np.ndarray] = ()
    finished: "Callable[[np.ndarray], Picture] | None" = None


def white_of(picture: "Picture", manner: Manner) -> float:
    """The value of white in a picture that was read or came of one; that of floats is told, not stored."""
    return manner.white or 1.0 if picture.pixels.dtype.kind == "f" else picture.white


def is_found(model: Any, manner: Manner) -> bool:
    """Whether the level is the picture's, estimated."""
    return manner.levels is None and model.level is None and manner.strength > 0


def denoised(picture: "Picture", model: Any, manner: Manner, watch: Watch | None) -> Outcome:
    """The outcome for a picture; nothing is written."""
    from smdae.denoising.denoise import carried_out, path
    from smdae.denoising.judgement import judge
    from smdae.denoising.task import Task, levels_for
    from smdae.files.picture import deeper, with_depth
    from smdae.memory import is_out_of_memory

    if manner.adapt:
        from smdae.fitting.adaptation import adapted, refuse_unadaptable

        refuse_unadaptable(model)
    white = white_of(picture, manner)
    noisy = with_depth(picture, manner.depth, white) if deeper(picture, manner.depth) else picture
    floats = noisy.pixels.dtype.kind == "f"
    white = white if noisy is picture else noisy.white
    levels = manner.levels or (0.0,)
    if manner.levels is None and manner.strength:
        levels = tuple(255 * level for level in levels_for(model, noisy.pixels, white))

    def finished(pixels: np.ndarray) -> "Picture":
        return with_depth(replace(noisy, pixels=pixels), manner.depth, white)

    if not any(levels) or not manner.strength:
        return Outcome(finished(noisy.pixels), levels, None)
    scaled = [level * white / 255 if floats else level for level in levels]
    how: dict[str, Any] = {"tile": manner.tile, "or_cpu": manner.device == "auto", "watch": watch}

    def task_of(model: Any) -> Task:
        return Task.of(noisy.pixels, model, scaled, strength=manner.strength, white=white, **manner.how)

    def carry_out(task: Task) -> list[np.ndarray]:
        """The pixels, and what they are after each step, or the last alone."""
        # Where memory ran out before, the model may be elsewhere now.
        device = next(model.parameters()).device
        if not manner.extras.steps:
            return [carried_out(task, device, **how)]
        return [noisy.pixels, *(frame.copy() for frame in path(task, device, **how))]

    task, judged = task_of(model), None
    refuse_for(manner.extras, manner.blend, task)
    frames = carry_out(task)
    pixels = frames[-1]
    if task.single:  # of a sample, or of a mode, the error is another
        try:
            judged = judge(task, pixels, estimated=is_found(model, manner))
        except Exception as error:  # the result is there, and the better for being written
            if not is_out_of_memory(error):
                raise
    if manner.adapt:
        better, gain = adapted(task, pixels, watch or (lambda done, of: None))
        if gain:
            task = task_of(better)
            frames = carry_out(task)
            pixels = frames[-1]
        # Of weights that were fitted to this very noise the estimate is too good; the gain is of what was held out.
        judged = judged and replace(judged, psnr=judged.psnr + gain, gain=gain)
    mean = pixels
    if manner.blend:
        sample = carried_out(sampling(task), next(model.parameters()).device, **how)
        pixels, judged = _between(pixels, sample, manner.blend), None
    return Outcome(finished(pixels), levels, judged, task, mean, frames, finished)


def _between(mean: np.ndarray, sample: np.ndarray, share: float) -> np.ndarray:
    """An image that is a share of the way from the mean to the sample, of their dtype."""
    values = mean + share * (sample.astype(np.float64) - mean)
    return (np.rint(values) if mean.dtype.kind == "u" else values).astype(mean.dtype)


def self_checked(task: "Task", seed: int = 0) -> "SelfChecks | None":
    """The self-checks of a task's model in the middle of its image; of its first noisy channel by gray models.

    None where noise was cut off, or where channels that the model takes together have levels of their own.
    """
    from torch import Generator

    from smdae.denoising.noise_level import is_clipped
    from smdae.denoising.selfchecks import selfchecks
    from smdae.memory import is_out_of_memory

    if is_clipped(task.pixels, task.white) or (len(set(task.levels)) > 1 and task.loaded.channels != 1):
        return None
    height, width = task.pixels.shape[:2]
    middle = tuple(slice(max(0, (side - CHECKED) // 2), (side + CHECKED) // 2) for side in (height, width))
    noisy = task.noisy((middle[0], middle[1]), next(task.loaded.parameters()).device)
    channel = int(np.argmax(np.array(task.channel_levels) > 0))
    if getattr(task.model, "channels", None) == 1:
        noisy = noisy[:, channel : channel + 1]
    try:
        return selfchecks(task.model, noisy, task.channel_levels[channel], Generator().manual_seed(seed))
    except Exception as error:  # the result is there, and is not to be lost
        if is_out_of_memory(error):
            return None
        raise
