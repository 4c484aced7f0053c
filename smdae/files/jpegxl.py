"""JPEG XL, through imagecodecs: gray and RGB of 8 and 16 bits and float 32, with or without alpha.

A file is a codestream, or boxes around one (ISO/IEC 18181-2), all of which stay but the codestream and what rebuilds
the JPEG that it was made of. The header of the codestream is read here, bit by bit (ISO/IEC 18181-1, annex D), for what
the library does not tell: the size, before anything is decoded; the bits of a sample; whether the compression lost
anything. What does not work in XYB, and was no JPEG, is written without loss, anything else at the distance that libjxl
has for a quality, 0.1 + 0.09 (100 - quality) from quality 30 on.

The library calls 8 bits sRGB, and deeper samples linear. Where the pixels are as they were, not in XYB, what the header
says of colours is only said: those bits are put back as they were in the file. In XYB it matters, so of lossy files
only 8 bits in sRGB are read. A profile in the codestream is coded, and is refused. The library turns pixels upright,
and so they are written; the EXIF of a JPEG XL has no say in that.
"""

from dataclasses import dataclass
from functools import cache
from io import BytesIO

import numpy as np
from PIL.ExifTags import Base

from smdae.errors import InputError
from smdae.files.boxes import Box, boxes_of, joined
from smdae.files.exif import described, exif_of
from smdae.files.extent import refuse_huge
from smdae.files.picture import Metadata, Picture, check_size, from_samples, samples_of, stretched, unstretched

__all__ = ["Header", "encode", "extent", "header_of", "read", "with_colours"]

CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
CODED = (b"jxlc", b"jxlp", b"jxll", b"jbrd", b"jxli")
QUALITY = 95
RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
ALPHA = 0  # among the kinds of extra channels
GRAY, RGB = 1, 0  # among the spaces of colour
PRIMARIES_SRGB, WHITE_D65, CURVE_SRGB, CUSTOM = 1, 1, 13, 2
DENSEST = 2**20  # pixels for which a byte can stand: one colour needs a few bits


@dataclass(frozen=True)
class Header:
    """What a codestream tells before its pixels.

    Attributes:
        size: Width and height, as stored.
        bits: Of a sample.
        floats: Whether samples are floating point.
        channels: Of colour and alpha together.
        lossless: Whether its colours are coded as they are.
        animated: Whether it has frames.
        standard: Whether its colours are sRGB, or gray with the curve of sRGB.
        odd: Whether it has other extra channels than one for alpha.
        colours: The bits that tell its colours, the first first; empty where all is as usual.
        start: Of those bits, in the codestream.
        end: Of all that stands before the pixels.
        profile: Whether it has an ICC profile.
    """

    size: tuple[int, int]
    bits: int
    floats: bool
    channels: int
    lossless: bool
    animated: bool
    standard: bool
    odd: bool
    colours: str = ""
    start: int = 0
    end: int = 0
    profile: bool = False


