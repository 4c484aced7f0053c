"""Checks of values that a user or a file gives, which return them with the type and shape that was asked for.

Numbers are finite, of any type that Python or numpy has for them, and come back as floats, lists as tuples. All raise
`UsageError`, whose one line calls the value by a name.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from smdae.errors import UsageError

Row = tuple[float, ...]
Matrix = tuple[Row, ...]

MAX_NUMBER = 1e100  # of all numbers, so that their squares are finite
MAX_SHOWN = 40  # characters
WORDS = {int: "a number of very many digits", list: "a list", tuple: "a list", dict: "a mapping"}


def number(value: Any, name: str) -> float:
    """Return a number as a float; raise UsageError for all else, and for NaN, infinity and magnitudes over 1e100."""
    if _is_number(value):
        if -MAX_NUMBER <= value <= MAX_NUMBER:
            return float(value)
        raise UsageError(f"{name} must be finite and no larger than {MAX_NUMBER:g}, not {shown(value)}")
    hint = "YAML takes 1e-5 for text: write 1.0e-5" if isinstance(value, str) and value[:1].isdigit() else None
    raise UsageError(f"{name} must be a number, not {shown(value)}", hint)


def refuse_other_types(values: Mapping[str, object]) -> None:
    """Raise UsageError for the first value that is neither a number nor None; NaN and infinity pass, True does not."""
    for name, value in values.items():
        if value is not None and not _is_number(value):
            raise UsageError(f"{name} must be a number, not {shown(value)}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def whole(value: object, name: str, least: int, most: int) -> int:
    """Return a whole number as an int; raise UsageError for anything else, and if it is not from `least` to `most`."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and least <= value <= most:
        return int(value)
    raise UsageError(f"{name} must be a whole number from {least} to {most}, not {shown(value)}")


def row(value: object, name: str) -> Row:
    """Return a list, tuple or array of numbers as a tuple of floats.

    Raises:
        UsageError: It is something else, is empty, or has an entry that is no finite number, such as NaN or True.
    """
    return tuple(number(entry, f"an entry of {name}") for entry in _list(value, name))


def square(value: object, name: str, most: int) -> Matrix:
    """Return a square matrix, lists of numbers, as tuples of floats.

    Raises:
        UsageError: It is not a square matrix of finite numbers, is empty, or has more than `most` rows.
    """
    rows = [_list(line, f"a row of {name}") for line in _list(value, name)]
    if len(rows) > most or any(len(line) != len(rows) for line in rows):
        raise UsageError(f"{name} must have as many rows as columns, {most} at most")
    return tuple(row(line, name) for line in rows)


def keys(entries: dict[Any, Any], known: Collection[str]) -> None:
    """Raise UsageError for the first key that is not in `known`; the hint lists those that are."""
    for key in entries:
        if key not in known:
            raise UsageError(f"unknown key {shown(key)}", f"the keys are {', '.join(known)}")


def shown(value: object) -> str:
    """Return the text that stands for a value in a message, in one line.

    Text is quoted, and cut after 40 characters. None, True and False stand for themselves, numbers have six significant
    digits. An integer of over 100 digits, a list, a mapping and all else are named by their kind, such as "a list".
    """
    if isinstance(value, str):
        return repr(value[:MAX_SHOWN])
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, float | np.floating) or (isinstance(value, int) and abs(value) <= MAX_NUMBER):
        return f"{value:g}"
    return WORDS[type(value)] if type(value) in WORDS else f"a {type(value).__name__}"


def _list(value: object, name: str) -> list[Any]:
    values = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(values, list | tuple):
        raise UsageError(f"{name} must be a list, not {shown(value)}")
    if not values:
        raise UsageError(f"{name} must not be empty")
    return list(values)
