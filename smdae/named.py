"""Objects of the user's own, named as module:name, such as mine:Net for the class Net of mine.py, and their errors."""

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smdae.errors import SmdaeError, UsageError
from smdae.memory import is_out_of_memory

NAMED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
MAX_REASON = 200  # characters of a reason that is passed on


def is_named(text: str) -> bool:
    """Return whether a text has the form module:name."""
    return NAMED.fullmatch(text) is not None


def imported(text: str, option: str) -> Any:
    """Return what a text of the form module:name names, imported; modules of the working folder are found too.

    Args:
        text: The name.
        option: What an error begins with, such as --target.

    Raises:
        UsageError: The text has another form, or there is no such module or name, or the module fails.
    """
    if not is_named(text):
        raise UsageError(f"{option} {text!r:.80} is not of the form module:name", "such as mine:net for mine.py")
    module, _, name = text.partition(":")
    folder = str(Path.cwd())
    added = folder not in sys.path
    if added:
        sys.path.insert(0, folder)
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError as error:
        if error.name != name:  # from within the module
            raise UsageError(f"{option}: cannot import '{module}': {reason_of(error)}") from None
        raise UsageError(f"{option}: there is no '{name}' in the module '{module}'") from None
    except (Exception, SystemExit) as error:
        raise UsageError(f"{option}: cannot import '{module}': {reason_of(error)}") from None
    finally:
        if added:
            sys.path.remove(folder)


@contextmanager
def foreign_errors(converted: Callable[[Exception], SmdaeError]) -> Iterator[None]:
    """Raise `converted(error)` for an error of other people's code that arises within the context.

    Errors of smdae, and memory that runs out, pass unchanged.
    """
    try:
        yield
    except SmdaeError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise converted(error) from error


def reason_of(error: BaseException) -> str:
    """Return the text of an error in one line, at most 200 characters; the name of its type if it has no text."""
    return f"{' '.join(str(error).split()) or type(error).__name__:.{MAX_REASON}}"
