"""The one thing that pyproject.toml cannot say: the page of the package is README.md with absolute links.

In a clone the links of README.md are relative, so that they lead to what is there. On the page of a package they would
lead nowhere; there they become addresses of the repository that pyproject.toml names, at the tag of the version.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent


def page() -> str:
    """Return README.md with absolute links."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    init = (ROOT / "smdae" / "__init__.py").read_text("utf-8")
    tag = "v" + re.findall(r'^__version__ = "(.+)"$', init, re.MULTILINE)[0]
    repository = project["urls"]["Repository"]
    text = (ROOT / "README.md").read_text("utf-8")
    text = re.sub(r"(!\[[^\]]*\]\()(?!\w+:|#)", rf"\g<1>{repository}/raw/{tag}/", text)
    return re.sub(r"((?<!!)\[[^\]]*\]\()(?!\w+:|#)", rf"\g<1>{repository}/blob/{tag}/", text)


if __name__ == "__main__":
    setup(long_description=page(), long_description_content_type="text/markdown")
