"""The work on one file: read it, refuse what is impossible, choose the model, denoise, write."""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from smdae.errors import InputError, UsageError
from smdae.files import fits, images, ome_metadata, parts, raw, stack
from smdae.files.corpus import refuse_other_white
from smdae.files.images import encode
from smdae.files.marks import marked
from smdae.files.orientation import orientation_of
from smdae.files.picture import Picture
from smdae.files.stack import rewritten
from smdae.files.y4m import is_video
from smdae.pipeline.extras import encoded_extras, targets
from smdae.pipeline.model_choice import ModelFor, choose, load_denoiser, mention_fitted, placed, telling_of_variable
from smdae.pipeline.noise_choice import saved
from smdae.pipeline.one_volume import one_volume
from smdae.pipeline.options import Options
from smdae.pipeline.outcome import Outcome, denoised
from smdae.pipeline.picture_noise import refuse_unit
from smdae.pipeline.places import STREAM, Job
from smdae.pipeline.placing import beside, origin_of, put_bytes
from smdae.pipeline.reading import bare, called, like, read_picture, within_memory
from smdae.pipeline.records import precisions, record_of, words_of
from smdae.pipeline.replacing import refuse_place
from smdae.pipeline.result_format import kind_of, warn_of_look
from smdae.pipeline.stacked import denoise_stack
from smdae.pipeline.summary import say_remarks, summarise
from smdae.progress import Watch

if TYPE_CHECKING:
    from smdae.denoising.selfchecks import SelfChecks
    from smdae.denoising.task import Task

CHECKED = 256  # pixels a side, from the middle, that self-checks are made on
# Denoises a file, writes the result, and returns its JSON record. Raises UsageError for an option that does not go with
# such files, InputError for a damaged file or without the extra that reads it, OutputError, and MemoryLimitError.
Work = Callable[[Job, Options, ModelFor, Watch | None, bytes | None], dict[str, Any]]


def worker(options: Options, watch: Watch | None = None) -> Callable[[Job], dict[str, Any]]:
    """Return a function that denoises the picture of a job, writes the result, and returns its JSON record.

    Threads may share it: a model is loaded once. It raises a SmdaeError if the picture cannot be read, denoised or
    written.
    """
    loaded: dict[str, Any] = {}
    lock = Lock()

    def model_for(picture: Picture) -> Any:
        from smdae.device import find, taken

        where = find(options.device, options.local)
        name = choose(options.model, picture, options.fast)
        with lock:
            if name not in loaded:
                told = "" if loaded else taken(options.device, where)
                if not loaded:
                    mention_fitted(options.model, options.fast, options.messages)
                with telling_of_variable(options.model, options.fast):
                    model = load_denoiser(name, options.imports, options.messages.warn)
                loaded[name] = placed(model, where, options.many)
                if not options.model:
                    options.messages.note(f"model '{name}'{f' {told}' if told else ''}", now=True)
                elif told:
                    options.messages.note(f"computing {told}", now=True)
            return loaded[name]

    def work(job: Job) -> dict[str, Any]:
        from smdae.pipeline.one_stream import streamed

        with within_memory(called(job)):
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
                record = do(job, options, model_for, watch, data) | {"seconds": round(time.perf_counter() - begun, 3)}
            if options.report is not None:
                options.report.warn(str(job.source), [text for kind, text in lines if kind == "warning"])
        return record

    return work


def _work_on(job: Job, options: Options, data: bytes | None) -> Work:
    """Return the function that denoises files of this kind."""
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


