"""The tags of a TIFF beside those of its layout, byte for byte: words, look-up tables, ranges, units, EXIF.

A tag's value is taken as it lies in the file, so nothing has to be understood to be kept. Two kinds cannot be:

- directories below a page (EXIF, GPS) hold offsets from the start of the file: they are written anew, entry by entry;
- private tags with such offsets in them, of Zeiss and MetaMorph, would point into nothing: they are left out.

What describes the layout of the pixels is for the writer to say. Byte order stays that of the source.
"""

import json
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO
from xml.sax.saxutils import escape

from smdae.errors import InputError
from smdae.files.marks import TAG as MARK

if TYPE_CHECKING:
    import tifffile

DESCRIPTION = 270
EXIF, GPS, INTEROPERABILITY = 34665, 34853, 40965
BELOW: dict[int, tuple[int, ...]] = {EXIF: (INTEROPERABILITY,), GPS: (), INTEROPERABILITY: ()}
# Of the layout, which the writer says: sizes, offsets, compressions and their tables.
SIZES = (256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 282, 283, 296, 317, 322, 323, 324, 325, 338)
CODING = (292, 293, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 530, 531, 32997, 32998, 50674)
LAYOUT = frozenset((*SIZES, *CODING))
SUBIFDS, GLOBAL = 330, 400
LSM, STK = 34412, (33628, 33629, 33630, 33631)
POINTING = frozenset((SUBIFDS, GLOBAL, LSM, *STK))
LENGTHS = (280, 281, 340, 341)  # the least and largest values, which other samples have others of
LOOKS = frozenset((274, 320, 34675, 50838, 50839))  # orientation, colours: without them it looks otherwise
MAX_VALUE = 1 << 30  # bytes
MAX_ENTRIES = 4096  # of a directory that makes sense
OME_TYPES = {"int8": "int8", "int16": "int16", "int32": "int32", "uint8": "uint8", "uint16": "uint16"}
OME_TYPES |= {"uint32": "uint32", "float32": "float", "float64": "double"}


@dataclass(frozen=True)
class Tag:
    """One entry of a directory.

    Attributes:
        type: The type of its values, as TIFF numbers types.
        value: The bytes of its values, as they lie in the file.
    """

    code: int
    type: int
    value: bytes


def tags_of(page: "tifffile.TiffPage") -> list[Tag]:
    """Return the tags of a page but those of its layout and the mark of an earlier result; InputError if one is cut."""
    handle = page.parent.filehandle
    found = []
    for tag in page.tags.values():
        if tag.code in LAYOUT or tag.code == MARK:  # a result does not claim what was done before
            continue
        size = tag.valuebytecount
        if tag.code in BELOW:  # whose value, as tifffile reports it, is the directory
            found.append(Tag(int(tag.code), int(tag.dtype), _entry(handle, page, tag)))
            continue
        if size > MAX_VALUE:
            raise InputError("the file is damaged")
        handle.seek(tag.valueoffset)
        value = handle.read(size)
        if len(value) < size:
            raise InputError("the file is truncated")
        if value:
            found.append(Tag(int(tag.code), int(tag.dtype), value))
    return found


def kept(tags: list[Tag], strip: bool, retyped: bool) -> list[Tag]:
    """Return the tags that a page is written with, if its samples get another type, or words and dates are left out."""
    some = [tag for tag in tags if tag.code not in POINTING and not (retyped and tag.code in (*LENGTHS, 339))]
    if not strip:
        return some
    return [tag for tag in some if tag.code in LOOKS]


def extra(tags: list[Tag], samples: int, unsigned: bool, alone: frozenset[int]) -> list[tuple[Any, ...]]:
    """Return tags as tifffile's writer takes them, less those that it writes itself.

    Args:
        tags: The tags of a page, without directories below it.
        samples: The number of samples of a pixel.
        unsigned: Whether samples are unsigned integers, of which the writer says nothing by itself.
        alone: The codes of tags that only the first of several pages has.
    """
    import tifffile

    names = tifffile.TIFF.TAGS
    taken = []
    for tag in tags:
        if tag.code == 254 or (tag.code == 284 and samples > 1) or (tag.code == 339 and not unsigned):
            continue
        # By its name the writer takes also a tag that it else writes itself.
        code: int | str = tag.code
        if tag.code in (DESCRIPTION, EXIF, GPS, 284, 339):
            code = names[tag.code]
        taken.append((code, tag.type, None, tag.value, tag.code in alone))
    return taken


