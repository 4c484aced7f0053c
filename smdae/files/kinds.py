"""The kinds of files that a command leaves out, by the endings of their names, and their numbers in words."""

from collections import Counter
from pathlib import Path

from smdae.errors import InputError

CLOSED, CLOSED_ONES = "folder that cannot be read", "folders that cannot be read"
UNNAMED = "without an ending"
JUNK = ("thumbs.db", "desktop.ini")  # that systems leave in folders of pictures
MAX_KINDS = 6  # that are named one by one
MAX_SHOWN = 12  # characters of an ending


def kind_of(name: str) -> str:
    """Return the kind of a file as its name tells it: the ending in capitals, cut if long; a word if it has none."""
    return Path(name).suffix[1 : MAX_SHOWN + 1].upper() or UNNAMED


def is_overlooked(name: str) -> bool:
    """Return whether a file is hidden or of the system's own, so that nobody misses it."""
    return name.startswith(".") or name.lower() in JUNK


def counted(kinds: Counter[str]) -> str:
    """Return the numbers of files in words, such as '2 CR2, 1 HEIC', the most frequent kinds first; '' for none."""
    ordered = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    named = [f"{count:,} {kind}" for kind, count in ordered[:MAX_KINDS]]
    if rest := sum(count for _, count in ordered[MAX_KINDS:]):
        named.append(f"{rest:,} of other kinds")
    return ", ".join(named)


def refuse_closed(folder: Path, errors: list[OSError]) -> int:
    """Return how many folders below one could not be read, by the errors that `os.walk` reported.

    Raises:
        InputError: The folder itself could not be read.
    """
    for error in errors:
        if error.filename == str(folder):
            raise InputError(f"cannot read the folder '{folder}': {(error.strerror or 'unreadable').lower()}")
    return len(errors)
