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
from smdae.pipeline.found import is_found, refuse_unit, white_of
from smdae.pipeline.model_choice import choose, load_denoiser, placed, tell_left
from smdae.pipeline.noise_choice import saved
from smdae.pipeline.one_volume import one_volume
from smdae.pipeline.options import Options
from smdae.pipeline.outcome import Outcome, denoised
from smdae.pipeline.places import STREAM, Job, refuse_place
from smdae.pipeline.placing import beside, origin_of, put_file, put_result
from smdae.pipeline.reading import bare, called, kind_of, like, read_picture
from smdae.pipeline.records import estimates, precisions, record_of, words_of
from smdae.pipeline.self_checks import self_checked
from smdae.pipeline.stacked import denoise_stack, remark
from smdae.pipeline.summary import tell
from smdae.progress import Watch

if TYPE_CHECKING:
    from smdae.files.picture import Picture

Chooser = Callable[["Picture"], Any]
Work = Callable[[Job, Options, Chooser, Watch | None, bytes | None], dict[str, Any]]

__all__ = ["worker"]


def worker(options: Options, watch: Watch | None = None) -> Callable[[Job], dict[str, Any]]:
    """Return a function that denoises the picture of a job and returns its JSON record; threads may share it."""
    loaded: dict[str, Any] = {}
    lock = Lock()

    def model_for(picture: "Picture") -> Any:
        from smdae.device import find

        where = find(options.device, options.local)
        name = choose(options.model, picture, options.fast)
        with lock:
            if name not in loaded:
                if not loaded:
                    tell_left(options.model, options.fast, options.messages)
                loaded[name] = placed(load_denoiser(name, options.imports, options.messages.warn), where, options.many)
                if not options.model:
                    options.messages.note(f"model '{name}'", now=True)
            return loaded[name]

    def work(job: Job) -> dict[str, Any]:
        from smdae.files import images, ome_metadata
        from smdae.files.y4m import is_video
        from smdae.pipeline.one_stream import streamed

        begun = time.perf_counter()
        data = None
        is_folder = ome_metadata.is_volume(job.source)
        if job.source == STREAM or is_video(job.source):
            data, record = streamed(job, options, model_for)
            if record is not None:
                return record | {"seconds": round(time.perf_counter() - begun, 3)}
        if data is None and not is_folder and os.path.exists(job.source) and not os.path.isfile(job.source):
            data = images.content(job.source, str(job.source))  # a pipe can be read only once
        do = one_volume if is_folder else _work_on(job, options, data)
        with options.messages.overheard() as lines:
            told = do(job, options, model_for, watch, data) | {"seconds": round(time.perf_counter() - begun, 3)}
        if options.report is not None:
            options.report.said(str(job.source), [text for kind, text in lines if kind == "warning"])
        return told

    return work


def _work_on(job: Job, options: Options, data: bytes | None) -> Work:
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
    if options.linear and not options.many:
        raise UsageError("--linear is for camera raw files", "leave it out")
    several = None if options.selection.some else parts.find(content, called(job))
    if several is not None:
        return partial(denoise_parts, several)
    return denoise_stack if options.selection.some or stack.count(content) > 1 else _single


def _single(job: Job, options: Options, model_for: Chooser, watch: Watch | None, data: bytes | None) -> dict[str, Any]:
    """Denoise a file with a single picture, write the result and the extras, and return its JSON record."""
    from smdae.denoising.pages import unscaled
    from smdae.files.images import encode
    from smdae.files.marks import marked
    from smdae.files.stack import rewritten

    origin = origin_of(job, options.messages)
    picture = bare(read_picture(job.source, data), options)
    if picture.lost:
        options.messages.warn(f"of '{called(job)}', {' and '.join(picture.lost)} will not be in the result")
    clean = like(read_picture(options.reference), picture, options.reference) if options.reference is not None else None
    kind = kind_of(job, picture, options)
    refuse_unit(picture, options, called(job))
    aside = [] if job.target == STREAM and not options.extras.some else targets(options.extras, job)
    for path in [*aside, *([] if options.profile is None else [options.profile])]:
        # In a folder that is to be made for the result there is nothing yet.
        if not (options.made and path.parent == job.target.parent and not path.parent.exists()):
            refuse_place(path, options.beside, path == options.extras.steps and options.extras.folder)
    model = model_for(picture)
    outcome = denoised(picture, model, options, watch, called(job))
    result, found, judged = outcome.picture, outcome.found, outcome.judgement
    if options.report is not None:
        options.report.show(str(job.source), picture, result, found)
    own = unscaled(found.noise, found.prepared.scale)
    profile = [] if options.profile is None else [(options.profile, saved(own, called(job)))]
    extra = _extra(job, outcome, options, kind, watch) if options.extras.some else []
    as_it_is = options.quality is None and not options.strip
    if result.pixels is picture.pixels and kind == picture.format and as_it_is:
        whole = data if data is not None else job.source.read_bytes()  # not a bit of it changes
    elif kind == picture.format == "TIFF":
        source = job.source if data is None else data
        whole, remarks = rewritten(source, called(job), result, job.target.name, options.strip)
        remark(remarks, job, options)
    else:
        whole = encode(result, kind, options.quality)
    if outcome.task is not None and not options.strip:
        whole = marked(whole, kind, words_of(model))
    with beside([*extra, *profile], options.beside, origin and replace(origin, is_target=False)):
        put_result(
            job, lambda target: put_file(target, whole, options.overwrite, origin), lambda: [whole], options.stdout
        )
    tell(
        {"": [found]}, [judged], model, is_found(model, options), job.source if options.many else None, options.messages
    )
    record = record_of(job, model, [found], precisions(outcome, model)) | estimates([judged])
    if extra:
        record["beside"] = [str(path) for path, _ in extra]
    if options.checks:
        checks = outcome.task and self_checked(outcome.task)  # None where memory does not suffice
        record["selfchecks"] = checks and asdict(checks)
    if clean is not None:
        from smdae.denoising.metrics import likeness

        for name, shown in (("", result), ("_noisy", picture)):
            values = likeness((shown.pixels, white_of(shown, options)), (clean.pixels, white_of(clean, options)))
            record |= {f"psnr{name}": values[0], f"ssim{name}": values[1]}
    return record


def _extra(job: Job, outcome: Outcome, options: Options, kind: str, watch: Watch | None) -> list[tuple[Path, bytes]]:
    """Return the path and the bytes of each file to write beside the result; raise InputError if nothing was done."""
    if outcome.task is None or outcome.finished is None:
        raise InputError(
            f"nothing was taken out of '{job.source}', so there is nothing to be unsure of",
            "give the level of its noise: --sigma 10",
        )
    device = next(outcome.task.loaded.parameters()).device
    mean = outcome.task.pixels if outcome.mean is None else outcome.mean
    arguments = outcome.task, mean, outcome.judgement, outcome.frames, outcome.finished, kind, device
    return list(made_of(options.extras, job, *arguments, watch or (lambda done, of: None), options.quality))
