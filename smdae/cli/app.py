"""The command line: six commands, their exit codes, and one line for each error.

The function of a command only parses its options, and returns the work that they ask for; `main` does the work. Neither
this module nor those of the commands import torch before the work begins, so that help is fast.
"""

import os
import signal
import sys
import traceback
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import typer

from smdae import __version__
from smdae.cli import compare, completion, console, denoise, fit, info, models, stdout
from smdae.cli.failures import LOST_FOLDER, as_smdae_error, is_folder_lost, is_full
from smdae.cli.interrupts import Terminated, terminable, unwrapped
from smdae.cli.option_files import locating, remembered
from smdae.cli.options import Work
from smdae.cli.together import together
from smdae.errors import UsageError
from smdae.pipeline.peers import Peers
from smdae.processes import Place

PARTS = ("torch", "numpy", "pillow", "tifffile", "imagecodecs", "safetensors", "typer", "rich", "pydantic")
MAY_BE_EMPTY = ("--suffix",)  # options whose value may be empty
WITH_VARIABLES = ("denoise", "compare")  # commands whose options have variables; for `fit` see `configuration`
ANYWHERE = ("--debug", "--no-color")  # options that may stand before a command or after it

CODES = (
    "Exit codes: 0 done, 1 a bug of ours, 2 usage or configuration, 3 input unusable, 4 output refused, 5 model bad, "
    "6 fit diverged, 7 out of memory, 8 device missing, 9 part of a batch failed, 10 a process lost, 11 a gate such as "
    "--min-psnr not met, 129, 130, 141 and 143 for the signals HUP, INT, PIPE and TERM."
)

