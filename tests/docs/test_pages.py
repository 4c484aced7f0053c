"""Whether every command and snippet of README and documentation does what the pages say."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import typer

from smdae.cli.app import app, main
from smdae.pipeline.peers import Peers
from smdae.processes import Place
from tests.docs.blocks import EXTRAS, ROOT, RUN, Block, alike, blocks_of, pages, plain
from tests.docs.workplace import fill

# Snippets that no test runs, by page and first word: they need what a test machine has not.
NOT_RUN = {
    ("README.md", "pip"),
    ("docs/index.md", "pip"),
    ("docs/install.md", "python3"),
    ("docs/install.md", ".venv/bin/pip"),
    ("docs/install.md", "docker"),
    ("docs/guides/pipelines.md", "#!/bin/bash"),
    ("docs/guides/pipelines.md", "docker"),
    ("docs/guides/pipelines.md", "smdae"),  # on an accelerator
    ("docs/formats-raw.md", "pip"),
    ("docs/formats-fits.md", "pip"),
    ("docs/formats-zarr.md", "pip"),
    ("docs/formats-streams.md", "ffmpeg"),
}
# Pages whose snippets have a test of their own.
ELSEWHERE = {"docs/own-models.md": "tests/models/test_own.py"}
STEPS = "3"  # of every fit: what a page says of its length is for people
PAGES = [path for path in pages() if path.relative_to(ROOT).as_posix() not in ELSEWHERE]
QUICK = [path for path in PAGES if any(b.is_quick for b in blocks_of(path))]
SLOW = [path for path in PAGES if any(b.mark == "slow" for b in blocks_of(path))]


def called(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """A folder with all files that the pages name."""
    folder = tmp_path_factory.mktemp("workplace")
    fill(folder)
    return folder


@pytest.fixture
def workplace(filled, bare, monkeypatch):
    """The working folder, a copy of it, where fits are short."""
    shutil.copytree(filled, bare, dirs_exist_ok=True)
    monkeypatch.setenv("SMDAE_MAX_STEPS", STEPS)
    monkeypatch.setattr("smdae.device.taken", lambda name, where: "on the CPU")  # as most readers see it
    return bare


@pytest.fixture
def shell(tmp_path_factory, monkeypatch):
    """What runs a line as bash does, with the commands of this environment."""
    tools = tmp_path_factory.mktemp("tools")
    for name, module in (("smdae", "smdae"), ("torchrun", "torch.distributed.run")):
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}.")

    def run(line: str) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900
        )
        return done.returncode, done.stdout.decode(errors="replace")

    return run


def written(block: Block) -> bool:
    """Write a block to the file that its title names, if it does."""
    if block.title:
        Path(block.title).write_text(block.text)
    return bool(block.title)


def refuse_other(said: str, expected: Sequence[str]) -> None:
    """Fail where a command has said something else than the page says, figures aside."""
    lines = [alike(line) for line in said.splitlines()]
    for line in expected:
        assert alike(line) in lines, f"the page says {line!r}, and the command said:\n{said}"


@pytest.mark.parametrize("path", QUICK, ids=called)
def test_quick_snippets_do_what_they_say(path, workplace, capfd):
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks_of(path):
        if written(block) or not block.is_quick or not block.is_possible:
            continue
        if block.language == "python":
            exec(compile(block.text, block.page, "exec"), names)
            continue
        for command, expected in block.commands:
            arguments = plain(command)
            assert arguments is not None, f"{command!r} needs a shell: mark it as slow"
            code = main(arguments)
            said = "".join(capfd.readouterr())
            assert code == 0, f"{command!r} ended with {code}:\n{said}"
            refuse_other(said, expected)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("path", SLOW, ids=called)
def test_slow_snippets_do_what_they_say(path, workplace, shell):
    script = ""
    for block in blocks_of(path):
        if written(block) or block.language not in RUN:
            continue
        if block.language == "python":
            script += block.text + "\n"
            if block.mark == "slow":
                Path("page.py").write_text(script)
                code, said = shell(f"'{sys.executable}' page.py")
                assert code == 0, said
        elif block.mark == "slow":
            for command, expected in block.commands:
                code, said = shell(command)
                assert code == 0, f"{command!r} ended with {code}:\n{said}"
                refuse_other(said, expected)


def test_what_is_not_run_is_on_the_list():
    found = {(b.page, b.text.split()[0]) for path in pages() for b in blocks_of(path) if b.mark == "not run"}
    assert found == NOT_RUN


def commands_in(line: str) -> list[list[str]]:
    """Return the arguments of each `smdae` in a line, pipes and containers too; each variable of the shell is 3."""
    words = shlex.split(re.sub(r"\$\w+", "3", line), comments=True)
    names = typer.main.get_command(app).commands
    starts = [k + 1 for k in range(len(words) - 1) if words[k] == "smdae" and words[k + 1] in names]
    return [list(takewhile(lambda word: word not in ("|", "<", ">"), words[k:])) for k in starts]


NOT_RUN_COMMANDS = [
    (block.page, arguments)
    for path in pages()
    for block in blocks_of(path)
    if block.mark == "not run" and block.language in RUN
    for line, _ in block.commands
    for arguments in commands_in(line)
]


@pytest.mark.parametrize(
    ("page", "arguments"), NOT_RUN_COMMANDS, ids=lambda part: part if isinstance(part, str) else part[0]
)
def test_commands_that_are_not_run_are_understood(page, arguments, filled, monkeypatch):
    """The function of a command checks its options and returns the work, which is not done here."""
    monkeypatch.chdir(filled)
    command = typer.main.get_command(app)
    with command.make_context("smdae", arguments, obj=Peers(Place(0, 1))) as context:
        assert callable(command.invoke(context))


def test_they_are_found_in_arrays_containers_and_pipes():
    found = {(page, arguments[0], arguments[-1]) for page, arguments in NOT_RUN_COMMANDS}
    assert {
        ("docs/guides/pipelines.md", "denoise", "log.3"),
        ("docs/guides/pipelines.md", "denoise", "-"),
        ("docs/guides/pipelines.md", "fit", "cuda:0"),
        ("docs/install.md", "denoise", "noisy.png"),
        ("docs/formats-streams.md", "denoise", "-"),
    } <= found


@pytest.mark.parametrize("page", ELSEWHERE)
def test_other_pages_have_tests_that_name_them(page):
    assert Path(page).name in (ROOT / ELSEWHERE[page]).read_text()


@pytest.mark.parametrize("path", pages(), ids=called)
def test_every_fence_is_understood(path):
    text = path.read_text()
    assert 2 * len(blocks_of(path)) == len(re.findall(r"^\s*```", text, re.MULTILINE))
    assert {block.mark for block in blocks_of(path)} <= {"", "slow", "not run", *EXTRAS}


@pytest.mark.parametrize("path", pages(), ids=called)
def test_no_command_is_hidden_from_these_tests(path):
    """Code by indentation alone is not run, so it is none of ours; README tells of make."""
    assert not re.findall(r"^ {4}(?:smdae|python|pip|ffmpeg|cat|torchrun)\b.*$", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", [*pages(), ROOT / "CHANGELOG.md", ROOT / "SECURITY.md"], ids=called)
def test_links_lead_somewhere(path):
    made = {"commands.md", "models.md", "changelog.md", "contributing.md", "security.md"}  # when the site is built
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists() or Path(target).name in made, target


def test_the_readme_is_short_and_begins_with_a_result():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 120
    assert sum("smdae denoise sample_data/noisy.png" in line for line in lines[:40]) == 1
    assert {"    make demo", "    make test"} <= {line.split("  #")[0].rstrip() for line in lines}
    assert sum(re.fullmatch(r"\| --- \|.*", line) is not None for line in lines) == 1  # one table
