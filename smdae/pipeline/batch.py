"""Denoise many pictures, one after the other or several at once; a failure does not stop the others.

The work on a picture is a function that returns its JSON record, or raises. Records and messages are reported in the
order of the inputs, in whatever order and by whichever of several processes the pictures are done.

A folder is worked on by as many threads as there are cores. Each takes a picture from file to file, so that some
compute while others decode or encode, and no core waits for another as it would within a matrix product. Each thread
computes with one core; if memory allows only fewer pictures at once, each has its share of the cores.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import copy_context
from threading import Event
from typing import Any

from smdae.errors import BatchError, DeviceError, OutputError, SmdaeError
from smdae.memory import give_back, keep_freed_memory
from smdae.pipeline.messages import SILENT, Line, Messages
from smdae.pipeline.peers import Peers
from smdae.pipeline.places import Job
from smdae.pipeline.sharing import shared

__all__ = ["Stopped", "parallel_jobs", "run"]

ALONE = Peers()
Work = Callable[[Job], dict[str, Any]]
MEMORY_SHARE = 0.5  # of the available memory that pictures may take together
WORK_BYTES = 512 << 20  # memory that the work on one picture takes, besides its pixels
GIVE_BACK_EVERY = 10  # results: memory that several threads free is fragmented, and would pile up


class Stopped(BaseException):
    """Raised by work still under way when its batch has ended."""


def parallel_jobs(jobs: Sequence[Job], device: str, wanted: int | None = None) -> int:
    """Return how many pictures to denoise at once, at least 1: fewer than wanted if memory is short.

    Args:
        jobs: The pictures, of which only the headers are read.
        device: The name of the device that they are denoised on.
        wanted: The largest number; None for one for each core.
    """
    import torch

    from smdae.device import find
    from smdae.files.extent import needed_for
    from smdae.memory import available

    cpu = torch.device("cpu")
    try:
        where = find(device)
    except DeviceError:  # each picture will report it
        return 1
    largest = max((needed_for(job.source) for job in jobs if not job.skipped), default=0)
    room = MEMORY_SHARE * available(cpu) / (WORK_BYTES + largest)
    cores = torch.get_num_threads()
    if where.type != "cpu":  # the threads only decode, encode and wait
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        room = min(room, MEMORY_SHARE * available(where) / (2 * WORK_BYTES))
    return max(1, min(wanted or cores, int(room), len(jobs)))


def run(
    jobs: Sequence[Job],
    work: Work,
    report: Callable[[dict[str, Any]], object],
    *,
    shown: Callable[[Job], AbstractContextManager[object]] = nullcontext,
    parallel: int = 1,
    fail_fast: bool = False,
    peers: Peers = ALONE,
    stop: Event | None = None,
    remark: str | None = None,
    single: bool | None = None,
    messages: Messages = SILENT,
) -> None:
    """Do all jobs, report each, and end with the numbers of pictures written, skipped and failed.

    Args:
        jobs: The pictures; those to be skipped are only reported.
        work: Does one job, and returns its record.
        report: Called with each record, in the order of the jobs.
        shown: Returns the context in which a job is done, which shows that it is under way.
        parallel: How many jobs are done at once.
        fail_fast: Whether to end at the first failure.
        peers: The processes that share the jobs; only the first of them reports.
        stop: Set when work still under way may be given up; work that checks it raises Stopped.
        remark: One more line to say at the end; None for none.
        single: Whether there is only one picture in all, whose failure is raised as it is; None to take it for single
            if there is one job.
        messages: The receiver of messages.

    Raises:
        SmdaeError: The only picture failed.
        BatchError: Some of many failed. The message names each again, as its own line may be far above.
    """
    single = len(jobs) == 1 if single is None else single
    if single and not jobs[0].may_skip:
        if peers.first:
            with shown(jobs[0]):
                record = work(jobs[0])
            report(record)
            _remark(remark, messages)
        return
    written = skipped = 0
    failures: list[str] = []
    results_exist = False
    for job, outcome in _outcomes(
        jobs,
        work,
        shown=shown,
        parallel=parallel,
        fail_fast=fail_fast,
        peers=peers,
        stop=stop or Event(),
        messages=messages,
    ):
        record = {"input": str(job.source), "output": str(job.target)}
        if isinstance(outcome, SmdaeError):
            if single:
                raise outcome
            failures.append(_named(job, outcome))
            results_exist |= outcome.code == OutputError.code and job.is_done
            messages.failure(outcome)
            record |= {"error": outcome.message, "code": outcome.code}
        elif outcome is None:
            skipped += 1
            record |= {"skipped": True}
        else:
            written += 1
            record = outcome
        report(record)
        if failures and fail_fast:
            break
    if not peers.first:
        return
    left = len(jobs) - written - len(failures) - skipped
    counts = {"written": written, "skipped": skipped, "failed": len(failures), "not begun": left}
    _remark(remark, messages)
    messages.note(", ".join(f"{count} {what}" for what, count in counts.items() if count))
    if failures:
        hint = "--skip-existing leaves results that are there, -y replaces them" if results_exist else None
        raise BatchError(f"{len(failures)} of {len(jobs)} pictures could not be denoised:", hint, failures)


def _remark(text: str | None, messages: Messages) -> None:
    if text is not None:
        messages.note(text)


def _named(job: Job, error: SmdaeError) -> str:
    """Return the message of an error, with the picture's name in front unless it names the picture or its result."""
    is_named = str(job.source) in error.message or str(job.target) in error.message
    return error.message if is_named else f"'{job.source}': {error.message}"


def _outcomes(
    jobs: Sequence[Job],
    work: Work,
    *,
    shown: Callable[[Job], AbstractContextManager[object]],
    parallel: int,
    fail_fast: bool,
    peers: Peers,
    stop: Event,
    messages: Messages,
) -> Iterator[tuple[Job, Any]]:
    """Do the jobs, and yield each in its order with its record, its error, or None if it was skipped."""

    def done(job: Job) -> dict[str, Any] | SmdaeError | None:
        if job.skipped or (job.may_skip and job.is_done):
            return None
        try:
            with shown(job):
                return work(job)
        except SmdaeError as error:
            # Another run may have written the result in the meantime.
            return None if job.may_skip and job.is_done else error

    def quietly(job: Job) -> tuple[Any, list[Line]]:
        with messages.held() as lines:
            return done(job), lines

    if peers.place.size > 1:
        yield from shared(jobs, done, peers, messages, parallel=parallel, fail_fast=fail_fast)
        return
    if parallel == 1:
        yield from ((job, done(job)) for job in jobs)
        return
    keep_freed_memory(parallel)
    pool = ThreadPoolExecutor(parallel)
    with _shared_cores(parallel):
        # Results are dropped once reported: those of thousands of pictures would fill the memory.
        waiting: deque[tuple[Job, Future[Any]]] = deque(
            (job, pool.submit(copy_context().run, quietly, job)) for job in jobs
        )
        try:
            while waiting:
                job, future = waiting.popleft()
                outcome, lines = future.result()
                del future
                if len(waiting) % GIVE_BACK_EVERY == 0:
                    give_back()
                messages.say(lines)
                yield job, outcome
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _shared_cores(parallel: int) -> Iterator[None]:
    """Let each of several threads compute with its share of the cores, for as long as the context lasts."""
    import torch

    cores = torch.get_num_threads()
    torch.set_num_threads(max(1, cores // parallel))
    try:
        yield
    finally:
        torch.set_num_threads(cores)
