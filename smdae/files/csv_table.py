"""Rows of numbers in CSV, as programs write it: the numbers, and the names that the first line may give the columns.

Cells are split at semicolons, tabs, commas or blanks; beside semicolons and tabs a comma is a decimal point. Cells may
be in quotes, and each line may end with a separator. Lines that begin with # are comments. Text is UTF-8, with or
without a mark, UTF-16 with one, or Latin-1.
"""

import codecs
import csv
import math
import re
from pathlib import Path

import numpy as np

from smdae.errors import InputError

SEPARATORS = ";\t,"
FRACTION = re.compile(r"\d[.eE]|\.\d")
FEWEST_NUMBERED = 3  # columns: a first line 0, 1, 2 is that of names, but 0, 1 may be an example


def numbers_text(count: int) -> str:
    """Return "1 number", "2 numbers" and so on."""
    return f"{count:,} number{'' if count == 1 else 's'}"


def parsed(file: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of the columns of a CSV, () if it has none, and its numbers, (N, d), float32.

    Blank lines and those that begin with # are left out.

    Raises:
        InputError: The file cannot be read, it holds no numbers, a line but the first holds text, or lines have
            different lengths. The message names the line.
    """
    lines = [
        (number, line)
        for number, line in enumerate(_text(file).splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    empty = InputError(
        f"cannot use '{file}': it holds no numbers", "write a row of numbers a line, with commas between them"
    )
    if not lines:
        raise empty
    head, (first, points) = lines[0][0], _cells(lines[0][1])
    names: tuple[str, ...] = ()
    below = lines
    if not any(_value(cell, points) is not None for cell in first) or _are_positions(first, lines[1:]):
        names, below = _names(first, file, head), lines[1:]
    if not below:
        raise empty
    drop = all(line.rstrip(" ")[-1] in SEPARATORS for _, line in below)
    split = [(number, _cells(line, drop)) for number, line in below]
    rows = [_numbers(*cells, file, number, is_first=k == 0) for k, (number, cells) in enumerate(split)]
    begin, width = split[0][0], len(rows[0])
    for (number, _), row in zip(split, rows, strict=True):
        if len(row) != width:
            raise InputError(
                f"cannot use '{file}': line {number} has {numbers_text(len(row))}, and line {begin} has {width}"
            )
    if width == 1 and not any(separator in lines[0][1] for separator in SEPARATORS):
        names = (" ".join(names),) if names else ()  # of one column, with blanks in its name
    if names and len(names) != width:
        count = numbers_text(width)
        raise InputError(f"cannot use '{file}': line {head} names {len(names)} columns, and line {begin} has {count}")
    with np.errstate(over="ignore"):
        return names, np.array(rows, np.float32)


def _text(file: Path) -> str:
    """Return the text of a file."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read '{file}': {(error.strerror or 'unreadable').lower()}") from None
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return data.decode("utf-16")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        if b"\0" in data or data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise InputError(f"cannot read '{file}': it is not text", "save it as CSV in UTF-8") from None
        return data.decode("latin-1")


def _cells(line: str, drop: bool = False) -> tuple[list[str], bool]:
    """Return the cells of a line, without quotes and blanks around them, and whether commas in them are decimal points.

    With `drop` nothing lies behind the last separator: all lines end with one.
    """
    separator = next((s for s in SEPARATORS if s in re.sub('"[^"]*"', "", line)), None)
    if '"' in line:
        cells = next(csv.reader([line.strip(" ")], delimiter=separator or " ", skipinitialspace=True))
    else:
        cells = line.split(separator)
    cells = [cell.strip() for cell in cells]
    if drop and len(cells) > 1 and not cells[-1]:
        cells.pop()
    return cells, separator != ","


def _value(cell: str, points: bool) -> float | None:
    """Return the number that a cell holds, None if it holds none; `points` says whether a comma is a decimal point."""
    try:
        return float(cell.replace(",", ".") if points else cell)
    except ValueError:
        return None


def _are_positions(cells: list[str], rest: list[tuple[int, str]]) -> bool:
    """Return whether a first line counts the columns from 0 above fractions: so pandas names those without names."""
    counts = len(cells) >= FEWEST_NUMBERED and cells == [str(k) for k in range(len(cells))]
    return counts and bool(rest) and FRACTION.search(rest[0][1]) is not None


def _numbers(cells: list[str], points: bool, file: Path, line: int, is_first: bool) -> list[float]:
    """Return the numbers of a line; `points` says whether a comma is a decimal point."""
    values = []
    for cell in cells:
        value = _value(cell, points)
        if value is None:
            hint = "a table holds numbers only" + (", below one line of names if there is one" if is_first else "")
            if "," in cell and any(letter.isdigit() for letter in cell):
                hint = "write numbers without marks for thousands; decimal commas need semicolons between the cells"
            raise InputError(f"cannot use '{file}': line {line} holds {cell!r:.40}", hint)
        if not math.isfinite(value):
            raise InputError(
                f"cannot use '{file}': line {line} holds {cell!r:.40}, which is not a number",
                "leave that line out, or the column",
            )
        values.append(value)
    return values


def _names(cells: list[str], file: Path, line: int) -> tuple[str, ...]:
    """Return the names of columns that a line holds; InputError if a column has no name, as that of an index."""
    if len(cells) > 1 and not cells[-1]:
        cells = cells[:-1]
    if "" in cells:
        raise InputError(
            f"cannot use '{file}': line {line} leaves column {cells.index('') + 1} without a name",
            "if it is an index, leave it out, as pandas does with to_csv(..., index=False)",
        )
    return tuple(cells)
