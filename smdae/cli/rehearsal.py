"""Tell for --dry-run what `denoise` would do: each picture, its result, and what becomes of a file that is there."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smdae.cli import console
from smdae.cli.places import STREAM, Job

__all__ = ["rehearse"]


def rehearse(jobs: Sequence[Job], overwrite: bool, beside: Sequence[Path], as_json: bool) -> None:
    """Print what would be read and written, a line each on stdout.

    Args:
        jobs: What would be done.
        overwrite: Whether files that are there would be replaced.
        beside: What else would be written.
        as_json: Whether lines are JSON objects.
    """
    for job in jobs:
        would = _would(job, overwrite)
        if as_json:
            console.result(_named(job) | {"would": would})
        else:
            aside = "" if would == "write" else f" ({REMARKS[would]})"
            source, target = _named(job).values()
            console.text(f"{source} -> {target}{aside}")
    for path in beside:
        if as_json:
            console.result({"output": str(path), "would": "write"})
        else:
            console.text(f"-> {path}")


REMARKS = {
    "skip": "skipped: it is there",
    "replace": "replaces what is there",
    "refuse": "refused: it is there, and -y is not given",
    "fail": "fails: there is no such input",
}


def _would(job: Job, overwrite: bool) -> str:
    if job.skipped:
        return "skip"
    if job.source != STREAM and not os.path.lexists(job.source):
        return "fail"
    if not job.is_done:
        return "write"
    return "replace" if overwrite else "refuse"


def _named(job: Job) -> dict[str, Any]:
    return {
        "input": "stdin" if job.source == STREAM else str(job.source),
        "output": "stdout" if job.target == STREAM else str(job.target),
    }
