"""The table of file formats: help, messages and docs say what it says, and what it names is there."""

import subprocess
import sys
from pathlib import Path

import pytest

from smdae.cli.app import main
from smdae.errors import InputError
from smdae.files import formats
from smdae.files.images import read

ROOT = Path(__file__).parents[2]


def test_the_page_of_the_docs_is_made_of_the_table():
    assert (ROOT / "docs" / "formats.md").read_text() == formats.page()


def test_every_row_names_functions_that_are_there():
    for row in formats.ROWS:
        assert callable(formats.function(row.read))
        assert callable(formats.function(row.encode))


def test_no_ending_is_of_two_formats():
    endings = [suffix for row in formats.ROWS for suffix in row.suffixes]
    assert len(endings) == len(set(endings))
    assert all(formats.SUFFIXES[ending] in formats.FORMATS for ending in formats.ENDINGS.values())


def test_what_is_no_picture_is_told_what_would_be_one():
    with pytest.raises(InputError) as caught:
        read(b"a text", "a.txt")
    assert caught.value.hint is not None
    assert all(row.name in caught.value.hint for row in formats.ROWS)


def test_help_names_the_formats_of_results(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    assert main(["denoise", "--help"]) == 0
    said = capsys.readouterr().out
    said = " ".join(said.split())
    assert ", ".join(formats.NAMES) in said
    assert f"Quality of {formats.in_words(formats.WITH_QUALITY)} results" in said


def test_an_unknown_format_is_told_which_there_are(capsys):
    assert main(["denoise", "a.png", "--format", "xyz"]) == 2
    assert ", ".join(formats.NAMES) in capsys.readouterr().err


def test_the_table_loads_no_codec():
    code = "import sys, smdae.files.formats; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"PIL", "numpy", "tifffile", "imagecodecs"} & set(done.stdout.split())
