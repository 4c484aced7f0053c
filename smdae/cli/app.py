"""The command line: three commands, their exit codes, and one line for whatever goes wrong.

Nothing here or in the commands' modules imports torch before a command has begun its work: help is at once.
"""

import errno
import os
import sys
import traceback
from typing import Annotated

import typer

from smdae import __version__
from smdae.cli import compare, console, denoise, fit
from smdae.cli.interrupts import Terminated, terminable
from smdae.errors import MemoryLimitError, OutputError, SmdaeError, UsageError
from smdae.memory import is_out_of_memory

__all__ = ["app", "main"]

app = typer.Typer(
    name="smdae",
    help="Fit the score of image patches, and denoise along it.",
    epilog="smdae fit photos/  -  smdae denoise noisy.png  -  smdae compare photos/",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("fit")(fit.command)
app.command("denoise")(denoise.command)
app.command("compare")(compare.command)

FULL = {errno.ENOSPC: "no space left", errno.EDQUOT: "no space left in the quota", errno.EFBIG: "the file is too large"}


def _version(asked: bool) -> None:
    if asked:
        print(f"smdae {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.")] = False,
) -> None:
    """Fit the score of image patches, and denoise along it."""
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(UsageError.code)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # Before torch is loaded: a thread that waits for the others spins this often, then sleeps. By default it spins for
    # milliseconds, and two programs that share the cores stand in each other's way, up to fifty times slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "4000")
    debug = "--debug" in arguments
    try:
        _refuse_lost_folder()
        with terminable():
            code = _run([a for a in arguments if a != "--debug"])
            sys.stdout.flush()
            return code
    except (KeyboardInterrupt, typer.Abort):
        console.note("interrupted")
        return 130
    except Terminated:
        console.note("terminated")
        return 143
    except BrokenPipeError:
        # The reader of our stdout has gone: leave quietly.
        _drop_stdout()
        return 141
    except Exception as error:
        if debug:
            traceback.print_exc()
        failure = _failure(error)
        console.failure(failure)
        return failure.code


def _refuse_lost_folder() -> None:
    """Refuse a working folder that is gone: a library of matrix products would end the process over it."""
    try:
        os.getcwd()
    except OSError:
        raise UsageError("the current folder is gone", "change to one that is there") from None


def _run(arguments: list[str]) -> int:
    """Parse and call. Typer's own way round this makes 1 of a closed pipe and says nothing of Ctrl-C."""
    command = typer.main.get_command(app)
    try:
        with command.make_context("smdae", arguments) as context:
            code = command.invoke(context)
    except typer.Exit as done:
        code = done.exit_code
    return code if isinstance(code, int) else 0


def _failure(error: Exception) -> SmdaeError:
    """What the user is told of an error, and its exit code."""
    if isinstance(error, SmdaeError):
        return error
    if is_out_of_memory(error):
        return MemoryLimitError("not enough memory")
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # the parser's
        text = " ".join(error.format_message().split()).rstrip(".")
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "smdae"
        return UsageError(text[:1].lower() + text[1:], f"'{command} --help' lists the options")
    if isinstance(error, OSError) and error.errno in FULL:  # files have a writer that tells; this is what is left
        _drop_stdout()
        return OutputError(f"cannot write to stdout: {FULL[error.errno]}")
    reason = [type(error).__name__, *str(error).splitlines()[:1]]
    return SmdaeError(": ".join(reason), "--debug shows where it arose")


def _drop_stdout() -> None:
    """Let what is still held for stdout go nowhere: at its end the interpreter would fail on it once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
