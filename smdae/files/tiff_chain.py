"""The chain of directories of a TIFF, followed entry by entry: to understand all of each takes half a millisecond."""

import struct
from typing import TYPE_CHECKING

from smdae.errors import InputError

if TYPE_CHECKING:
    import tifffile

__all__ = ["are_reduced"]

NEW_SUBFILE_TYPE, SUBFILE_TYPE, REDUCED = 254, 255, 2
NUMBERS = {3: "H", 4: "I"}
MAX_TAGS = 4096  # of a directory that makes sense


def are_reduced(file: "tifffile.TiffFile") -> list[bool]:
    """Return, for each directory of the chain, whether it says that its picture is of reduced size.

    Only two entries of a directory are read: parsing all takes half a millisecond. A chain that is cut off ends there.

    Raises:
        InputError: The chain goes round in a circle.
    """
    handle, layout = file.filehandle, file.tiff

    def number(position: int, format: str, size: int) -> int:
        handle.seek(position)
        data = handle.read(size)
        return int(struct.unpack(format, data)[0]) if len(data) == size else handle.size

    offset, seen, reduced = file.pages.first.offset, set[int](), list[bool]()
    while offset:
        if offset in seen:
            raise InputError("its pages go round in a circle: the file is damaged")
        seen.add(offset)
        reduced.append(False)
        if offset >= handle.size:
            break
        tags = number(offset, layout.tagnoformat, layout.tagnosize)
        if tags <= MAX_TAGS:
            reduced[-1] = _is_reduced(handle.read(tags * layout.tagsize), layout)
        offset = number(offset + layout.tagnosize + tags * layout.tagsize, layout.offsetformat, layout.offsetsize)
    return reduced


def _is_reduced(entries: bytes, layout: "tifffile.TiffFormat") -> bool:
    """Return whether entries say that the picture is of reduced size; False where they cannot be understood."""
    stated = dict[int, int]()
    for start in range(0, len(entries) - layout.tagsize + 1, layout.tagsize):
        entry = entries[start : start + layout.tagsize]
        code, kind = struct.unpack_from(layout.byteorder + "HH", entry)
        if code in (NEW_SUBFILE_TYPE, SUBFILE_TYPE) and kind in NUMBERS:
            place = 8 if layout.tagsize == 12 else 12
            stated.setdefault(code, struct.unpack_from(layout.byteorder + NUMBERS[kind], entry, place)[0])
    return bool(stated.get(NEW_SUBFILE_TYPE, 0) & 1) or stated == {SUBFILE_TYPE: REDUCED}
