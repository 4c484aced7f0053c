"""The work on one picture: read it, refuse what cannot be, find model and level, denoise, write."""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from smdae.errors import InputError, UsageError
from smdae.pipeline.extras import made_of, targets
from smdae.pipeline.found import Found, is_found, refuse_unit, white_of
from smdae.pipeline.manner import Manner
from smdae.pipeline.model_choice import choose, load_denoiser, placed, tell_left
from smdae.pipeline.one_volume import one_volume
from smdae.pipeline.outcome import Outcome, denoised
from smdae.pipeline.places import STREAM, Job, refuse_place
from smdae.pipeline.placing import beside, origin_of, put_file, put_result
from smdae.pipeline.reading import bare, called, kind_of, like, read_picture
from smdae.pipeline.records import estimates, precisions, record_of, words_of
from smdae.pipeline.self_checks import self_checked
from smdae.pipeline.stacked import denoise_stack, remark
from smdae.pipeline.told import tell
from smdae.progress import Watch

if TYPE_CHECKING:
    from smdae.files.picture import Picture

Chooser = Callable[["Picture"], Any]
Work = Callable[[Job, Manner, Chooser, Watch | None, bytes | None], dict[str, Any]]

__all__ = ["worker"]


def worker(manner: Manner, watch: Watch | None = None) -> Callable[[Job], dict[str, Any]]:
    """Return a function that denoises the picture of a job and returns its JSON record; threads may share it."""
    loaded: dict[str, Any] = {}
    lock = Lock()

    def model_for(picture: "Picture") -> Any:
        from smdae.device import find

        where = find(manner.device, manner.local)
        name = choose(manner.model, picture, manner.fast)
        with lock:
            if name not in loaded:
                if not loaded:
                    tell_left(manner.model, manner.fast, manner.messages)
                loaded[name] = placed(load_denoiser(name, manner.imports, manner.messages.warn), where, manner.many)
                if not manner.model:
                    manner.messages.note(f"model '{name}'", now=True)
            return loaded[name]

    def work(job: Job) -> dict[str, Any]:
        from smdae.files import images, ome_metadata
        from smdae.files.y4m import is_video
        from smdae.pipeline.one_stream import streamed

        begun = time.perf_counter()
        data = None
        is_folder = ome_metadata.is_volume(job.source)
        if job.source == STREAM or is_video(job.source):
            data, record = streamed(job, manner, model_for)
            if record is not None:
                return record | {"seconds": round(time.perf_counter() - begun, 3)}
        if data is None and not is_folder and os.path.exists(job.source) and not os.path.isfile(job.source):
            data = images.content(job.source, str(job.source))  # a pipe can be read only once
        do = one_volume if is_folder else _work_on(job, manner, data)
        with manner.messages.overheard() as lines:
            told = do(job, manner, model_for, watch, data) | {"seconds": round(time.perf_counter() - begun, 3)}
        if manner.report is not None:
            manner.report.said(str(job.source), [text for kind, text in lines if kind == "warning"])
        return told

    return work


def _work_on(job: Job, manner: Manner, data: bytes | None) -> Work:
    """Return the function that denoises files of this kind."""
    from smdae.files import fits, parts, raw, stack
    from smdae.pipeline.one_fits import one_fits
    from smdae.pipeline.one_raw import one_raw
    from smdae.pipeline.several import denoise_parts

    content = job.source if data is None else data
    if raw.is_raw(content, called(job)):
        return one_raw
    if fits.is_fits(content):
        return one_fits
    if manner.linear and not manner.many:
        raise UsageError("--linear is for camera raw files", "leave it out")
    several = None if manner.selection.some else parts.find(content, called(job))
    if several is not None:
        return partial(denoise_parts, several)
    return denoise_stack if manner.selection.some or stack.count(content) > 1 else _single


