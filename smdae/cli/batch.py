"""Many pictures, one after the other or some at once: what fails stops nothing else, and the end tells all.

The work on a picture is a function that returns what --json says of it, or raises. Results are told in the order of the
inputs, whatever order they are done in, and by whichever of several processes.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from smdae.cli import console
from smdae.cli.peers import Peers
from smdae.cli.places import Job
from smdae.cli.sharing import shared
from smdae.errors import BatchError, SmdaeError

__all__ = ["run"]

ALONE = Peers()
Work = Callable[[Job], dict[str, Any]]


def run(
    jobs: Sequence[Job],
    work: Work,
    tell: Callable[[dict[str, Any]], object],
    parallel: int = 1,
    fail_fast: bool = False,
    peers: Peers = ALONE,
) -> None:
    """Do all jobs.

    Args:
        jobs: What to do; of those that are skipped it is told, and no more.
        work: Does one job; returns its record.
        tell: Called with each record, in the order of the jobs.
        parallel: How many are done at once.
        fail_fast: Whether the first failure is the end.
        peers: The processes that do them together; the first tells.

    Raises:
        SmdaeError: The only job failed.
        BatchError: Some of many did; the message counts them.
    """
    if len(jobs) == 1 and not jobs[0].skipped:
        if peers.first:
            tell(work(jobs[0]))
        return
    written = failed = skipped = 0
    for job, outcome in _outcomes(jobs, work, parallel, fail_fast, peers):
        record: dict[str, Any] = {"input": str(job.source), "output": str(job.target)}
        if isinstance(outcome, SmdaeError):
            failed += 1
            console.failure(outcome)
            record |= {"error": outcome.message, "code": outcome.code}
        elif outcome is None:
            skipped += 1
            record |= {"skipped": True}
        else:
            written += 1
            record = outcome
        tell(record)
        if failed and fail_fast:
            break
    if not peers.first:
        return
    left = len(jobs) - written - failed - skipped
    counts = {"written": written, "skipped": skipped, "failed": failed, "not begun": left}
    summary = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    if failed:
        raise BatchError(f"{failed} of {len(jobs)} inputs failed: {summary}")
    console.note(summary)


def _outcomes(
    jobs: Sequence[Job], work: Work, parallel: int, fail_fast: bool, peers: Peers
) -> Iterator[tuple[Job, Any]]:
    """Each job with its record, its failure, or None if it was skipped."""

    def done(job: Job) -> dict[str, Any] | SmdaeError | None:
        if job.skipped:
            return None
        try:
            return work(job)
        except SmdaeError as error:
            return error

    if peers.place.size > 1:
        yield from shared(jobs, done, peers, parallel, fail_fast)
        return
    if parallel == 1:
        yield from ((job, done(job)) for job in jobs)
        return
    pool = ThreadPoolExecutor(parallel)
    waiting: list[tuple[Job, Future[Any]]] = [(job, pool.submit(done, job)) for job in jobs]
    try:
        for job, future in waiting:
            yield job, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
