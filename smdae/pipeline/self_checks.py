"""The self-checks of a posterior mean, in the middle of a picture that was denoised."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from smdae.denoising.selfchecks import SelfChecks
    from smdae.denoising.task import Task

__all__ = ["self_checked"]

CHECKED = 256  # pixels a side, from the middle, that self-checks are made on


def self_checked(task: "Task", seed: int = 0) -> "SelfChecks | None":
    """Run the self-checks of a task's model on the middle of its image, and return their figures.

    A model of gray is checked on the first noisy channel. The result is None where the noise is clipped or not white,
    where channels that the model takes together have different levels, or where memory does not suffice.
    """
    from torch import Generator

    from smdae.denoising.selfchecks import selfchecks
    from smdae.memory import is_out_of_memory

    if task.scale.may_clip or task.noise.kind != "white" or (len(set(task.levels)) > 1 and task.loaded.channels != 1):
        return None
    height, width = task.pixels.shape[:2]
    middle = tuple(slice(max(0, (side - CHECKED) // 2), (side + CHECKED) // 2) for side in (height, width))
    noisy = task.noisy((middle[0], middle[1]), next(task.loaded.parameters()).device)
    channel = int(np.argmax(np.array(task.channel_levels) > 0))
    if task.model.channels == 1:
        noisy = noisy[:, channel : channel + 1]
    try:
        return selfchecks(task.model, noisy, task.channel_levels[channel], Generator().manual_seed(seed))
    except Exception as error:  # the result is there, and is not to be lost
        if is_out_of_memory(error):
            return None
        raise
