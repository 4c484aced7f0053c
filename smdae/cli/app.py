"""The command line: five commands, their exit codes, and one line for whatever goes wrong.

Nothing here or in the commands' modules imports torch before a command has begun its work: help is at once.
"""

import os
import sys
import traceback
from contextvars import copy_context
from typing import Annotated

import typer

from smdae import __version__
from smdae.cli import compare, console, denoise, fit, info, models
from smdae.cli.failures import is_full, understood
from smdae.cli.interrupts import Terminated, terminable
from smdae.cli.peers import Peers
from smdae.cli.together import together
from smdae.errors import UsageError
from smdae.processes import Place

__all__ = ["app", "main"]

MAY_BE_EMPTY = ("--suffix",)  # options, whose values may be

app = typer.Typer(
    name="smdae",
    help="Fit the score of image patches, and denoise along it.",
    epilog="smdae fit photos/  -  smdae denoise noisy.png  -  smdae compare photos/",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("fit")(fit.command)
app.command("denoise", context_settings={"auto_envvar_prefix": "SMDAE_DENOISE"})(denoise.command)
app.command("info")(info.command)
app.command("compare", context_settings={"auto_envvar_prefix": "SMDAE_COMPARE"})(compare.command)
app.command("models")(models.command)


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
    if context.invoked_subcommand in ("compare", "info", "models"):
        context.obj.refuse(context.invoked_subcommand)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    return copy_context().run(_main, sys.argv[1:] if arguments is None else arguments)


def _main(arguments: list[str]) -> int:
    # Before torch is loaded: a thread that waits for the others spins this often, then sleeps. By default it spins for
    # milliseconds, and two programs that share the cores stand in each other's way, up to fifty times slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "4000")
    # Its kernels for sizes that it has met are kept, 1,024 of them by default: a folder of pictures of many sizes takes
    # memory for each. A pass of a network needs about 30.
    for name in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
        os.environ.setdefault(name, "64")
    debug = "--debug" in arguments
    try:
        _refuse_lost_folder()
        with terminable():
            rest = [a for a in arguments if a != "--debug"]
            code = together(Place.among(os.environ), lambda peers: _run(rest, peers))
            sys.stdout.flush()
            return code
    except (KeyboardInterrupt, typer.Abort):
        console.note("interrupted")
        return 130
    except Terminated as stopped:
        console.note("terminated" if stopped.code == 143 else "the terminal was closed")
        return stopped.code
    except BrokenPipeError:
        # The reader of our stdout has gone: leave quietly.
        _drop_stdout()
        return 141
    except Exception as error:
        if debug:
            traceback.print_exc()
        if is_full(error):
            _drop_stdout()
        failure = understood(error)
        console.failure(failure)
        return failure.code


def _refuse_lost_folder() -> None:
    """Refuse a working folder that is gone: a library of matrix products would end the process over it."""
    try:
        os.getcwd()
    except OSError:
        raise UsageError("the current folder is gone", "change to one that is there") from None


def _refuse_empty(arguments: list[str]) -> None:
    """Raise UsageError for an empty argument: as a path it would be the current folder, which no one has named."""
    before = ""
    named = True  # until -- options are told by their names
    for argument in arguments:
        option = before if named and before.startswith("-") else ""
        if named and argument.startswith("--") and argument.endswith("="):
            option, argument = argument[:-1], ""
        if not argument and option not in MAY_BE_EMPTY:
            raise UsageError(
                f"{option if len(option) > 1 else 'an argument'} is empty", "a variable of the shell may not be set"
            )
        named, before = named and argument != "--", argument


def _run(arguments: list[str], peers: Peers) -> int:
    """Parse and call. Typer's own way round this makes 1 of a closed pipe and says nothing of Ctrl-C."""
    _refuse_empty(arguments)
    command = typer.main.get_command(app)
    try:
        with command.make_context("smdae", arguments, obj=peers) as context:
            code = command.invoke(context)
    except typer.Exit as done:
        code = done.exit_code
    return code if isinstance(code, int) else 0


def _drop_stdout() -> None:
    """Let what is still held for stdout go nowhere: at its end the interpreter would fail on it once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
