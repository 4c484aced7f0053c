"""What chance does to files: to their bytes, and to the values of a JSON text. A seed brings the same damage back."""

import copy
import json
import math
from collections.abc import Callable
from random import Random
from typing import Any

from smdae.errors import MemoryLimitError, SmdaeError

HEAD = 300  # bytes, where most of what a decoder goes by is
EXTREMES = (0, 1, 2, -1, -2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 1 << 24, (1 << 31) - 1, 1 << 31, 1 << 30)


def _place(file: bytearray, chance: Random) -> int:
    return chance.randrange(chance.choice([len(file), min(len(file), HEAD)]))


def _slice(file: bytearray, chance: Random) -> slice:
    start = _place(file, chance)
    return slice(start, start + chance.choice([1, 2, 4, 8, chance.randint(1, 64), chance.randint(1, len(file))]))


def _flip(file: bytearray, chance: Random) -> None:
    for _ in range(chance.choice([1, 1, 2, 8])):
        file[_place(file, chance)] ^= 1 << chance.randrange(8)


def _overwrite(file: bytearray, chance: Random) -> None:
    part = _slice(file, chance)
    length = len(file[part])
    file[part] = chance.choice([bytes(length), b"\xff" * length, chance.randbytes(length)])


def _truncate(file: bytearray, chance: Random) -> None:
    del file[_place(file, chance) :]


def _delete(file: bytearray, chance: Random) -> None:
    del file[_slice(file, chance)]


def _duplicate(file: bytearray, chance: Random) -> None:
    part, place = file[_slice(file, chance)], _place(file, chance)
    file[place:place] = part * chance.choice([1, 1, 2, 20])


def _swap(file: bytearray, chance: Random) -> None:
    length = chance.choice([1, 2, 4, 12, 64])
    first, second = sorted(_place(file, chance) for _ in range(2))
    if first + length <= second:
        one, other = slice(first, first + length), slice(second, second + length)
        file[one], file[other] = file[other], file[one]


def _extreme(file: bytearray, chance: Random) -> None:
    length, order = chance.choice([2, 4]), chance.choice(["little", "big"])
    value = chance.choice(EXTREMES) % (1 << 8 * length)
    place = _place(file, chance)
    file[place : place + length] = value.to_bytes(length, order)


DAMAGE: tuple[Callable[[bytearray, Random], None], ...] = (
    _flip,
    _overwrite,
    _truncate,
    _delete,
    _duplicate,
    _swap,
    _extreme,
    _extreme,
)


def damaged(data: bytes, chance: Random) -> bytes:
    """Return the bytes with one to four kinds of damage."""
    spoiled = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 4])):
        if spoiled:
            chance.choice(DAMAGE)(spoiled, chance)
    return bytes(spoiled)


# JSON

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 255, 65536, 1 << 31, 1 << 62, 10**30, -(10**30)),
    *(0.0, -0.0, 0.5, 1.0, 4.0, 1e-300, 5e-324, 1e300, math.nan, math.inf, -math.inf),
    *("", "0", "..", "../../victim", "/", "a\0b", "\x1b[31m", "F8_E4M3", "F64", "I64", "uint16", "float32"),
    *([], {}, [1], [0, 1, 10**9], [1] * 70, [[]], [-1, 2], {"a": 1}),
)


def json_damaged(text: str, chance: Random) -> str:
    """Return a JSON text with one to three values, names or entries changed."""
    root = [json.loads(text)]
    for _ in range(chance.choice([1, 1, 2, 3])):
        _change(root, chance)
    return json.dumps(root[0])


def _change(root: list[Any], chance: Random) -> None:
    """Change what a walk from the root comes to."""
    node, key = root, 0
    while isinstance(node[key], list | dict) and node[key] and chance.random() < 0.9:
        node = node[key]
        key = chance.choice([*node]) if isinstance(node, dict) else chance.randrange(len(node))
    value = copy.deepcopy(node[key])  # two that are one would be changed together
    what = chance.choice(["replace", "replace", "delete", "double", "nudge"])
    if what == "delete" and node is not root:
        del node[key]
    elif what == "double" and isinstance(node, dict):
        node[f"{key}{chance.choice(['.', '0', 'x'])}"] = value
    elif what == "double" and node is not root:
        node[key:key] = [value] * chance.choice([1, 2, 9])
    elif what == "nudge" and type(value) in (int, float):
        node[key] = chance.choice([value + 1, value - 1, -value, value * 2, value / 2, str(value), [value]])
    else:
        node[key] = copy.deepcopy(chance.choice(VALUES))


# Judgement


def refused(error: SmdaeError, name: str) -> str:
    """Return how a refusal counts; raise an AssertionError if it is more than a line, or names nothing."""
    assert all(text.isprintable() for text in (error.message, error.hint or "")), f"more than a line: {error}"
    assert name in error.message, f"names no file: {error}"
    return "no memory" if isinstance(error, MemoryLimitError) else "refused"
