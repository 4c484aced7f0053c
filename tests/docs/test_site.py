"""Whether the documentation site is built, with every link leading somewhere."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pkgutil import resolve_name
from types import ModuleType

import pytest

from tests.docs.blocks import ROOT

REFERENCE = (ROOT / "docs" / "reference" / "api.md").read_text()


@pytest.mark.parametrize("name", re.findall("^::: (.+)$", REFERENCE, re.MULTILINE))
def test_the_python_reference_is_of_what_there_is_where_it_is(name):
    found = resolve_name(name)
    assert isinstance(found, ModuleType) or f"{found.__module__}.{found.__qualname__}" == name


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("mkdocs"), reason="needs the extra docs: pip install -c constraints.txt '.[docs]'")
def test_the_site_is_built_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    commands = (tmp_path / "reference" / "commands" / "index.html").read_text()
    assert "--strip-metadata" in commands
    models = (tmp_path / "reference" / "models" / "index.html").read_text()
    assert "natural-color-small" in models
    assert "BSDS500" in models
