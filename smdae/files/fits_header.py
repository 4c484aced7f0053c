"""The headers of FITS before astropy reads them, which would count the axes of a unit one by one.

A header is a row of cards of 80 characters, NAME    = VALUE / COMMENT, to the card END; its data follow (FITS 4.0).
"""

import contextlib
import math
from typing import BinaryIO

from smdae.errors import InputError

__all__ = ["BLOCK", "SIGNATURE", "refuse_many_axes"]

SIGNATURE = b"SIMPLE  ="
BLOCK, CARD = 2880, 80  # bytes, of which units are multiples, and of a card
MOST_AXES = 999
MOST_BLOCKS = 10_000  # of a header


def refuse_many_axes(file: BinaryIO) -> None:
    """Raise InputError for a unit of more axes than FITS has, which astropy would count one by one.

    Headers that make no sense are left to it.
    """
    file.seek(0)
    while (numbers := _numbers(file)) is not None:
        count = numbers.get("NAXIS", 0)
        if count > MOST_AXES:
            raise InputError(f"a unit of it has {count:,} axes, and FITS has at most {MOST_AXES}")
        lengths = [numbers.get(f"NAXIS{k}", 0) for k in range(1, count + 1)]
        values = numbers.get("GCOUNT", 1) * (numbers.get("PCOUNT", 0) + (math.prod(lengths) if lengths else 0))
        nbytes = abs(numbers.get("BITPIX", 8)) // 8 * values
        if nbytes < 0:
            return
        file.seek(-(-nbytes // BLOCK) * BLOCK, 1)


def _numbers(file: BinaryIO) -> dict[str, int] | None:
    """Return the whole numbers in the header that begins at a place in a file, by their names; None for no header."""
    numbers: dict[str, int] = {}
    for k in range(MOST_BLOCKS):
        block = file.read(BLOCK)
        if len(block) < BLOCK or (not k and not block.startswith((SIGNATURE[:6], b"XTENSION"))):
            return None
        for card in (block[at : at + CARD].decode("latin-1") for at in range(0, BLOCK, CARD)):
            name = card[:8].rstrip()
            if name == "END":
                return numbers
            with contextlib.suppress(ValueError):
                numbers.setdefault(name, int(card[10:].partition("/")[0]))
    return None
