"""The work on one picture: read it, refuse what cannot be, find model and level, denoise, write."""

import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from smdae.cli import console
from smdae.cli.model_choice import choose, load_denoiser, tell_levels, tell_quality
from smdae.cli.places import STREAM, Job, check_target
from smdae.errors import InputError, OutputError

if TYPE_CHECKING:
    from smdae.denoising.judgement import Judgement
    from smdae.files.picture import Picture

Watch = Callable[[int, int], object]
Chooser = Callable[["Picture"], Any]

__all__ = ["Manner", "figures", "forget", "is_number", "worker"]


@dataclass(frozen=True)
class Manner:
    """How to denoise and write.

    Attributes:
        model: A file or name, None for what there is.
        device: A name for `device.find`.
        levels: On the 0 to 255 scale, one for all channels or one for each; None to find them.
        white: The value of white in floats, None for 1.
        strength: How much of the way to the estimate, 0 to 1.
        how: What `denoise` takes as it is: stepper, stride, ensemble.
        tile: Side of the tiles in pixels, None for what memory allows.
        depth: Of the result's samples, a dtype; None for the input's.
        ending: That was asked for, None for the input's.
        overwrite: Whether files may be replaced.
        made: A folder to be made for the results.
        adapt: Whether the model is adapted to each picture.
        reference: The clean picture, to measure by.
        many: Whether it is one of many, so that what is said of it must name it.
    """

    model: str | None = None
    device: str = "auto"
    levels: tuple[float, ...] | None = None
    white: float | None = None
    strength: float = 1.0
    how: dict[str, Any] = field(default_factory=dict)
    tile: int | None = None
    depth: str | None = None
    ending: str | None = None
    overwrite: bool = False
    made: Path | None = None
    adapt: bool = False
    reference: Path | None = None
    many: bool = False


def worker(manner: Manner, watch: Watch | None = None) -> Callable[[Job], dict[str, Any]]:
    """A function that does one job and returns what --json says of it; it may be called from many threads."""
    loaded: dict[str, Any] = {}
    lock = Lock()

    def model_for(picture: "Picture") -> Any:
        from smdae.device import find

        where = find(manner.device)
        name = choose(manner.model, picture)
        with lock:
            if name not in loaded:
                loaded[name] = load_denoiser(name).to(where)
                if not manner.model:
                    console.note(f"model '{name}'")
            return loaded[name]

    def work(job: Job) -> dict[str, Any]:
        from smdae.files import stack

        begun = time.perf_counter()
        data = _piped() if job.source == STREAM else None
        pages = stack.count(job.source if data is None else data)
        do = _stack if pages > 1 else _single
        return do(job, manner, model_for, watch, data) | {"seconds": round(time.perf_counter() - begun, 3)}

    return work


def _single(job: Job, manner: Manner, model_for: Chooser, watch: Watch | None, data: bytes | None) -> dict[str, Any]:
    """A file with one picture."""
    from smdae.denoising.quality import likeness
    from smdae.files.images import encode

    picture = _read(job.source, data)
    clean = _like(_read(manner.reference), picture, manner.reference) if manner.reference is not None else None
    kind = _kind(job, picture, manner)
    model = model_for(picture)
    result, levels, judged = _denoised(picture, model, manner, watch)
    tell_levels([levels], model, _is_found(model, manner), job.source if manner.many else None)
    if result.pixels is picture.pixels and kind == picture.format:
        whole = data if data is not None else job.source.read_bytes()  # not a bit of it changes
    else:
        whole = encode(result, kind)
    _write(job, manner, lambda target: _put(target, whole, manner.overwrite), lambda: [whole])
    tell_quality([judged], job.source if manner.many else None)
    record = _record(job, model, _plain(levels)) | _estimates([judged])
    if clean is not None:
        for name, shown in (("", result), ("_noisy", picture)):
            values = likeness((shown.pixels, _white(shown, manner)), (clean.pixels, _white(clean, manner)))
            record |= {f"psnr{name}": values[0], f"ssim{name}": values[1]}
    return record


