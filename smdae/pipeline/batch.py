"""Denoise many pictures, one after the other or several at once; a failure does not stop the others.

The work on a picture is a function that returns its JSON record, or raises. Records and messages are reported in the
order of the inputs, in whatever order and by whichever of several processes the pictures are done.

A folder is worked on by as many threads as there are cores. Each takes a picture from file to file, so that some
compute while others decode or encode, and no core waits for another as it would within a matrix product. Each thread
computes with one core; if memory allows only fewer pictures at once, each has its share of the cores.
"""

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass, field
from itertools import accumulate
from threading import Event
from typing import TYPE_CHECKING, Any

from smdae.errors import BatchError, DeviceError, OutputError, SmdaeError
from smdae.memory import give_back, keep_freed_memory
from smdae.pipeline.messages import SILENT, Line, Messages
from smdae.pipeline.peers import Peers
from smdae.pipeline.places import Job
from smdae.pipeline.sharing import Outcome, shared

if TYPE_CHECKING:
    from smdae.files.extent import Need

ALONE = Peers()
MEMORY_SHARE = 0.5  # of the available memory that pictures may take together
WORK_BYTES = 512 << 20  # memory that the work on one picture takes at most, besides its pixels
LEAST_BYTES = 48 << 20  # and at least: finding the noise, decoding and encoding
PASSES = 3  # of the model over a picture, that memory is held for at once: the result, and two probes of it
GIVE_BACK_EVERY = 10  # results: memory that several threads free is fragmented, and would pile up


class Stopped(BaseException):
    """Raised by work still under way when its batch has ended."""


