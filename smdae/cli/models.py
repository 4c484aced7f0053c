"""`smdae models`: list the bundled models and those given, with their figures."""

import os
from collections.abc import Sequence
from functools import partial
from typing import Annotated

import typer

from smdae.cli import stdout
from smdae.cli.options import Json, Work
from smdae.pipeline import model_description

HELP = """List the bundled models and those given: version, licence, levels, size and held-out figures.

smdae models

smdae models model.safetensors --json        an object a model, a line each
"""


def command(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help="Model files to list too, beside that of $SMDAE_MODEL."),
    ] = None,
    json_: Json = False,
) -> Work:
    """Parse the options of `smdae models`, and return a function that does the work."""
    from smdae.files.bundle import entries

    given = [os.environ["SMDAE_MODEL"]] if os.environ.get("SMDAE_MODEL") else []
    return partial(_list, [*dict.fromkeys([*entries(), *given, *(files or [])])], json_)


def _list(names: Sequence[str], json_: bool) -> int:
    """Print what is known of models, as lines or as JSON, and return the exit code 0."""
    for number, name in enumerate(names):
        found = model_description.record(name)
        if json_:
            stdout.result(found)
        else:
            for line in ["", *model_description.short(found)] if number else model_description.short(found):
                stdout.text(line)
    return 0
