"""Formats that are a short header and then the numbers: PGM and PPM (8 and 16 bits), and .npy.

PGM and PPM are read here because Pillow cuts 16-bit PPM to 8 bits. Both plain (P2, P3) and raw (P5, P6) files
carry a `maxval`: up to 255 the samples are one byte, above two, most significant first. A maxval that is not
255 or 65535 is stretched to the full range of its type, which loses nothing. An .npy file is never unpickled.
"""

import re
from io import BytesIO
from typing import Any

import numpy as np

from smdae.errors import InputError
from smdae.files.picture import SAMPLES, Picture, check_size, from_samples, samples_of

__all__ = ["encode_npy", "encode_pnm", "read_npy", "read_pnm"]

SPACE = rb"(?:\s|#[^\r\n]*[\r\n])+"
PNM_HEADER = re.compile(rb"P([2356])" + (SPACE + rb"(\d{1,10})") * 3 + rb"(?:#[^\r\n]*)?\s")


def read_pnm(data: bytes) -> Picture:
    """Read a PGM or PPM; raises InputError with the reason."""
    header = PNM_HEADER.match(data)
    if header is None:
        raise InputError("its header is damaged")
    kind, width, height, largest = (int(number) for number in header.groups())
    check_size(width, height)
    if not 0 < largest < 65536:
        raise InputError(f"its largest value, {largest}, is not between 1 and 65535")
    shape = (height, width, 3) if kind in (3, 6) else (height, width)
    count = int(np.prod(shape))
    body = data[header.end() :]
    if kind < 4:
        numbers = re.sub(rb"#[^\r\n]*", b" ", body).split(None, count)[:count]
        values = np.array([int(number) for number in numbers], np.int64)
    else:
        stored = np.dtype(np.uint8 if largest < 256 else ">u2")
        values = np.frombuffer(body, stored, min(count, len(body) // stored.itemsize))
    if values.size < count:
        raise InputError("the file is truncated")
    if values.min() < 0 or values.max() > largest:
        raise InputError(f"it has values over its largest, {largest}")
    dtype, full = (np.uint8, 255) if largest < 256 else (np.uint16, 65535)
    if largest != full:
        values = (values.astype(np.int64) * full + largest // 2) // largest
    return from_samples(values.astype(dtype).reshape(shape), "PPM")


def encode_pnm(picture: Picture) -> bytes:
    """The raw PGM or PPM file of a uint8 or uint16 picture without alpha."""
    pixels = picture.pixels
    height, width = pixels.shape[:2]
    header = f"P{6 if pixels.ndim == 3 else 5}\n{width} {height}\n{np.iinfo(pixels.dtype).max}\n"
    return header.encode() + pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()


def read_npy(data: bytes) -> Picture:
    """Read an .npy array of shape (H, W) or (H, W, 3); raises InputError with the reason."""
    stream = BytesIO(data)
    version = np.lib.format.read_magic(stream)
    header: dict[tuple[int, int], Any] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in header:
        raise InputError(f"it is .npy version {version[0]}.{version[1]}", "save it with numpy.save")
    shape, fortran, dtype = header[version](stream)
    if len(shape) not in (2, 3) or shape[2:] not in ((), (3,)):
        raise InputError(f"its shape is {shape}", "smdae reads arrays of shape (H, W) and (H, W, 3)")
    check_size(shape[1], shape[0])
    if dtype.name not in SAMPLES:
        raise InputError(
            f"its samples are {dtype.name}", f"smdae reads {', '.join(SAMPLES)}: convert it to one of these"
        )
    count = int(np.prod(shape))
    if len(data) - stream.tell() < count * dtype.itemsize:
        raise InputError("the file is truncated")
    values = np.frombuffer(data, dtype, count, stream.tell()).reshape(shape, order="F" if fortran else "C")
    return from_samples(values.astype(dtype.newbyteorder("=")), "NPY")


def encode_npy(picture: Picture) -> bytes:
    """The .npy file of a picture without alpha."""
    buffer = BytesIO()
    np.save(buffer, samples_of(picture), allow_pickle=False)
    return buffer.getvalue()
