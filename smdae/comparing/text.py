"""Plain text for the terminal: tables and paragraphs of at most 80 columns."""

import textwrap
from collections.abc import Sequence

WIDTH = 80


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, its first column to the left, others to the right, in blocks of at most 80 columns.

    Cells of the header may have several lines.
    """
    tops = [cell.split("\n") for cell in header]
    depth = max(map(len, tops))
    lines = [[(["", "", *top][-depth:])[i] for top in tops] for i in range(depth)]
    table = [*lines, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    blocks: list[list[int]] = [[]]
    for i in range(1, len(header)):
        if widths[0] + sum(widths[j] + 2 for j in (*blocks[-1], i)) > WIDTH and blocks[-1]:
            blocks.append([])
        blocks[-1].append(i)
    printed = []
    for block in blocks:
        rule = "-" * (widths[0] + sum(widths[i] + 2 for i in block))
        text = [row[0].ljust(widths[0]) + "".join("  " + row[i].rjust(widths[i]) for i in block) for row in table]
        printed += [*text[:depth], rule, *text[depth:], ""]
    return [line.rstrip() for line in printed[:-1]]


def number(value: float | None, digits: int = 2) -> str:
    """Return a figure as text with `digits` decimals, from 1e5 on as a power of ten; - for None."""
    if value is None:
        return "-"
    return f"{value:,.{digits}f}" if abs(value) < 1e5 else f"{value:.1e}"


def paragraph(text: str) -> list[str]:
    """Return running text in lines of at most 80 columns."""
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False)


def printable(text: str) -> str:
    """Return a text with escapes for control characters other than newlines, as names of files may contain."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
