"""Denoise the pixels of one picture: find its noise, denoise, judge the result, and adapt or blend if asked to."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from smdae.errors import InputError
from smdae.files.images import read
from smdae.files.orientation import lying_over
from smdae.files.picture import Picture, deeper, luma, with_depth
from smdae.pipeline.extras import refuse_for, sampling
from smdae.pipeline.found_noise import PictureNoise
from smdae.pipeline.options import Options
from smdae.pipeline.picture_noise import find_noise, is_noise_estimated
from smdae.progress import Watch

if TYPE_CHECKING:
    from smdae.denoising.judgement import Judgement
    from smdae.denoising.stabilised import Whitening
    from smdae.denoising.task import Task


@dataclass(frozen=True, eq=False)
class Outcome:
    """A denoised picture.

    Attributes:
        judgement: The estimated quality; None if nothing was done or a sample was drawn.
        task: The task that was carried out; None if nothing was done.
        mean: The task's own result, before it was finished or blended.
        frames: The pixels before the first step and, if they are wanted, after each.
        finished: Turns pixels like the task's into a picture like the result.
    """

    picture: Picture
    found: PictureNoise
    judgement: "Judgement | None"
    task: "Task | None" = None
    mean: np.ndarray | None = None
    frames: Sequence[np.ndarray] = ()
    finished: Callable[[np.ndarray], Picture] | None = None


@dataclass(frozen=True, eq=False)
class _Run:
    """The denoising of one picture, whose noise is known."""

    found: PictureNoise
    model: Any
    options: Options
    watch: Watch | None
    judging: bool

    def task(self, model: Any, whitened: "Sequence[Whitening] | None" = None) -> "Task":
        """Return the task of denoising the picture with a model, and with learnt transforms if there are any."""
        from smdae.denoising.task import Task

        options = self.options
        return Task.for_noise(
            self.found.prepared,
            model,
            self.found.noise,
            strength=options.strength,
            luma=options.luma,
            chroma=options.chroma,
            whitened=whitened,
            **options.task_options,
        )

    @property
    def how(self) -> dict[str, Any]:
        """Return the arguments of `run_task`; the device is the model's, which may have moved to the CPU."""
        return {
            "device": next(self.model.parameters()).device,
            "tile": self.options.tile,
            "or_cpu": self.options.device == "auto",
            "watch": self.watch,
        }

    @property
    def level_error(self) -> float:
        """Return the relative standard error of the level of the noise; 0 if it was given."""
        return self.found.estimate.error if is_noise_estimated(self.model, self.options) else 0.0

    def judgement(self, task: "Task", pixels: np.ndarray) -> "Judgement | None":
        """Estimate the quality of a result; return None for a sample or a mode, or if memory does not suffice."""
        from smdae.denoising.judgement import judge
        from smdae.memory import if_it_fits

        if not task.is_one_step or not self.judging:
            return None
        return if_it_fits(lambda: judge(task, pixels, self.level_error))

    def adapted(
        self, task: "Task", mean: np.ndarray, judgement: "Judgement | None", frames: deque[np.ndarray]
    ) -> "tuple[Task, np.ndarray, Judgement | None]":
        """Adapt to the picture, and return the better task, its result and the judgement of that, or those given.

        For shot noise the transform that makes it white is learnt, for other noise the network is fitted further.

        Args:
            task: The task before.
            mean: Its result.
            judgement: The judgement of that.
            frames: The image after each of its steps, if they are wanted; they give way to those of the better task.
        """
        from smdae.denoising.denoise import run_task
        from smdae.fitting.adaptation import adapted
        from smdae.fitting.transform_spline import learnt_for

        watch = self.watch or (lambda done, of: None)
        if task.noise.kind == "shot":
            whitened, share = learnt_for(task, mean, watch)
            if whitened:
                frames.clear()
                task = self.task(self.model, whitened)
                mean = run_task(task, **self.how, see=frames.append)
                judgement = self.judgement(task, mean)  # a few hundred numbers cannot overfit to the noise
            return task, mean, judgement and replace(judgement, transform=share)
        better, gain, error = adapted(task, mean, watch, level_error=self.level_error or task.noise.level_error)
        if gain:
            frames.clear()
            task = self.task(better)
            mean = run_task(task, **self.how, see=frames.append)
        # Judging weights that were fitted to this very noise would be too optimistic; the gain was held out of the fit.
        return task, mean, judgement and judgement.better_by(gain, error)

    def blended(self, task: "Task", mean: np.ndarray) -> np.ndarray:
        """Return the posterior mean moved towards a sample of the posterior, as far as `blend` says."""
        from smdae.denoising.denoise import run_task

        sample = run_task(sampling(task), **self.how)
        return _between(mean, sample, self.options.blend)


