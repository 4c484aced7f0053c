"""Where pictures come from and results go: names planned and refused before any work.

A result lies beside its input under another name, in its place, or under the folder given, where the tree below an
input folder is kept. Results of many pictures need a folder, so there -o NAME is one even without a slash at its end.
"""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from smdae.errors import OutputError, UsageError
from smdae.pipeline.picture_names import SUFFIX, VOLUME, is_raw_name, parted_name
from smdae.pipeline.selection import Search, is_many, selected

if TYPE_CHECKING:
    from smdae.files.picture import Picture

__all__ = [
    "STREAM",
    "Job",
    "Naming",
    "Plan",
    "check_target",
    "claims",
    "plan",
    "refuse_place",
    "refuse_raced",
    "sources",
]

STREAM = Path("-")


@dataclass(frozen=True)
class Job:
    """One picture.

    Attributes:
        source: Where from.
        target: Where to.
        skipped: Whether its result was there before and stays.
        may_skip: Whether a result that has come to be there meanwhile stays too.
        replaced: The input as it was when the run began, if its result takes its place.
    """

    source: Path
    target: Path
    skipped: bool = False
    may_skip: bool = False
    replaced: os.stat_result | None = field(default=None, repr=False)

    @property
    def is_done(self) -> bool:
        """Return whether there is a file where the result goes."""
        return self.target != STREAM and os.path.lexists(self.target)