def parallel_jobs(
    jobs: Sequence[Job], device: str, wanted: int | None = None, bytes_per_pixel: int | None = None
) -> int:
    """Return how many pictures to denoise at once, at least 1: fewer than wanted if memory is short.

    So many that even the largest of them have room together. It is 1 if there is no such device.

    Args:
        jobs: The pictures, of which only the headers are read.
        device: The name of the device that they are denoised on.
        wanted: The largest number; None for one for each core.
        bytes_per_pixel: Memory that the model takes for each pixel; None if unknown, to allow for the most it may be.
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
    needs = sorted(
        (_bytes_for(needed_for(job.source), bytes_per_pixel) for job in jobs if not job.skipped), reverse=True
    )
    room = MEMORY_SHARE * available(cpu)
    together = sum(total <= room for total in accumulate(needs)) if needs else 1
    cores = torch.get_num_threads()
    if where.type != "cpu":  # the threads only decode, encode and wait
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        together = min(together, int(MEMORY_SHARE * available(where) / (2 * WORK_BYTES)))
    return max(1, min(wanted or cores, together, len(jobs)))


def _bytes_for(need: "Need", bytes_per_pixel: int | None) -> int:
    """Return the bytes of memory that work on a picture takes; `bytes_per_pixel` is for the model, None if unknown.

    The network's share is measured: 0.5 to 1.1 kB a pixel up to 512 x 512, where it takes 0.4, and less beyond, where
    tiles bound it.
    """
    if bytes_per_pixel is None or need.pixels is None:
        return need.nbytes + WORK_BYTES
    return need.nbytes + min(WORK_BYTES, LEAST_BYTES + PASSES * bytes_per_pixel * need.pixels)


@dataclass(frozen=True, eq=False)
class Batch:
    """Many pictures to denoise, and how they are worked on.

    Attributes:
        jobs: The pictures; those to be skipped are only reported.
        report: Called with each record, in the order of the jobs.
        shown: Returns the context in which a job is done, which shows that it is under way.
        peers: The processes that share the jobs; only the first of them reports.
        stop: Set when work still under way may be given up; work that checks it raises Stopped.
        remark: One more line to say at the end; None for none.
        is_single: Whether there is only one picture in all, whose failure is raised as it is.
    """

    jobs: Sequence[Job]
    work: Callable[[Job], dict[str, Any]]
    report: Callable[[dict[str, Any]], object]
    shown: Callable[[Job], AbstractContextManager[object]] = nullcontext
    parallel: int = 1
    fail_fast: bool = False
    peers: Peers = ALONE
    stop: Event = field(default_factory=Event)
    remark: str | None = None
    is_single: bool = False
    messages: Messages = SILENT

    def run(self) -> None:
        """Do all jobs, report each, and end with the numbers of pictures written, skipped and failed.

        Raises:
            SmdaeError: The only picture failed.
            BatchError: Some of many failed. The message names each again, as its own line may be far above.
        """
        written = skipped = 0
        failures: list[str] = []
        results_exist = False
        hints: set[str] = set()  # that were given: thousands of pictures may fail for one reason
        for job, outcome in self._outcomes():
            record: dict[str, Any] = {"input": str(job.source), "output": str(job.target)}
            if isinstance(outcome, SmdaeError):
                if self.is_single:
                    raise outcome
                failures.append(_named(job, outcome))
                results_exist |= outcome.code == OutputError.code and job.is_done and job.replaced is None
                self.messages.failure(outcome if outcome.hint not in hints else outcome.without_hint())
                hints |= {outcome.hint} if outcome.hint else set()
                record |= {"error": outcome.message, "code": outcome.code}
            elif outcome is None:
                skipped += 1
                record |= {"skipped": True}
            else:
                written += 1
                record = outcome
            self.report(record)
            if failures and self.fail_fast:
                break
        if not self.peers.first:
            return
        left = len(self.jobs) - written - len(failures) - skipped
        counts = {"written": written, "skipped": skipped, "failed": len(failures), "not begun": left}
        if self.remark is not None:
            self.messages.note(self.remark)
        self.messages.note(", ".join(f"{count} {what}" for what, count in counts.items() if count))
        if failures:
            hint = "--skip-existing leaves results that are there, -y replaces them" if results_exist else None
            raise BatchError(f"{len(failures)} of {len(self.jobs)} pictures could not be denoised:", hint, failures)

    def _outcomes(self) -> Iterator[tuple[Job, Outcome]]:
        """Do the jobs, and yield each in its order with its record, its error, or None if it was skipped."""
        if self.peers.place.size > 1:
            yield from shared(
                self.jobs, self._done, self.peers, self.messages, parallel=self.parallel, fail_fast=self.fail_fast
            )
            return
        if self.parallel == 1:
            yield from ((job, self._done(job)) for job in self.jobs)
            return
        keep_freed_memory(self.parallel)
        pool = ThreadPoolExecutor(self.parallel)
        with _shared_cores(self.parallel), warnings.catch_warnings():
            # Readers ignore what libraries warn of, but one thread that ends doing so would end it for all.
            warnings.simplefilter("ignore")
            # Results are dropped once reported: those of thousands of pictures would fill the memory.
            waiting: deque[tuple[Job, Future[tuple[Outcome, list[Line]]]]] = deque(
                (job, pool.submit(copy_context().run, self._done_in_silence, job)) for job in self.jobs
            )
            try:
                while waiting:
                    job, future = waiting.popleft()
                    outcome, lines = future.result()
                    del future
                    if len(waiting) % GIVE_BACK_EVERY == 0:
                        give_back()
                    self.messages.say(lines)
                    yield job, outcome
            finally:
                self.stop.set()
                pool.shutdown(wait=True, cancel_futures=True)

    def _done(self, job: Job) -> Outcome:
        """Do a job, and return its record, its error, or None if it was skipped."""
        if job.skipped or (job.may_skip and job.is_done):
            return None
        try:
            with self.shown(job):
                return self.work(job)
        except SmdaeError as error:
            # Another run may have written the result in the meantime.
            return None if job.may_skip and job.is_done else error

    def _done_in_silence(self, job: Job) -> tuple[Outcome, list[Line]]:
        """Do a job, and return its outcome with the messages about it, which are not said yet."""
        with self.messages.held() as lines:
            return self._done(job), lines


def _named(job: Job, error: SmdaeError) -> str:
    """Return the message of an error, with the picture's name in front unless it names the picture or its result."""
    is_named = str(job.source) in error.message or str(job.target) in error.message
    return error.message if is_named else f"'{job.source}': {error.message}"


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