def denoised(
    picture: Picture, model: Any, options: Options, watch: Watch | None, name: str = "the image", judging: bool = True
) -> Outcome:
    """Return a picture denoised, without writing anything; `judging` says whether its quality is estimated.

    Raises:
        UsageError, InputError, DivergedError, MemoryLimitError: As `find_noise`, `refuse_for` and `denoise`.
        OutputError: The picture holds NaN or infinity, and the result integers.
    """
    if options.adapt:
        from smdae.fitting.adaptation import refuse_unadaptable

        refuse_unadaptable(model)
    white = options.white_of(picture)
    noisy = with_depth(picture, options.depth, white) if deeper(picture, options.depth) else picture
    if noisy is not picture:
        options = _in_unit_of(noisy, picture, model, options)
    white = options.white_of(noisy)
    if options.takes_nothing_out:
        return Outcome(with_depth(noisy, options.depth, white), _no_noise(noisy), None)
    found = find_noise(noisy, model, options, name)
    weights = None if options.mask is None else _weights(options, noisy)

    def finished(pixels: np.ndarray) -> Picture:
        whole = found.prepared.restored(pixels)
        if weights is not None:
            whole = _between(noisy.pixels, whole, weights if whole.ndim == 2 else weights[:, :, None])
        return with_depth(replace(noisy, pixels=whole), options.depth, white)

    if found.noise.is_none:
        mended = found.prepared.is_mended
        result = finished(found.prepared.pixels) if mended else with_depth(noisy, options.depth, white)
        return Outcome(result, found, None)
    from smdae.denoising.denoise import run_task

    run = _Run(found, model, options, watch, judging)
    task = run.task(model)
    if not task.changes:  # none of the brightness is wanted, and there are no colours
        return Outcome(with_depth(noisy, options.depth, white), found, None)
    refuse_for(options.extras, options.blend, options.adapt, task)
    frames: deque[np.ndarray] = deque(maxlen=None if options.extras.steps else 0)
    mean = run_task(task, **run.how, see=frames.append)
    judgement = run.judgement(task, mean)
    if options.adapt:
        task, mean, judgement = run.adapted(task, mean, judgement, frames)
    pixels = mean
    if options.blend:
        pixels, judgement = run.blended(task, mean), None
    if judgement is not None and weights is not None and weights.min() < 1:
        judgement = replace(judgement, doubts=(*judgement.doubts, "the mask keeps noise in a part of the picture"))
    return Outcome(finished(pixels), found, judgement, task, mean, (task.pixels, *frames), finished)


def _in_unit_of(deep: Picture, picture: Picture, model: Any, options: Options) -> Options:
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


def _no_noise(picture: Picture) -> PictureNoise:
    """Return noise of level 0, for a picture that is to stay as it is and was not examined."""
    from smdae.denoising.preparation import Prepared
    from smdae.estimation.estimate import Estimate
    from smdae.estimation.scale import Scale
    from smdae.noise import Noise

    nothing = Estimate(Noise.gaussian(0.0), 0.0)
    return PictureNoise(Prepared(picture.pixels, picture.pixels, Scale()), nothing)


def _weights(options: Options, picture: Picture) -> np.ndarray:
    """Return the mask as weights from 0, no change, to 1, full change, with shape (H, W).

    Raises:
        InputError: The mask cannot be read, holds NaN or infinity, or has another size than the picture.
    """
    assert options.mask is not None
    mask = read(options.mask, str(options.mask))
    if not mask.is_finite:
        raise InputError(f"--mask '{options.mask}' holds NaN or infinity", "its values must be from black to white")
    tall, wide = picture.pixels.shape[:2]
    pixels = lying_over(mask.pixels, mask.metadata, picture.metadata, (tall, wide))
    if pixels.shape[:2] != (tall, wide):
        height, width = mask.pixels.shape[:2]
        raise InputError(
            f"--mask '{options.mask}' is {width} x {height}, the picture {wide} x {tall}",
            "they must show the same picture",
        )
    return np.clip(luma(pixels).astype(np.float64) / mask.white, 0, 1)


def _between(before: np.ndarray, after: np.ndarray, share: "float | np.ndarray") -> np.ndarray:
    """Return the image a share of the way from `before`, 0, to `after`, 1, with the dtype of `before`."""
    values = before + share * (after.astype(np.float64) - before)
    result = (np.rint(values) if before.dtype.kind == "u" else values).astype(before.dtype)
    # 0 times NaN is NaN: pixels that are to stay as they are must not be computed.
    return np.where(np.broadcast_to(np.asarray(share) == 0, result.shape), before, result)
