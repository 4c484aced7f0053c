r"""Y4M (YUV4MPEG2): uncompressed video as programs pass it to each other, read and written a frame at a time.

    YUV4MPEG2 W1920 H1080 F25:1 Ip A1:1 C420p10 XCOLORRANGE=LIMITED\n      the header, kept as it is
    FRAME\n  Y  Cb  Cr  (alpha)                                            each plane row by row; 16 bits little-endian

The chroma format C gives the depth and the size of the colour planes; without one it is 4:2:0 of 8 bits.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Protocol

import numpy as np

from smdae.errors import InputError
from smdae.files.picture import check_size

ENDING = ".y4m"
MAGIC = b"YUV4MPEG2"
FRAME = b"FRAME"
MAX_LINE = 4096  # bytes of a header
# Divisors of the width and the height of the planes of colour; none for gray.
CHROMA = {"420": (2, 2), "411": (4, 1), "410": (4, 4), "422": (2, 1), "440": (1, 2), "444": (1, 1), "mono": None}
FORMAT = re.compile(r"(420|411|410|422|440|444|mono)(jpeg|mpeg2|paldv|alpha)?(?:p?(9|10|12|14|16))?", re.ASCII)
ALPHA = "alpha"
FIELDS = "tbm"  # interlaced: top first, bottom first, mixed


class Readable(Protocol):
    """A stream that gives up to n bytes, fewer at its end."""

    def read(self, n: int, /) -> bytes:
        """Return up to n bytes."""
        ...


@dataclass(frozen=True)
class Header:
    """The header of a stream, its first line.

    Attributes:
        line: The line itself, with its end.
        shapes: Height and width of each plane: Y, Cb and Cr if there are, alpha if there is.
        is_interlaced: Whether every second row of a frame is of another time.
    """

    line: bytes
    width: int
    height: int
    bits: int
    shapes: tuple[tuple[int, int], ...]
    has_alpha: bool
    is_interlaced: bool

    @property
    def dtype(self) -> np.dtype:
        """Return the type of samples in the stream."""
        return np.dtype(np.uint8) if self.bits == 8 else np.dtype("<u2")

    @property
    def white(self) -> int:
        """Return the largest value of a sample."""
        return (1 << self.bits) - 1

    @property
    def nbytes(self) -> int:
        """Return the bytes of a frame, without its line."""
        return sum(height * width for height, width in self.shapes) * self.dtype.itemsize


def is_video(source: Path) -> bool:
    """Return whether a file is a Y4M stream; a pipe is not looked into."""
    try:
        with source.open("rb") if os.path.isfile(source) else BytesIO() as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:  # its reader reports it
        return False


def read_header(stream: Readable) -> Header:
    """Return the header of a stream, read from its first line; raise InputError if the stream is no Y4M."""
    line = _line(stream)
    words = line.decode("ascii", "replace").split()
    if not words or words[0] != MAGIC.decode():
        raise InputError("it does not begin as a Y4M stream")
    fields = {word[0]: word[1:] for word in words[1:] if word[0] != "X"}
    try:
        width, height = int(fields["W"]), int(fields["H"])
    except (KeyError, ValueError):
        raise InputError("its header does not give the width and the height") from None
    check_size(width, height)
    kind = fields.get("C", "420")
    match = FORMAT.fullmatch(kind)
    if match is None:
        raise InputError(f"its chroma format is {kind!r:.40}", "smdae reads 420, 411, 410, 422, 440, 444 and mono")
    across_down = CHROMA[match[1]]
    shapes = [(height, width)]
    if across_down is not None:
        across, down = across_down
        shapes += [(-(-height // down), -(-width // across))] * 2
    has_alpha = match[2] == ALPHA
    if has_alpha:
        shapes.append((height, width))
    interlacing = fields.get("I", "p")
    is_interlaced = bool(interlacing) and interlacing in FIELDS
    return Header(line, width, height, int(match[3] or 8), tuple(shapes), has_alpha, is_interlaced)


def frames(stream: Readable, header: Header) -> Iterator[tuple[bytes, list[np.ndarray]]]:
    """Yield the frames one by one: the line of each, and its planes, (h, w), uint8 or uint16.

    Raises:
        InputError: The stream ends inside a frame, something else follows one, or a value has too many bits.
    """
    number = 0
    while True:
        first = stream.read(1)
        if not first:
            return
        number += 1
        line = _line(stream, first)
        if line.split()[:1] != [FRAME]:
            if number == 1:
                raise InputError("its header is not followed by a frame")
            size = f"{header.width} x {header.height}"
            raise InputError(f"no frame begins where frame {number} should: its header, which says {size}, is wrong")
        if line[-1:] != b"\n":
            raise InputError(f"it ends inside frame {number}")
        data = exactly(stream, header.nbytes)
        if len(data) < header.nbytes:
            raise InputError(f"it ends inside frame {number}")
        planes, at = [], 0
        for height, width in header.shapes:
            plane = np.frombuffer(data, header.dtype, height * width, at).reshape(height, width)
            at += plane.nbytes
            if header.bits > 8 and int(plane.max()) > header.white:
                raise InputError(
                    f"frame {number} has values over {header.white}: its header, which says {header.bits} bits, "
                    "is wrong"
                )
            planes.append(plane.astype(header.dtype.newbyteorder("=")))
        yield line, planes


def encoded(line: bytes, planes: Sequence[np.ndarray], header: Header) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a frame of a stream, piece by piece."""
    yield line
    for plane in planes:
        yield np.ascontiguousarray(plane, header.dtype).reshape(-1).view(np.uint8).data


def exactly(stream: Readable, count: int) -> bytes:
    """Return `count` bytes of a stream, or fewer where it ends: a pipe may give them in parts."""
    data = stream.read(count)
    while len(data) < count:
        more = stream.read(count - len(data))
        if not more:
            break
        data += more
    return data


def _line(stream: Readable, begun: bytes = b"") -> bytes:
    """Return a line with its newline; without one if the stream ends first, or the line is too long for a header."""
    line = bytearray(begun)
    while line[-1:] != b"\n" and len(line) < MAX_LINE:
        one = stream.read(1)
        if not one:
            break
        line += one
    return bytes(line)
