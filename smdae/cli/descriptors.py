"""Standard streams that the caller has closed, as `smdae ... >&-` and some schedulers of jobs do.

The next file that is opened gets the number of a closed stream: what a library prints would then be written into a
picture. And Python prints to stdout what is meant for a stderr that is not there.
"""

import os
import sys
from contextlib import suppress

__all__ = ["fill_closed", "settle"]

STDOUT, STDERR = 1, 2


def fill_closed() -> None:
    """Let each standard stream that is closed lead nowhere: stderr loses what is written, stdout refuses it."""
    # The number of a closed one is the lowest that is free, as those before it are open by then.
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # What was asked for on stdout is not lost without a word: writing to it is an error.
            os.open(os.devnull, os.O_WRONLY if number == STDERR else os.O_RDONLY)
    if sys.stdout is None:
        sys.stdout = os.fdopen(STDOUT, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(STDERR, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def settle() -> None:
    """Write what is left for stderr, or drop it: the interpreter would end with an exit code of its own."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), STDERR)
