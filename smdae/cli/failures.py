"""Errors in words for users, with their exit codes, for whatever exception is raised."""

import errno
import os
import re
from collections.abc import Callable
from difflib import get_close_matches

import typer

from smdae.errors import MemoryLimitError, OutputError, SmdaeError, UsageError
from smdae.memory import is_out_of_memory

ALIKE = 0.7  # least likeness, of 1, of an option that is suggested for a misspelt one


def _beyond(found: "re.Match[str]") -> str:
    """Return which end of a range a value is beyond; the groups of the match are the value and both ends."""
    value, low, high = found.groups()
    return f"it is less than {low}" if float(value) < float(low) else f"it is more than {high}"


# What typer says of a value (up to 0.25 in the words of click), and what to say instead.
PLAIN: dict[str, str | Callable[["re.Match[str]"], str]] = {
    r"Input should be a valid number.*": "it takes a number",
    r"'[^']*' is not a valid float.*": "it takes a number",
    r"Input should be a valid integer.*": "it takes a whole number",
    r"'[^']*' is not a valid integer.*": "it takes a whole number",
    r"Input should be greater than or equal to (\S+)": r"it is less than \1",
    r"Input should be less than or equal to (\S+)": r"it is more than \1",
    r"Input should be a valid boolean.*": "it is true or false",
    r"'[^']*' is not a valid boolean.*": "it is true or false",
    r"(\S+) is not in the range ([^<]+)<=x<=(\S+)": _beyond,
}
VARIABLE = re.compile(r" \(env var: '\w+'\)")
LOST_FOLDER = "the current folder no longer exists", "change to one that does"  # an error and its hint
FULL = {
    errno.ENOSPC: "no space left",
    errno.EDQUOT: "no space left in the quota",
    errno.EFBIG: "the file is too large",
    errno.EBADF: "it is closed",
}


def is_full(error: Exception) -> bool:
    """Return whether an error is that of writing where no room is left, to too large a file or to a closed stdout.

    A broken pipe is not among them.
    """
    return isinstance(error, OSError) and error.errno in FULL


def is_folder_lost() -> bool:
    """Return whether the current folder no longer exists: it was removed, perhaps while the command runs."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def as_smdae_error(error: Exception) -> SmdaeError:
    """Return an error that a user can understand for any exception, with an exit code and often a hint.

    A SmdaeError is returned as it is. Memory that runs out, a current folder that is gone, command-line options that
    the parser refuses, and a stdout that is full or closed become errors with exit codes of their own; all else has
    exit code 1.
    """
    if isinstance(error, SmdaeError):
        return error
    if is_out_of_memory(error):
        return MemoryLimitError("not enough memory", "close other programs, or give denoise -j 1 and a smaller -t")
    if isinstance(error, FileNotFoundError) and is_folder_lost():
        return UsageError(*LOST_FOLDER)
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # the parser's
        text = " ".join(error.format_message().split()).rstrip(".")
        for words, plain in PLAIN.items():
            text = re.sub(words, plain, text)
        context = getattr(error, "ctx", None)
        parameter = error.param if isinstance(error, typer.BadParameter) else None
        source = context.get_parameter_source(parameter.name) if context and parameter else None
        if source is None or source.name != "ENVIRONMENT":  # the variable is named only if the value is from it
            text = VARIABLE.sub("", text)
        command = context.command_path if context else "smdae"
        lists = f"'{command} --help' lists the options"
        if hasattr(error, "option_name") and hasattr(error, "possibilities"):
            names = [name for option in context.command.params for name in option.opts] if context else []
            long = [name[2:] for name in names if name.startswith("--")]
            near = get_close_matches(error.option_name.lstrip("-"), long, 1, ALIKE)
            did_you = f"did you mean --{near[0]}? " if near else ""
            return UsageError(f"no such option {error.option_name}", did_you + lists)
        return UsageError(text[:1].lower() + text[1:], lists)
    if isinstance(error, OSError) and error.errno in FULL:  # files are written by `files.writing`, so this was stdout
        return OutputError(f"cannot write to stdout: {FULL[error.errno]}")
    reason = [type(error).__name__, *str(error).splitlines()[:1]]
    return SmdaeError(": ".join(reason), "--debug shows where it arose")
