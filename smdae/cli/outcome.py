"""What comes of the pixels of one picture: denoised, adapted to, judged, and what else was asked for made of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from smdae.cli.extras import refuse_for, sampling
from smdae.cli.manner import Manner
from smdae.errors import InputError, UsageError

if TYPE_CHECKING:
    from smdae.denoising.judgement import Judgement
    from smdae.denoising.preparation import Prepared
    from smdae.denoising.selfchecks import SelfChecks
    from smdae.denoising.stabilised import Whitening
    from smdae.denoising.task import Task
    from smdae.estimation.estimate import Estimate
    from smdae.files.picture import Picture

__all__ = ["Found", "Noted", "Outcome", "denoised", "is_found", "look", "refuse_unit", "self_checked", "white_of"]

Watch = Callable[[int, int], object]
CHECKED = 256  # pixels a side, from the middle, that self-checks are made on


@dataclass(frozen=True, eq=False)
class Found:
    """The noise of a picture.

    Attributes:
        prepared: The picture as it is denoised.
        estimate: Its noise, white being 1.
        described: The noise in words.
        levels: On the 0 to 255 scale, of the whole picture or of each channel; 0 where there is none.
    """

    prepared: "Prepared"
    estimate: "Estimate"
    described: str
    levels: tuple[float, ...]

    @property
    def lost(self) -> int:
        """Return how many pixels are not finite numbers."""
        if self.prepared.original.dtype.kind == "u":
            return 0
        return int((~np.isfinite(np.atleast_3d(self.prepared.original))).any(2).sum())

    @property
    def is_banded(self) -> bool:
        """Return whether rows or columns had offsets, which were taken off."""
        return self.prepared.is_banded

    def noted(self) -> "Noted":
        """Return what there is to tell of it, which takes little memory."""
        return Noted(self.estimate, self.described, self.levels, self.lost, self.repaired, self.is_banded)

    @property
    def repaired(self) -> int:
        """Return how many pixels were outliers."""
        outliers = self.prepared.outliers
        return 0 if outliers is None else int(outliers.mask.any(2).sum())


@dataclass(frozen=True, eq=False)
class Noted:
    """What there is to tell of the noise of a picture, without the picture: attributes are those of `Found`."""

    estimate: "Estimate"
    described: str
    levels: tuple[float, ...]
    lost: int
    repaired: int
    is_banded: bool


@dataclass(frozen=True, eq=False)
class Outcome:
    """A denoised picture.

    Attributes:
        picture: The result.
        found: What was taken out.
        judgement: How good it is, estimated; None where nothing was done or a sample was drawn.
        task: What was done to its pixels; None where nothing was.
        mean: The task's own result, before it was finished or blended.
        frames: The pixels and what they were after each step, if they are wanted.
        finished: Makes a picture like the result of pixels like the task's.
    """

    picture: "Picture"
    found: Found
    judgement: "Judgement | None"
    task: "Task | None" = None
    mean: np.ndarray | None = None
    frames: Sequence[np.ndarray] = ()
    finished: "Callable[[np.ndarray], Picture] | None" = None


def white_of(picture: "Picture", manner: Manner) -> float:
    """Return the value of white in a picture; that of floats is told, not stored."""
    return manner.white or picture.white


def is_found(model: Any, manner: Manner) -> bool:
    """Return whether the level is the picture's, estimated."""
    return manner.levels is None and isinstance(manner.noise, str) and model.level is None and manner.strength > 0


