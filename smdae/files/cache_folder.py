"""The folder of a cache: what lies in it, whether it may be used, and who may add to it."""

import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # there is none on Windows
    fcntl = None  # type: ignore[assignment]

from smdae.errors import InputError, OutputError, UsageError
from smdae.files.cache_index import Entry, ForgedError, Index, Key
from smdae.files.refusals import refusals, refuse_making
from smdae.files.writing import whole

INDEX, LOCK, PIXELS = "index.jsonl", "lock", "pixels-"
# Of a file that is opened: links are not followed, and a pipe is not waited for.
NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

Say = Callable[[str], None]


def fresh() -> Index:
    """Return an empty index, for a file of pixels with a new name of its own."""
    return Index(f"{PIXELS}{secrets.token_hex(4)}")


def refuse(folder: Path) -> None:
    """Raise an error, before any work, for a folder that no cache can be written to; write nothing.

    Raises:
        UsageError: This system has no locks.
        OutputError: It is not a folder, holds other files, or cannot be made.
    """
    if fcntl is None:
        raise UsageError("--cache needs file locks, which this system does not have")
    if not os.path.lexists(folder):
        refuse_making(folder, folder)
    elif not os.path.isdir(folder):
        raise OutputError(f"cannot use '{folder}' as a cache: it is not a folder", "name an empty folder, or a new one")
    else:
        with refusals(folder):
            names = os.listdir(folder)
        if any(name not in (INDEX, LOCK) and not name.startswith((PIXELS, f".{INDEX}")) for name in names):
            raise OutputError(
                f"cannot use '{folder}' as a cache: it holds other files", "name an empty folder, or a new one"
            )
        for name in names:
            with suppress(FileNotFoundError):
                if not stat.S_ISREG(os.lstat(folder / name).st_mode):
                    raise OutputError(
                        f"cannot use '{folder}' as a cache: '{name}' is a link, or not a file",
                        "remove it, or the folder",
                    )


def opened(path: Path, flags: int) -> int:
    """Return the descriptor of a file of a cache, open for writing; links and other names of the file are refused.

    Raises:
        OutputError: It cannot be opened, or is a link, or not a file.
    """
    with refusals(path):
        descriptor = os.open(path, flags | NO_LINKS, 0o666)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise OutputError(f"cannot write '{path}': it has more than one name, or is not a file", "remove it")
    return descriptor


def locked(folder: Path, note: Say) -> int:
    """Return the descriptor of a folder's lock, once it is locked; report a wait for it.

    Raises:
        OutputError: The lock cannot be opened.
    """
    path = folder / LOCK
    is_reported = False
    while True:
        with refusals(path):
            lock = os.open(path, os.O_RDWR | os.O_CREAT | NO_LINKS, 0o666)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not is_reported:
                    note(f"another process is filling the cache '{folder}': waiting for it")
                    is_reported = True
                fcntl.flock(lock, fcntl.LOCK_EX)
            # Whoever held it may have taken it away when nothing came of his cache.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), os.stat(path)):
                    return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)


def load(folder: Path, warn: Say) -> Index | None:
    """Return the index in a folder; None if there is none, or it is damaged, which is warned of.

    Raises:
        InputError: It cannot be read, or was not written by smdae.
    """
    try:
        with open(os.open(folder / INDEX, os.O_RDONLY | NO_LINKS), "rb") as lines:
            index = Index.of_lines(lines)
        size = (folder / index.pixels).lstat().st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"cannot read '{folder / INDEX}': {(error.strerror or 'unreadable').lower()}") from error
    except ForgedError as error:
        raise InputError(
            f"cannot use the cache '{folder}': its index was not written by smdae, {error}", "remove the folder"
        ) from error
    except ValueError as error:
        warn(f"the cache '{folder}' is made anew: its index cannot be used, {error}")
        return None
    if size < index.size:
        warn(f"the cache '{folder}' was cut off: what is missing is decoded anew")
        index.shorten(size)
    return index


def is_as_it_was(entry: Entry, status: os.stat_result) -> bool:
    """Return whether a file has the size and the time of change that it had when an entry was made of it."""
    return (entry.size, entry.mtime_ns) == (status.st_size, status.st_mtime_ns)


def is_up_to_date(key: Key, entry: Entry) -> bool:
    """Return whether the file of an entry exists and has not changed since the entry was made."""
    try:
        return is_as_it_was(entry, os.stat(key.path))
    except (OSError, ValueError):
        return False


def save(folder: Path, index: Index) -> None:
    """Write the index of a folder, whole or not at all; raise OutputError if it cannot be written."""
    with whole(folder / INDEX, overwrite=True) as put:
        lines = bytearray()
        for line in index.to_lines():
            lines += line
            if len(lines) > 1 << 20:
                put(lines)
                lines.clear()
        put(lines)
