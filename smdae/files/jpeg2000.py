"""JPEG 2000, through imagecodecs: gray and RGB of 8 and 16 bits, with or without alpha.

A JP2 is boxes around a codestream (ISO/IEC 15444-1, annex I), and all of them stay but the codestream; a codestream
alone stays alone. What was compressed by the reversible wavelet is written without loss, anything else at a
peak signal-to-noise ratio, which OpenJPEG takes for a quality: 25 dB + quality/4, that is 49 dB at 95.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from smdae.errors import InputError
from smdae.files.boxes import Box, boxes_of, joined
from smdae.files.marks import without_words
from smdae.files.picture import Metadata, Picture, check_size, from_samples, samples_of, stretched, unstretched
from smdae.files.room import refuse_huge

SIGNATURE = b"\0\0\0\x0cjP  "
SIZE, CODING, TILE = 0xFF51, 0xFF52, 0xFF90
REVERSIBLE = 1
EXIF, XMP = b"JpgTiffExif->JP2", bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
ENUMERATED, ICC = 1, 2  # how a box describes colours
SRGB, GRAY = 16, 17
QUALITY = 95
DENSEST = 2**16  # pixels for which a byte can stand: an empty codeblock is a few bits


@dataclass(frozen=True)
class Codestream:
    """The header of a codestream.

    Attributes:
        bits: The bits of a sample of each channel.
        plain: Whether all channels are unsigned and of full size.
    """

    size: tuple[int, int]
    bits: tuple[int, ...]
    plain: bool
    lossless: bool


def read(data: bytes) -> Picture:
    """Return the picture of a JP2 or a codestream; raise InputError or MemoryLimitError with the reason."""
    import imagecodecs

    boxes = tuple(boxes_of(data)) if data.startswith(SIGNATURE) else ()
    coded = next((payload for kind, payload in boxes if kind == b"jp2c"), b"") if boxes else data
    header = _header(coded)
    _refuse(header, boxes, len(data))
    samples = imagecodecs.jpeg2k_decode(coded)  # alone, for no one to apply what the boxes say of colours
    width, height = header.size
    channels = len(header.bits)
    if samples.shape != ((height, width) if channels == 1 else (height, width, channels)):
        raise InputError("the file is damaged")
    maxval = 2 ** header.bits[0] - 1
    if samples.max() > maxval:
        raise InputError("the file is damaged")
    own_maxval = None if maxval in (255, 65535) else maxval
    metadata = _metadata(boxes, data if not boxes else b"")
    return from_samples(
        stretched(samples, maxval), "JP2", metadata=metadata, lossless=header.lossless, maxval=own_maxval
    )


def encode(picture: Picture, quality: int | None = None) -> bytes:
    """Return the JP2 of a uint8 or uint16 picture, or a bare codestream if the picture was read from one.

    The result is lossy if `quality`, 1 to 100, is given or the file of the picture was lossy; else lossless.
    """
    import imagecodecs

    samples = unstretched(samples_of(picture), picture.maxval)
    maxval = picture.maxval or int(np.iinfo(samples.dtype).max)
    lossless = picture.lossless and quality is None
    how: dict[str, Any] = {"level": 0, "reversible": True}
    if not lossless:
        how = {"level": 25 + (quality or QUALITY) / 4, "reversible": False}
    is_alone = picture.metadata.codestream
    whole = bytes(
        imagecodecs.jpeg2k_encode(
            np.ascontiguousarray(samples),
            codecformat="j2k" if is_alone else "jp2",
            bitspersample=maxval.bit_length(),
            **how,
        )
    )
    if is_alone:
        return whole
    made = list(boxes_of(whole))
    if not picture.metadata.jp2:
        return joined(_with(picture.metadata, made))
    coded = next(payload for kind, payload in made if kind == b"jp2c")
    return joined((kind, coded if kind == b"jp2c" else payload) for kind, payload in picture.metadata.jp2)


def extent(data: bytes) -> tuple[int, int]:
    """Return the number of pixels of a picture, and the bytes of its samples, as its header says.

    Raises:
        InputError: The header is damaged.
    """
    coded = data
    if data.startswith(SIGNATURE):
        coded = next((payload for kind, payload in boxes_of(data) if kind == b"jp2c"), b"")
    header = _header(coded)
    pixels = header.size[0] * header.size[1]
    return pixels, pixels * len(header.bits) * (2 if max(header.bits) > 8 else 1)


def _header(coded: bytes) -> Codestream:
    """Return the header of a codestream: its segments before the first tile."""
    position, size, lossless = 2, b"", False
    while position + 4 <= len(coded):
        marker, length = struct.unpack_from(">HH", coded, position)
        if marker == TILE:
            break
        payload = coded[position + 4 : position + 2 + length]
        if marker == SIZE:
            size = payload
        elif marker == CODING and len(payload) > 9:
            lossless = payload[9] == REVERSIBLE
        position += 2 + length
    if len(size) < 36:
        raise InputError("the file is truncated")
    right, lower, left, upper = struct.unpack_from(">4I", size, 2)
    (channels,) = struct.unpack_from(">H", size, 34)
    parts = [size[36 + 3 * k : 39 + 3 * k] for k in range(channels)]
    if not 0 < channels <= 16384 or len(parts[-1]) < 3:
        raise InputError("the file is damaged")
    plain = all(part[0] < 0x80 and part[1:] == b"\1\1" for part in parts)
    bits = tuple((part[0] & 0x7F) + 1 for part in parts)
    return Codestream((max(0, right - left), max(0, lower - upper)), bits, plain, lossless)


def _refuse(header: Codestream, boxes: tuple[Box, ...], size: int) -> None:
    """Raise InputError or MemoryLimitError for what is not supported, before it is decoded."""
    check_size(*header.size, DENSEST * size)
    channels = len(header.bits)
    header_boxes = dict(boxes_of(dict(boxes).get(b"jp2h", b"")))
    colour = header_boxes.get(b"colr", b"")
    kind = int.from_bytes(colour[3:7]) if colour[:1] == bytes([ENUMERATED]) else None
    if b"pclr" in header_boxes:
        raise InputError("it has a palette", "convert it to RGB first")
    if kind not in (None, SRGB, GRAY) or channels > 4 or (kind == GRAY and channels > 2):
        raise InputError(
            f"its {channels} channels are not gray or RGB, with or without alpha", "convert it to RGB first"
        )
    if len({*header.bits}) > 1 or not header.plain or header.bits[0] > 16:
        raise InputError(
            "its channels differ in size or depth, or have signs or more than 16 bits", "convert it to RGB first"
        )
    pixels = header.size[0] * header.size[1]
    refuse_huge(pixels, pixels * channels * (2 if header.bits[0] > 8 else 1), size)


def _metadata(boxes: tuple[Box, ...], alone: bytes) -> Metadata:
    extra = {payload[:16]: payload[16:] for kind, payload in boxes if kind == b"uuid"}
    colour = dict(boxes_of(dict(boxes).get(b"jp2h", b""))).get(b"colr", b"")
    return Metadata(
        exif=extra.get(EXIF) or None,
        xmp=extra.get(XMP) or None,
        icc=colour[3:] if colour[:1] == bytes([ICC]) else None,
        jp2=without_words(boxes),
        codestream=bool(alone),
    )


def _with(metadata: Metadata, boxes: list[Box]) -> list[Box]:
    """Return the boxes of a picture of another format with its profile, EXIF and XMP."""
    made = []
    for kind, payload in boxes:
        if kind == b"jp2h" and metadata.icc:
            inner = [(k, bytes([ICC, 0, 0]) + metadata.icc if k == b"colr" else p) for k, p in boxes_of(payload)]
            payload = joined(inner)
        if kind == b"jp2c":
            made += [(b"uuid", EXIF + metadata.exif)] if metadata.exif else []
            made += [(b"uuid", XMP + metadata.xmp)] if metadata.xmp else []
        made.append((kind, payload))
    return made
