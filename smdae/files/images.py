"""Reading and writing pictures: the kind and the depth that went in come out.

The type of a file is recognised by its first bytes, never from its name. Nothing but `SmdaeError` leaves `read`,
whatever the bytes are: decoders are written by others, and a damaged file can make them raise anything.
"""

import contextlib
import logging
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL.Image import DecompressionBombError

from smdae.errors import InputError, MemoryLimitError, OutputError, SmdaeError, UsageError
from smdae.files.foreign import AS_PNG, foreign
from smdae.files.formats import FORMATS, function, in_words, missing
from smdae.files.picture import Picture
from smdae.files.regular import opened
from smdae.files.sequence import refuse_several

# Without a handler, logging would print to stderr what these say of damaged files.
for library in ("PIL", "imagecodecs"):
    logging.getLogger(library).addHandler(logging.NullHandler())

MAX_NEAR = 2000  # names that are compared with that of a missing file
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/+\w", re.IGNORECASE)  # as of a page; a path has one of its two slashes
SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\x93NUMPY": "NPY",
    b"P7\n": "PAM",
    b"\xff\x0a": "JXL",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JXL",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JP2",
    b"\xff\x4f\xff\x51": "JP2",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
}

# Of files in boxes, at their bytes 8 to 12.
BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"MiHE"), "HEIC"
)
PNM_KINDS = (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")
PNM_SPACE = (b" ", b"\t", b"\n", b"\r", b"#")
BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
HEAD = 32
PIECE = 1 << 22  # bytes of a stream, read at once
MAX_STREAM = 1 << 30  # bytes of a stream, which may have no end
BEHIND = "what stands behind its end"
READABLE = f"smdae reads {in_words()}"


def read(source: Path | bytes, name: str) -> Picture:
    """Return the one still picture in a file, or in its bytes if they are already at hand; messages call it `name`.

    Raises:
        InputError: The file cannot be read or is not supported; one line, with a hint where there is one.
        MemoryLimitError: The picture takes more memory than there is.
    """
    data = content(source, name) if isinstance(source, Path) else source
    format = FORMATS[format_of(data[:HEAD], name)]
    with decoding(repr(name)):
        if absent := missing(format):
            raise InputError(*absent)
        picture: Picture = function(format.read)(data)
        return replace(picture, lost=(*picture.lost, BEHIND)) if refuse_several(data) else picture


@contextlib.contextmanager
def decoding(what: str) -> Iterator[None]:
    """Turn whatever goes wrong inside into InputError or MemoryLimitError, one line that calls it `what`.

    Errors about options that contradict the file are passed on.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UsageError:
        raise
    except InputError as error:
        raise InputError(f"cannot read {what}: {error.message}", error.hint) from error
    except MemoryLimitError as error:
        raise MemoryLimitError(f"cannot read {what}: {error.message}", error.hint) from error
    except MemoryError as error:
        raise MemoryLimitError(
            f"not enough memory to read {what}", "close other programs, or cut it into smaller images"
        ) from error
    except DecompressionBombError as error:
        raise InputError(f"cannot read {what}: it has too many pixels for its format", AS_PNG) from error
    except Exception as error:
        cut = isinstance(error, EOFError) or "truncated" in str(error).lower()
        raise InputError(f"cannot read {what}: the file is {'truncated' if cut else 'damaged'}") from error


def encode(picture: Picture, format: str, quality: int | None = None) -> bytes:
    """Return the whole file of a picture in one of `FORMATS`, with the metadata that the format has a place for.

    `quality`, 1 to 100, is for formats that have a quality; others ignore it. None is the usual quality.

    Raises:
        OutputError: The format cannot hold the picture.
        SmdaeError: The picture has NaN or infinity in it.
    """
    refuse_format(picture, format)
    refuse_infinite(picture)
    row = FORMATS[format]
    options = {"quality": quality} if row.quality and quality is not None else {}
    whole: bytes = function(row.encode)(picture, **options)
    return whole


def refuse_infinite(picture: Picture) -> None:
    """Raise SmdaeError for NaN or infinity in a picture that is to be written, unless its source had some too."""
    if not picture.is_finite:
        return
    parts = [part for part in (picture.pixels, picture.alpha) if part is not None and part.dtype.kind == "f"]
    if not all(np.isfinite(part).all() for part in parts):
        raise SmdaeError("the result holds NaN or infinity and is not written")


def refuse_format(picture: Picture, format: str) -> None:
    """Raise OutputError, before any work, for a format that would lose depth, alpha or pixels."""
    if absent := missing(FORMATS[format]):
        raise OutputError(*absent)
    loss = _loss(picture, format)
    if loss:
        able = [other for other in FORMATS if not _loss(picture, other)]
        raise OutputError(f"{format} cannot hold {loss}", f"write {' or '.join(able)}" if able else None)


def _loss(picture: Picture, format: str) -> str | None:
    holds = FORMATS[format]
    if picture.depth not in holds.samples:
        return f"{picture.depth} samples"
    if picture.alpha is not None and not holds.alpha:
        return "an alpha channel"
    if picture.premultiplied and format != "TIFF":
        return "colours that are multiplied by alpha"
    if format == "GIF" and picture.format != "GIF":
        return "more than 256 colours"
    if max(picture.pixels.shape[:2]) > holds.longest_side:
        return f"more than {holds.longest_side:,} pixels a side"
    return None


def content(path: Path, name: str) -> bytes:
    """Return the bytes of a file that begins as a picture does.

    Raises:
        InputError: It cannot be read, has no end, or begins as no picture does.
        MemoryLimitError: It takes more memory than there is.
    """
    with opening(name), opened(path) as file:
        head = file.read(HEAD)
        format_of(head, name)
        return bounded(file, head, name)


def bounded(file: BinaryIO, head: bytes, name: str) -> bytes:
    """Return all bytes of a file whose first ones, `head`, are read; InputError for a stream of over 1 GB."""
    if _is_regular(file):
        return head + file.read()
    pieces, size = [head], len(head)
    while piece := file.read(PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_STREAM:
            raise InputError(f"cannot read {name!r}: it goes on beyond {MAX_STREAM >> 30} GB", "name a file instead")
    return b"".join(pieces)


def _is_regular(file: BinaryIO) -> bool:
    """Return whether a file has an end that the system knows."""
    try:
        return os.path.isfile(file.fileno())
    except OSError:  # bytes in memory have no number
        return False


def _near(name: str) -> str | None:
    """Return a hint that names the file beside a missing one whose name is most like it; None if none is alike."""
    folder, missing = os.path.split(name)
    with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
        found = get_close_matches(missing, islice((entry.name for entry in entries), MAX_NEAR), 1, 0.8)
        return f"did you mean {os.path.join(folder, found[0])!r}?" if found else None
    return None


@contextlib.contextmanager
def opening(name: str) -> Iterator[None]:
    """Turn what the system says while a file is opened or read within the context into an error of one line.

    Raises:
        InputError: The file is missing, a folder, or cannot be read.
        MemoryLimitError: Memory ran out.
    """
    try:
        yield
    except FileNotFoundError as error:
        if os.path.islink(name):
            raise InputError(f"cannot read {name!r}: it is a symbolic link to a file that is not there") from error
        is_address = ADDRESS.match(name) is not None
        shown = re.sub(":/+", "://", name, count=1) if is_address else name  # a path has lost one of its slashes
        hint = "smdae reads files: download it first" if is_address else _near(name)
        raise InputError(f"cannot read {shown!r}: there is no such file", hint) from error
    except IsADirectoryError as error:
        raise InputError(f"cannot read {name!r}: it is a folder") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read {name!r}: {reason.lower()}") from error
    except MemoryError as error:
        raise MemoryLimitError(
            f"not enough memory to read {name!r}", "close other programs, or cut it into smaller images"
        ) from error


def format_of(head: bytes, name: str) -> str:
    """Return the format of a file, a name of `FORMATS`, by its first `HEAD` bytes; raise InputError for others.

    Of camera raw files, which look like TIFFs, `name` decides.
    """
    if not head:
        raise InputError(f"cannot read {name!r}: the file is empty")
    format = _format(head)
    other = foreign(head, name, format is not None)
    if other is not None:
        raise InputError(f"{name!r} is {other.name}, which {other.reader}", other.advice)
    if format is None:
        raise InputError(f"{name!r} is not an image that smdae can read", READABLE)
    return format


def is_known(head: bytes) -> bool:
    """Return whether the first `HEAD` bytes of a file are those of one of `FORMATS`."""
    return _format(head) is not None


def _format(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp" and head[8:12] in BRANDS:
        return "AVIF" if b"avif" in head else BRANDS[head[8:12]]
    # Two letters alone could begin a text.
    if head[:2] in PNM_KINDS and head[2:3] in PNM_SPACE:
        return "PPM"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in BMP_HEADERS:
        return "BMP"
    return next((format for signature, format in SIGNATURES.items() if head.startswith(signature)), None)
