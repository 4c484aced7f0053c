"""Run `denoise`: plan, refuse what is impossible before any work, then denoise picture by picture."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from smdae.cli import console, stdout
from smdae.cli.batch_progress import BAR, BatchProgress
from smdae.cli.denoise_options import DenoiseOptions
from smdae.cli.options import DEPTHS, bytes_of, threads_of
from smdae.cli.together import on_loss
from smdae.errors import BatchError, UsageError
from smdae.files.formats import SUFFIXES
from smdae.files.kinds import counted
from smdae.files.refusals import refusals
from smdae.files.writing import clear
from smdae.memory import keep_freed_memory, limited
from smdae.pipeline.batch import Batch, Stopped, parallel_jobs
from smdae.pipeline.extras import refuse, targets
from smdae.pipeline.model_choice import bytes_per_pixel
from smdae.pipeline.one_picture import worker
from smdae.pipeline.options import Options
from smdae.pipeline.peers import Peers
from smdae.pipeline.places import STREAM, Job, Plan, plan
from smdae.pipeline.placing import forget
from smdae.pipeline.records import figures, is_number
from smdae.pipeline.replacing import claimed, claims, refuse_place, refuse_raced, rehearsed, unmarked
from smdae.pipeline.report import Report
from smdae.pipeline.result_format import refuse_quality
from smdae.pipeline.selection import listed, refuse_unpiped

REST = "the same command with --skip-existing does the rest"


def run(asked: DenoiseOptions, peers: Peers) -> int:
    """Denoise the pictures that the options ask for, or print what would be done, and return the exit code 0.

    Raises:
        SmdaeError: The options make no sense, nothing can be read or written, or the only picture failed.
        BatchError: Some of many pictures failed; the others are done.
    """
    chosen = _planned(asked, peers)
    if chosen is None:
        return 0
    jobs = chosen.jobs
    report = None if asked.report is None else Report(asked.report, asked.overwrite)
    stop = Event()
    with _under_way(asked, chosen, peers, report) as bar:
        progress = BatchProgress(bar, len(jobs))

        def watch(done: int, of: int) -> None:
            if stop.is_set():
                raise Stopped
            progress.step(done, of)

        def report_record(record: dict[str, Any]) -> None:
            _print(record, asked.json_)
            if report is not None:
                report.add(record)
            progress.reported()

        work = worker(_options(asked, chosen, peers, report), watch)
        if not chosen.is_single or jobs[0].may_skip:
            Batch(
                jobs,
                work,
                report_record,
                shown=progress.shown,
                parallel=_parallel(asked, jobs, peers),
                fail_fast=asked.fail_fast,
                peers=peers,
                stop=stop,
                remark=chosen.remark,
                is_single=chosen.is_single,
                messages=console,
            ).run()
        elif peers.first:
            with progress.shown(jobs[0]):
                record = work(jobs[0])
            report_record(record)
            if chosen.remark is not None:
                console.note(chosen.remark)
    return 0


@contextmanager
def _under_way(asked: DenoiseOptions, chosen: Plan, peers: Peers, report: Report | None) -> Iterator[Any]:
    """Yield the progress bar of a run, all whose files are claimed; at the end write the report, and tidy up."""
    jobs = chosen.jobs
    made = chosen.folder if peers.first and chosen.folder and not os.path.exists(chosen.folder) else None
    peers.agree_on(jobs)  # so that no process begins before all have planned
    if peers.first:
        _clear(asked, jobs)
    claim = claims(jobs, asked.paths if asked.part is None else []) if peers.first else {}
    with (
        _forgetting(made),
        limited(None if asked.max_memory is None else bytes_of(asked.max_memory, "--max-memory")),
        threads_of(asked.threads),
        claimed(claim),
        on_loss(lambda: None if asked.in_place else REST),
        stdout.guarded(),
        console.progress(width=BAR, left=True, beside=asked.json_) as bar,
        _written(report),
    ):
        if any(claim.values()):
            refuse_raced(jobs)
        yield bar


def _parallel(asked: DenoiseOptions, jobs: Sequence[Job], peers: Peers) -> int:
    """Return the number of pictures to denoise at once."""
    is_alone = len(jobs) == 1 or (not asked.jobs and (asked.fail_fast or peers.place.size > 1))
    if is_alone:
        return 1
    # Adapting a model to a picture holds what its gradient needs.
    each = None if asked.adapt else bytes_per_pixel(asked.model, asked.fast, tuple(asked.import_ or ()))
    return parallel_jobs(jobs, asked.device, asked.jobs, each)


def _planned(asked: DenoiseOptions, peers: Peers) -> Plan | None:
    """Refuse what is impossible, and prepare to denoise; return None if there is nothing to do but to say so."""
    asked.check_log()
    console.speak(asked.quiet, asked.verbose, asked.log)
    asked.check()
    chosen = plan(asked.paths, asked.naming, None if asked.files_from is None else listed(asked.files_from), asked.part)
    _refuse(asked, chosen, peers)
    jobs = chosen.jobs
    if asked.dry_run:
        if peers.first:
            _rehearse(asked, chosen)
        return None
    _refuse_streams(asked, jobs)
    if asked.log is not None:
        with refusals(asked.log), asked.log.open("ab"):
            pass
    if not jobs:
        console.note(f"no picture is in part {asked.shard}" if asked.part else f"nothing to do, {chosen.remark}")
        return None
    if not chosen.is_single and (kinds := unmarked(jobs, asked.strip_metadata)):
        text = f"results will not be known as such in {counted(kinds)}: another run over them takes noise out twice"
        console.warn(text)
    keep_freed_memory()
    return chosen


def _clear(asked: DenoiseOptions, jobs: Sequence[Job]) -> None:
    """Remove what killed runs have left in the folders that files will be written to."""
    written = [job.target for job in jobs if job.target != STREAM and not job.skipped]
    written += [path for path in (asked.save_noise, asked.extras.steps, asked.uncertainty, asked.report) if path]
    for place in {os.path.dirname(os.path.realpath(path)) for path in written}:
        clear(Path(place))


@contextmanager
def _forgetting(folder: Path | None) -> Iterator[None]:
    """Remove a folder that was made for results, if there are none in it when the context ends."""
    try:
        yield
    finally:
        if folder:
            forget(folder)


@contextmanager
def _written(report: Report | None) -> Iterator[None]:
    """Write the report when the context ends, even if pictures failed, but not if the run was interrupted."""
    try:
        yield
    except BatchError:
        _write(report)
        raise
    _write(report)


def _rehearse(asked: DenoiseOptions, chosen: Plan) -> None:
    """Print what --dry-run prints: each file that would be written, as a line of text or as JSON."""
    beside = targets(asked.extras, chosen.jobs[0]) if asked.extras.some else []
    beside += [path for path in (asked.save_noise, asked.report) if path is not None]
    for record, line in rehearsed(chosen.jobs, asked.overwrite or asked.in_place, beside):
        if asked.json_:
            stdout.result(record)
        else:
            stdout.text(line)
    if chosen.remark:
        console.note(chosen.remark)


def _refuse(asked: DenoiseOptions, chosen: Plan, peers: Peers) -> None:
    """Raise an error if the plan cannot be carried out, before any picture is read or written."""
    jobs, extras = chosen.jobs, asked.extras
    to_stdout = any(job.target == STREAM for job in jobs)
    if extras.some and not chosen.is_single:
        raise UsageError(
            "--samples, --save-steps, --uncertainty and --components go with one input", "name a single picture"
        )
    refuse(extras, jobs, asked.reference)
    if asked.quality is not None and (asked.part is None or asked.format is not None):
        # A share may have none of the JPEGs.
        refuse_quality({SUFFIXES.get(job.target.suffix.lower()) for job in jobs if job.target != STREAM})
    if to_stdout or STREAM in asked.paths:
        peers.refuse("a stream")
    if asked.json_ and to_stdout:
        raise UsageError("--json and an image cannot both go to stdout", "write the image to a file with -o")
    for option, path in (("reference", asked.reference), ("mask", asked.mask), ("save-noise", asked.save_noise)):
        if path is not None and not chosen.is_single:
            raise UsageError(f"--{option} goes with one input", "name a single picture")
    if asked.report is not None:
        peers.refuse("--report")
        place = os.path.realpath(asked.report)
        if any(place in (os.path.realpath(job.source), os.path.realpath(job.target)) for job in jobs):
            raise UsageError(
                f"--report '{asked.report}' would be written over a picture of this call", "name another file"
            )
        if not asked.dry_run and not (chosen.is_single and not os.path.lexists(jobs[0].source)):
            refuse_place(asked.report, asked.overwrite)


def _refuse_streams(asked: DenoiseOptions, jobs: Sequence[Job]) -> None:
    """Raise UsageError if an image would be written to a terminal, or read from one."""
    if any(job.target == STREAM for job in jobs) and sys.stdout.isatty():
        raise UsageError("an image is not written to a terminal", "redirect stdout, or write to a file with -o")
    if STREAM in asked.paths:
        refuse_unpiped("an image")


def _options(asked: DenoiseOptions, chosen: Plan, peers: Peers, report: Report | None) -> Options:
    """Return the settings by which the pictures are denoised and written."""
    names = ("sampler", "steps", "step_size", "seed", "stride", "ensemble", "precision")
    return Options(
        model=asked.model,
        device=asked.device,
        levels=asked.levels,
        white=asked.white,
        black=asked.black,
        noise=asked.kind,
        luma=asked.luma,
        chroma=asked.chroma,
        mask=asked.mask,
        profile=asked.save_noise,
        strength=asked.strength,
        task_options={name: getattr(asked, name) for name in names},
        tile=asked.tile,
        depth=DEPTHS[asked.bit_depth],
        ending=asked.ending,
        overwrite=asked.overwrite or asked.in_place,
        overwrite_beside=asked.overwrite,
        new_folder=chosen.folder,
        adapt=asked.adapt,
        reference=asked.reference,
        blend=asked.blend,
        extras=asked.extras,
        checks=asked.json_,
        many=not chosen.is_single,
        local=peers.local,
        fast=asked.fast,
        quality=asked.quality,
        strip=asked.strip_metadata,
        linear=asked.linear,
        imports=tuple(asked.import_ or ()),
        report=report,
        selection=asked.selection,
        messages=console,
        stdout=stdout.stream,
    )


def _write(report: Report | None) -> None:
    """Write the report and say so; do nothing if none was asked for."""
    if report is not None:
        report.write()
        console.note(f"report '{report.path}'")


def _print(record: dict[str, Any], as_json: bool) -> None:
    """Print the outcome for a picture: the JSON record on stdout or figures on stderr, and the time as a detail."""
    if as_json:
        stdout.result({name: value if is_number(value) else None for name, value in record.items()})
    elif "psnr" in record:
        console.note(figures(record))
    if "seconds" in record:
        where = f" on {record['device']}" if "device" in record else ""
        console.detail(f"'{record['input']}' -> '{record['output']}', {record['seconds']:.1f} s{where}")
    elif "skipped" in record:
        console.detail(f"'{record['input']}' skipped: '{record['output']}' is there")
