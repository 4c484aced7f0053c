"""The files that `denoise` writes beside its result: samples, the path to it, its uncertainty, principal components."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smdae.errors import InputError, UsageError
from smdae.pipeline.picture_names import parted_name
from smdae.pipeline.places import STREAM, Job
from smdae.progress import Watch

if TYPE_CHECKING:
    import numpy as np

    from smdae.denoising.judgement import Judgement
    from smdae.denoising.task import Task

MAX_SAMPLES, MAX_COMPONENTS = 1000, 100
MAPS = (".png", ".tif", ".tiff", ".npy")
FILMS = (".gif", ".png")


@dataclass(frozen=True)
class Extras:
    """The files to write beside the result.

    Attributes:
        steps: Where the path from noise to image goes: a GIF, a PNG with all its steps, or a folder; None for nowhere.
        uncertainty: Where the standard deviation of each pixel goes; None for nowhere.
    """

    samples: int = 0
    steps: Path | None = None
    folder: bool = False
    uncertainty: Path | None = None
    components: int = 0

    @property
    def some(self) -> bool:
        """Return whether any such file is asked for."""
        return bool(self.option)

    @property
    def option(self) -> str:
        """Return the first option that asks for such a file; empty if none does."""
        asked = {
            "--samples": self.samples,
            "--save-steps": self.steps,
            "--uncertainty": self.uncertainty,
            "--components": self.components,
        }
        return next((name for name, wanted in asked.items() if wanted), "")


def refuse(extras: Extras, jobs: Sequence[Job], reference: Path | None = None) -> None:
    """Raise UsageError for extras that are impossible, do not suit these pictures, or would overwrite another file."""
    for name, count, most in (
        ("samples", extras.samples, MAX_SAMPLES),
        ("components", extras.components, MAX_COMPONENTS),
    ):
        if not 0 <= count <= most:
            raise UsageError(f"--{name} {count} is not from 0 to {most}")
    for name, path, endings in (("uncertainty", extras.uncertainty, MAPS), ("save-steps", extras.steps, FILMS)):
        is_folder = name == "save-steps" and extras.folder
        if path is not None and path.suffix.lower() not in endings and not is_folder:
            folder = ", or a folder: NAME/" if name == "save-steps" else ""
            raise UsageError(f"--{name} '{path}' has an unknown extension; it is one of {', '.join(endings)}{folder}")
    if (extras.samples or extras.components) and any(job.target == STREAM for job in jobs):
        raise UsageError(
            "--samples and --components are written beside the result, which goes to stdout", "name a file with -o"
        )
    if extras.some:
        taken = {os.path.realpath(path) for path in (jobs[0].source, jobs[0].target, reference) if path}
        for path in targets(extras, jobs[0]):
            if os.path.realpath(path) in taken:
                raise UsageError(f"'{path}' would be written over another picture of this call", "name another file")
            taken.add(os.path.realpath(path))


def refuse_for(extras: Extras, blend: float, adapt: bool, task: "Task") -> None:
    """Refuse extras that cannot be made with this model for this picture, before any work.

    Raises:
        UsageError: The kind of noise does not allow them, the model cannot draw samples, the sampler gives a sample
            where `blend` needs a mean, or there are fewer pixels than components.
        InputError: Components are wanted, and a channel has no noise.
    """
    from smdae.denoising.samplers import SAMPLERS

    wanted = {
        "--samples": extras.samples,
        "--blend": blend,
        "--components": extras.components,
        "--uncertainty": extras.uncertainty,
        "--adapt": adapt,
    }
    kind = task.noise.kind
    asked = [name for name, value in wanted.items() if value and not (name == "--adapt" and kind == "shot")]
    if asked and kind != "white":
        kinds = "white and shot" if asked[0] == "--adapt" else "white"
        raise UsageError(
            f"{asked[0]} is for {kinds} noise, and that of this picture is {kind}",
            "treat it as white with --noise white, or leave the option out",
        )
    if blend and SAMPLERS[task.walk.sampler].is_random:
        sampler = task.walk.sampler
        raise UsageError(f"--blend goes from a mean to a sample, and '{sampler}' gives samples", "leave one out")
    if extras.samples or blend:
        sampling(task)
    if extras.components and 0 in task.channel_levels:
        raise InputError("--components: a channel has no noise, and so no variance", "give --sigma one level for all")
    if extras.components > task.pixels.size:
        raise UsageError(f"an image of {task.pixels.size} numbers has no {extras.components} components")


def targets(extras: Extras, job: Job) -> list[Path]:
    """Return the files that will be written beside the result; for steps in a folder, the folder."""
    beside = [*_numbered(job.target, "sample", extras.samples, job.target.suffix)]
    beside += _numbered(job.target, "component", extras.components, ".png")
    return beside + [path for path in (extras.steps, extras.uncertainty) if path is not None]


def _numbered(target: Path, what: str, count: int, ending: str) -> Iterator[Path]:
    for k in range(1, count + 1):
        yield target.with_name(f"{parted_name(target.name)[0]}_{what}{k:0{len(str(count))}}{ending}")


def sampling(task: "Task") -> "Task":
    """Return the task with a sampler that draws samples of the posterior: its own if it does, else `langevin`.

    Raises:
        UsageError: The model was fitted for a single level of noise, and `langevin` needs many.
    """
    from smdae.denoising.samplers import SAMPLERS, checked_steps, refuse_single_level

    if SAMPLERS[task.walk.sampler].is_random:
        return task
    refuse_single_level("langevin", task.loaded)
    steps, size = checked_steps("langevin")
    return replace(task, walk=replace(task.walk, sampler="langevin", steps=steps, size=size))


def encoded_extras(
    extras: Extras,
    job: Job,
    task: "Task",
    *,
    mean: "np.ndarray",
    judgement: "Judgement | None",
    frames: "Sequence[np.ndarray]",
    encode: Callable[["np.ndarray"], bytes],
    orientation: int,
    device: Any,
    watch: Watch,
) -> Iterator[tuple[Path, bytes]]:
    """Compute the extras, and yield the path and the bytes of each file; nothing is written.

    Raises:
        UsageError, DivergedError, MemoryLimitError: As `run_task` and `principal_components`.
        OutputError: The format of the result cannot hold a sample, or a film too many steps.
    """
    from smdae.files.orientation import upright

    if extras.samples:
        yield from _samples(extras, job, task, encode, device, watch)
    if extras.components:
        yield from _components(extras, job, task, mean, orientation, device, watch)
    if extras.uncertainty:
        yield extras.uncertainty, _uncertainty(extras.uncertainty, task, judgement, orientation, device, watch)
    if extras.steps:
        yield from _steps(extras.steps, extras.folder, [upright(frame, orientation) for frame in frames], task.white)


def _samples(
    extras: Extras, job: Job, task: "Task", encode: Callable[["np.ndarray"], bytes], device: Any, watch: Watch
) -> Iterator[tuple[Path, bytes]]:
    """Yield samples of the posterior, each with its own seed."""
    from smdae.denoising.denoise import run_task

    sampler = sampling(task)
    first = 1 if sampler is task else 0  # then the result is the sample of the task's own seed
    for k, path in enumerate(_numbered(job.target, "sample", extras.samples, job.target.suffix), first):
        yield (
            path,
            encode(
                run_task(replace(sampler, walk=replace(sampler.walk, seed=task.walk.seed + k)), device, watch=watch)
            ),
        )


def _components(
    extras: Extras, job: Job, task: "Task", mean: "np.ndarray", orientation: int, device: Any, watch: Watch
) -> Iterator[tuple[Path, bytes]]:
    """Yield a sheet for each principal component: the mean moved along it, to either side, and the component alone."""
    import numpy as np

    from smdae.denoising.components import ends_of, principal_components
    from smdae.files.orientation import upright
    from smdae.files.views import sheet

    components = principal_components(task, extras.components, device, watch)
    paths = _numbered(job.target, "component", extras.components, ".png")
    for component, path in zip(components, paths, strict=True):
        low, high = ends_of(task, mean, component)
        shown = 0.5 + 0.5 * component.direction / np.abs(component.direction).max()
        views = [upright(view, orientation) for view in (low, mean, high, task.white * shown.reshape(mean.shape))]
        yield path, sheet(views, task.white, columns=4)


def _uncertainty(
    path: Path, task: "Task", judgement: "Judgement | None", orientation: int, device: Any, watch: Watch
) -> bytes:
    """Return the posterior standard deviation of each pixel, as a heat map for PNG and as values for NPY and TIFF."""
    import numpy as np

    from smdae.denoising.uncertainty import deviation_of
    from smdae.files.images import encode
    from smdae.files.orientation import upright
    from smdae.files.picture import from_samples
    from smdae.files.views import heat_map

    deviation = deviation_of(task, judgement, device, watch)
    if path.suffix.lower() == ".png":
        flat = deviation if deviation.ndim == 2 else np.sqrt(np.square(deviation).mean(2))
        return heat_map(upright(flat, orientation), f"posterior standard deviation, white being {task.white:g}")
    format = "NPY" if path.suffix.lower() == ".npy" else "TIFF"
    return encode(from_samples(deviation, format), format)


def _steps(path: Path, is_folder: bool, frames: "Sequence[np.ndarray]", white: float) -> Iterator[tuple[Path, bytes]]:
    """Yield the path from noise to image: a PNG for each step in a folder, or one film or sheet of all."""
    from smdae.files.views import film, sheet, still

    if is_folder:
        for k, frame in enumerate(frames):
            yield path / f"{k:0{len(str(len(frames)))}}.png", still(frame, white)
    else:
        yield path, (film if path.suffix.lower() == ".gif" else sheet)(frames, white)
