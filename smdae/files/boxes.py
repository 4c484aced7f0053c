"""Boxes, of which JPEG 2000, JPEG XL, HEIC and AVIF are made (ISO/IEC 14496-12, 4.2): a length, a kind, a payload."""

from collections.abc import Iterable, Iterator

from smdae.errors import InputError

Box = tuple[bytes, bytes]  # the kind, the payload
MAX_BOXES = 10_000


def boxes_of(data: bytes) -> Iterator[Box]:
    """Yield the kind, 4 bytes, and the payload of each box in a file, or in the payload of a box that holds boxes.

    Raises:
        InputError: A box is cut or shorter than its own head, or there are over 10,000; those before it are yielded.
    """
    position, room = 0, MAX_BOXES
    while position < len(data):
        room -= 1
        head = 8
        length, kind = int.from_bytes(data[position : position + 4]), data[position + 4 : position + 8]
        if length == 1:
            head, length = 16, int.from_bytes(data[position + 8 : position + 16])
        elif length == 0:  # up to the end
            length = len(data) - position
        end = position + length
        if end > len(data) or position + head > len(data):
            raise InputError("the file is truncated")
        if length < head or room < 0:
            raise InputError("the file is damaged: its boxes make no sense")
        yield kind, data[position + head : end]
        position = end


def box(kind: bytes, payload: bytes) -> bytes:
    """Return the bytes of a box: its length, its kind, 4 bytes, and its payload."""
    length = len(payload) + 8
    if length >= 1 << 32:
        return (1).to_bytes(4) + kind + (length + 8).to_bytes(8) + payload
    return length.to_bytes(4) + kind + payload


def joined(boxes: Iterable[Box]) -> bytes:
    """Return the bytes of boxes, pairs of kind and payload, one after the other."""
    return b"".join(box(*one) for one in boxes)
