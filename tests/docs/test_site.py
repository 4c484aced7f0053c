"""Whether the documentation site is built, with every link leading somewhere."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.docs.blocks import ROOT


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
