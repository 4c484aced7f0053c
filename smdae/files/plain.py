"""Formats that are a short header and then the numbers: Netpbm's PBM, PGM, PPM and PAM, and .npy.

They are read here because Pillow cuts 16-bit PPM to 8 bits, and knows no PAM. Plain (P1 to P3) and raw (P4 to
P6) files and PAM (P7) carry a `maxval`: up to 255 the samples are one byte, above two, most significant first. Samples
are stretched to the full range of their type, which loses nothing, and written with the maxval and the comments that
they came with. A PBM has one bit a pixel, and 1 is black; denoised it is a PGM. An .npy file is never unpickled.
"""

import math
import re
from io import BytesIO
from typing import Any

import numpy as np

from smdae.errors import InputError
from smdae.files.marks import OPENING
from smdae.files.picture import (
    SAMPLES,
    Metadata,
    Picture,
    check_size,
    from_samples,
    samples_of,
    stretched,
    unstretched,
)
from smdae.files.room import refuse_huge

SPACE = rb"(?:\s|#[^\r\n]*[\r\n])+"
PNM_HEADER = re.compile(rb"P([1-6])" + (SPACE + rb"(\d{1,10})") * 2)
PNM_MAXVAL = re.compile(SPACE + rb"(\d{1,10})")
PNM_END = re.compile(rb"#[^\r\n]*[\r\n]|\s")
PAM_END = b"ENDHDR\n"
PAM_HEADER = 1 << 16  # bytes, at most
PAM_TYPES = {
    1: (b"GRAYSCALE", b"BLACKANDWHITE"),
    2: (b"GRAYSCALE_ALPHA", b"BLACKANDWHITE_ALPHA"),
    3: (b"RGB",),
    4: (b"RGB_ALPHA",),
}
PLAIN, BITS, COLOURS = (1, 2, 3), (1, 4), (3, 6)


def read_pnm(data: bytes) -> Picture:
    """Return the picture of a PBM, PGM or PPM; raise InputError or MemoryLimitError with the reason."""
    header = pnm_header(data)
    if header is None:
        raise InputError("its header is damaged")
    kind, width, height, maxval, end = header
    body = memoryview(data)[end:]
    check_size(width, height)
    _refuse_maxval(maxval)
    shape = (height, width, 3) if kind in COLOURS else (height, width)
    if kind == 4:
        values = _bits(body, shape)
    elif kind in PLAIN:
        values = _numbers(bytes(body), shape, kind)
    else:
        values = _stored(body, shape, maxval)
    if kind in BITS:
        values = 1 - values
    metadata = _commented(re.findall(rb"#[^\r\n]*", data[:end]))
    own_maxval = None if kind in BITS else _own_maxval(maxval)
    return from_samples(_up_to(values, maxval), "PPM", metadata=metadata, maxval=own_maxval)


def pnm_header(data: bytes) -> tuple[int, int, int, int, int] | None:
    """Return kind (1 to 6), width, height, maxval and length of a PNM's header; None if it is damaged or not whole."""
    header = PNM_HEADER.match(data)
    if header is None:
        return None
    kind, width, height = (int(number) for number in header.groups())
    maxval, end = 1, header.end()
    if kind not in BITS:
        found = PNM_MAXVAL.match(data, end)
        if found is None:
            return None
        maxval, end = int(found[1]), found.end()
    space = PNM_END.match(data, end)
    return None if space is None else (kind, width, height, maxval, space.end())


def encode_pnm(picture: Picture) -> bytes:
    """Return the raw PGM or PPM file of a uint8 or uint16 picture without alpha."""
    height, width = picture.pixels.shape[:2]
    header = f"{width} {height}\n{_maxval(picture)}\n"
    kind = b"P6" if picture.pixels.ndim == 3 else b"P5"
    return _opened(kind, picture) + header.encode() + _big_endian(picture.pixels, picture.maxval)


