"""The headers of FITS as rows of bytes: before astropy reads them, and the words that smdae leaves in them.

A header is a row of cards of 80 characters, NAME    = VALUE / COMMENT, to the card END; its data follow (FITS 4.0).
What was done to the data stands in cards HISTORY. astropy would count the axes of a unit one by one.
"""

import contextlib
import gzip
import math
import sys
from collections.abc import Iterator
from typing import BinaryIO, cast

from smdae.errors import InputError
from smdae.files import packing

SIGNATURE = b"SIMPLE  ="
BLOCK, CARD = 2880, 80  # bytes, of which units are multiples, and of a card
MOST_AXES = 999
MOST_BLOCKS = 10_000  # of a header
MOST_UNPACKED = 1 << 28  # bytes of a packed file in which headers are looked for
HISTORY, END = b"HISTORY ", b"END".ljust(CARD)
MORE = b"smdae+ "  # begins what goes on from the card before


def refuse_many_axes(file: BinaryIO) -> None:
    """Raise InputError for a unit of more axes than FITS has, which astropy would count one by one.

    Headers that make no sense raise nothing: astropy reports them.
    """
    for header in _headers(file):
        count = _numbers(header).get("NAXIS", 0)
        if count > MOST_AXES:
            raise InputError(f"a unit of it has {count:,} axes, and FITS has at most {MOST_AXES}")


def told(file: BinaryIO, opening: bytes) -> bytes | None:
    """Return the words in a HISTORY card that begin with `opening`; None without any, and for what is no FITS.

    Of a file that is packed by gzip, only headers in its first 268 MB are looked at.

    Raises:
        OSError, EOFError, zlib.error: The file is damaged.
    """
    file.seek(0)
    head = file.read(packing.HEAD)
    if not packing.begun(head, len(SIGNATURE)).startswith(SIGNATURE):
        return None
    if packing.is_packed(head):
        file.seek(0)
        with gzip.open(file) as unpacked:
            return _told(cast(BinaryIO, unpacked), opening)
    return _told(file, opening)


def _told(file: BinaryIO, opening: bytes) -> bytes | None:
    words = None
    for header in _headers(file):
        for card in _cards(header):
            text = card[len(HISTORY) :].rstrip()
            if words is not None and card.startswith(HISTORY + MORE):
                words += text.removeprefix(MORE)
            elif words is not None:
                return words
            elif card.startswith(HISTORY + opening):
                words = text
    return words


def with_history(header: bytes, opening: bytes, words: bytes) -> bytes:
    """Return a whole header with words, printable ASCII, in HISTORY cards at its end, instead of those from before.

    A header without an END card is returned as it is.
    """
    cards = _cards(header)
    if END not in cards:
        return header
    own = (HISTORY + opening, HISTORY + MORE)
    kept = [card for card in cards[: cards.index(END)] if not card.startswith(own)]
    text, begun = words, opening
    while text:
        piece = text[: CARD - len(HISTORY) - len(begun)].rstrip()  # a space at the end of a card is lost
        kept.append((HISTORY + begun + piece).ljust(CARD))
        text, begun = text[len(piece) :], MORE
    made = b"".join([*kept, END])
    return made.ljust(-(-len(made) // BLOCK) * BLOCK)


def _headers(file: BinaryIO) -> Iterator[bytes]:
    """Yield the header of one unit after the other, as long as they make sense."""
    position = 0
    while True:
        file.seek(position)
        header = _header(file)
        if header is None:
            return
        yield header
        numbers = _numbers(header)
        if numbers.get("NAXIS", 0) > MOST_AXES:
            return
        lengths = [numbers.get(f"NAXIS{k}", 0) for k in range(1, numbers.get("NAXIS", 0) + 1)]
        values = numbers.get("GCOUNT", 1) * (numbers.get("PCOUNT", 0) + (math.prod(lengths) if lengths else 0))
        nbytes = abs(numbers.get("BITPIX", 8)) // 8 * values
        if nbytes < 0:
            return
        position += len(header) + -(-nbytes // BLOCK) * BLOCK
        if position > (MOST_UNPACKED if isinstance(file, gzip.GzipFile) else sys.maxsize):
            return


def _header(file: BinaryIO) -> bytes | None:
    """Return the header that begins here, with its end; None where none begins, or it has no end."""
    blocks: list[bytes] = []
    for _ in range(MOST_BLOCKS):
        block = file.read(BLOCK)
        if len(block) < BLOCK or (not blocks and not block.startswith((SIGNATURE[:6], b"XTENSION"))):
            return None
        blocks.append(block)
        if any(block[at : at + 8].rstrip() == b"END" for at in range(0, BLOCK, CARD)):
            return b"".join(blocks)
    return None


def _cards(header: bytes) -> list[bytes]:
    return [header[at : at + CARD] for at in range(0, len(header), CARD)]


def _numbers(header: bytes) -> dict[str, int]:
    """Return the whole numbers in a header, by their names."""
    numbers: dict[str, int] = {}
    for card in (card.decode("latin-1") for card in _cards(header)):
        name = card[:8].rstrip()
        if name == "END":
            break
        with contextlib.suppress(ValueError):
            numbers.setdefault(name, int(card[10:].partition("/")[0]))
    return numbers
