"""A safetensors file of a model or a state: the header is checked before the rest is read, the checksum before use.

    8 bytes    length n of the header, little-endian
    n bytes    JSON: of each tensor its dtype, shape and place among the bytes that follow; `__metadata__`: texts
    the rest   the tensors, one after the other, without holes

`checksum` in the metadata is BLAKE2b of all the rest of the header, in a canonical form, and of the tensors; files
without one are from before there was any, and are taken as they are. The length of a file follows from its header, so
what is longer or shorter is refused before it is read, and the memory that reading takes is known beforehand. Loads no
torch.
"""

import hashlib
import json
import math
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from smdae.files.regular import opened

MAX_HEADER = 1 << 20  # bytes
MAX_NUMBERS = 1 << 40  # of a tensor, and of all
SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
SIZES |= {"F32": 4, "I32": 4, "U32": 4, "F64": 8, "I64": 8, "U64": 8, "C64": 8}  # bytes of a number
CHECKSUM = "checksum"


class Tensor(NamedTuple):
    """A tensor in the header: its dtype by safetensors' name, and its shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """The header of a file, checked.

    Attributes:
        start: The offset of the first tensor in the file, in bytes.
        length: The length of the whole file in bytes.
        checksum: The checksum in the metadata; None if there is none.
        record: The decoded header without the checksum.
    """

    metadata: dict[str, str]
    tensors: dict[str, Tensor]
    start: int
    length: int
    checksum: str | None
    record: dict[str, Any]


def header(data: bytes) -> Header:
    """Return the header that a file of these first bytes has; all of its header must be among them.

    Raises:
        ValueError: There is no valid header.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= min(MAX_HEADER, len(data) - 8):
        is_pickle = data[:2] == b"PK" or data[:1] == b"\x80"
        raise ValueError("it is a pickle" if is_pickle else "it is not a safetensors file, or was cut off")
    try:
        record = json.loads(data[8 : 8 + length])
        metadata = record["__metadata__"]
        if not (isinstance(metadata, dict) and all(isinstance(text, str) for text in metadata.values())):
            raise ValueError("its header is damaged")
        tensors, places = dict[str, Tensor](), list[tuple[int, int]]()
        for name, entry in record.items():
            if name != "__metadata__":
                tensors[name], place = _tensor(entry)
                places.append(place)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("it is not a safetensors file, or its header is damaged") from error
    end = 0
    for first, last in sorted(places):
        if first != end:
            raise ValueError("its tensors overlap, or there are holes between them")
        end = last
    checksum = metadata.pop(CHECKSUM, None)
    if checksum is None and any(_is_almost(name, CHECKSUM) for name in metadata):
        raise ValueError("its header is damaged")
    return Header(metadata, tensors, 8 + length, 8 + length + end, checksum, record)


def _is_almost(name: str, other: str) -> bool:
    """Return whether one letter alone is another, as after damage."""
    return len(name) == len(other) and sum(a != b for a, b in zip(name, other, strict=True)) == 1


def _tensor(entry: dict[str, Any]) -> tuple[Tensor, tuple[int, int]]:
    """Return the dtype and shape of a tensor, and the bytes at which its values begin and end."""
    dtype, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not all(type(n) is int and 0 <= n <= MAX_NUMBERS for n in (*shape, first, last)):
        raise ValueError("not a shape")
    if len(shape) > 8 or not math.prod(shape) * SIZES[dtype] == last - first <= 8 * MAX_NUMBERS:
        raise ValueError("a tensor has another size than its shape")
    return Tensor(dtype, tuple(shape)), (first, last)


def read(path: Path, most: int, accept: Callable[[Header], object] = lambda _: None) -> bytes:
    """Return the bytes of a file, which are as many as its header says and no more than `most`.

    Args:
        path: A file with a length, which pipes and devices have not.
        most: The largest number of bytes that is read.
        accept: Called with the header before the rest is read; raises an error to refuse the file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is a pipe or a device, is larger than `most`, begins with no header, was cut off, or has bytes
            that belong to nothing.
    """
    with opened(path) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is a pipe or a device, not a file")
        first = file.read(8)
        start = first + file.read(min(int.from_bytes(first, "little"), MAX_HEADER))
        found = header(start)
        if status.st_size != found.length:
            raise ValueError("it was cut off" if status.st_size < found.length else "there is more after its end")
        if found.length > most:
            raise ValueError(f"it is larger than {most:,} bytes")
        accept(found)
        data = start + file.read(found.length - len(start))
    if len(data) != found.length:
        raise ValueError("it was cut off")
    return data


def _digest(record: dict[str, Any], tensors: memoryview) -> str:
    """Return the checksum that belongs to a header without one and to the bytes of its tensors."""
    digest = hashlib.blake2b(json.dumps(record, sort_keys=True, separators=(",", ":")).encode(), digest_size=16)
    digest.update(tensors)
    return digest.hexdigest()


def digest(data: bytes) -> str:
    """Return the checksum of the contents of a whole file: the one in its header, or a computed one if it has none.

    Raises:
        ValueError: There is no valid header.
    """
    found = header(data)
    return found.checksum or _digest(found.record, memoryview(data)[found.start :])


def with_checksum(data: bytes) -> bytes:
    """Return the same file with its checksum in the metadata, an old one being replaced; entries are in order.

    Raises:
        ValueError: There is no valid header.
    """
    found = header(data)
    checksum = _digest(found.record, memoryview(data)[found.start :])
    record = found.record | {"__metadata__": found.metadata | {CHECKSUM: checksum}}
    text = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned
    return len(text).to_bytes(8, "little") + text + data[found.start :]


def checked(data: bytes) -> Header:
    """Return the header of a whole file that is as it was written.

    Raises:
        ValueError: It is not a safetensors file, or its length or its contents are not those it was written with.
    """
    found = header(data)
    if len(data) != found.length:
        raise ValueError("it was cut off" if len(data) < found.length else "there is more after its end")
    if found.checksum is not None and _digest(found.record, memoryview(data)[found.start :]) != found.checksum:
        raise ValueError("its checksum is not that of its contents: it was changed, or damaged")
    return found
