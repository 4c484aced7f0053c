"""Print the oldest versions that pyproject.toml allows, as constraints for pip.

    python tools/oldest.py > oldest.txt

Of the dependencies, and of the extras that tests take: the newest patch of the oldest series. What serves only the
tests is not held back.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def bounds() -> dict[str, str]:
    """Return the lower bound of each requirement, by its name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    own = next(requirement for requirement in extras["test"] if requirement.startswith("smdae["))
    names = own.removeprefix("smdae[").removesuffix("]").split(",")
    wanted = [*project["dependencies"], *(requirement for name in names for requirement in extras[name])]
    found = {}
    for requirement in wanted:
        match = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?>=([\d.]+)(?:,.*)?", requirement)
        if not match:
            raise SystemExit(f"{requirement!r} has no lower bound")
        found[match[1]] = match[2]
    return found


def main() -> None:
    """Print a line for each."""
    for name, version in bounds().items():
        sys.stdout.write(f"{name}=={version}{'.*' if version.count('.') < 2 else ''}\n")


if __name__ == "__main__":
    main()
