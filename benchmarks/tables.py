"""Do the tables of README and documentation still say what their scripts say?

    python -m benchmarks.tables DATA [NAME...] [-o TABLES.md]
    python -m benchmarks.tables --list

makes the tables of all pages anew, or those that are named. A table stands between two comments, with its command:

    <!-- table: white -->
    | | sigma 15 | 25 | 50 |
    ...

    `python benchmarks/bundled.py val/Set12 val/McMaster`
    <!-- end -->

DATA is a folder with `train/`, `val/` and `real/`, in which the commands are run. The first table that a command prints
takes the place of the one in the page; with `-o` all go to a file instead. Where a command fails its table stays, the
others are made, and the exit code is 1. A table that needs another machine, or days, is a record: it stands below
`<!-- record: COMMAND -->`, and is left alone.
"""

import argparse
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.place import ROOT, environment

BLOCK = re.compile(
    r"^<!-- table: (?P<name>[\w-]+) -->\n(?P<table>(?:\|.*\n)+)\n`(?P<command>python [^`\n]+)`\n<!-- end -->$",
    re.MULTILINE,
)
RULE = re.compile(r"\|(?: --- \|)+")
SCRIPT = re.compile(r"python (?:-m benchmarks\.(?P<module>\w+)|benchmarks/(?P<file>\w+)\.py)(?: (?P<rest>.*))?")


class NotMade(Exception):
    """A command that has made no table."""


@dataclass(frozen=True)
class Block:
    """A table in a page.

    Attributes:
        page: The file that it stands in.
        name: What it is called.
        table: Its lines, each with its end.
        command: What prints it.
    """

    page: Path
    name: str
    table: str
    command: str


def pages() -> list[Path]:
    """Return the documentation, and README, whose table is made of one of those."""
    return [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]


def blocks_of(page: Path) -> list[Block]:
    """Return the tables of a page that a script makes."""
    return [Block(page, **found.groupdict()) for found in BLOCK.finditer(page.read_text("utf-8"))]


def first_table(text: str) -> str:
    """Return the first table in a text.

    Raises:
        NotMade: There is none, or its rows differ in length.
    """
    lines = text.splitlines()
    begin = next((k for k, line in enumerate(lines) if k and RULE.fullmatch(line)), 0) - 1
    if begin < 0:
        raise NotMade("it has printed no table")
    end = next((k for k in range(begin, len(lines)) if not lines[k].startswith("|")), len(lines))
    if end - begin < 3:
        raise NotMade("its table has no rows")
    if len({line.count("|") for line in lines[begin:end]}) != 1:
        raise NotMade("the rows of its table differ in length")
    return "".join(f"{line}\n" for line in lines[begin:end])


def arguments_of(command: str) -> list[str]:
    """Return what runs a command of a page, from any folder; raise NotMade if it is no script of this folder."""
    found = SCRIPT.fullmatch(command)
    name = found and (found["module"] or found["file"])
    if not found or not (ROOT / "benchmarks" / f"{name}.py").is_file():
        raise NotMade(f"'{command}' is no script of benchmarks/")
    script = ["-m", f"benchmarks.{name}"] if found["module"] else [str(ROOT / "benchmarks" / f"{name}.py")]
    return [sys.executable, *script, *shlex.split(found["rest"] or "")]


def made_in(data: Path, command: str) -> str:
    """Return the table that a command prints in a folder; raise NotMade if it fails."""
    done = subprocess.run(arguments_of(command), cwd=data, stdout=subprocess.PIPE, text=True, env=environment())
    if done.returncode:
        raise NotMade(f"it ended with {done.returncode}")
    return first_table(done.stdout)


def put(block: Block, table: str) -> None:
    """Put a new table in the place of the one in the page."""
    from smdae.files.writing import write

    text = block.page.read_text("utf-8")
    found = next(found for found in BLOCK.finditer(text) if found["name"] == block.name)
    text = text[: found.start("table")] + table + text[found.end("table") :]
    write(block.page, text.encode(), overwrite=True)


def changes(before: str, after: str) -> str:
    """Return in words what a new table changes."""
    if before == after:
        return "as before"
    new = [line for line in after.splitlines() if line not in before.splitlines()]
    return f"{len(new)} new rows" if len(new) != 1 else "1 new row"


def refresh(blocks: Sequence[Block], make: Callable[[str], str], output: Path | None = None) -> int:
    """Make tables one after the other, put each in its place as soon as it is there, and return the exit code.

    Args:
        blocks: The tables.
        make: Returns the table of a command.
        output: A file for all of them; None for the pages.
    """
    failed = 0
    sections: list[str] = []
    for block in blocks:
        print(f"{block.name}: {block.command}", flush=True)
        begun = time.monotonic()
        try:
            table = make(block.command)
        except NotMade as error:
            failed += 1
            print(f"  not made: {error}", flush=True)
            continue
        if output is None:
            put(block, table)
        else:
            sections.append(f"## {block.name}\n\n{table}\n`{block.command}`\n")
            output.write_text("\n".join(sections), "utf-8")
        print(f"  {changes(block.table, table)}, {time.monotonic() - begun:.0f} s", flush=True)
    if failed:
        print(f"{failed} of {len(blocks)} tables could not be made")
    return int(failed > 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the tables that are asked for, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, nargs="?", help="a folder with train/, val/ and real/")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of tables; all by default")
    parser.add_argument("-o", "--output", type=Path, help="a file for the tables, instead of the pages")
    parser.add_argument("--list", action="store_true", help="name the tables and their commands")
    asked = parser.parse_args(arguments)
    blocks = [block for page in pages() for block in blocks_of(page)]
    if asked.list:
        for block in blocks:
            print(f"{block.name:12}{block.page.relative_to(ROOT).as_posix():24}{block.command}")
        return 0
    if asked.data is None or not asked.data.is_dir():
        parser.error("give the folder of the data" if asked.data is None else f"there is no folder '{asked.data}'")
    known = [block.name for block in blocks]
    unknown = [name for name in asked.names if name not in known]
    if unknown:
        parser.error(f"there is no table '{unknown[0]}'; there are {', '.join(known)}")
    wanted = [block for block in blocks if not asked.names or block.name in asked.names]
    return refresh(wanted, lambda command: made_in(asked.data, command), asked.output)


if __name__ == "__main__":
    raise SystemExit(main())