class _Bits:
    """Numbers of so many bits, one after the other, the lowest first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "little"), 8 * len(data)
        self.read = ""  # all bits so far

    def __call__(self, count: int) -> int:
        """Return the next number of so many bits."""
        self._left -= count
        if self._left < 0:
            raise InputError("the file is truncated")
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        self.read += f"{value:0{count}b}"[::-1] if count else ""
        return value

    def flag(self) -> bool:
        """Return the next bit."""
        return bool(self(1))

    def choice(self, *ways: tuple[int, int]) -> int:
        """Return a number in one of four ways, each a sum of a constant and so many bits."""
        constant, count = ways[self(2)]
        return constant + self(count)


def header_of(coded: bytes) -> Header:
    """Return the header of a codestream; InputError where it is cut."""
    bits = _Bits(coded[2:2000])
    size = _size(bits)
    if bits.flag():  # all is as usual
        return Header(size, 8, False, 3, False, False, True, False)
    animated = False
    more = bits.flag()
    if more:
        bits(3)  # orientation
        if bits.flag():
            _size(bits)  # another size to show it at
        if bits.flag():
            raise InputError("it has a preview", "save it as a PNG first")
        animated = bits.flag()
        if animated:
            return Header(size, 8, False, 3, False, True, True, False)
    depth, floats = _depth(bits)
    bits.flag()  # whether 16 bits suffice in between
    extra = bits.choice((0, 0), (1, 0), (2, 4), (1, 12))
    kinds = [_extra(bits) for _ in range(min(extra, 16))]
    in_xyb = bits.flag()
    start = len(bits.read)
    standard, space, profile = _colours(bits)
    colours = bits.read[start:]
    # Then follow how bright white is, extensions, and how XYB is undone: as usual, none, and as usual.
    usual = (not more or bits.flag()) and bits(2) == 0 and bits.flag()
    channels = (1 if space == GRAY else 3) + (kinds == [ALPHA])
    odd = (bool(kinds) and kinds != [ALPHA]) or not usual
    end = 16 + len(bits.read)
    return Header(size, depth, floats, channels, not in_xyb, False, standard, odd, colours, 16 + start, end, profile)


def with_colours(coded: bytes, colours: str) -> bytes:
    """Return a codestream without loss whose header says those bits of its colours."""
    header = header_of(coded)
    before, told = (header.end + 7) // 8, header.start + len(header.colours)
    bits = "".join(f"{byte:08b}"[::-1] for byte in coded[:before])
    made = bits[: header.start] + colours + bits[told : header.end]
    made += "0" * (-len(made) % 8)
    head = bytes(int(made[k : k + 8][::-1], 2) for k in range(0, len(made), 8))
    return head + coded[before:]


def _size(bits: _Bits) -> tuple[int, int]:
    def side(small: bool) -> int:
        return 8 * (bits(5) + 1) if small else bits.choice((1, 9), (1, 13), (1, 18), (1, 30))

    small = bits.flag()
    height = side(small)
    ratio = bits(3)
    if ratio:
        across, down = RATIOS[ratio]
        return height * across // down, height
    return side(small), height


def _depth(bits: _Bits) -> tuple[int, bool]:
    if bits.flag():
        depth = bits.choice((32, 0), (16, 0), (24, 0), (1, 6))
        bits(4)
        return depth, True
    return bits.choice((8, 0), (10, 0), (12, 0), (1, 6)), False


def _extra(bits: _Bits) -> int:
    """Return the kind of an extra channel."""
    if bits.flag():
        return ALPHA
    kind = bits.choice((0, 0), (1, 0), (2, 4), (18, 6))
    _depth(bits)
    bits.choice((0, 0), (3, 0), (4, 0), (1, 3))  # how much smaller it is
    for _ in range(bits.choice((0, 0), (0, 4), (16, 5), (48, 10))):
        bits(8)  # its name
    if kind == ALPHA:
        return -1 if bits.flag() else ALPHA  # multiplied colours are odd
    raise InputError("it has channels beside colour and alpha", "save it as a TIFF first")


def _colours(bits: _Bits) -> tuple[bool, int, bool]:
    """Return whether colours are those of sRGB, their space, and whether a profile tells them."""
    if bits.flag():
        return True, RGB, False
    profile = bits.flag()
    space = _enumerated(bits)
    if profile or space not in (RGB, GRAY):
        return False, space, True
    white = _enumerated(bits)
    if white == CUSTOM:
        _pair(bits)
    primaries = PRIMARIES_SRGB if space == GRAY else _enumerated(bits)
    if primaries == CUSTOM:
        for _ in range(3):
            _pair(bits)
    power = bits.flag()
    curve = bits(24) if power else _enumerated(bits)
    _enumerated(bits)  # the intent
    standard = not power and (white, primaries, curve) == (WHITE_D65, PRIMARIES_SRGB, CURVE_SRGB)
    return standard, space, False


def _pair(bits: _Bits) -> None:
    """Skip two coordinates of a colour."""
    for _ in range(2):
        bits.choice((0, 19), (524288, 19), (1048576, 20), (2097152, 21))


def _enumerated(bits: _Bits) -> int:
    return bits.choice((0, 0), (1, 0), (2, 4), (18, 6))


def read(data: bytes) -> Picture:
    """Read a JPEG XL. Raises InputError with the reason."""
    import imagecodecs

    boxes, coded = _parts(data)
    header = header_of(coded)
    _refuse(header, len(data))
    samples = imagecodecs.jpegxl_decode(data)
    width, height = header.size
    if sorted(samples.shape[:2]) != sorted((width, height)) or samples[0, 0].size != header.channels:
        raise InputError("the file is damaged")
    maxval = None if header.floats else 2**header.bits - 1
    lossless = header.lossless and not any(kind == b"jbrd" for kind, _ in boxes)
    return from_samples(
        samples if maxval is None else stretched(np.minimum(samples, maxval), maxval),
        "JXL",
        metadata=_metadata(boxes, header),
        lossless=lossless,
        maxval=None if maxval in (255, 65535) else maxval,
    )


def encode(picture: Picture, quality: int | None = None) -> bytes:
    """Return the JPEG XL of a picture of uint8, uint16 or float32."""
    import imagecodecs

    samples = samples_of(picture)
    bits = None
    if samples.dtype.kind == "u":
        samples = unstretched(samples, picture.maxval)
        bits = (picture.maxval or int(np.iinfo(samples.dtype).max)).bit_length()
    lossless = (picture.lossless and quality is None) or samples.dtype != np.uint8  # deep, in XYB it would be linear
    how = {"lossless": True} if lossless else {"distance": distance_at(quality or QUALITY)}
    coded = bytes(
        imagecodecs.jpegxl_encode(np.ascontiguousarray(samples), bitspersample=bits, usecontainer=True, **how)
    )
    made = list(boxes_of(coded))
    if lossless:
        colours = picture.metadata.jxl_colours or _standard(1 if picture.pixels.ndim == 2 else 3)
        made = [(kind, with_colours(payload, colours) if kind == b"jxlc" else payload) for kind, payload in made]
    kept = picture.metadata.jxl
    if not kept:
        exif, xmp = picture.metadata.exif, picture.metadata.xmp
        kept = (*(((b"Exif", bytes(4) + exif),) if exif else ()), *(((b"xml ", xmp),) if xmp else ()))
    return joined([*made, *(one for one in kept if one[0] not in (b"JXL ", b"ftyp", *CODED))])


@cache
def _standard(channels: int) -> str:
    """Return the bits that tell the colours of sRGB, as the library has them for 8 bits."""
    import imagecodecs

    shape = (1, 1) if channels == 1 else (1, 1, channels)
    coded = imagecodecs.jpegxl_encode(np.zeros(shape, np.uint8), lossless=True, usecontainer=False)
    return header_of(bytes(coded)).colours


def distance_at(quality: int) -> float:
    """Return the distance of butteraugli that libjxl has for a quality of 1 to 100."""
    if quality >= 100:
        return 0.0
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return 53 / 3000 * quality**2 - 23 / 20 * quality + 25


def extent(data: bytes) -> tuple[int, int]:
    """Return the pixels of a picture and the bytes of its samples."""
    header = header_of(_parts(data)[1])
    pixels = header.size[0] * header.size[1]
    return pixels, pixels * header.channels * _bytes(header)


def _bytes(header: Header) -> int:
    """Return the bytes of a sample."""
    return 4 if header.floats else 2 if header.bits > 8 else 1


def _parts(data: bytes) -> tuple[tuple[Box, ...], bytes]:
    """Return the boxes of a file, none if it has none, and its codestream."""
    if not data.startswith(CONTAINER):
        return (), data
    boxes = tuple(boxes_of(data))
    # Parts of a codestream begin with their number.
    return boxes, b"".join(p if kind == b"jxlc" else p[4:] for kind, p in boxes if kind in (b"jxlc", b"jxlp"))


def _refuse(header: Header, size: int) -> None:
    """Raise InputError or MemoryLimitError for what is not supported, before it is decoded."""
    if header.animated:
        raise InputError("it is an animation", "save the frame that you want as a PNG")
    check_size(*header.size, DENSEST * size)
    if header.odd:
        raise InputError("it has channels beside colour and alpha", "save it as a TIFF first")
    if header.profile or (not header.lossless and (not header.standard or header.bits > 8)):
        raise InputError(
            "its colours have a profile, or it is lossy and not of 8 bits in sRGB, which cannot be written back",
            "save it as a PNG or a TIFF first",
        )
    if header.bits > 16 and not (header.floats and header.bits == 32):
        raise InputError(f"its samples have {header.bits} bits", "save it as a TIFF first")
    pixels = header.size[0] * header.size[1]
    refuse_huge(pixels, pixels * header.channels * _bytes(header), size)


def _metadata(boxes: tuple[Box, ...], header: Header) -> Metadata:
    """Return EXIF, its orientation upright, and XMP, and the boxes themselves."""
    found = dict(boxes)
    exif = found.get(b"Exif", b"")[4:]
    if exif:
        start = int.from_bytes(found[b"Exif"][:4])
        exif = _upright(exif[start:])
    return Metadata(exif=exif or None, xmp=found.get(b"xml "), jxl=boxes, jxl_colours=header.colours)


def _upright(exif: bytes) -> bytes:
    words = described(BytesIO(exif))
    if words.get(Base.Orientation, 1) == 1:
        return exif
    words[Base.Orientation] = 1
    return exif_of(words) or b""