def _single(job: Job, manner: Manner, model_for: Chooser, watch: Watch | None, data: bytes | None) -> dict[str, Any]:
    """Denoise a file with a single picture, write the result and the extras, and return its JSON record."""
    from smdae.files.images import encode
    from smdae.files.marks import marked
    from smdae.files.stack import rewritten

    origin = origin_of(job, manner.messages)
    picture = bare(read_picture(job.source, data), manner)
    if picture.lost:
        manner.messages.warn(f"of '{called(job)}', {' and '.join(picture.lost)} will not be in the result")
    clean = like(read_picture(manner.reference), picture, manner.reference) if manner.reference is not None else None
    kind = kind_of(job, picture, manner)
    refuse_unit(picture, manner, called(job))
    aside = [] if job.target == STREAM and not manner.extras.some else targets(manner.extras, job)
    for path in [*aside, *([] if manner.profile is None else [manner.profile])]:
        # In a folder that is to be made for the result there is nothing yet.
        if not (manner.made and path.parent == job.target.parent and not path.parent.exists()):
            refuse_place(path, manner.beside, path == manner.extras.steps and manner.extras.folder)
    model = model_for(picture)
    outcome = denoised(picture, model, manner, watch, called(job))
    result, found, judged = outcome.picture, outcome.found, outcome.judgement
    if manner.report is not None:
        manner.report.show(str(job.source), picture, result, found)
    profile = [] if manner.profile is None else [(manner.profile, _profile(found, job))]
    extra = _extra(job, outcome, manner, kind, watch) if manner.extras.some else []
    as_it_is = manner.quality is None and not manner.strip
    if result.pixels is picture.pixels and kind == picture.format and as_it_is:
        whole = data if data is not None else job.source.read_bytes()  # not a bit of it changes
    elif kind == picture.format == "TIFF":
        source = job.source if data is None else data
        whole, remarks = rewritten(source, called(job), result, job.target.name, manner.strip)
        remark(remarks, job, manner)
    else:
        whole = encode(result, kind, manner.quality)
    if outcome.task is not None and not manner.strip:
        whole = marked(whole, kind, words_of(model))
    with beside([*extra, *profile], manner.beside, origin and replace(origin, is_target=False)):
        put_result(
            job, lambda target: put_file(target, whole, manner.overwrite, origin), lambda: [whole], manner.stdout
        )
    tell([found], [judged], model, is_found(model, manner), job.source if manner.many else None, manner.messages)
    record = record_of(job, model, [found], precisions(outcome, model)) | estimates([judged])
    if extra:
        record["beside"] = [str(path) for path, _ in extra]
    if manner.checks:
        checks = outcome.task and self_checked(outcome.task)  # None where memory does not suffice
        record["selfchecks"] = checks and asdict(checks)
    if clean is not None:
        from smdae.denoising.metrics import likeness

        for name, shown in (("", result), ("_noisy", picture)):
            values = likeness((shown.pixels, white_of(shown, manner)), (clean.pixels, white_of(clean, manner)))
            record |= {f"psnr{name}": values[0], f"ssim{name}": values[1]}
    return record


def _profile(found: Found, job: Job) -> bytes:
    """Return the noise of a picture as a YAML profile, in the picture's unit; raise InputError if it has none."""
    scale = found.prepared.scale
    noise = found.estimate.noise
    if noise.is_none:
        raise InputError(
            f"no noise was found in '{called(job)}', so there is no profile of it to save", "leave --save-noise out"
        )
    noise = noise.scaled(scale.span)
    return (noise.shifted(scale.black) if scale.black else noise).to_yaml().encode()


def _extra(job: Job, outcome: Outcome, manner: Manner, kind: str, watch: Watch | None) -> list[tuple[Path, bytes]]:
    """Return the path and the bytes of each file to write beside the result; raise InputError if nothing was done."""
    if outcome.task is None or outcome.finished is None:
        raise InputError(
            f"nothing was taken out of '{job.source}', so there is nothing to be unsure of",
            "give the level of its noise: --sigma 10",
        )
    device = next(outcome.task.loaded.parameters()).device
    mean = outcome.task.pixels if outcome.mean is None else outcome.mean
    arguments = outcome.task, mean, outcome.judgement, outcome.frames, outcome.finished, kind, device
    return list(made_of(manner.extras, job, *arguments, watch or (lambda done, of: None), manner.quality))
