"""Denoise a stream frame by frame as it arrives: video as Y4M, or pictures that follow each other."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from smdae.errors import InputError, OutputError
from smdae.files import images, sequence, y4m
from smdae.files.images import decoding, opening
from smdae.files.picture import Picture
from smdae.files.sequence import Ahead, begins_one, first_of
from smdae.files.writing import whole
from smdae.files.y4m import MAGIC, Header, Readable, exactly
from smdae.pipeline.model_choice import ModelFor
from smdae.pipeline.options import Options, refuse_options
from smdae.pipeline.outcome import denoised
from smdae.pipeline.picture_noise import find_noise
from smdae.pipeline.places import STREAM, Job
from smdae.pipeline.reading import called, converted, refuse_misnamed
from smdae.pipeline.records import frames_record
from smdae.pipeline.replacing import refuse_result
from smdae.pipeline.result_format import kind_of, refuse_other_format

if TYPE_CHECKING:
    from smdae.estimation.scale import Scale
    from smdae.noise import Noise

PLANES = ("luma", "chroma", "chroma")
Item = TypeVar("Item")


def streamed(job: Job, options: Options, model_for: ModelFor) -> tuple[bytes | None, dict[str, Any] | None]:
    """Denoise a video or several pictures from stdin, write them, and return (None, the JSON record).

    If stdin holds a single picture, nothing is denoised and (its bytes, None) is returned.
    """
    from smdae.pipeline.reading import piped

    if job.source != STREAM:
        with opening(str(job.source)):
            file = job.source.open("rb")
        with file:
            return None, video(job, options, model_for, file, str(job.source))
    begun = exactly(sys.stdin.buffer, len(MAGIC))
    stream = Ahead(begun, sys.stdin.buffer)
    if begun == MAGIC:
        return None, video(job, options, model_for, stream, "stdin")
    first, then = first_of(stream)
    if begins_one(then):
        return None, pictures(job, options, model_for, first, then, sys.stdin.buffer)
    return piped(first + then + stream.left), None


def video(job: Job, options: Options, model_for: ModelFor, stream: Readable, name: str) -> dict[str, Any]:
    """Denoise a Y4M stream to stdout or a file, and return its JSON record.

    Luma and chroma are denoised separately, each at its own size, where the noise is as the camera left it.
    """
    _refuse(options, depth=True)
    refuse_misnamed(job, options, "a Y4M stream", [y4m.ENDING])
    refuse_other_format(job, options, "a Y4M stream", [y4m.ENDING], f"name it {y4m.ENDING}, or -o -")
    if job.target != STREAM and not options.will_make(job.target.parent):
        refuse_result(job, options.overwrite)
    with decoding(f"'{name}'"):
        header = y4m.read_header(stream)
    model = model_for(Picture(np.zeros((1, 1), np.uint8), 255.0, "PNG"))  # luma is gray
    planes = _Planes(header, model, options, name)
    done = 0

    def frames() -> Iterator[bytes | memoryview]:
        nonlocal done
        yield header.line
        for line, frame in _each(y4m.frames(stream, header), name):
            yield from y4m.encoded(line, planes.denoised(done, frame), header)
            done += 1

    _copy(job, options, frames(), lambda: done)
    return frames_record(job, model, done)


def pictures(
    job: Job, options: Options, model_for: ModelFor, first: bytes, begun: bytes, stream: Readable
) -> dict[str, Any]:
    """Denoise pictures that follow each other in stdin, write them in the same order, and return the JSON record.

    The first, and the beginning of the second, are read already; the stream has the rest.
    """
    from smdae.denoising.steady import Steady

    _refuse(options, depth=False)
    if job.target != STREAM:
        raise OutputError(f"stdin holds many pictures, and '{job.target}' takes one", "write them to stdout: -o -")
    done = 0
    scale: Scale | None = None

    def noise_of(frame: "tuple[Picture, Any]") -> "Noise":
        nonlocal scale
        found = find_noise(*frame, options, "stdin")
        scale = found.prepared.scale
        options.messages.note(f"{f'frame {done + 1}: ' if done else ''}noise: {found.described}")
        return found.in_unit

    steady: Steady[tuple[Picture, Any]] = Steady(noise_of)

    def clean(picture: Picture) -> Picture:
        model = model_for(picture)
        noise = steady.at(done, (picture, model)) if options.strength else None
        if noise is None or noise.is_none:
            return converted(picture, options)
        shared = replace(options, noise=noise, scale=scale, levels=None)
        return denoised(picture, model, shared, None, "stdin", judging=False).picture

    def frames() -> Iterator[bytes | memoryview]:
        nonlocal done
        for data in chain([first], _each(sequence.more_of(begun, stream), "stdin")):
            picture = images.read(data, f"frame {done + 1} of stdin")
            kind = kind_of(job, picture, options)
            yield images.encode(clean(picture), kind, options.quality)
            done += 1

    _copy(job, options, frames(), lambda: done)
    return {"input": str(job.source), "output": str(job.target), "frames": done}


def _each(items: Iterator[Item], name: str) -> Iterator[Item]:
    """Yield the items as they are read; an error while reading names the stream."""
    while True:
        with decoding(f"'{name}'"):
            item = next(items, None)
        if item is None:
            return
        yield item


def _copy(job: Job, options: Options, pieces: Iterator[bytes | memoryview], done: Callable[[], int]) -> None:
    """Write pieces as they come, to stdout or a file.

    Raises:
        InputError: The stream is damaged. If whole frames came before, they stay written, and the message says so.
    """
    from smdae.pipeline.placing import origin_of, put_result

    failed: InputError | None = None

    def readable() -> Iterator[bytes | memoryview]:
        nonlocal failed
        try:
            yield from pieces
        except InputError as error:
            if not done() or job.replaced is not None:  # in place, what cannot be read would be lost
                raise
            failed = error
        if not done():
            raise InputError(f"cannot read '{called(job)}': it has no frames")

    def write(target: Path) -> None:
        if done():  # the stream cannot be read again
            raise OutputError(f"cannot write '{target}': its folder is gone", "make it again")
        with whole(target, overwrite=options.overwrite, origin=origin_of(job, options.messages)) as put:
            for piece in readable():
                put(piece)

    put_result(job, write, readable, options.stdout)
    if failed is not None:
        frames = "frame before it is" if done() == 1 else f"{done():,} frames before it are"
        raise InputError(f"{failed.message}; the {frames} written", failed.hint)


def _refuse(options: Options, depth: bool) -> None:
    """Raise UsageError for options that do not go with streams; with `depth` also for those that do not go with Y4M."""
    from smdae.noise import Noise

    asked = {
        "--adapt": options.adapt,
        "--blend": options.blend,
        "--save-noise": options.profile,
        "--linear": options.linear,
        "--sigma of several channels": options.levels is not None and len(options.levels) > 1,
        "--quality": depth and options.quality and not options.many,
        "--bit-depth": depth and options.depth,
        "--white": depth and options.white,
        "--black": depth and options.black is not None,
        "a noise profile": depth and isinstance(options.noise, Noise),
        f"--sampler {options.task_options['sampler']}": depth and options.task_options["sampler"] != "tweedie",
        options.selection.option: options.selection.some,
    }
    refuse_options(options, asked, "a stream")


class _Planes:
    """The planes of the frames of a video, each denoised by itself."""

    def __init__(self, header: Header, model: Any, options: Options, name: str) -> None:
        from smdae.denoising.steady import Steady
        from smdae.estimation.scale import Scale

        self.header, self.model, self.options = header, model, options
        self.name = f"'{name}': " if options.many else ""
        self.scale: Scale = Scale(0.0, float(header.white), (0.0, float(header.white)))
        count = len(header.shapes) - header.has_alpha
        self.steady: list[Steady[np.ndarray]] = [Steady(self._noise) for _ in range(count)]
        self.described: dict[str, str] = {}

    def denoised(self, number: int, planes: list[np.ndarray]) -> list[np.ndarray]:
        """Return the planes of a frame, denoised; alpha stays as it is."""
        results = [self._plane(number, k, planes[k]) for k in range(len(self.steady))]
        self._say_noise(number)
        return results + planes[len(results) :]

    def _plane(self, number: int, k: int, plane: np.ndarray) -> np.ndarray:
        share = self.options.strength * (self.options.chroma if k else self.options.luma)
        if not share:
            return plane
        noise = self.steady[k].at(number, plane)
        if noise.is_none:
            return plane
        if not self.header.is_interlaced:
            return self._field(plane, noise, share)
        result = np.empty_like(plane)
        for field in (slice(0, None, 2), slice(1, None, 2)):
            if plane[field].size:
                result[field] = self._field(np.ascontiguousarray(plane[field]), noise, share)
        return result

    def _field(self, plane: np.ndarray, noise: "Noise", share: float) -> np.ndarray:
        from smdae.denoising.denoise import run_task
        from smdae.denoising.preparation import Prepared
        from smdae.denoising.task import Task

        prepared = Prepared(plane, plane, self.scale)
        task: Task = Task.for_noise(prepared, self.model, noise, strength=share, **self.options.task_options)
        device = next(self.model.parameters()).device
        result = run_task(task, device, tile=self.options.tile, or_cpu=self.options.device == "auto")
        found: np.ndarray = np.minimum(result, self.header.white).astype(plane.dtype, copy=False)
        return found

    def _noise(self, plane: np.ndarray) -> "Noise":
        from smdae.denoising.preparation import Prepared
        from smdae.denoising.treatment import noise_for

        field = np.ascontiguousarray(plane[::2]) if self.header.is_interlaced and len(plane) > 1 else plane
        given = None if self.options.levels is None else (self.options.levels[0] / 255,)
        return noise_for(Prepared(field, field, self.scale), self.model, self.options.noise, given).noise

    def _say_noise(self, number: int) -> None:
        """Say what the noise of the first frame is, and from which frame on it differs."""
        now = {
            name: steady.noise.scaled(255.0).describe()
            for name, steady in zip(PLANES, self.steady, strict=False)
            if steady.noise is not None and (name == "luma" or name not in self.described or steady.since == number)
        }
        if now and {**self.described, **now} != self.described:
            self.described.update(now)
            since = "" if number == 0 else f"from frame {number + 1} on "
            words = "; ".join(f"{name} {text}" for name, text in now.items())
            self.options.messages.note(f"{self.name}{since}noise: {words}")
