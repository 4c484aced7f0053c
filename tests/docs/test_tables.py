"""Whether the tables of README and documentation can be made anew by one command, and each says by which."""

import re

import numpy as np
import pytest
from PIL import Image

from benchmarks import readme_table, tables
from benchmarks.tables import NotMade, arguments_of, blocks_of, first_table, made_in, main, pages, refresh
from smdae.cli.app import app
from tests.docs.blocks import ROOT

PAGE = """# A page

<!-- table: one -->
| old | figures |
| --- | --- |
| 1 | 2.00 |

`python -m benchmarks.network_sizes pairs:32`
<!-- end -->

<!-- table: two -->
| left | alone |
| --- | --- |
| 3 | 4.00 |

`python benchmarks/bundled.py val`
<!-- end -->
"""
NEW = "| a | b |\n| --- | --- |\n| 5 | 6.00 |\n"
MEASURED = [ROOT / "README.md", ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "formats-raw.md"]
RECORD = re.compile(r"<!-- record: (?P<commands>[^\n]+) -->\n$")
FIGURE = re.compile(r"\|[^|\n]*\d[.,]\d")


@pytest.fixture
def page(tmp_path, monkeypatch):
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    monkeypatch.setattr(tables, "ROOT", ROOT)
    monkeypatch.setattr(tables, "pages", lambda: [path])
    return path


def test_a_table_is_replaced_and_all_else_stays(page, capsys):
    one, two = blocks_of(page)
    assert refresh([one], lambda command: NEW) == 0
    assert page.read_text() == PAGE.replace(one.table, NEW)
    assert "  2 new rows, " in capsys.readouterr().out
    assert refresh(blocks_of(page)[:1], lambda command: NEW) == 0
    assert "  as before, " in capsys.readouterr().out
    assert blocks_of(page)[1] == two


@pytest.mark.slow
def test_a_script_makes_the_table_of_a_folder(page, tmp_path):
    truth = np.add.outer(np.arange(40) * 3, np.arange(40) * 2).astype(np.uint8)
    for part, noise in (("clean", 0), ("noisy", 25)):
        (tmp_path / "pairs" / part).mkdir(parents=True)
        pixels = truth + np.random.default_rng(0).normal(0, noise, truth.shape)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "pairs" / part / "a.png")
    assert main([str(tmp_path), "one"]) == 0
    one, two = blocks_of(page)
    assert one.table.splitlines()[2].startswith("| pairs, upper left 32 x 32 | 1 | 2")
    assert (one.name, one.command) == (blocks_of(page)[0].name, "python -m benchmarks.network_sizes pairs:32")
    assert two.table in PAGE


def test_one_that_fails_is_told_and_the_others_are_made(page, tmp_path, capsys):
    def make(command):
        if "bundled" in command:
            return NEW
        raise NotMade("it ended with 3")

    assert refresh(blocks_of(page), make, tmp_path / "out.md") == 1
    said = capsys.readouterr().out
    assert "not made: it ended with 3" in said
    assert "1 of 2 tables could not be made" in said
    assert page.read_text() == PAGE
    assert (tmp_path / "out.md").read_text() == f"## two\n\n{NEW}\n`python benchmarks/bundled.py val`\n"


def test_a_command_that_fails_or_prints_no_table_makes_none(tmp_path):
    assert made_in(tmp_path, "python -m benchmarks.readme_table") == blocks_of(ROOT / "README.md")[0].table
    with pytest.raises(NotMade, match="it ended with 2"):
        made_in(tmp_path, "python -m benchmarks.tables --nonsense")
    for text in ("", "words\n", "| a |\n| --- |\n", "| a | b |\n| --- | --- |\n| 1 |\n"):
        with pytest.raises(NotMade):
            first_table(text)
    for command in ("python -m os", "python benchmarks/none.py", "rm -r x", "python benchmarks/../setup.py"):
        with pytest.raises(NotMade):
            arguments_of(command)


@pytest.mark.parametrize("arguments", [[], ["none"], [".", "three"]])
def test_what_makes_no_sense_is_refused(page, arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert page.read_text() == PAGE


def scripts_in(commands):
    """Yield the commands that are no script of benchmarks/ and no command of smdae."""
    names = {info.name for info in app.registered_commands}
    for command in commands:
        words = command.split()
        if words[0] == "smdae" and words[1] in names:
            continue
        try:
            arguments_of(command)
        except NotMade:
            yield command


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.name)
def test_every_table_of_figures_has_its_command(path):
    text = path.read_text()
    known = [block.table for block in blocks_of(path)]
    seen = 0
    for found in re.finditer(r"(?:^\|.*\n)+", text, re.MULTILINE):
        if not FIGURE.search(found[0]):
            continue
        seen += 1
        if found[0] in known:
            continue
        record = RECORD.search(text[: found.start()])
        assert record, f"no command makes the table\n{found[0]}"
        assert not list(scripts_in(record["commands"].split("; ")))
    assert seen >= len(known) > 0


def test_every_block_is_understood_and_names_are_unique():
    blocks = [block for path in pages() for block in blocks_of(path)]
    marks = sum(path.read_text().count("<!-- table: ") for path in pages())
    assert len(blocks) == len({block.name for block in blocks}) == marks
    assert not list(scripts_in(block.command for block in blocks))


def test_readme_says_what_the_benchmarks_say():
    (shown,) = blocks_of(ROOT / "README.md")
    of = {block.name: block.table for block in blocks_of(ROOT / "docs" / "benchmarks.md")}
    assert shown.table == readme_table.table(of) + "\n"
