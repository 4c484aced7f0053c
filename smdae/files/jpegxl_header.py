"""The header of a JPEG XL's codestream, bit by bit (ISO/IEC 18181-1, annex D), for what the library does not report.

That is the size, before anything is decoded; the bits of a sample; whether the pixels are as they were or in XYB; and
the colours, whose bits can be exchanged where the pixels are as they were.
"""

from dataclasses import dataclass

from smdae.errors import InputError

RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
ALPHA = 0  # among the kinds of extra channels
GRAY, RGB = 1, 0  # among the spaces of colour
PRIMARIES_SRGB, WHITE_D65, CURVE_SRGB, CUSTOM = 1, 1, 13, 2


@dataclass(frozen=True)
class Header:
    """The header of a codestream.

    Attributes:
        size: The width and height, as stored.
        channels: The number of channels, those of colour and alpha together.
        lossless: Whether its colours are coded as they are.
        standard: Whether its colours are sRGB, or gray with the curve of sRGB.
        odd: Whether it has other extra channels than one for alpha.
        colours: The bits that describe its colours, in order; empty for the default.
        start: The number of the first of those bits in the codestream.
        end: The number of the first bit after the header.
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
    """A reader of numbers of given lengths in bits, the lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "little"), 8 * len(data)
        self.read = ""  # all bits so far

    def __call__(self, count: int) -> int:
        """Return the next number, of that many bits."""
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
        """Return a number in one of four ways, each a constant plus a number of bits."""
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
    """Return a lossless codestream with other bits in its header for its colours; InputError if the header is cut."""
    header = header_of(coded)
    before, end_of_colours = (header.end + 7) // 8, header.start + len(header.colours)
    bits = "".join(f"{byte:08b}"[::-1] for byte in coded[:before])
    made = bits[: header.start] + colours + bits[end_of_colours : header.end]
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
    """Return whether colours are those of sRGB, their space, and whether a profile describes them."""
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
