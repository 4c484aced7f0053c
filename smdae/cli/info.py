"""`smdae info`: describe a file, in words and as a chart; nothing is written.

For a picture that is the noise that `denoise` would find, for a model file its card, for a profile its noise.
"""

import io
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smdae.cli import console, stdout
from smdae.cli.options import BLACK, NOISE, RECURSIVE, WHITE, Json, Work, check_range, option
from smdae.errors import BatchError, SmdaeError, UsageError
from smdae.pipeline.places import STREAM, sources
from smdae.pipeline.reading import within_memory
from smdae.pipeline.selection import refuse_unpiped

if TYPE_CHECKING:
    from smdae.pipeline.options import Options

HELP = """Print what files are: the noise of images, the card of a model, a noise profile. Write nothing.

smdae info noisy.png                         what denoise would take out

smdae info scans/ -r --json                  an object a file, a line each

smdae info model.safetensors                 what a model was fitted on, and how good it is

smdae info model.safetensors --check         whether it gives here what it gave where it was written
"""

INDENT = "  "
MODEL, PROFILES = ".safetensors", (".yaml", ".yml")


def command(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="Images, folders of them, patterns, model files, noise profiles; - is stdin.",
            readable=False,
            show_default=False,
        ),
    ],
    noise: Annotated[str, NOISE] = "auto",
    white: Annotated[float | None, WHITE] = None,
    black: Annotated[float | None, BLACK] = None,
    recursive: Annotated[bool, RECURSIVE] = False,
    check: Annotated[
        bool, option("Run the self-test of models: do they give here what they gave when written?", "--check")
    ] = False,
    json_: Json = False,
) -> Work:
    """Parse and check the options of `smdae info`, find its files, and return a function that does the work.

    Raises:
        UsageError: An option has an impossible value.
        InputError: A file does not exist, no picture is in a folder, or the noise profile cannot be read.
    """
    from smdae.pipeline.noise_choice import noise_named

    check_range(white, black)
    kind = noise_named(noise)
    files = sources(inputs, recursive, more=True)
    if STREAM in inputs:
        refuse_unpiped("an image")

    from smdae.pipeline.options import Options

    return partial(_describe, files, Options(white=white, black=black, noise=kind), json_, check)


def _describe(files: Sequence[Path], options: "Options", json_: bool, check: bool) -> int:
    """Print the description of each file, as lines or as JSON, and return the exit code.

    Raises:
        SmdaeError: The only file cannot be described.
        BatchError: Some of many cannot.
    """
    from smdae.memory import keep_freed_memory

    keep_freed_memory()
    in_colour = console.takes_codes(sys.stdout)
    failed = printed = 0
    with stdout.guarded():
        for source in files:
            try:
                with within_memory("stdin" if source == STREAM else str(source)):
                    found = _descriptions(source, options, json_, check)
                for described in found:
                    if isinstance(described, dict):
                        stdout.result({"input": str(source)} | described)
                    else:
                        _print(["", *described] if printed else described, in_colour)
                    printed += 1
            except SmdaeError as error:
                if len(files) == 1:
                    raise
                failed += 1
                console.failure(error)
                if json_:
                    stdout.result({"input": str(source), "error": error.message, "code": error.code})
    if failed:
        raise BatchError(f"{failed} of {len(files)} inputs failed")
    return 0


def _descriptions(source: Path, options: "Options", json_: bool, check: bool) -> Sequence[dict[str, Any] | list[str]]:
    """Return a JSON record for each channel of a file, or its description as lines of text.

    Errors are those of reading the file, and of the self-test of a model.

    Raises:
        UsageError: There is a self-test to run, and the file is no model.
    """
    if check and not _is_model(source):
        raise UsageError(f"--check is for models, and '{source}' is none", "leave it out")
    if source.suffix.lower() in PROFILES:
        from smdae.pipeline import profile_description

        return [profile_description.record(source) if json_ else profile_description.lines(source)]
    if _is_model(source):
        from smdae.pipeline import model_description

        name = str(source)
        apart = {"self_test": model_description.self_tested(name)} if check else {}
        if json_:
            return [model_description.record(name) | apart]
        said = [f"{INDENT}self-test passed: results differ by {100 * off:.1g} % at most" for off in apart.values()]
        return [model_description.lines(name) + said]
    from smdae.pipeline import picture_description
    from smdae.pipeline.described_files import describe

    write = picture_description.record_of if json_ else picture_description.lines_of
    return [write(description) for description in describe(source, options)]


def _is_model(source: Path) -> bool:
    """Return whether a path has the ending of model files, or is the name of a bundled model rather than a file."""
    from smdae.files.bundle import version_of

    if source.suffix.lower() == MODEL:
        return True
    return not os.path.lexists(source) and version_of(str(source).partition("@")[0]) is not None


def _print(lines: Sequence[str], in_colour: bool) -> None:
    """Print lines on stdout, with escapes for control characters, as names of files may contain."""
    clean = [stdout.escaped(line) for line in lines]
    text = "".join(f"{line}\n" for line in clean)
    if in_colour:
        from rich.console import Console
        from rich.text import Text

        drawn = io.StringIO()
        terminal = Console(file=drawn, force_terminal=True, highlight=False, markup=False, soft_wrap=True)
        for line in clean:
            shown = Text(line, "bold" if line and not line.startswith(INDENT) else "")
            shown.highlight_regex(r"(?<=\|)[ *]+$", "cyan")
            terminal.print(shown)
        text = drawn.getvalue()
    stdout.stream(text.encode(sys.stdout.encoding or "ascii", "backslashreplace"))
