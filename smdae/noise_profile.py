"""Noise profiles: the `Noise` of a camera or microscope as YAML, for all of its pictures.

    smdae: noise profile
    version: 1
    white: 255.0
    curves:                                        one for all channels, or one for each
    - {gain: 0.8, black: 0.0, read: 2.5}           or {at: [0.0, 128.0, 255.0], levels: [2.1, 6.0, 8.0]}
    grain:                                         and what else the noise has, by the names of its fields
    - [1.0, 0.5]
    - [0.5, 0.25]
    level_error: 0.15                              relative, of a level that was estimated from a picture
    coarseness: 2                                  pixels, of noise that is left whole in the means of 2 x 2 of them
    blotches: {levels: [6.0, 7.5], size: 8.0}      of colour: Cb and Cr, and how many pixels wide they are

Numbers are written with all their digits, so that reading gives exactly the noise that was written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import yaml

from smdae import checked
from smdae.curves import Affine, Table
from smdae.errors import UsageError

KIND, VERSION = "noise profile", 1
WIDTH = 110  # characters a line
AFFINE, TABLE = ("gain", "black", "read"), ("at", "levels")


def dump(entries: Mapping[str, Any], comment: str) -> str:
    """Return a noise profile as YAML.

    Args:
        entries: The values of the fields of a `Noise` by name, the curves among them.
        comment: A line to begin with, as a comment.
    """
    curves = {"curves": tuple(asdict(curve) for curve in entries["curves"])}
    blotches = {"blotches": asdict(entries["blotches"])} if entries.get("blotches") else {}
    content = {"smdae": KIND, "version": VERSION} | _plain({**entries, **curves, **blotches})
    return f"# {comment}\n" + yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=WIDTH)


def parse(text: str, fields: Sequence[str]) -> dict[str, Any]:
    """Return the entries of a noise profile by name: curves as `Affine` or `Table`, the other values as they are.

    Args:
        text: The YAML.
        fields: The names that entries may have.

    Raises:
        UsageError: It is not YAML, not a noise profile, of a later version, or an entry or a curve makes no sense.
    """
    try:
        entries = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError):  # PyYAML's own errors on some dates and numbers
        raise UsageError("this is not YAML") from None
    if not isinstance(entries, dict) or entries.pop("smdae", None) != KIND:
        raise UsageError("this is not a noise profile", "`smdae denoise --save-noise FILE` writes one")
    version = entries.pop("version", None)
    if isinstance(version, bool) or not isinstance(version, int) or version < VERSION:
        raise UsageError(f"the version must be a whole number from {VERSION} on, not {checked.shown(version)}")
    if version > VERSION:
        raise UsageError(f"this is version {checked.shown(version)}, later than {VERSION}", "update smdae")
    checked.keys(entries, fields)
    curves = entries.pop("curves", None)
    if not isinstance(curves, list):
        raise UsageError(f"the curves must be a list, not {checked.shown(curves)}")
    return entries | {"curves": tuple(map(_curve, curves))}


def _curve(entries: object) -> Affine | Table:
    """Return the curve that a mapping of a noise profile describes."""
    if not isinstance(entries, dict):
        raise UsageError(f"each of the curves must be a mapping, not {checked.shown(entries)}")
    if not entries.keys() & TABLE:
        checked.keys(entries, AFFINE)
        return Affine(**entries)
    checked.keys(entries, TABLE)
    if len(entries) < len(TABLE):
        raise UsageError(f"a table of the noise needs both {' and '.join(TABLE)}")
    return Table(**entries)


def _plain(value: Any) -> Any:
    """Return a value with a new list for each tuple; YAML would write one list used twice as an alias."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value
