"""The format of a result: what its name or --format asks for, once it is clear that it can hold the picture."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from smdae.errors import OutputError, UsageError
from smdae.files.colour_profile import is_srgb
from smdae.files.formats import FORMATS, SUFFIXES, WITH_QUALITY, in_words
from smdae.files.images import refuse_format
from smdae.files.jpeg_file import MAX_EXIF, MAX_ICC
from smdae.files.orientation import orientation_of
from smdae.files.picture import Picture, with_depth
from smdae.files.refusals import refuse_making
from smdae.pipeline.options import Options
from smdae.pipeline.picture_names import special_format
from smdae.pipeline.places import STREAM, Job
from smdae.pipeline.reading import called
from smdae.pipeline.replacing import refuse_result

ANIMATED = ("GIF", "PNG", "WEBP")


def kind_of(job: Job, picture: Picture, options: Options) -> str:
    """Return the name of the format of the result, once it is clear that it can be written.

    Raises:
        OutputError: It cannot be written.
        UsageError: It goes to stdout, --quality is given, and the format has none.
    """
    result = with_depth(picture, options.depth, options.white_of(picture), pixels=False)
    _refuse_deep(result, wanted_kind(job, result.format, options.ending))
    kind = check_target(job, result, options.ending, options.overwrite, options.new_folder)
    if job.target == STREAM and options.quality is not None:  # elsewhere its name tells the format before this is read
        refuse_quality([kind])
    return kind


def check_target(job: Job, picture: Picture, ending: str | None, overwrite: bool, made: Path | None) -> str:
    """Return the name of the format of the result, such as "PNG", once it is clear that it can be written there.

    Args:
        job: The picture, and where its result goes.
        picture: A picture with the samples and channels of the result.
        ending: The ending that was asked for, which also sets the format on stdout; None for the input's.
        overwrite: Whether an existing file may be replaced.
        made: A folder that will be made for the results, so that folders below it need not exist yet; None for none.

    Raises:
        OutputError: The result cannot be written there, or the format cannot hold it.
    """
    if job.target != STREAM:
        if made and not os.path.exists(job.target.parent):
            refuse_making(job.target.parent, made)
        elif not os.path.lexists(folder := job.target.parent):
            hint = f"make it first, or give -o {folder}/, which makes it"
            raise OutputError(f"cannot write {str(job.target)!r}: there is no folder {str(folder)!r}", hint)
        else:
            refuse_result(job, overwrite)
    kind = wanted_kind(job, picture.format, ending)
    refuse_format(picture, kind)
    return kind


def wanted_kind(job: Job, format: str, ending: str | None) -> str:
    """Return the format of the result of a picture in a format; the arguments are those of `check_target`.

    Raises:
        OutputError: The name of the result has an ending that stands for no format in which pictures are written.
    """
    suffix = job.target.suffix.lower()
    if job.target == STREAM:
        return SUFFIXES[ending] if ending else format
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    named = f"cannot write '{job.target}': "
    if other := special_format(job.target):
        raise OutputError(f"{named}{format} does not become {other}", f"name it {FORMATS[format].suffixes[0]}")
    known = f"known are {', '.join(SUFFIXES)}"
    if not suffix:
        raise OutputError(f"{named}it has no extension", f"{job.target}/ would be a folder; {known}")
    raise OutputError(f"{named}unknown extension", known)


def warn_of_look(job: Job, picture: Picture, kind: str, options: Options) -> None:
    """Warn where a picture looks otherwise in another format, which cannot hold its colours or how it is turned."""
    if kind == picture.format:
        return
    profile, exif = picture.metadata.icc or b"", picture.metadata.exif or b""
    most_icc, most_exif = (MAX_ICC, MAX_EXIF) if kind == "JPEG" else (len(profile), len(exif))
    lost = []
    if profile and not is_srgb(profile) and (not FORMATS[kind].profile or len(profile) > most_icc):
        lost.append("its colour profile")
    if orientation_of(picture.metadata) != 1 and (not FORMATS[kind].exif or len(exif) > most_exif):
        lost.append("its orientation")
    if lost:
        options.messages.warn(f"of '{called(job)}', {' and '.join(lost)} will not be in the result, which is {kind}")


def refuse_one_picture(job: Job, options: Options, own: str, held: str, is_animated: bool = False) -> None:
    """Raise OutputError for a result in another format than its file's `own`, which cannot hold what is `held`."""
    kind = wanted_kind(job, own, options.ending)
    if kind == own:
        return
    given = [name for name, value in (("--format", options.ending), ("--quality", options.quality)) if value]
    how = f"leave {' and '.join(given)} out" if options.ending else f"name it {FORMATS[own].suffixes[0]}"
    words = f"{kind} cannot hold {held}"
    if is_animated and kind in ANIMATED:
        words = f"{held} in {own} is not made into one in {kind}"
    raise OutputError(f"'{called(job)}': {words}", f"write {own}: {how}")


def refuse_other_format(job: Job, options: Options, called: str, endings: Sequence[str], hint: str) -> None:
    """Raise OutputError for a result in another format, for files that are written only as what they are."""
    is_named_otherwise = job.target != STREAM and job.target.suffix.lower() not in endings
    if options.ending or is_named_otherwise:
        written = options.ending or job.target
        raise OutputError(
            f"{called} stays one, and is not written as '{written}'", "leave --format out" if options.ending else hint
        )


def refuse_quality(kinds: Collection[str | None]) -> None:
    """Raise UsageError if none of the formats of some results has a quality, though --quality is given.

    None among `kinds` stands for a format in which smdae writes no pictures, of a file that keeps its format.
    """
    if kinds and set(kinds).isdisjoint(row.name for row in WITH_QUALITY):
        kind = next((kind for kind in kinds if kind), None)
        raise UsageError(
            f"--quality is for {in_words(WITH_QUALITY)}, and {kind or 'the result'} has none",
            "leave it out, or add --format jpeg" if kind else "leave it out",
        )


def _refuse_deep(picture: Picture, kind: str) -> None:
    """Raise OutputError for samples that a format does not hold, where it holds the picture with fewer bits."""
    holds = FORMATS[kind].samples
    bits = next((bits for name, bits in (("uint16", 16), ("uint8", 8)) if name in holds), None)
    if picture.depth in holds or bits is None:
        return
    try:
        refuse_format(picture, kind)
    except OutputError as error:
        raise OutputError(error.message, f"add --bit-depth {bits}, or {error.hint}") from None
