"""The snippets of README and documentation: found, told apart, and run.

A block of `bash`, `console` or `python` is run in a folder with sample files. One below `<!-- slow -->` is run by slow
tests alone, one below `<!-- not run -->` by none, and one below `<!-- extra raw -->` only where that extra is. A block
of any language whose title is the name of a file is written there.
"""

import re
import shlex
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
RUN = ("bash", "console", "python")
EXTRAS = {"extra raw": "rawpy", "extra fits": "astropy", "extra zarr": "zarr"}  # the module by which each is known
FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[a-z ]+) -->\n)?^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SHELL = set("|<>&$;*`")


@dataclass(frozen=True)
class Block:
    """A snippet.

    Attributes:
        page: The file that it stands in, from the root.
        language: Of the fence.
        text: What it holds.
        mark: `slow`, `not run`, one of EXTRAS, or nothing.
        title: The name of a file to write it to, or nothing.
    """

    page: str
    language: str
    text: str
    mark: str
    title: str

    @property
    def is_quick(self) -> bool:
        """Whether it is run by quick tests, where what it needs is installed."""
        return self.language in RUN and (not self.mark or self.mark in EXTRAS)

    @property
    def is_possible(self) -> bool:
        """Whether the extra that it needs is installed."""
        return self.mark not in EXTRAS or find_spec(EXTRAS[self.mark]) is not None

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """Each command with the lines that it is said to print, none where nothing is said."""
        if self.language == "bash":
            return [(line, []) for line in self.text.replace("\\\n", " ").splitlines() if line and line[0] != "#"]
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
        return found


def pages() -> list[Path]:
    """Return README and all pages."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(path: Path) -> list[Block]:
    """Return the snippets of a page, in their order."""
    page = path.relative_to(ROOT).as_posix()
    return [
        Block(page, found["language"], found["text"], found["mark"] or "", found["title"] or "")
        for found in FENCE.finditer(path.read_text())
    ]


def plain(command: str) -> list[str] | None:
    """Return the arguments of a command that is `smdae` and needs no shell, None for any other."""
    words = shlex.split(command, comments=True)
    return words[1:] if words[:1] == ["smdae"] and not SHELL & set("".join(words)) else None


def alike(text: str) -> str:
    """Return a text without its figures, by which two runs may differ."""
    return re.sub(r"\d+(?:\.\d+)?", "#", text).strip()