def _stack(job: Job, manner: Manner, model_for: Chooser, watch: Watch | None, data: bytes | None) -> dict[str, Any]:
    """A TIFF of many pages, each read, denoised and written before the next."""
    from smdae.files import stack

    if manner.reference is not None:
        raise InputError(f"'{job.source}' has many pages", "--reference goes with a single picture")
    found: list[tuple[float, ...]] = []
    judgements: list[Judgement | None] = []
    with stack.opened(job.source if data is None else data, str(job.source)) as pages:
        first = next(iter(pages))
        kind = _kind(job, first, manner)
        if kind != "TIFF":
            raise OutputError(f"{kind} cannot hold {len(pages)} pages", "write TIFF")
        model = model_for(first)
        del first
        growth = 4 if manner.depth else 1  # bytes of a sample, at most, for one

        def results() -> Iterator["Picture"]:
            for page in pages:
                result, levels, judged = _denoised(page, model_for(page), manner, watch)
                found.append(levels)
                judgements.append(judged)
                del page
                yield result

        arguments = (len(pages), growth * pages.nbytes)
        _write(
            job,
            manner,
            lambda target: stack.write(target, results(), *arguments, overwrite=manner.overwrite),
            lambda: stack.encoded(results(), *arguments),
        )
    tell_levels(found, model, _is_found(model, manner), job.source if manner.many else None)
    tell_quality(judgements, job.source if manner.many else None)
    record = _record(job, model, [_plain(levels) for levels in found])
    return record | _estimates(judgements) | {"pages": len(found)}


def _white(picture: "Picture", manner: Manner) -> float:
    """The value of white in a picture that was read or came of one; that of floats is told, not stored."""
    return manner.white or 1.0 if picture.pixels.dtype.kind == "f" else picture.white


def _is_found(model: Any, manner: Manner) -> bool:
    """Whether the level is the picture's, estimated."""
    return manner.levels is None and model.level is None and manner.strength > 0


def _kind(job: Job, picture: "Picture", manner: Manner) -> str:
    """The format of the result; refuses what cannot be written."""
    from smdae.files.picture import with_depth

    result = with_depth(picture, manner.depth, _white(picture, manner), pixels=False)
    return check_target(job, result, manner.ending, manner.overwrite, manner.made)


def _piped() -> bytes:
    """All of stdin, if it begins as a picture does: what has no end is refused before it is read to it."""
    from smdae.files.images import HEAD, format_of

    head = sys.stdin.buffer.read(HEAD)
    format_of(head, "stdin")
    return head + sys.stdin.buffer.read()


def _read(source: Path, data: bytes | None = None) -> "Picture":
    from smdae.files.images import read

    return read(source, str(source)) if data is None else read(data, "stdin")


def _like(reference: "Picture", picture: "Picture", path: Path) -> "Picture":
    if reference.pixels.shape != picture.pixels.shape:
        raise InputError(
            f"--reference '{path}' is {_size(reference)}, the input is {_size(picture)}",
            "they must show the same picture",
        )
    return reference


def _size(picture: "Picture") -> str:
    height, width = picture.pixels.shape[:2]
    return f"{width} x {height} in {'colour' if picture.pixels.ndim == 3 else 'gray'}"