def look(picture: "Picture", model: Any, manner: Manner, name: str) -> Found:
    """Return the noise of a picture, as it is told or found.

    Args:
        picture: As it was read.
        model: What is to take the noise out.
        manner: What was asked for.
        name: What messages call the picture.

    Raises:
        UsageError: The level that was given is in another unit, or the noise of another number of channels.
        InputError: No pixel counts, or nearly all are outliers.
    """
    from smdae.denoising.preparation import prepare
    from smdae.denoising.treatment import level_in, noise_for
    from smdae.estimation.scale import scale_of_integers

    if manner.black is not None and manner.black >= white_of(picture, manner):
        white = white_of(picture, manner)
        raise UsageError(f"--black {manner.black:g} is not below {white:g}, the white of '{name}'", "give --white too")
    visible = None if picture.alpha is None else picture.alpha > 0
    scale = manner.scale
    if scale is None and picture.stored is not None and manner.white is None and manner.black is None:
        scale = scale_of_integers(picture.pixels, picture.stored)
    try:
        keep, share = manner.levels is not None or model.level is not None, model.channels != 3
        prepared = prepare(picture.pixels, manner.white, manner.black, visible, keep, share, scale, manner.mend)
    except InputError as error:
        raise InputError(f"cannot denoise '{name}': {error.message}", error.hint) from None
    unit = white_of(picture, manner) / 255 / prepared.scale.span
    given = None if manner.levels is None else tuple(level * unit for level in manner.levels)
    if given is not None and len(given) > 1:
        channels = picture.pixels.shape[2] if picture.pixels.ndim == 3 else 1
        if len(given) != channels:
            raise UsageError(f"--sigma has {len(given)} values, and '{name}' has {channels} channels")
        given = given[:1] if prepared.is_shared else given
    kind = manner.noise
    if kind == "auto" and given is not None and manner.how.get("stepper", "tweedie") != "tweedie":
        kind = "white"  # which other samplers than the first are for
    found = noise_for(prepared, model, kind, given, picture.quality)
    noise = found.noise
    if noise.is_none:
        return Found(prepared, found, "none", (0.0,))
    # On the scale of 8 bits where the picture has a usual white, in its own unit elsewhere.
    shown = noise.scaled(255.0) if prepared.scale.standard or manner.white else noise.scaled(prepared.scale.span)
    described = shown.describe(prepared.sample() * shown.white, unit=1.0)
    if picture.quality is not None:
        described += f", JPEG quality {picture.quality}"
    elif found.jpeg is not None:
        described += f", once a JPEG of quality {found.jpeg}"
    if noise.kind == "white":
        return Found(prepared, found, described, tuple(level / unit for level in noise.levels))
    return Found(prepared, found, described, (level_in(prepared, noise) / unit,))


def refuse_unit(picture: "Picture", manner: Manner, name: str) -> None:
    """Raise UsageError where a level is given for floats whose values lie far beyond white 1."""
    from smdae.files.picture import likely_white

    if picture.pixels.dtype.kind != "f" or picture.stored or not manner.levels or manner.white is not None:
        return
    finite = picture.pixels[np.isfinite(picture.pixels)]
    largest = float(np.abs(finite).max()) if finite.size else 0.0
    white = likely_white(largest)
    if white is not None:
        raise UsageError(
            f"the values of '{name}' reach {largest:.4g}, and --sigma is told for white 1",
            f"did you mean --white {white:g}? or leave --sigma out",
        )


