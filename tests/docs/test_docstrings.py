"""Whether the sections of docstrings can be read by what makes the Python reference of them."""

import ast
import re

from tests.docs.blocks import ROOT

SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):$")
ENTRY = re.compile(r"^    \*{0,2}[\w.]+(, \*{0,2}[\w.]+)*: \S")


def odd_entries(text):
    """Return the lines of arguments, attributes and errors in a module that begin an entry without name and colon."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        section = ""
        for line in (ast.get_docstring(node) or "").splitlines():
            if heading := SECTION.match(line):
                section = heading[1]
            elif line and not line.startswith(" "):
                section = ""
            elif section in {"Args", "Attributes", "Raises"} and re.match(r"    \S", line) and not ENTRY.match(line):
                found.append(line)
    return found


def test_a_line_that_is_not_indented_further_than_its_entry_is_found():
    text = 'def f():\n    """Do it.\n\n    Raises:\n        UsageError: Too long for\n        one line.\n    """\n'
    assert odd_entries(text) == ["    one line."]


def test_each_argument_and_each_error_begins_with_its_name():
    files = sorted((ROOT / "smdae").rglob("*.py"))
    assert len(files) > 200
    found = {file: odd_entries(file.read_text(encoding="utf-8")) for file in files}
    assert {file: lines for file, lines in found.items() if lines} == {}
