"""The plan that --dry-run prints: each picture, its result, and what would happen to a file that exists."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from smdae.pipeline.places import STREAM, Job
from smdae.pipeline.replacing import misplaced

REMARKS = {
    "skip": "skipped: it is there",
    "replace": "replaces what is there",
    "refuse": "refused: it is there, and -y is not given",
    "fail": "fails: there is no such input",
}


def rehearsed(jobs: Sequence[Job], overwrite: bool, beside: Sequence[Path]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each file that would be written, those `beside` last, as a JSON record and a line; write nothing."""
    for job in jobs:
        would = _would(job, overwrite)
        why = misplaced(job) if would == "refuse" else None
        aside = "" if would == "write" else f" ({f'refused: {why}' if why else REMARKS[would]})"
        named = _named(job)
        source, target = named.values()
        yield named | {"would": would}, f"{source} -> {target}{aside}"
    for path in beside:
        yield {"output": str(path), "would": "write"}, f"-> {path}"


def _would(job: Job, overwrite: bool) -> str:
    if job.skipped:
        return "skip"
    if job.source != STREAM and not os.path.lexists(job.source):
        return "fail"
    if not job.is_done:
        return "write"
    if misplaced(job):
        return "refuse"
    return "replace" if overwrite else "refuse"


def _named(job: Job) -> dict[str, Any]:
    return {
        "input": "stdin" if job.source == STREAM else str(job.source),
        "output": "stdout" if job.target == STREAM else str(job.target),
    }
