"""The results as one record: results.json, from which CSV, page and report are made, so that all agree.

    format, version, complete
    settings      the settings of the comparison and its data
    left_out      what was asked for and could not be done, with the reason
    parts         by name: the settings `of` each part, and its tables, lists of rows with the fields of its classes

Values that are not finite are null. `schema` describes the same for programs.
"""

import csv
import io
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from smdae.comparing.part import Tables
from smdae.comparing.parts import PARTS
from smdae.comparing.text import printable

FORMAT, VERSION = "smdae-comparison", 3
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # which spreadsheets take for the beginning of a formula
KINDS = {str: "string", bool: "boolean", int: "integer", float: "number"}


@dataclass(frozen=True)
class LeftOut:
    """A part of the request that could not be done, and why."""

    what: str
    reason: str


@dataclass(frozen=True)
class Measured:
    """The tables of a finished part."""

    of: Mapping[str, Any]  # the settings that they depend on: objectives, fits, files, baselines
    tables: Tables


@dataclass(frozen=True)
class Record:
    """The results of a comparison so far; the docstring of the module describes the attributes."""

    settings: Mapping[str, Any]
    left_out: tuple[LeftOut, ...] = ()
    parts: Mapping[str, Measured] = field(default_factory=dict)
    complete: bool = False

    def with_part(self, name: str, of: Mapping[str, Any], tables: Tables) -> "Record":
        """Return the record with one more part, all of them in the order of PARTS."""
        parts = {**self.parts, name: Measured(of, finite(tables))}
        return replace(self, parts={part: parts[part] for part in PARTS if part in parts})


def finite(tables: Tables) -> Tables:
    """Return the same tables, with None for numbers that are not finite."""

    def cleaned(row: Any) -> Any:
        bad = [f.name for f in fields(row) if isinstance(v := getattr(row, f.name), float) and not math.isfinite(v)]
        return replace(row, **dict.fromkeys(bad)) if bad else row

    return {name: [cleaned(row) for row in rows] for name, rows in tables.items()}


def encode(record: Record) -> bytes:
    """Return the record as the bytes of results.json."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "complete": record.complete,
        "settings": dict(record.settings),
        "left_out": [asdict(row) for row in record.left_out],
        "parts": {
            name: {"of": dict(part.of), "tables": {t: [asdict(row) for row in rows] for t, rows in part.tables.items()}}
            for name, part in record.parts.items()
        },
    }
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def decode(data: bytes) -> Record:
    """Return the record in the bytes of a results.json; ValueError if it is damaged, or of another kind or version."""
    content = json.loads(data)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError("it is not a comparison")
    if content.get("version") != VERSION:
        raise ValueError(f"it has format version {content.get('version')}, not {VERSION}")
    try:
        return Record(
            content["settings"],
            tuple(LeftOut(**row) for row in content["left_out"]),
            {
                name: Measured(part["of"], {t: [PARTS[name].rows[t](**r) for r in rows] for t, rows in
                                            part["tables"].items()})
                for name, part in content["parts"].items()
            },
            content["complete"],
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("it is damaged") from error


def csv_files(record: Record) -> dict[str, bytes]:
    """Return the tables as CSV in UTF-8, by file name: PART-TABLE.csv; None becomes an empty cell."""
    files = {}
    for name, part in record.parts.items():
        for table, rows in part.tables.items():
            names = [f.name for f in fields(PARTS[name].rows[table])]
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(names)
            writer.writerows([_plain(getattr(row, column)) for column in names] for row in rows)
            files[f"{name}-{table}.csv"] = text.getvalue().encode()
    return files


def _plain(value: Any) -> Any:
    """Return the value of a cell, escaped so that it is no formula in a spreadsheet and no command in a terminal."""
    if not isinstance(value, str):
        return value
    return printable(f"'{value}" if value.startswith(FORMULAS) else value)


def schema() -> dict[str, Any]:
    """Return the JSON schema of results.json, draft 2020-12, as a dict."""
    parts = {}
    for name, part in PARTS.items():
        tables = {table: {"type": "array", "items": _row(row)} for table, row in part.rows.items()}
        parts[name] = _object({"of": {"type": "object"}, "tables": _object(tables)}, description=part.explains)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A comparison by smdae",
        **_object(
            {
                "format": {"const": FORMAT},
                "version": {"const": VERSION},
                "complete": {"type": "boolean"},
                "settings": {"type": "object"},
                "left_out": {"type": "array", "items": _row(LeftOut)},
                "parts": {"type": "object", "properties": parts, "additionalProperties": False},
            }
        ),
    }


def _row(row: type) -> dict[str, Any]:
    hints = typing.get_type_hints(row)
    columns = {f.name: {"type": _types(hints[f.name])} for f in fields(row)}
    return _object(columns, description=(row.__doc__ or "").split("\n")[0])


def _types(hint: Any) -> Sequence[str]:
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    names = [KINDS[kind] for kind in kinds if kind is not type(None)]
    # Any float may turn out not to be finite.
    return [*names, "null"] if type(None) in kinds or float in kinds else names


def _object(properties: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
        **more,
    }
