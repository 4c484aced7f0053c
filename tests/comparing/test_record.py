"""One source of figures: the record, its schema, its CSV files, the page and the report say the same."""

import csv
import io
import json
import math
import re
from dataclasses import fields, replace
from html.parser import HTMLParser

import jsonschema
import pytest

from smdae.comparing.comparison import Plan, run
from smdae.comparing.contest import Contest
from smdae.comparing.parts import PARTS
from smdae.comparing.record import LeftOut, Measured, Record, csv_files, decode, encode, finite, schema
from smdae.comparing.report import page, report
from smdae.fitting.settings import check
from tests.tiny import SETTINGS, gray

HOSTILE = "<script>alert('1')</script>&\".png"
NUMBERS = {"seeds": 1, "sigma": 25.0, "target": None, "dim": 16, "patches": 300, "patch_size": 4, "images": 2,
           "held_out_images": 1, "hidden": 8, "batch": 16, "max_steps": 3}  # fmt: skip


@pytest.fixture(scope="module")
def record():
    settings = check({**SETTINGS, "max_steps": 3, "hold_out": 0.2})
    contest = Contest.of([gray(48, 48, seed=seed) for seed in range(3)], 255.0, settings, 300)
    plan = Plan(("ism", "esm-parzen", "dsm", "dae"), parts=("equivalence", "learning"), quick=True)
    made = Record({"objectives": [*plan.names], **NUMBERS}, (LeftOut(HOSTILE, "because <b>"),))
    shares = [0.0]
    for found in run(contest, plan):
        shares.append(found.share)
        if found.part:
            made = made.with_part(found.part.name, plan.of(found.part.name), found.part.tables)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    return replace(made, complete=True)


class Cells(HTMLParser):
    """The tables of a page, by id: rows of values, numbers as their `data` elements have them."""

    def __init__(self):
        super().__init__()
        self.tables, self.pictures, self.seen = {}, 0, set()
        self.table = self.row = self.cell = None

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.seen.add(tag)
        self.pictures += tag == "img"
        if tag == "table" and "id" in attributes:
            self.table = self.tables[attributes["id"]] = []
        elif tag == "tr" and self.table is not None:
            self.row = []
        elif tag == "td" and self.row is not None:
            self.cell = ""
        elif tag == "data" and self.cell is not None:
            self.cell = float(attributes["value"])

    def handle_data(self, data):
        if isinstance(self.cell, str):
            self.cell += data

    def handle_endtag(self, tag):
        if tag == "td" and self.cell is not None:
            self.row.append(self.cell)
            self.cell = None
        elif tag == "tr" and self.row:
            self.table.append(self.row)
        elif tag == "table":
            self.table = self.row = None


def cells(row) -> list:
    values = [getattr(row, f.name) for f in fields(row)]
    return ["" if v is None else float(v) if type(v) in (int, float) else str(v) for v in values]


def test_report_csv_and_json_have_the_same_numbers(record):
    shown = Cells()
    shown.feed(report(record, {}).decode())
    files = csv_files(record)
    parsed = json.loads(encode(record))
    assert parsed["complete"] is True
    seen = 0
    for name, part in record.parts.items():
        for table, rows in part.tables.items():
            columns, *lines = csv.reader(io.StringIO(files[f"{name}-{table}.csv"].decode()))
            told = parsed["parts"][name]["tables"][table]
            assert len(lines) == len(told) == len(rows)
            for row, line, object_ in zip(rows, lines, told, strict=True):
                assert [*object_] == columns
                assert ["" if v is None else v if isinstance(v, str) else repr(v) for v in object_.values()] == line
                assert [getattr(row, column) for column in columns] == [*object_.values()]
            if rows:
                assert shown.tables[f"{name}-{table}"] == [cells(row) for row in rows[:250]]
                seen += len(rows)
    assert seen > 100


def test_the_schema_holds_and_is_no_sieve_with_holes(record):
    parsed = json.loads(encode(record))
    rules = schema()
    jsonschema.Draft202012Validator.check_schema(rules)
    jsonschema.validate(parsed, rules)
    for spoil in (
        lambda r: r.pop("settings"),
        lambda r: r.update(version=1),
        lambda r: r["parts"]["learning"]["tables"]["ends"][0].update(psnr="high"),
        lambda r: r["parts"]["learning"]["tables"]["ends"][0].pop("outcome"),
        lambda r: r["parts"].update(unheard={}),
    ):
        broken = json.loads(encode(record))
        spoil(broken)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, rules)


def test_a_record_comes_back_as_it_was(record):
    assert encode(decode(encode(record))) == encode(record)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}",
     b'{"format": "smdae-comparison", "version": 2}', b'{"format": "smdae-comparison", "version": 3}',
     b'{"format": "smdae-comparison", "version": 3, "complete": true, "settings": {}, "left_out": [], '
     b'"parts": {"learning": {"of": {}, "tables": {"ends": [{"no": 1}]}}}}'],
)  # fmt: skip
def test_what_is_no_record_is_refused(data):
    with pytest.raises(ValueError, match=r"."):
        decode(data)


def test_what_is_no_number_is_null(record):
    ends = record.parts["learning"].tables["ends"]
    broken = finite({"ends": [replace(ends[0], psnr=math.nan, seconds=math.inf)]})
    assert broken["ends"][0].psnr is None
    assert broken["ends"][0].seconds is None


def test_hostile_texts_are_escaped_and_nothing_is_fetched(record):
    text = report(record, {"learning": {"curves": b"\x89PNG"}}).decode()
    assert "<script>" not in text
    assert "because &lt;b&gt;" in text
    shown = Cells()
    shown.feed(text)
    assert shown.pictures == 1
    assert not shown.seen & {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert not re.findall(r"(?:src|href)\s*=\s*['\"](?!data:|#)", text)
    assert "default-src 'none'" in text


def test_every_part_explains_itself_in_two_sentences():
    for part in PARTS.values():
        assert len(re.findall(r"[.?](?:\s|$)", part.explains)) == 2, part.title
        assert part.equation
        assert part.pictures


def test_the_page_is_80_columns_wide_and_tells_the_figures(record):
    lines = page(record).splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line == line.rstrip() for line in lines)
    ends = {e.objective: e for e in record.parts["learning"].tables["ends"]}
    for name in ("esm-parzen", "dsm", "dae"):
        assert any(line.split()[:2] == [name, f"{ends[name].psnr:.2f}"] for line in lines)
    assert any("Left out" in line for line in lines)


@pytest.mark.parametrize("name", ["=HYPERLINK(0)", "+1", "-1", "@SUM(A1)", "\t=1", "x\x1b[31m\x07.safetensors"])
def test_no_cell_is_a_formula_or_moves_a_terminal(name):
    """Every text of every table may come from the name of a file."""
    for part, of in PARTS.items():
        tables = {table: [row(**{f.name: name for f in fields(row)})] for table, row in of.rows.items()}
        for data in csv_files(Record({}, (), {part: Measured({}, tables)})).values():
            _, cells = csv.reader(io.StringIO(data.decode()))
            for cell in cells:
                assert cell[0] not in "=+-@\t\r"
                assert cell.isprintable()
                assert name.strip("\t\x1b\x07")[:1] in cell