@dataclass(frozen=True)
class Naming:
    """How results are named.

    Attributes:
        output: A file, a folder, -, or None for beside the inputs.
        suffix: What follows the name; None for _denoised beside the inputs and nothing in another folder.
        ending: The ending that results get, None for that of their input.
        recursive: Whether folders are searched to their depth.
        in_place: Whether results replace their inputs.
        skip_existing: Whether results that are there are left alone.
    """

    output: str | None = None
    suffix: str | None = None
    ending: str | None = None
    recursive: bool = False
    in_place: bool = False
    skip_existing: bool = False


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        jobs: All pictures and where their results go.
        folder: That all results go to, None where there is none.
        is_single: Whether there is one picture in all, of which this may be a share.
        remark: What to say of the files that were left out; None for nothing.
    """

    jobs: list[Job]
    folder: Path | None = None
    is_single: bool = False
    remark: str | None = None


def plan(
    inputs: list[Path], naming: Naming, of_list: list[Path] | None = None, share: tuple[int, int] | None = None
) -> Plan:
    """Return all pictures and where their results go.

    Args:
        inputs: Files, folders, patterns and -.
        naming: How results are named.
        of_list: The files and folders of a list; None without one.
        share: I and N, to take every N-th picture from the I-th on: N such shares make the whole.

    Raises:
        UsageError: Two results would have one name, or one that of an input, or the names make no sense together.
        InputError: A folder has no images, or a pattern no matches.
        OutputError: There is a file where the folder of the results is to be.
    """
    if inputs.count(STREAM) > 1:
        raise UsageError("stdin can be read only once")
    if naming.in_place and naming.output is not None:
        raise UsageError("--in-place and --output exclude each other", "leave one of them out")
    if naming.in_place and (naming.suffix or naming.ending):
        raise UsageError("--in-place leaves no place for another name", "leave out --suffix and --format")
    if naming.suffix and any(c in naming.suffix for c in (os.sep, os.altsep, "\0") if c):
        raise UsageError(f"--suffix '{naming.suffix}' cannot be part of a file's name", "name another folder with -o")
    folder = _folder(naming, is_many(inputs, naming.recursive) or of_list is not None)
    if STREAM in inputs and (folder or naming.in_place):
        raise UsageError("a result from stdin needs a file name or - as its output")
    search = _search([*inputs, *(of_list or ())], naming, folder)
    selection = selected(inputs, search) + selected(of_list or (), search, literal=True)
    found = selection.pictures
    if len(found) > 1 and naming.output is not None and not folder:
        one = "stdout takes" if naming.output == str(STREAM) else f"--output '{naming.output}' is"
        hint = "name a folder with -o" if naming.output == str(STREAM) else f"name a folder: -o {naming.output}{os.sep}"
        raise UsageError(f"{one} one picture, and there are {len(found)}", hint)
    jobs = [Job(source, _target(source, below, naming, folder)) for source, below in found]
    _refuse_collisions(jobs, naming, folder)
    first, step = share or (1, 1)
    jobs = [replace(job, replaced=_replaced(job)) for job in jobs[first - 1 :: step]]
    if naming.skip_existing:
        jobs = [replace(job, skipped=job.is_done, may_skip=True) for job in jobs]
    return Plan(jobs, folder, len(found) == 1 and of_list is None, selection.remark)


def sources(inputs: list[Path], recursive: bool = False, more: bool = False) -> list[Path]:
    """Return the pictures that inputs stand for, of which no results are to be written; errors as those of `plan`.

    `more` is that of `Search`.
    """
    if inputs.count(STREAM) > 1:
        raise UsageError("stdin can be read only once")
    return [source for source, _ in selected(inputs, Search(recursive, more=more)).pictures]


def _folder(naming: Naming, many: bool) -> Path | None:
    """Return the folder that results go to: one that is there, that a slash names, or that many results need."""
    from smdae.files.formats import SUFFIXES

    output = naming.output
    if output is None or output == str(STREAM):
        return None
    if Path(output).suffix.lower() == VOLUME and not many:  # a volume, which is a folder itself
        return None
    if os.path.isdir(output) or output.endswith(os.sep):
        return Path(output)
    if not many or Path(output).suffix.lower() in SUFFIXES:
        return None
    if os.path.lexists(output):
        raise OutputError(f"'{output}' is a file, and results of many pictures need a folder", "name another with -o")
    return Path(output)


def _search(inputs: list[Path], naming: Naming, folder: Path | None) -> Search:
    """Return how folders are searched, so that results of this call or an earlier one are no inputs."""
    own = folder is not None and any(os.path.realpath(path) == os.path.realpath(folder) for path in inputs)
    beside = naming.suffix if naming.suffix and (naming.output is None or own) else SUFFIX
    return Search(naming.recursive, folder, tuple(dict.fromkeys((SUFFIX, beside))), more=True, marked=True)


def _suffix(naming: Naming) -> str:
    if naming.suffix is not None:
        return naming.suffix
    return SUFFIX if naming.output is None else ""


def _target(source: Path, below: Path, naming: Naming, folder: Path | None) -> Path:
    if naming.in_place:
        return source
    if naming.output is not None and not folder:
        return Path(naming.output)
    if source == STREAM:
        return STREAM
    stem, ending = parted_name(source.name)
    ending = ".tif" if is_raw_name(source) else ending  # camera raw files are developed
    name = f"{stem}{_suffix(naming)}{naming.ending or ending}"
    return folder / below.with_name(name) if folder else source.with_name(name)


def _replaced(job: Job) -> os.stat_result | None:
    if STREAM in (job.source, job.target) or os.path.realpath(job.source) != os.path.realpath(job.target):
        return None
    try:
        return job.source.stat()
    except OSError:  # reading it will tell
        return None


def claims(jobs: list[Job], inputs: list[Path]) -> dict[Path, bool]:
    """Return the folders in which inputs are replaced, and whether all pictures in them are."""
    roots = [Path(os.path.realpath(path)) for path in inputs if path != STREAM and os.path.isdir(path)]
    folders = {Path(os.path.realpath(job.source)).parent for job in jobs if job.replaced}
    return {folder: any(folder.is_relative_to(root) for root in roots) for folder in sorted(folders)}


def refuse_raced(jobs: list[Job]) -> None:
    """Raise OutputError where a picture is no longer what it was when it was planned to replace it.

    Another run may have been at work on the folder then, and have ended since: what it had replaced before would be
    denoised twice.
    """
    from smdae.files.refusals import refuse_changed

    for job in jobs:
        if job.replaced is not None:
            refuse_changed(job.source, job.replaced)


def _refuse_collisions(jobs: list[Job], naming: Naming, folder: Path | None) -> None:
    from smdae.files.formats import SUFFIXES

    places: dict[str, Path] = {}
    sources = {os.path.realpath(job.source): job for job in jobs if job.source != STREAM}
    for job in jobs:
        if job.target == STREAM:
            continue
        place = os.path.realpath(job.target)
        if place in places:
            raise UsageError(f"two results would both be '{job.target}'", "denoise them in two calls")
        places[place] = job.target
        read = sources.get(place)
        if read is not None and read is not job:
            raise UsageError(f"'{job.target}' is an input and would be a result", "leave it out, or give another -o")
    if naming.output and naming.ending:
        target = Path(naming.output)
        if not folder and target != STREAM and SUFFIXES.get(target.suffix.lower()) != SUFFIXES[naming.ending]:
            raise UsageError(f"--output '{target}' and --format do not agree", "leave one of them out")


def refuse_place(path: Path, overwrite: bool, folder: bool = False) -> None:
    """Refuse a file, or a folder to be, that cannot be written."""
    from smdae.files.refusals import refuse_existing, refuse_making

    if not folder:
        refuse_existing(path, overwrite=overwrite)
    elif not path.is_dir():
        refuse_making(path, path)
    elif not overwrite and any(path.iterdir()):
        raise OutputError(f"the folder '{path}' is not empty", "write to another, or replace what is there with -y")


def check_target(job: Job, picture: "Picture", ending: str | None, overwrite: bool, made: Path | None) -> str:
    """The format of the result; refuses what cannot be written. Folders below `made` need not be there yet.

    Args:
        job: Where the result goes.
        picture: Of the kind that is to be written.
        ending: The ending that was asked for, which stdout too takes as its format.
        overwrite: Whether a file may be replaced.
        made: A folder to be made, or None.
    """
    from smdae.files.formats import SUFFIXES
    from smdae.files.images import refuse_format
    from smdae.files.refusals import refuse_existing, refuse_making

    kind = SUFFIXES[ending] if ending else picture.format
    if job.target != STREAM:
        if made and not job.target.parent.exists():
            refuse_making(job.target.parent, made)
        else:
            refuse_existing(job.target, overwrite=overwrite)
        suffix = job.target.suffix.lower()
        if suffix not in SUFFIXES:
            raise OutputError(f"cannot write '{job.target}': unknown extension", f"known are {', '.join(SUFFIXES)}")
        kind = SUFFIXES[suffix]
    refuse_format(picture, kind)
    return kind