def _denoised(
    picture: "Picture", model: Any, manner: Manner, watch: Watch | None
) -> tuple["Picture", tuple[float, ...], "Judgement | None"]:
    """The result, the levels on the 0 to 255 scale that were taken out, and how good it is, if any was."""
    from smdae.denoising.denoise import carried_out
    from smdae.denoising.judgement import judge
    from smdae.denoising.task import Task, levels_for
    from smdae.files.picture import deeper, with_depth
    from smdae.memory import is_out_of_memory

    if manner.adapt:
        from smdae.fitting.adaptation import adapted, refuse_unadaptable

        refuse_unadaptable(model)
    white = _white(picture, manner)
    noisy = with_depth(picture, manner.depth, white) if deeper(picture, manner.depth) else picture
    floats = noisy.pixels.dtype.kind == "f"
    white = white if noisy is picture else noisy.white
    levels = manner.levels or (0.0,)
    if manner.levels is None and manner.strength:
        levels = tuple(255 * level for level in levels_for(model, noisy.pixels, white))
    pixels, judged = noisy.pixels, None
    if any(levels) and manner.strength:
        scaled = [level * white / 255 if floats else level for level in levels]

        def carry_out(model: Any) -> tuple[Task, Any]:
            task = Task.of(noisy.pixels, model, scaled, strength=manner.strength, white=white, **manner.how)
            device = next(model.parameters()).device
            return task, carried_out(task, device, tile=manner.tile, or_cpu=manner.device == "auto", watch=watch)

        task, pixels = carry_out(model)
        try:
            judged = judge(task, pixels, estimated=_is_found(model, manner))
        except Exception as error:  # the result is there, and the better for being written
            if not is_out_of_memory(error):
                raise
        if manner.adapt:
            better, gain = adapted(task, pixels, watch or (lambda done, of: None))
            if gain:
                _, pixels = carry_out(better)
            # Of weights that were fitted to this very noise the estimate is too good; the gain is of what was held out.
            judged = judged and replace(judged, psnr=judged.psnr + gain, gain=gain)
    return with_depth(replace(noisy, pixels=pixels), manner.depth, white), levels, judged


def _write(
    job: Job, manner: Manner, put: Callable[[Path], object], pieces: Callable[[], Iterable[bytes | memoryview]]
) -> None:
    """Write to stdout piece by piece, or by `put`, with folders on the way that are gone again if it fails."""
    if job.target == STREAM:
        for piece in pieces():
            console.stream(piece)
        return
    new = next((place for place in reversed(job.target.parents) if not place.exists()), None)
    if new:
        job.target.parent.mkdir(parents=True, exist_ok=True)
    try:
        put(job.target)
    except BaseException:
        if new:
            forget(new)
        raise


def _put(target: Path, data: bytes, overwrite: bool) -> None:
    from smdae.files.writing import write

    write(target, data, overwrite=overwrite)


def _estimates(judgements: "Sequence[Judgement | None]") -> dict[str, Any]:
    """Estimated PSNR, its standard error and what speaks against it: of one picture, or lists of those of many."""
    values: dict[str, list[Any]] = {
        "psnr_estimated": [judged and judged.psnr for judged in judgements],
        "psnr_estimated_error": [judged and judged.error for judged in judgements],
        "gain": [judged and judged.gain for judged in judgements],
        "doubts": [list(judged.doubts) if judged else [] for judged in judgements],
    }
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}


def _plain(levels: tuple[float, ...]) -> float | list[float]:
    return levels[0] if len(levels) == 1 else list(levels)


def _record(job: Job, model: Any, sigma: Any) -> dict[str, Any]:
    card = getattr(model, "card", {})
    return {
        "input": str(job.source),
        "output": str(job.target),
        "sigma": sigma,
        "model": {name: card.get(name) for name in ("model", "objective", "sigma")},
        "device": str(next(model.parameters()).device),
    }


def figures(record: dict[str, Any]) -> str:
    """PSNR and SSIM in words."""
    return (
        f"PSNR {record['psnr']:.2f} dB (noisy {record['psnr_noisy']:.2f}), "
        f"SSIM {record['ssim']:.4f} (noisy {record['ssim_noisy']:.4f})"
    )


def is_number(value: Any) -> bool:
    """False for the infinities and nan, which JSON does not know."""
    return not isinstance(value, float) or math.isfinite(value)


def forget(folder: Path) -> None:
    """Take away a folder that was made, and those in it, if no result came to be there."""
    for place, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            os.rmdir(place)