def _single(job: Job, options: Options, model_for: ModelFor, watch: Watch | None, data: bytes | None) -> dict[str, Any]:
    """Denoise a file with a single picture, write the result and the extras, and return its JSON record."""
    origin = origin_of(job, options.messages)
    picture = bare(read_picture(job.source, data), options)
    if picture.lost:
        options.messages.warn(f"of '{called(job)}', {' and '.join(picture.lost)} will not be in the result")
    clean = like(read_picture(options.reference), picture, options.reference) if options.reference is not None else None
    if clean is not None and options.white is None:
        for one, name in ((picture, called(job)), (clean, str(options.reference))):
            if not one.stored:
                refuse_other_white(one.pixels, name)
    kind = kind_of(job, picture, options)
    warn_of_look(job, picture, kind, options)
    refuse_unit(picture, options, called(job))
    aside = [] if job.target == STREAM and not options.extras.some else targets(options.extras, job)
    for path in [*aside, *([] if options.profile is None else [options.profile])]:
        # A folder that will be made for the results is empty: nothing there to refuse.
        if not (path.parent == job.target.parent and options.will_make(path.parent)):
            refuse_place(path, options.overwrite_beside, path == options.extras.steps and options.extras.folder)
    model = model_for(picture)
    outcome = denoised(picture, model, options, watch, called(job))
    result, found = outcome.picture, outcome.found
    if options.report is not None:
        options.report.show(str(job.source), picture, result, found)
    profile = [] if options.profile is None else [(options.profile, saved(found.in_unit, called(job)))]
    extra = _extra(job, outcome, options, kind, watch) if options.extras.some else []
    whole = _encoded(job, picture, outcome, kind, model, options, data)
    with beside([*extra, *profile], options.overwrite_beside, origin and replace(origin, is_target=False)):
        put_bytes(job, whole, options.overwrite, origin, options.stdout)
    facts = [found.facts()]
    summarise({"": facts}, [outcome.judgement], model, job, options, may_be_floats=True)
    record = record_of(job, model, facts, precisions(outcome, model), [outcome.judgement])
    if extra:
        record["beside"] = [str(path) for path, _ in extra]
    if options.checks:
        checks = outcome.task and _self_checked(outcome.task)  # None if memory does not suffice
        record["selfchecks"] = checks and asdict(checks)
    return record if clean is None else record | _measured(clean, picture, result, options)


def _encoded(
    job: Job, picture: Picture, outcome: Outcome, kind: str, model: Any, options: Options, data: bytes | None
) -> bytes:
    """Return the bytes of the result's file; if nothing changed, the bytes of the input."""
    result = outcome.picture
    is_unchanged = result.pixels is picture.pixels and kind == picture.format
    if is_unchanged and options.quality is None and not options.strip:
        whole = data if data is not None else job.source.read_bytes()
    elif kind == picture.format == "TIFF":
        source = job.source if data is None else data
        whole, remarks = rewritten(source, called(job), result, job.target.name, options.strip)
        say_remarks(remarks, job, options)
    else:
        whole = encode(result, kind, options.quality)
    return whole if outcome.task is None or options.strip else marked(whole, kind, words_of(model))


def _measured(clean: Picture, noisy: Picture, result: Picture, options: Options) -> dict[str, float]:
    """Return the entries of the record about PSNR and SSIM, measured against a clean picture."""
    from smdae.denoising.metrics import psnr_and_ssim

    figures: dict[str, float] = {}
    for name, picture in (("", result), ("_noisy", noisy)):
        psnr, ssim = psnr_and_ssim((picture.pixels, options.white_of(picture)), (clean.pixels, options.white_of(clean)))
        figures |= {f"psnr{name}": psnr, f"ssim{name}": ssim}
    return figures


def _extra(job: Job, outcome: Outcome, options: Options, kind: str, watch: Watch | None) -> list[tuple[Path, bytes]]:
    """Return the path and the bytes of each file to write beside the result; raise InputError if nothing was done."""
    if outcome.task is None or outcome.finished is None:
        raise InputError(
            f"nothing was taken out of '{job.source}', so there are no extras",
            "give the level of its noise: --sigma 10",
        )
    finished = outcome.finished
    extras = encoded_extras(
        options.extras,
        job,
        outcome.task,
        mean=outcome.task.pixels if outcome.mean is None else outcome.mean,
        judgement=outcome.judgement,
        frames=outcome.frames,
        encode=lambda pixels: encode(finished(pixels), kind, options.quality),
        orientation=orientation_of(outcome.picture.metadata),
        device=next(outcome.task.loaded.parameters()).device,
        watch=watch or (lambda done, of: None),
    )
    return list(extras)


def _self_checked(task: "Task") -> "SelfChecks | None":
    """Run the self-checks of a task's model on the middle of its image, and return their figures.

    A model of gray is checked on the first noisy channel. The result is None where the noise is clipped or not white,
    where channels that the model takes together have different levels, or where memory does not suffice.
    """
    from torch import Generator

    from smdae.denoising.selfchecks import selfchecks
    from smdae.memory import if_it_fits

    if task.scale.may_clip or task.noise.kind != "white" or (len(set(task.levels)) > 1 and task.loaded.channels != 1):
        return None
    height, width = task.pixels.shape[:2]
    middle = tuple(slice(max(0, (side - CHECKED) // 2), (side + CHECKED) // 2) for side in (height, width))
    noisy = task.noisy((middle[0], middle[1]), next(task.loaded.parameters()).device)
    channel = int(np.argmax(np.array(task.channel_levels) > 0))
    if task.model.channels == 1:
        noisy = noisy[:, channel : channel + 1]
    level = task.channel_levels[channel]
    return if_it_fits(lambda: selfchecks(task.model, noisy, level, Generator().manual_seed(0)))
