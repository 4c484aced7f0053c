"""The work on the pixels of one picture: find the noise, adapt the model if asked to, denoise, finish, judge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from smdae.errors import InputError
from smdae.pipeline.extras import refuse_for, sampling
from smdae.pipeline.found import Found, is_found, look, white_of
from smdae.pipeline.options import Options
from smdae.progress import Watch

if TYPE_CHECKING:
    from smdae.denoising.judgement import Judgement
    from smdae.denoising.stabilised import Whitening
    from smdae.denoising.task import Task
    from smdae.files.picture import Picture

__all__ = ["Outcome", "denoised"]


@dataclass(frozen=True, eq=False)
class Outcome:
    """A denoised picture.

    Attributes:
        picture: The result.
        found: The noise that was removed.
        judgement: The estimate of its quality; None where nothing was done or a sample was drawn.
        task: The task by which its pixels were denoised; None where nothing was done.
        mean: The task's own result, before it was finished or blended.
        frames: The pixels before the first step and after each, if they are wanted; else the last alone.
        finished: Makes a picture like the result of pixels like the task's.
    """

    picture: "Picture"
    found: Found
    judgement: "Judgement | None"
    task: "Task | None" = None
    mean: np.ndarray | None = None
    frames: Sequence[np.ndarray] = ()
    finished: "Callable[[np.ndarray], Picture] | None" = None


def denoised(
    picture: "Picture", model: Any, options: Options, watch: Watch | None, name: str = "the image", judging: bool = True
) -> Outcome:
    """Denoise a picture and return the outcome, with an estimate of its quality if `judging`; nothing is written."""
    from smdae.denoising.denoise import path, run_task
    from smdae.denoising.judgement import judge
    from smdae.denoising.task import Task
    from smdae.files.picture import deeper, with_depth
    from smdae.memory import is_out_of_memory

    if options.adapt:
        from smdae.fitting.adaptation import adapted, refuse_unadaptable
        from smdae.fitting.transform_spline import learnt_for

        refuse_unadaptable(model)
    white = white_of(picture, options)
    noisy = with_depth(picture, options.depth, white) if deeper(picture, options.depth) else picture
    if noisy is not picture:
        options = _in_unit_of(noisy, picture, model, options)
    white = white_of(noisy, options)
    if not options.strength or not (options.luma or options.chroma):
        return Outcome(with_depth(noisy, options.depth, white), _not_looked_at(noisy), None)
    found = look(noisy, model, options, name)
    weights = None if options.mask is None else _weights(options, noisy)

    def finished(pixels: np.ndarray) -> "Picture":
        whole = found.prepared.restored(pixels)
        if weights is not None:
            whole = _between(noisy.pixels, whole, weights if whole.ndim == 2 else weights[:, :, None])
        return with_depth(replace(noisy, pixels=whole), options.depth, white)

    if found.estimate.noise.is_none:
        mended = found.prepared.is_mended
        return Outcome(
            finished(found.prepared.pixels) if mended else with_depth(noisy, options.depth, white), found, None
        )
    how: dict[str, Any] = {"tile": options.tile, "or_cpu": options.device == "auto", "watch": watch}
    how_much: dict[str, Any] = {"strength": options.strength, "luma": options.luma, "chroma": options.chroma}

    def task_of(model: Any, whitened: "Sequence[Whitening] | None" = None) -> Task:
        noise = found.estimate.noise
        return Task.for_noise(found.prepared, model, noise, **how_much, **options.how, whitened=whitened)

    def carry_out(task: Task) -> list[np.ndarray]:
        """Return the pixels before the first step and after each if the path is wanted, else the last alone."""
        # Where memory ran out before, the model may be elsewhere now.
        device = next(model.parameters()).device
        if not options.extras.steps:
            return [run_task(task, device, **how)]
        return [task.pixels, *(frame.copy() for frame in path(task, device, **how))]

    def judgement(task: Task, pixels: np.ndarray) -> "Judgement | None":
        if not task.single or not judging:  # of a sample, or of a mode, the error is another
            return None
        try:
            return judge(task, pixels, found.estimate.error if is_found(model, options) else 0.0)
        except Exception as error:  # the result is there, and the better for being written
            if not is_out_of_memory(error):
                raise
            return None

    task = task_of(model)
    refuse_for(options.extras, options.blend, options.adapt, task)
    frames = carry_out(task)
    pixels = frames[-1]
    judged = judgement(task, pixels)
    if options.adapt and task.noise.kind == "shot":
        whitened, share = learnt_for(task, pixels, watch or (lambda done, of: None))
        if whitened:
            task = task_of(model, whitened)
            frames = carry_out(task)
            pixels = frames[-1]
            judged = judgement(task, pixels)  # hundreds of numbers cannot learn a picture's noise by heart
        judged = judged and replace(judged, transform=share)
    elif options.adapt:
        better, gain = adapted(task, pixels, watch or (lambda done, of: None))
        if gain:
            task = task_of(better)
            frames = carry_out(task)
            pixels = frames[-1]
        # Of weights that were fitted to this very noise the estimate is too good; the gain is of what was held out.
        judged = judged and judged.better_by(gain)
    mean = pixels
    if options.blend:
        sample = run_task(sampling(task), next(model.parameters()).device, **how)
        pixels, judged = _between(pixels, sample, options.blend), None
    return Outcome(finished(pixels), found, judged, task, mean, frames, finished)


def _in_unit_of(deep: "Picture", picture: "Picture", model: Any, options: Options) -> Options:
    """Return the settings for a picture converted to deeper samples, with white, black, scale and noise in its unit."""
    from smdae.estimation.scale import scale_of
    from smdae.noise import Noise

    factor = deep.white / picture.white
    keep = options.levels is not None or model.level is not None
    scale = options.scale or scale_of(picture.pixels, options.white, options.black, keep)
    return replace(
        options,
        white=options.white and options.white * factor,
        black=options.black and options.black * factor,
        scale=scale.times(factor),
        noise=options.noise.scaled(factor) if isinstance(options.noise, Noise) else options.noise,
    )


def _not_looked_at(picture: "Picture") -> Found:
    """Return noise of level 0, for a picture that is to stay as it is."""
    from smdae.denoising.preparation import Prepared
    from smdae.estimation.estimate import Estimate
    from smdae.estimation.scale import Scale
    from smdae.noise import Noise

    nothing = Estimate(Noise.gaussian(0.0), 0.0)
    return Found(Prepared(picture.pixels, picture.pixels, Scale()), nothing, "none", (0.0,))


def _weights(options: Options, picture: "Picture") -> np.ndarray:
    """Return the mask as weights from 0, no change, to 1, full change, with shape (H, W).

    Raises:
        InputError: The mask cannot be read, holds NaN or infinity, or has another size than the picture.
    """
    from smdae.files.images import luma, read

    assert options.mask is not None
    mask = read(options.mask, str(options.mask))
    if not mask.is_finite:
        raise InputError(f"--mask '{options.mask}' holds NaN or infinity", "it is to be from black to white")
    if mask.pixels.shape[:2] != picture.pixels.shape[:2]:
        height, width = mask.pixels.shape[:2]
        tall, wide = picture.pixels.shape[:2]
        raise InputError(
            f"--mask '{options.mask}' is {width} x {height}, the picture {wide} x {tall}",
            "they must show the same picture",
        )
    return np.clip(luma(mask.pixels).astype(np.float64) / mask.white, 0, 1)


def _between(before: np.ndarray, after: np.ndarray, share: "float | np.ndarray") -> np.ndarray:
    """Return the image a share of the way from `before`, 0, to `after`, 1, with the dtype of `before`."""
    values = before + share * (after.astype(np.float64) - before)
    result = (np.rint(values) if before.dtype.kind == "u" else values).astype(before.dtype)
    # Where nothing is to change not even a number that is none does.
    return np.where(np.broadcast_to(np.asarray(share) == 0, result.shape), before, result)
