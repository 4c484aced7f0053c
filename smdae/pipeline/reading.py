"""The reading of a picture, and of the clean one to measure it by."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from smdae.errors import InputError, MemoryLimitError, SmdaeError
from smdae.pipeline.options import Options
from smdae.pipeline.places import STREAM, Job

if TYPE_CHECKING:
    from smdae.files.picture import Picture


def called(job: Job) -> str:
    """Return the name of a job's input in messages: its path, or stdin."""
    return "stdin" if job.source == STREAM else str(job.source)


def warn_of_channels(count: int, page: "Picture", job: Job, options: Options) -> None:
    """Warn if the pages of a stack look like one picture whose channels come last; `page` is the first of `count`."""
    from smdae.files.picture import looks_like_channels

    height, width = page.pixels.shape[:2]
    if looks_like_channels(count, height, width):
        name = f"'{job.source}': " if options.many else ""
        options.messages.warn(
            f"{name}{count} pages of {width} x {height} look like {width} channels stored last: if so, store them first"
        )


def piped(begun: bytes = b"") -> bytes:
    """Return all of stdin, with the bytes `begun` that were read before in front.

    Raises:
        InputError: It does not begin as a picture, and might never end, so the rest is not read; or it cannot be read.
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


def measurable(source: Path) -> "Picture":
    """Return the picture in a file, to measure its distance from another; the inks of a CMYK JPEG are four channels.

    Raises:
        InputError, MemoryLimitError: As `images.read`.
    """
    import numpy as np

    from smdae.files import parts
    from smdae.files.cmyk import Inks

    several = parts.find(source, str(source))
    if several is None or not isinstance(several.container, Inks):
        return read_picture(source)
    inks = list(several)
    return replace(inks[0], pixels=np.stack([ink.pixels for ink in inks], axis=2))


def bare(picture: "Picture", options: Options) -> "Picture":
    """Return a picture with only the metadata that its result is to keep."""
    from smdae.files.exif import stripped

    return replace(picture, metadata=stripped(picture.metadata)) if options.strip else picture


@contextmanager
def within_memory(name: str) -> Iterator[None]:
    """Raise MemoryLimitError, which names a file, where memory runs out during the work on it."""
    from smdae.memory import is_out_of_memory

    try:
        yield
    except SmdaeError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryLimitError(
            f"not enough memory for '{name}'", "-j 1 works on one picture at a time, -t 256 by smaller tiles"
        ) from error


def refuse_misnamed(job: Job, options: Options, called: str, endings: Sequence[str]) -> None:
    """Raise InputError for a file with the ending of another format than it has, if its result would get that too."""
    ending = job.source.suffix.lower()
    if STREAM in (job.source, job.target) or options.ending or job.target.suffix.lower() != ending:
        return
    if ending not in endings:
        named = f"is named {ending}" if ending else "has no ending"
        raise InputError(f"'{job.source}' is {called}, and {named}", f"rename it, or end the result in {endings[0]}")


def converted(picture: "Picture", options: Options) -> "Picture":
    """Return a picture that is not denoised with the sample type of the result.

    Raises:
        OutputError: It holds NaN or infinity, and the result integers.
    """
    from smdae.files.picture import with_depth

    return with_depth(picture, options.depth, options.white_of(picture))


def like(reference: "Picture", picture: "Picture", path: Path, name: str = "the input") -> "Picture":
    """Return the clean picture `reference`, once it is clear that it fits a picture, which messages call by `name`.

    It is turned as that picture is stored, if their orientations differ.

    Raises:
        InputError: It holds NaN or infinity, or has another size or number of channels.
    """
    from smdae.files.orientation import lying_over

    if not reference.is_finite:
        raise InputError(f"--reference '{path}' holds NaN or infinity", "it must be the clean picture")
    pixels = lying_over(reference.pixels, reference.metadata, picture.metadata, picture.pixels.shape[:2])
    if pixels.shape != picture.pixels.shape:
        raise InputError(
            f"--reference '{path}' is {_size(reference)}, {name} is {_size(picture)}",
            "they must show the same picture",
        )
    return replace(reference, pixels=pixels)


def _size(picture: "Picture") -> str:
    height, width = picture.pixels.shape[:2]
    colours = {2: "gray", 3: "colour"}[picture.pixels.ndim] if picture.pixels.shape[2:] != (4,) else "four inks"
    return f"{width} x {height} in {colours}"