def nested(stream: BinaryIO, page: "tifffile.TiffPage", code: int, at: int) -> bytes | None:
    """Return the directory below a page, EXIF or GPS, for another place `at` in a file; None if missing or broken.

    None is returned if the tag is missing, or the directory broken.
    """
    tag = page.tags.get(code)
    if tag is None:
        return None
    tiff = page.parent.tiff
    try:
        (offset,) = struct.unpack(tiff.offsetformat, _entry(stream, page, tag))
        return _moved(stream, tiff, code, offset, at)
    except (struct.error, KeyError, ValueError, OverflowError):
        return None


def _entry(stream: "BinaryIO | tifffile.FileHandle", page: "tifffile.TiffPage", tag: "tifffile.TiffTag") -> bytes:
    """Return the value or the offset in the entry of a tag, as it lies in the file."""
    width = page.parent.tiff.offsetsize
    stream.seek(tag.offset + 4 + width)
    return stream.read(width)


def _moved(stream: BinaryIO, tiff: "tifffile.TiffFormat", code: int, offset: int, at: int) -> bytes:
    """Return a directory with all that hangs below it, its offsets counted for another place."""
    import tifffile

    stream.seek(offset)
    (count,) = struct.unpack(tiff.tagnoformat, stream.read(tiff.tagnosize))
    if count > MAX_ENTRIES:
        raise ValueError(count)
    entries = stream.read(count * tiff.tagsize)
    width = tiff.offsetsize
    head = bytearray(struct.pack(tiff.tagnoformat, count))
    start = at + tiff.tagnosize + count * tiff.tagsize + width
    tail = bytearray()
    for k in range(count):
        entry = bytearray(entries[k * tiff.tagsize : (k + 1) * tiff.tagsize])
        number, kind = struct.unpack_from(tiff.byteorder + "HH", entry)
        (length,) = struct.unpack_from(tiff.offsetformat, entry, 4)
        size = length * struct.calcsize(tifffile.TIFF.DATA_FORMATS[kind])
        (pointer,) = struct.unpack_from(tiff.offsetformat, entry, 4 + width)
        if number in BELOW[code]:
            below = _moved(stream, tiff, number, pointer, start + len(tail))
            struct.pack_into(tiff.offsetformat, entry, 4 + width, start + len(tail))
            tail += below + bytes(len(below) % 2)
        elif size > width:
            stream.seek(pointer)
            value = stream.read(size)
            if len(value) < size or size > MAX_VALUE:
                raise ValueError(size)
            struct.pack_into(tiff.offsetformat, entry, 4 + width, start + len(tail))
            tail += value + bytes(size % 2)
        head += entry
    return bytes(head + bytes(width) + tail)


def renamed(description: bytes, before: str, after: str) -> bytes:
    """Return the bytes of a description in which the planes of a file are in the file of another name.

    Without this a reader would look for them in the noisy file, which lies beside the result.
    """
    if b"<OME" not in description[:4096] or before == after:
        return description
    old, new = (escape(name, {'"': "&quot;"}).encode() for name in (before, after))
    return re.sub(rb'(FileName=")%s(")' % re.escape(old), lambda match: match[1] + new + match[2], description)


def retyped(description: bytes, depth: str) -> bytes:
    """Return the bytes of a description, with the type of the pixels changed if it is OME-XML."""
    if b"<OME" not in description[:4096] or depth not in OME_TYPES:
        return description

    def changed(match: re.Match[bytes]) -> bytes:
        pixels = re.sub(rb'\sSignificantBits="[0-9]+"', b"", match[0])
        return re.sub(rb'(\s(?:Pixel)?Type=")[a-z0-9-]+(")', rb"\g<1>%s\g<2>" % OME_TYPES[depth].encode(), pixels)

    return re.sub(rb"<(?:[A-Za-z0-9]+:)?Pixels\b[^>]*>", changed, description)


def shaped(letters: str, shape: tuple[int, ...]) -> Tag:
    """Return a description of the axes of a file in the form of tifffile, for files without another."""
    return Tag(DESCRIPTION, 2, json.dumps({"shape": list(shape), "axes": letters}).encode() + b"\0")