def read_pam(data: bytes) -> Picture:
    """Return the picture of a PAM, gray or RGB, with or without alpha; raise InputError with the reason."""
    end = data.find(PAM_END, 0, PAM_HEADER)
    if end < 0:
        raise InputError("its header is damaged")
    written = [line for line in data[:end].splitlines()[1:] if line.strip()]
    lines = [line.split(None, 1) for line in written if not line.startswith(b"#")]
    entries = {line[0]: line[1].strip() if len(line) == 2 else b"" for line in lines}
    numbers = [entries.get(name, b"") for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")]
    if not all(re.fullmatch(rb"\d{1,10}", number) for number in numbers):
        raise InputError("its header is damaged")
    width, height, depth, maxval = map(int, numbers)
    check_size(width, height)
    _refuse_maxval(maxval)
    kind = entries.get(b"TUPLTYPE", b"")
    if depth not in PAM_TYPES or (kind and kind not in PAM_TYPES[depth]):
        raise InputError(
            f"its {depth} channels are not gray or RGB, with or without alpha", "save it as gray or RGB first"
        )
    values = _stored(memoryview(data)[end + len(PAM_END) :], (height, width, depth), maxval)
    metadata = _commented([line for line in written if line.startswith(b"#")])
    return from_samples(_up_to(values, maxval), "PAM", metadata=metadata, maxval=_own_maxval(maxval))


def encode_pam(picture: Picture) -> bytes:
    """Return the PAM file of a uint8 or uint16 picture, with alpha if it has it."""
    samples = np.atleast_3d(samples_of(picture))
    height, width, depth = samples.shape
    kind = PAM_TYPES[depth][0].decode()
    header = f"WIDTH {width}\nHEIGHT {height}\nDEPTH {depth}\nMAXVAL {_maxval(picture)}\nTUPLTYPE {kind}\nENDHDR\n"
    return _opened(b"P7", picture) + header.encode() + _big_endian(samples, picture.maxval)


def _commented(comments: list[bytes]) -> Metadata:
    """Return metadata with the comments of a header, but for the words of an earlier result."""
    return Metadata(comments=tuple(one for one in comments if not one.startswith(b"# " + OPENING)))


def _opened(kind: bytes, picture: Picture) -> bytes:
    """Return the first lines of a header, with the comments of a picture."""
    return b"".join(line + b"\n" for line in (kind, *picture.metadata.comments))


def _refuse_maxval(maxval: int) -> None:
    if not 0 < maxval < 65536:
        raise InputError(f"its largest value, {maxval}, is not between 1 and 65535")


def _own_maxval(maxval: int) -> int | None:
    return None if maxval in (255, 65535) else maxval


def _maxval(picture: Picture) -> int:
    return picture.maxval or int(np.iinfo(picture.pixels.dtype).max)


def _big_endian(samples: np.ndarray, maxval: int | None) -> bytes:
    values = unstretched(samples, maxval)
    return values.astype(values.dtype.newbyteorder(">")).tobytes()


def _stored(body: memoryview, shape: tuple[int, ...], maxval: int) -> np.ndarray:
    """Return raw samples of one byte or two, of that shape."""
    stored = np.dtype(np.uint8 if maxval < 256 else ">u2")
    count = int(np.prod(shape))
    if len(body) // stored.itemsize < count:
        raise InputError("the file is truncated")
    return np.frombuffer(body, stored, count).reshape(shape)


def _bits(body: memoryview, shape: tuple[int, ...]) -> np.ndarray:
    """Return the bits of rows of whole bytes, with shape (H, W), uint8."""
    height, width = shape
    across = (width + 7) // 8
    if len(body) < height * across:
        raise InputError("the file is truncated")
    refuse_huge(height * width, height * width, len(body))
    rows = np.frombuffer(body, np.uint8, height * across).reshape(height, across)
    return np.unpackbits(rows, axis=1, count=width)


def _numbers(body: bytes, shape: tuple[int, ...], kind: int) -> np.ndarray:
    """Return samples in decimal digits, of that shape; the bits of a PBM need no space between them."""
    count = int(np.prod(shape))
    if kind == 1:
        digits = re.sub(rb"#[^\r\n]*|\s", b"", body)[:count]
        if digits.strip(b"01"):
            raise InputError("it has values over its largest, 1")
        values = np.frombuffer(digits, np.uint8).astype(np.int64) - ord("0")
    else:
        numbers = re.sub(rb"#[^\r\n]*", b" ", body).split(None, count)[:count]
        values = np.array([int(number) for number in numbers], np.int64)
    if values.size < count:
        raise InputError("the file is truncated")
    return values.reshape(shape)


def _up_to(values: np.ndarray, maxval: int) -> np.ndarray:
    if values.min() < 0 or values.max() > maxval:
        raise InputError(f"it has values over its largest, {maxval}")
    return stretched(values, maxval)


def read_npy(data: bytes) -> Picture:
    """Return the picture in an .npy array of shape (H, W) or (H, W, 3); raise InputError with the reason."""
    shape, *_ = npy_header(data)
    if len(shape) not in (2, 3) or shape[2:] not in ((), (3,)):
        raise InputError(
            f"its shape is {shape}", "smdae reads arrays of shape (H, W), (H, W, 3), (N, H, W), (N, H, W, 3)"
        )
    values = npy_array(data)
    return from_samples(values.astype(values.dtype.newbyteorder("=")), "NPY")


def npy_header(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, whether columns come first in memory, sample type and length of the header of an .npy file.

    Raises InputError for a version that smdae does not know.
    """
    stream = BytesIO(data)
    version = np.lib.format.read_magic(stream)
    header: dict[tuple[int, int], Any] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in header:
        raise InputError(f"it is .npy version {version[0]}.{version[1]}", "save it with numpy.save")
    shape, is_fortran, dtype = header[version](stream)
    return shape, is_fortran, dtype, stream.tell()


def npy_array(data: bytes) -> np.ndarray:
    """Return the array of an .npy file, of one picture or of several along its first axis, as a view of its bytes.

    Raises InputError for sample types that smdae does not process, sizes that no picture has, and truncated files.
    """
    shape, is_fortran, dtype, start = npy_header(data)
    height, width = shape[-3:-1] if len(shape) > 2 and shape[-1] in (1, 2, 3, 4) else shape[-2:]
    check_size(width, height)
    if dtype.name not in SAMPLES:
        raise InputError(
            f"its samples are {dtype.name}", f"smdae reads {', '.join(SAMPLES)}: convert it to one of these"
        )
    count = math.prod(shape)
    if len(data) - start < count * dtype.itemsize:
        raise InputError("the file is truncated")
    return np.frombuffer(data, dtype, count, start).reshape(shape, order="F" if is_fortran else "C")


def encode_npy(picture: Picture) -> bytes:
    """Return the .npy file of a picture, of the shape that `samples_of` gives, and of the type in its file."""
    buffer = BytesIO()
    np.save(buffer, samples_of(picture), allow_pickle=False)
    return buffer.getvalue()