app = typer.Typer(
    name="smdae",
    help="Fit the score of image patches, and denoise along it.",
    epilog=f"smdae fit photos/  -  smdae denoise noisy.png  -  smdae compare photos/\n\n{CODES}",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
SHORT = {  # in the list of commands, on a line of 80 columns
    "info": "Tell the noise of images, or what a model is.",
    "compare": "Compare objectives, models and other methods.",
    "models": "List the models: version, licence, levels.",
}
app.command("fit", help=fit.HELP, epilog=CODES)(fit.command)
app.command("denoise", help=denoise.HELP, epilog=CODES)(denoise.command)
app.command("info", help=info.HELP, short_help=SHORT["info"], epilog=CODES)(info.command)
app.command("compare", help=compare.HELP, short_help=SHORT["compare"], epilog=CODES)(compare.command)
app.command("models", help=models.HELP, short_help=SHORT["models"], epilog=CODES)(models.command)
app.command("completion", help=completion.HELP)(completion.command)


def _versions() -> dict[str, object]:
    """Return the facts that a bug report needs, by name: versions, devices and models."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import torch

    from smdae.files.bundle import entries

    parts: dict[str, str | None] = {}
    for name in PARTS:
        try:
            parts[name] = version(name)
        except PackageNotFoundError:
            parts[name] = None
    cuda = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    return {
        "smdae": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        **parts,
        "threads": torch.get_num_threads(),
        "devices": ["cpu", *(f"cuda:{k} {name}" for k, name in enumerate(cuda))],
        "models": {name: f"{name}@{entry['version']}" for name, entry in entries().items()},
    }


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Print the version; with --json those of all parts, and devices.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", hidden=True)] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.")] = False,
    no_color: Annotated[
        bool, typer.Option("--no-color", help="No colours and no progress bar, as with NO_COLOR=1 in the environment.")
    ] = False,
) -> None:
    """Fit the score of image patches, and denoise along it."""
    if version:
        if json_:
            stdout.result(_versions())
        else:
            print(f"smdae {__version__}")
        raise typer.Exit
    if json_:
        raise UsageError("--json goes with --version, or after a command", "such as smdae denoise a.png --json")
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(UsageError.code)
    if context.invoked_subcommand in ("compare", "completion", "info", "models"):
        context.obj.refuse(context.invoked_subcommand)


def main(arguments: list[str] | None = None) -> int:
    """Run the command that the arguments name, and return its exit code.

    Args:
        arguments: What follows the name of the program; None for the arguments of this process, which is about to end
            when this returns: then Ctrl-C ends it at once, without a traceback.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if arguments is None:
        stdout.fill_closed()
    _prepare_libraries()
    with console.of_command(plain="--no-color" in given):
        try:
            if is_folder_lost():  # a library for matrix products would end the process
                raise UsageError(*LOST_FOLDER)
            with unwrapped(), terminable(), together(Place.among(os.environ)) as share:
                work, meta = _parsed([a for a in given if a not in ANYWHERE], share.peers)
                with locating(meta):
                    share.code = work()
            sys.stdout.flush()
            return share.code
        except (KeyboardInterrupt, typer.Abort):
            console.note("interrupted")
            return 130
        except Terminated as stopped:
            console.note("terminated" if stopped.code == 143 else "the terminal was closed")
            return stopped.code
        except BrokenPipeError:
            # The reader of stdout is gone: leave quietly.
            _drop_stdout()
            return 141
        except Exception as error:
            if "--debug" in given:
                traceback.print_exc()
            if is_full(error):
                _drop_stdout()
            failure = as_smdae_error(error)
            console.failure(failure)
            return failure.code
        finally:
            if arguments is None:
                stdout.settle()
                signal.signal(signal.SIGINT, signal.SIG_DFL)


def _prepare_libraries() -> None:
    """Set the variables that torch and its libraries read when they are loaded, unless they are set already."""
    # How often a waiting thread spins before it sleeps. By default it spins for milliseconds, and two programs that
    # share the cores slow each other down up to fifty times.
    os.environ.setdefault("GOMP_SPINCOUNT", "4000")
    # oneDNN caches a kernel for each size it has met, 1,024 by default, in a common cache and again in each thread. For
    # a folder of pictures of many sizes that fills the memory; a pass of a network needs about 30.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    os.environ.setdefault("LRU_CACHE_CAPACITY", "1")
    # MKL keeps what each thread has worked in, up to the largest product so far: with eight threads 80 MB and more.
    os.environ.setdefault("MKL_DISABLE_FAST_MM", "1")


def _refuse_empty(arguments: list[str]) -> None:
    """Raise UsageError for an empty argument: as a path it would mean the current folder, which nobody named."""
    before = ""
    named = True  # options are named until --
    for argument in arguments:
        option = before if named and before.startswith("-") else ""
        if named and argument.startswith("--") and argument.endswith("="):
            option, argument = argument[:-1], ""
        if "\0" in argument and option not in MAY_BE_EMPTY:
            raise UsageError("an argument holds a NUL character, which no name has")
        if not argument and option not in MAY_BE_EMPTY:
            raise UsageError(
                f"{option if len(option) > 1 else 'an argument'} is empty", "a variable of the shell may not be set"
            )
        named, before = named and argument != "--", argument


def _parsed(arguments: list[str], peers: Peers) -> tuple[Work, Mapping[str, Any]]:
    """Parse the arguments, and return the work that they ask for, and what `locating` needs to know of the options.

    Help and the version are printed at once. Typer's own runner is not used: it would turn a closed pipe into exit code
    1, and say nothing on Ctrl-C.
    """
    _refuse_empty(arguments)
    command = _command()
    try:
        with command.make_context("smdae", arguments, obj=peers) as context, locating(context.meta):
            return command.invoke(context), context.meta
    except typer.Exit as done:
        return partial(int, done.exit_code), {}


def _command() -> Any:
    """Return the whole command line, where an option such as `denoise --tile` has the variable SMDAE_DENOISE_TILE.

    Typer would name a variable after the parameter of the function instead, which has no choice but to be `json_`.
    """
    command: Any = typer.main.get_command(app)
    for name in WITH_VARIABLES:
        command.commands[name].make_context = remembered(command.commands[name].make_context)
        for option in command.commands[name].params:
            long = next((opt for opt in option.opts if opt.startswith("--")), None)
            if long is not None and option.envvar is None:
                option.envvar = f"SMDAE_{name}_{long[2:].replace('-', '_')}".upper()
    return command


def _drop_stdout() -> None:
    """Discard the rest of stdout, on which the interpreter would fail again when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
