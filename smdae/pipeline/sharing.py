"""Share many pictures among several processes: each takes the next one that is free, and the first reports all.

Each process puts the outcome of a picture, its record or its error, and its messages in the store that all share.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from contextvars import copy_context
from functools import partial
from typing import Any

from smdae.errors import SmdaeError
from smdae.pipeline.messages import Line, Messages
from smdae.pipeline.peers import Peers
from smdae.pipeline.places import Job

Outcome = dict[str, Any] | SmdaeError | None  # of a job: its record, its error, or None if it was skipped


def shared(
    jobs: Sequence[Job],
    done: Callable[[Job], Outcome],
    peers: Peers,
    messages: Messages,
    *,
    parallel: int = 1,
    fail_fast: bool = False,
) -> Iterator[tuple[Job, Outcome]]:
    """Do this process's part of all jobs; the first process yields the outcomes of all, in the order of the jobs.

    Yields:
        A job with its record, its error, or None if it was skipped; nothing in other processes than the first.

    Raises:
        LostError: The other processes have ended, or cannot be reached.
    """

    def take() -> bool:
        """Do the next job that no process has taken; return False if there is none."""
        # A job that is taken must be done, as the first process waits for its outcome.
        if peers.read("enough") or (number := peers.next_number("taken")) >= len(jobs):
            return False
        with messages.held() as lines:
            outcome = done(jobs[number])
        if fail_fast and isinstance(outcome, SmdaeError):
            peers.write("enough", True)
        peers.write(f"outcome/{number}", _packed(outcome) | {"lines": lines})
        return True

    def take_all() -> None:
        while take():
            pass

    if not peers.first and parallel == 1:
        take_all()
        return
    with nullcontext() if parallel == 1 else ThreadPoolExecutor(parallel) as pool:
        # The context is copied so that urgent messages come from the first process only.
        threads = [pool.submit(copy_context().run, take_all) for _ in range(parallel)] if pool else []
        seen: set[Line] = set()
        for number, job in enumerate(jobs if peers.first else ()):
            stored = peers.wait_for(f"outcome/{number}", take if pool is None else partial(_checked, threads))
            # Each process says that it has loaded the model: such lines are shown once.
            lines = [(kind, text) for kind, text in stored["lines"]]
            messages.say([line for line in lines if line not in seen])
            seen.update(lines)
            yield job, _unpacked(stored)
    _checked(threads)


def _checked(threads: Sequence[Future[None]]) -> bool:
    """Raise the exception of any thread that failed; return False, for none of the work was done here."""
    for thread in threads:
        if thread.done():
            thread.result()
    return False


def _packed(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, SmdaeError):
        return {"failure": [outcome.message, outcome.hint, outcome.code]}
    return {"record": outcome}


def _unpacked(stored: dict[str, Any]) -> Outcome:
    if "failure" not in stored:
        found: Outcome = stored["record"]
        return found
    message, hint, code = stored["failure"]
    failure = SmdaeError(message, hint)
    failure.code = code
    return failure
