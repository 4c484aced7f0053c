"""The plan of a run: where each picture comes from and its result goes, refused before any work if it cannot be.

A result goes beside its input under another name, replaces the input, or goes into a given folder, where the tree below
an input folder is kept. Results of many pictures need a folder, so for them -o NAME is a folder even without a slash.
"""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from smdae.errors import OutputError, UsageError
from smdae.pipeline.picture_names import SUFFIX, VOLUME, is_raw_name, parted_name
from smdae.pipeline.selection import Search, is_many, selected

STREAM = Path("-")


@dataclass(frozen=True)
class Job:
    """A picture to denoise, and where its result goes.

    Attributes:
        source: The input; - is stdin.
        target: The result; - is stdout.
        skipped: Whether the result exists already and is left alone.
        may_skip: Whether a result that appears before the work begins is left alone too.
        replaced: The status of the input when the run began, if its result replaces it; else None.
        is_own: Whether the place of the result is that of the input, which nobody said is to be replaced.
        is_named: Whether the user named the result, and not only its folder or nothing.
    """

    source: Path
    target: Path
    skipped: bool = False
    may_skip: bool = False
    replaced: os.stat_result | None = field(default=None, repr=False)
    is_own: bool = False
    is_named: bool = True

    @property
    def is_done(self) -> bool:
        """Return whether the result exists already; False if it goes to stdout."""
        return self.target != STREAM and os.path.lexists(self.target)


@dataclass(frozen=True)
class Naming:
    """The rules by which results are named.

    Attributes:
        output: A file, a folder, -, or None for beside the inputs.
        suffix: The text added to the name; None for _denoised beside the inputs and nothing in another folder.
        ending: The ending of the results, with its dot; None for that of their input.
    """

    output: str | None = None
    suffix: str | None = None
    ending: str | None = None
    recursive: bool = False
    in_place: bool = False
    skip_existing: bool = False


@dataclass(frozen=True)
class Plan:
    """The pictures to denoise, and where their results go.

    Attributes:
        is_single: Whether there is only one picture before a share is taken.
        remark: A line about files that were left out; None if there are none.
    """

    jobs: list[Job]
    folder: Path | None = None
    is_single: bool = False
    remark: str | None = None


def plan(
    inputs: list[Path], naming: Naming, of_list: list[Path] | None = None, share: tuple[int, int] | None = None
) -> Plan:
    """Find all pictures, and return them with where their results go; a picture that is named twice appears once.

    Args:
        inputs: Files, folders, patterns and -.
        naming: How results are named.
        of_list: The files and folders in the list that the user gave; None without one.
        share: I and N, to take every N-th picture beginning with the I-th; the N shares together are all pictures.

    Raises:
        UsageError: Two results would have the same name, a result would overwrite another input, or the naming options
            contradict each other.
        InputError: A folder has no images, or a pattern no matches.
        OutputError: There is a file where the folder of the results is to be.
    """
    if inputs.count(STREAM) > 1:
        raise UsageError("stdin can be read only once", "give - once")
    if naming.in_place and naming.output is not None:
        raise UsageError("--in-place and --output exclude each other", "leave one of them out")
    if naming.in_place and (naming.suffix or naming.ending):
        raise UsageError("--in-place keeps the names of the inputs", "leave out --suffix and --format")
    if naming.suffix and any(c in naming.suffix for c in (os.sep, os.altsep, "\0") if c):
        raise UsageError(f"--suffix '{naming.suffix}' cannot be part of a file's name", "name another folder with -o")
    folder = _folder(naming, is_many(inputs, naming.recursive) or of_list is not None)
    if STREAM in inputs and (folder or naming.in_place):
        raise UsageError("a result from stdin needs a file name or - as its output", "such as -o - or -o result.png")
    search = _search([*inputs, *(of_list or ())], naming, folder)
    selection = selected(inputs, search) + selected(of_list or (), search, literal=True)
    found = selection.pictures
    if len(found) > 1 and naming.output is not None and not folder:
        place = "stdout takes" if naming.output == str(STREAM) else f"--output '{naming.output}' is"
        hint = "name a folder with -o" if naming.output == str(STREAM) else f"name a folder: -o {naming.output}{os.sep}"
        raise UsageError(f"{place} one picture, and there are {len(found)}", hint)
    jobs = _once([Job(source, _target(source, below, naming, folder)) for source, below in found])
    _refuse_collisions(jobs, naming, folder)
    first, step = share or (1, 1)
    is_named = naming.in_place or (naming.output is not None and not folder)
    jobs = [_related(replace(job, is_named=is_named)) for job in jobs[first - 1 :: step]]
    if naming.skip_existing:
        jobs = [replace(job, skipped=job.is_done, may_skip=True) for job in jobs]
    return Plan(jobs, folder, len(found) == 1 and of_list is None, selection.remark)


def _once(jobs: list[Job]) -> list[Job]:
    """Return the jobs without those that would denoise the same file to the same place once more."""
    first: dict[tuple[str, str], Job] = {}
    for job in jobs:
        first.setdefault((os.path.realpath(job.source), os.path.realpath(job.target)), job)
    return list(first.values())


def sources(inputs: list[Path], recursive: bool = False, more: bool = False) -> list[Path]:
    """Return the pictures that inputs stand for, in a fixed order, where no results are to be written.

    Args:
        inputs: Files, folders, patterns and -.
        recursive: Whether folders in folders are searched too.
        more: As in `Search`.

    Raises:
        UsageError: Stdin is named twice.
        InputError: A folder has no images, or a pattern no matches.
    """
    if inputs.count(STREAM) > 1:
        raise UsageError("stdin can be read only once", "give - once")
    return [source for source, _ in selected(inputs, Search(recursive, more=more)).pictures]


def _folder(naming: Naming, many: bool) -> Path | None:
    """Return the folder that results go to; None if they go to stdout, to a single file or beside their inputs.

    The output is a folder if it exists as one, ends in a slash, or is to hold many results.

    Raises:
        OutputError: The output is to be a folder, and is a file.
    """
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
    """Return the settings of a search that leaves out results of this run and of earlier ones."""
    own = folder is not None and any(os.path.realpath(path) == os.path.realpath(folder) for path in inputs)
    beside = naming.suffix if naming.suffix and (naming.output is None or own) else SUFFIX
    suffixes = tuple(dict.fromkeys((SUFFIX, beside)))
    may_be_done = naming.skip_existing or naming.in_place
    return Search(
        naming.recursive,
        folder,
        suffixes,
        more=True,
        marked=True,
        may_be_done=may_be_done,
        links=not naming.in_place,
        raw=not naming.in_place,  # they are developed, and never written
    )


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


def _related(job: Job) -> Job:
    """Return a job that knows whether its result would replace its input."""
    if STREAM in (job.source, job.target) or os.path.realpath(job.source) != os.path.realpath(job.target):
        return job
    if not job.is_named:
        return replace(job, is_own=True)
    try:
        return replace(job, replaced=job.source.stat())
    except OSError:  # reading it will fail with the reason
        return job


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
            raise UsageError(
                f"'{job.target}' is an input, and a result would be written to it", "leave it out, or give another -o"
            )
    if naming.output and naming.ending:
        target = Path(naming.output)
        if not folder and target != STREAM and SUFFIXES.get(target.suffix.lower()) != SUFFIXES[naming.ending]:
            raise UsageError(f"--output '{target}' and --format do not agree", "leave one of them out")