def denoised(
    picture: "Picture", model: Any, manner: Manner, watch: Watch | None, name: str = "the image", judging: bool = True
) -> Outcome:
    """Return the outcome for a picture; nothing is written. How good it is is estimated if `judging`."""
    from smdae.denoising.denoise import carried_out, path
    from smdae.denoising.judgement import judge
    from smdae.denoising.task import Task
    from smdae.files.picture import deeper, with_depth
    from smdae.memory import is_out_of_memory

    if manner.adapt:
        from smdae.fitting.adaptation import adapted, refuse_unadaptable
        from smdae.fitting.transform_spline import learnt_for

        refuse_unadaptable(model)
    white = white_of(picture, manner)
    noisy = with_depth(picture, manner.depth, white) if deeper(picture, manner.depth) else picture
    if noisy is not picture and manner.white is not None:
        manner = replace(manner, white=manner.white * noisy.white / picture.white)
    white = white_of(noisy, manner)
    if not manner.strength or not (manner.luma or manner.chroma):
        return Outcome(with_depth(noisy, manner.depth, white), _not_looked_at(noisy), None)
    found = look(noisy, model, manner, name)
    weights = None if manner.mask is None else _weights(manner, noisy)

    def finished(pixels: np.ndarray) -> "Picture":
        whole = found.prepared.restored(pixels)
        if weights is not None:
            whole = _between(noisy.pixels, whole, weights if whole.ndim == 2 else weights[:, :, None])
        return with_depth(replace(noisy, pixels=whole), manner.depth, white)

    if found.estimate.noise.is_none:
        mended = found.prepared.is_mended
        return Outcome(
            finished(found.prepared.pixels) if mended else with_depth(noisy, manner.depth, white), found, None
        )
    how: dict[str, Any] = {"tile": manner.tile, "or_cpu": manner.device == "auto", "watch": watch}
    how_much: dict[str, Any] = {"strength": manner.strength, "luma": manner.luma, "chroma": manner.chroma}

    def task_of(model: Any, whitened: "Sequence[Whitening] | None" = None) -> Task:
        noise = found.estimate.noise
        return Task.for_noise(found.prepared, model, noise, **how_much, **manner.how, whitened=whitened)

    def carry_out(task: Task) -> list[np.ndarray]:
        """The pixels, and what they are after each step, or the last alone."""
        # Where memory ran out before, the model may be elsewhere now.
        device = next(model.parameters()).device
        if not manner.extras.steps:
            return [carried_out(task, device, **how)]
        return [task.pixels, *(frame.copy() for frame in path(task, device, **how))]

    def judgement(task: Task, pixels: np.ndarray) -> "Judgement | None":
        if not task.single or not judging:  # of a sample, or of a mode, the error is another
            return None
        try:
            return judge(task, pixels, found.estimate.error if is_found(model, manner) else 0.0)
        except Exception as error:  # the result is there, and the better for being written
            if not is_out_of_memory(error):
                raise
            return None

    task = task_of(model)
    refuse_for(manner.extras, manner.blend, manner.adapt, task)
    frames = carry_out(task)
    pixels = frames[-1]
    judged = judgement(task, pixels)
    if manner.adapt and task.noise.kind == "shot":
        whitened, share = learnt_for(task, pixels, watch or (lambda done, of: None))
        if whitened:
            task = task_of(model, whitened)
            frames = carry_out(task)
            pixels = frames[-1]
            judged = judgement(task, pixels)  # hundreds of numbers cannot learn a picture's noise by heart
        judged = judged and replace(judged, transform=share)
    elif manner.adapt:
        better, gain = adapted(task, pixels, watch or (lambda done, of: None))
        if gain:
            task = task_of(better)
            frames = carry_out(task)
            pixels = frames[-1]
        # Of weights that were fitted to this very noise the estimate is too good; the gain is of what was held out.
        judged = judged and judged.better_by(gain)
    mean = pixels
    if manner.blend:
        sample = carried_out(sampling(task), next(model.parameters()).device, **how)
        pixels, judged = _between(pixels, sample, manner.blend), None
    return Outcome(finished(pixels), found, judged, task, mean, frames, finished)


def _not_looked_at(picture: "Picture") -> Found:
    """Return that there is nothing to take out, for a picture that is not to change."""
    from smdae.denoising.preparation import Prepared
    from smdae.estimation.estimate import Estimate
    from smdae.estimation.scale import Scale
    from smdae.noise import Noise

    nothing = Estimate(Noise.gaussian(0.0), 0.0)
    return Found(Prepared(picture.pixels, picture.pixels, Scale()), nothing, "none", (0.0,))


def _weights(manner: Manner, picture: "Picture") -> np.ndarray:
    """Return how much of a change is let through, 0 to 1, with shape (H, W)."""
    from smdae.files.images import luma, read

    assert manner.mask is not None
    mask = read(manner.mask, str(manner.mask))
    if not mask.is_finite:
        raise InputError(f"--mask '{manner.mask}' holds NaN or infinity", "it is to be from black to white")
    if mask.pixels.shape[:2] != picture.pixels.shape[:2]:
        height, width = mask.pixels.shape[:2]
        tall, wide = picture.pixels.shape[:2]
        raise InputError(
            f"--mask '{manner.mask}' is {width} x {height}, the picture {wide} x {tall}",
            "they must show the same picture",
        )
    return np.clip(luma(mask.pixels).astype(np.float64) / mask.white, 0, 1)


def _between(before: np.ndarray, after: np.ndarray, share: "float | np.ndarray") -> np.ndarray:
    """Return an image that is a share of the way from one to the other, of the dtype of the first."""
    values = before + share * (after.astype(np.float64) - before)
    result = (np.rint(values) if before.dtype.kind == "u" else values).astype(before.dtype)
    # Where nothing is to change not even a number that is none does.
    return np.where(np.broadcast_to(np.asarray(share) == 0, result.shape), before, result)


def self_checked(task: "Task", seed: int = 0) -> "SelfChecks | None":
    """The self-checks of a task's model in the middle of its image; of its first noisy channel by gray models.

    None where noise was cut off or is not white, or where channels that the model takes together have levels of their
    own.
    """
    from torch import Generator

    from smdae.denoising.selfchecks import selfchecks
    from smdae.memory import is_out_of_memory

    if task.is_clipped or task.noise.kind != "white" or (len(set(task.levels)) > 1 and task.loaded.channels != 1):
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
