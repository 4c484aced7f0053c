"""The results as a person reads them: a page of text, one HTML file that needs no network, and what notebooks show.

Every number is a `data` element, whose value is that of results.json and whose text is shorter. Texts that come from
outside, names of files above all, are escaped.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import fields
from html import escape
from typing import Any

from smdae import __version__
from smdae.comparing.part import Part
from smdae.comparing.parts import PARTS
from smdae.comparing.record import Record
from smdae.comparing.text import paragraph

MAX_ROWS = 250  # of a table; the rest is in its CSV file
FEW_ROWS = 40  # shown at once; longer tables are folded

STYLE = """
:root { color-scheme: light; --ink: #1a1a1a; --soft: #5c5c5c; --line: #d9d9d9; --shade: #f5f5f3; --blue: #0072B2; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.25rem 5rem; color: var(--ink); background: #fff;
  font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.8rem; margin: 0 0 .4rem; } h2 { font-size: 1.35rem; margin: 3rem 0 .3rem; }
p { max-width: 46rem; margin: .5rem 0; } .soft, figcaption, caption { color: var(--soft); font-size: .88rem; }
nav a { margin-right: 1.1rem; } a { color: var(--blue); }
pre { background: var(--shade); border: 1px solid var(--line); padding: .9rem 1rem; overflow-x: auto;
  font: 13px/1.4 ui-monospace, monospace; }
figure { margin: 1.2rem 0; } figure img { max-width: 100%; height: auto; display: block; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--blue); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; margin: .5rem 0 1rem; }
caption { text-align: left; padding: .3rem 0; } th, td { padding: .22rem .6rem; border-bottom: 1px solid var(--line);
  text-align: left; white-space: nowrap; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
th { background: var(--shade); font-weight: 600; }
"""


def page(record: Record) -> str:
    """Return the comparison as plain text of several lines, at most 80 columns wide."""
    blocks = [paragraph(_opening(record))]
    for name, part in record.parts.items():
        title = PARTS[name].title
        blocks.append([title.upper(), *PARTS[name].summarise(part.tables)])
    if record.left_out:
        blocks.append([line for row in record.left_out for line in paragraph(f"Left out: {row.what}: {row.reason}.")])
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks if block)


def _opening(record: Record) -> str:
    s = record.settings
    if s["target"]:
        source = f"samples of {s['target']} with {s['dim']} numbers each"
    elif s["patch_size"] == 1:
        source = f"rows of {_count(s['dim'], 'number')}"
    else:
        held = f"{s['held_out_images']} held out" if s["held_out_images"] else "none held out: all were fitted on"
        source = f"patches of {s['patch_size']} x {s['patch_size']} from {_count(s['images'], 'image')} ({held})"
    fits = f", {s['seeds']} fits of each" if s["seeds"] > 1 else ""
    return (
        f"{_count(len(s['objectives']), 'objective')}, the same {s['patches']:,} {source}, the same start, "
        f"{_count(s['max_steps'], 'step')} of {s['batch']:,} patches{fits}, sigma {s['sigma']:g}, "
        f"{_count(s['hidden'], 'unit')}."
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def report(record: Record, pictures: Mapping[str, Mapping[str, bytes]]) -> bytes:
    """Return the report as an HTML file, with the PNG files in `pictures`, by part and name."""
    body = [
        "<h1>A comparison of objectives</h1>",
        f"<p>{escape(_opening(record))}</p>",
        _contents(record),
        *(_section(name, PARTS[name], record, pictures.get(name, {})) for name in record.parts),
        _left_out(record),
        _settings(record),
    ]
    return (
        "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; img-src data:; style-src "
        "'unsafe-inline'\">\n"
        f"<title>A comparison of objectives</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + f"\n<p class='soft'>smdae {escape(__version__)}</p>\n</body>\n</html>\n"
    ).encode()


def in_notebook(text: str, pictures: Mapping[str, Mapping[str, bytes]]) -> str:
    """Return a comparison as HTML for the cell of a notebook: its page, and PNG files by part and name."""
    captions = {name: PARTS[name].pictures for name in pictures}
    figures = [_figure(data, captions[part][name]) for part, made in pictures.items() for name, data in made.items()]
    return f"<pre>{escape(text)}</pre>\n{''.join(figures)}"


def _contents(record: Record) -> str:
    links = "".join(f"<a href='#{escape(name)}'>{escape(PARTS[name].title)}</a>" for name in record.parts)
    return f"<nav>{links}<a href='#settings'>Settings</a></nav>"


def _section(name: str, part: Part, record: Record, pictures: Mapping[str, bytes]) -> str:
    tables = record.parts[name].tables
    figures = "".join(_figure(pictures[p], caption) for p, caption in part.pictures.items() if p in pictures)
    return (
        f"<section id='{escape(name)}'>\n<h2>{escape(part.title)}</h2>\n<p>{escape(part.explains)}</p>\n"
        f"<p class='soft'>{escape(part.equation)}</p>\n"
        f"<pre>{escape(chr(10).join(part.summarise(tables)))}</pre>\n{figures}\n"
        + "\n".join(_table(name, table, part.rows[table], rows) for table, rows in tables.items() if rows)
        + "\n</section>"
    )


def _figure(data: bytes, caption: str) -> str:
    text = escape(caption)
    source = base64.b64encode(data).decode()
    image = f"<img style='max-width: 100%' alt='{text}' src='data:image/png;base64,{source}'>"
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>\n"


def _table(part: str, name: str, kind: type, rows: Sequence[Any]) -> str:
    columns = [f.name for f in fields(kind)]
    numeric = {c for c in columns if all(_is_number(getattr(row, c)) or getattr(row, c) is None for row in rows)}
    head = "".join(f"<th{_of(c, numeric)}>{escape(c.replace('_', ' '))}</th>" for c in columns)
    lines = "\n".join(
        "<tr>" + "".join(f"<td{_of(c, numeric)}>{_cell(getattr(row, c))}</td>" for c in columns) + "</tr>"
        for row in rows[:MAX_ROWS]
    )
    about = (kind.__doc__ or "").split("\n")[0]
    file = f"{part}-{name}.csv"
    more = f" The first {MAX_ROWS} of {len(rows):,} rows; all are in {file}." if len(rows) > MAX_ROWS else ""
    table = (
        f"<div class='scroll'><table id='{escape(part)}-{escape(name)}'><caption>{escape(about + more)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>"
    )
    opened = " open" if len(rows) <= FEW_ROWS and name in ("ends", "verdicts") else ""
    return f"<details{opened}><summary>{escape(name.replace('_', ' '))}, {len(rows):,} rows</summary>{table}</details>"


def _of(column: str, numeric: set[str]) -> str:
    return " class='n'" if column in numeric else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not _is_number(value):
        return escape(str(value))
    text = f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"<data value='{value!r}'>{text}</data>"


def _left_out(record: Record) -> str:
    if not record.left_out:
        return ""
    rows = "".join(f"<li>{escape(row.what)}: {escape(row.reason)}</li>" for row in record.left_out)
    return f"<section id='left_out'><h2>Left out</h2><ul>{rows}</ul></section>"


def _settings(record: Record) -> str:
    rows = "".join(
        f"<tr><th>{escape(name.replace('_', ' '))}</th><td>{_setting(value)}</td></tr>"
        for name, value in record.settings.items()
    )
    return f"<section id='settings'><h2>Settings</h2><div class='scroll'><table>{rows}</table></div></section>"


def _setting(value: Any) -> str:
    return escape(", ".join(map(str, value))) if isinstance(value, list | tuple) else _cell(value)
