"""What of a plan replaces files: inputs by their results, and whatever lies where a result goes; and --dry-run.

Folders whose pictures a run replaces are claimed by it, so that no two runs denoise the same ones twice. A claim is a
lock on the folder itself: no file is made for it, and it ends with the process, however that ends. Whoever takes all
pictures of a folder claims it alone; those who were given single files share it.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # there are no locks, and so no claims
    fcntl = None  # type: ignore[assignment]

from smdae.errors import OutputError
from smdae.files.fits import is_named
from smdae.files.formats import SUFFIXES
from smdae.files.kinds import kind_of
from smdae.files.marks import HOLDERS
from smdae.files.refusals import refuse_changed, refuse_existing, refuse_making
from smdae.pipeline.picture_names import is_raw_name
from smdae.pipeline.places import STREAM, Job

CODESTREAM = ".j2k"  # of JPEG 2000, without the boxes in which words would stand
REMARKS = {
    "skip": "skipped: it is there",
    "replace": "replaces what is there",
    "refuse": "refused: it is there, and -y is not given",
    "fail": "fails: there is no such input",
}


def claims(jobs: list[Job], inputs: list[Path]) -> dict[Path, bool]:
    """Return each folder in which inputs are replaced, and whether the folder or one around it is among `inputs`."""
    roots = [Path(os.path.realpath(path)) for path in inputs if path != STREAM and os.path.isdir(path)]
    folders = {Path(os.path.realpath(job.source)).parent for job in jobs if job.replaced}
    return {folder: any(folder.is_relative_to(root) for root in roots) for folder in sorted(folders)}


@contextmanager
def claimed(folders: Mapping[Path, bool]) -> Iterator[None]:
    """Claim folders as long as the context lasts: a folder with True for this run alone, with False shared with others.

    A folder that cannot be opened or locked is not claimed: some file systems know no locks.

    Raises:
        OutputError: Another run has claimed one, and either claim is for one run alone.
    """
    with ExitStack() as stack:
        for folder, alone in folders.items() if fcntl is not None else ():
            with suppress(OSError):
                descriptor = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                try:
                    fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise OutputError(
                        f"another run replaces pictures in '{folder}'", "wait for its end, or end it"
                    ) from None
        yield


def unmarked(jobs: list[Job], strip: bool) -> Counter[str]:
    """Return how many pictures of each kind are replaced by results that cannot be told from pictures later.

    With `strip` results have no words about themselves.
    """

    def holds_words(name: str) -> bool:
        ending = Path(name).suffix.lower()
        return (SUFFIXES.get(ending) in HOLDERS and ending != CODESTREAM) or is_named(name)

    names = [job.source.name for job in jobs if job.replaced and not is_raw_name(job.source)]  # those are refused
    return Counter(kind_of(name) for name in names if strip or not holds_words(name))


def refuse_raced(jobs: list[Job]) -> None:
    """Raise OutputError if a picture that is to be replaced has changed since this run was planned.

    Another run may have replaced it, and it would be denoised twice.
    """
    for job in jobs:
        if job.replaced is not None:
            refuse_changed(job.source, job.replaced)


def misplaced(job: Job) -> str | None:
    """Return in words why a result would change a file that the user has not named; None if it would not.

    The file is the input itself, or any other to which a symbolic link in the folder of the results leads.
    """
    if job.is_own:
        return "it is the input itself"
    return "it is a symbolic link" if not job.is_named and os.path.islink(job.target) else None


def refuse_misplaced(job: Job) -> None:
    """Raise OutputError for a result that is `misplaced`."""
    if why := misplaced(job):
        hint = "--in-place replaces inputs" if job.is_own else "remove the link, or name its file with -o"
        raise OutputError(f"cannot write '{job.target}': {why}", hint)


def refuse_result(job: Job, overwrite: bool) -> None:
    """Raise OutputError if the file of a result cannot be written, or may not be."""
    refuse_existing(job.target, overwrite=overwrite)
    refuse_misplaced(job)


def refuse_place(path: Path, overwrite: bool, folder: bool = False) -> None:
    """Raise OutputError if a file, or with `folder` a folder, cannot be written at a path."""
    if not folder:
        refuse_existing(path, overwrite=overwrite)
    elif not os.path.isdir(path):
        refuse_making(path, path)
    elif not overwrite and any(path.iterdir()):
        raise OutputError(f"the folder '{path}' is not empty", "write to another, or replace what is there with -y")


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
