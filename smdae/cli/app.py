"""The command line: three commands, their exit codes, and one line for whatever goes wrong.

Nothing here or in the commands' modules imports torch before a command has begun its work: help is at once.
"""

import os
import sys
from typing import Annotated

import typer

from smdae import __version__
from smdae.cli import compare, console, denoise, fit
from smdae.errors import MemoryLimitError, SmdaeError

__all__ = ["app", "main"]

app = typer.Typer(
    name="smdae",
    help="Fit the score of image patches, and denoise along it.",
    epilog="smdae fit photos/  -  smdae denoise noisy.png  -  smdae compare photos/",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("fit")(fit.command)
app.command("denoise")(denoise.command)
app.command("compare")(compare.command)


def _version(asked: bool) -> None:
    if asked:
        print(f"smdae {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.")] = False,
) -> None:
    """Fit the score of image patches, and denoise along it."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    try:
        code = app([a for a in arguments if a != "--debug"], standalone_mode=False, prog_name="smdae")
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except SmdaeError as error:
        console.failure(error)
        if debug:
            raise
        return error.code
    except BrokenPipeError:
        # The reader of our stdout has gone: leave quietly, and keep the interpreter from complaining at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (KeyboardInterrupt, typer.Abort):
        console.note("interrupted")
        return 130
    except MemoryError:
        console.failure(MemoryLimitError("not enough memory"))
        return MemoryLimitError.code
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            return _usage(error)
        if debug:
            raise
        console.failure(SmdaeError(f"{type(error).__name__}: {error}".splitlines()[0], "--debug shows where it arose"))
        return SmdaeError.code


def _usage(error: Exception) -> int:
    """One line for the parser's own complaints."""
    context = getattr(error, "ctx", None)
    message = error.format_message()  # type: ignore[attr-defined]
    if not message:  # a bare call: the help has been shown
        return 2
    text = " ".join(message.split()).rstrip(".")
    command = context.command_path if context else "smdae"
    console.failure(SmdaeError(text[:1].lower() + text[1:], f"'{command} --help' lists the options"))
    return 2
