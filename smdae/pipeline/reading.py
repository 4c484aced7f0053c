"""The reading of a picture and of the clean one to measure it by, and the format of its result."""

import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from smdae.errors import InputError, OutputError, UsageError
from smdae.files.formats import WITH_QUALITY, in_words
from smdae.pipeline.options import Options
from smdae.pipeline.picture_noise import white_of
from smdae.pipeline.places import STREAM, Job, check_target

if TYPE_CHECKING:
    from smdae.files.picture import Picture

__all__ = [
    "bare",
    "called",
    "converted",
    "kind_of",
    "like",
    "piped",
    "read_picture",
    "refuse_misnamed",
    "refuse_other_format",
    "refuse_quality",
]


def called(job: Job) -> str:
    """Return the name of a job's input in messages: its path, or stdin."""
    return "stdin" if job.source == STREAM else str(job.source)


def piped(begun: bytes = b"") -> bytes:
    """Read all of stdin and return it, with the bytes `begun` that were read before in front.

    Raises:
        InputError: It does not begin as a picture, and might never end; or it cannot be read.
    """
    from smdae.files import fits, packing, raw
    from smdae.files.images import HEAD, bounded, format_of

    head = begun + sys.stdin.buffer.read(max(0, HEAD - len(begun)))
    if packing.is_packed(head):
        head += sys.stdin.buffer.read(packing.HEAD - len(head))
    if not raw.is_raw(head, "stdin") and not fits.is_fits(head):
        format_of(head[:HEAD], "stdin")
    return bounded(sys.stdin.buffer, head, "stdin")


def read_picture(source: Path, data: bytes | None = None) -> "Picture":
    """Return the picture in a file, or in `data` if its bytes are already at hand.

    Raises:
        InputError, MemoryLimitError: As `images.read`.
    """
    from smdae.files.images import read

    return read(source if data is None else data, "stdin" if source == STREAM else str(source))


def bare(picture: "Picture", options: Options) -> "Picture":
    """Return a picture with only the metadata that its result is to keep."""
    from smdae.files.exif import stripped

    return replace(picture, metadata=stripped(picture.metadata)) if options.strip else picture


def refuse_misnamed(job: Job, options: Options, called: str, endings: Sequence[str]) -> None:
    """Raise InputError for a file with the ending of another format, which its result would get too.

    Args:
        job: The file.
        options: How it is denoised.
        called: The true format of the file, in words.
        endings: The endings of that format, the usual one first.
    """
    ending = job.source.suffix.lower()
    if STREAM in (job.source, job.target) or options.ending or job.target.suffix.lower() != ending:
        return
    if ending not in endings:
        named = f"is named {ending}" if ending else "has no ending"
        raise InputError(f"'{job.source}' is {called}, and {named}", f"rename it, or end the result in {endings[0]}")


def refuse_other_format(job: Job, options: Options, called: str, endings: Sequence[str], hint: str) -> None:
    """Raise OutputError for a result in another format, for files that are written only as what they are.

    Args:
        job: The file, and where its result goes.
        options: How it is denoised.
        called: The format of the file, in words.
        endings: The endings of that format.
        hint: What the user can do about it.
    """
    is_named_otherwise = job.target != STREAM and job.target.suffix.lower() not in endings
    if options.ending or is_named_otherwise:
        written = options.ending or job.target
        raise OutputError(
            f"{called} stays one, and is not written as '{written}'", "leave --format out" if options.ending else hint
        )


def converted(picture: "Picture", options: Options) -> "Picture":
    """Return a picture that is not denoised with the sample type of the result.

    Raises:
        OutputError: It holds NaN or infinity, and the result integers.
    """
    from smdae.files.picture import with_depth

    return with_depth(picture, options.depth, white_of(picture, options))


def kind_of(job: Job, picture: "Picture", options: Options) -> str:
    """Return the format of the result.

    Raises:
        OutputError: It cannot be written.
        UsageError: It goes to stdout, --quality is given, and the format has none.
    """
    from smdae.files.picture import with_depth

    result = with_depth(picture, options.depth, white_of(picture, options), pixels=False)
    kind = check_target(job, result, options.ending, options.overwrite, options.new_folder)
    if job.target == STREAM and options.quality is not None:  # elsewhere its name tells the format before this is read
        refuse_quality([kind])
    return kind


def refuse_quality(kinds: Collection[str | None]) -> None:
    """Raise UsageError if none of the formats of some results has a quality, though --quality is given.

    A format that files keep, and that pictures cannot be written in, is None.
    """
    if kinds and set(kinds).isdisjoint(row.name for row in WITH_QUALITY):
        kind = next((kind for kind in kinds if kind), None)
        raise UsageError(
            f"--quality is for {in_words(WITH_QUALITY)}, and {kind or 'the result'} has none",
            "leave it out, or add --format jpeg" if kind else "leave it out",
        )


def like(reference: "Picture", picture: "Picture", path: Path, name: str = "the input") -> "Picture":
    """Return the clean picture `reference`, once it is clear that it fits a picture, which messages call by `name`.

    It is turned as that picture is stored, if their orientations differ.

    Raises:
        InputError: It holds NaN or infinity, or has another size or number of channels.
    """
    from smdae.files.orientation import lying_over

    if not reference.is_finite:
        raise InputError(f"--reference '{path}' holds NaN or infinity", "it is to be the clean picture")
    pixels = lying_over(reference.pixels, reference.metadata, picture.metadata, picture.pixels.shape[:2])
    if pixels.shape != picture.pixels.shape:
        raise InputError(
            f"--reference '{path}' is {_size(reference)}, {name} is {_size(picture)}",
            "they must show the same picture",
        )
    return replace(reference, pixels=pixels)


def _size(picture: "Picture") -> str:
    height, width = picture.pixels.shape[:2]
    return f"{width} x {height} in {'colour' if picture.pixels.ndim == 3 else 'gray'}"
