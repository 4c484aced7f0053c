"""Refusals to write a file, before any work, and whatever stops the writing, as errors of one line that names it."""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from smdae.errors import OutputError

REASONS = {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "no space left",
    errno.EDQUOT: "no space left in the quota",
    errno.EFBIG: "the file would be larger than the system allows",
    errno.ENAMETOOLONG: "its name is too long",
    errno.EISDIR: "it is a folder",
    errno.EEXIST: "it exists already",
    errno.ENOTDIR: "a part of its path is a file, not a folder",
    errno.ELOOP: "it is a symbolic link in a circle",
}
WINDOWS = os.name == "nt"
# What Windows takes for a device, whatever follows a dot; and what it has in no name.
DEVICES = re.compile(r"(?:con|prn|aux|nul|com[1-9¹²³]|lpt[1-9¹²³])(?:\s*\.|\s*$)", re.IGNORECASE)
IN_NO_NAME = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]$')


def refuse_changed(path: Path, before: os.stat_result) -> None:
    """Raise OutputError if a file that is to be replaced has changed since the run was planned."""
    with refusals(path):
        now = status_of(resolved(path))
    if now is None or _identity(now) != _identity(before):
        raise OutputError(
            f"cannot write {str(path)!r}: it is not the file that it was when this run began",
            "another program has changed it, and the newer version is kept",
        )


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise OutputError if `writing.write` would be refused; write nothing.

    That is if `path` exists and `overwrite` is False, if `path` is a folder or may not be written, if its folder is
    missing or may not be written, or if Windows has no file of that name.
    """
    with refusals(path):
        target = resolved(path)
        if WINDOWS and (DEVICES.match(target.name) or IN_NO_NAME.search(target.name)):
            raise OSError(errno.EINVAL, "Windows has no file of that name")
        status = status_of(target)
        if status is None or stat.S_ISREG(status.st_mode):
            if status is not None and not overwrite:
                raise FileExistsError(errno.EEXIST, "")
            check_folder(target.parent)
        elif stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "")
        elif not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "")


def check_folder(folder: Path) -> None:
    """Raise OSError for a folder that is missing, or in which nothing can be made."""
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, "")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "")


def refuse_making(folder: Path, first: Path) -> None:
    """Raise OutputError if the folders from `first` down to `folder` could not be made; make none of them.

    What is there already must be a folder that may be written to.
    """
    with refusals(first), contextlib.suppress(FileNotFoundError):
        os.stat(folder)  # its name may be too long
    with refusals(first):
        if not first.parent.exists():
            raise FileNotFoundError(errno.ENOENT, "")
    there = folder
    while not os.path.lexists(there):
        there = there.parent
    with refusals(folder):
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "")
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "")


@contextlib.contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn whatever stops the writing of a file inside into OutputError, one line that names it."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: OSError | ValueError) -> OutputError:
    code = getattr(error, "errno", None)
    hint = "-y replaces it" if code == errno.EEXIST else None
    if code == errno.ENOENT:
        led_to = resolved(path).parent if path.is_symlink() else path.parent
        if led_to.is_dir():  # as of /proc
            reason = f"no file can be made in {str(led_to)!r}"
        else:
            reason, hint = f"there is no folder {str(led_to)!r}", "make it first"
    else:
        reason = REASONS.get(code or 0) or (getattr(error, "strerror", None) or str(error)).lower()
    return OutputError(f"cannot write {str(path)!r}: {reason}", hint)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def resolved(path: Path) -> Path:
    """Return the absolute path of a file, with all links followed."""
    return Path(os.path.realpath(path))


def status_of(target: Path) -> os.stat_result | None:
    """Return the status of the file that a path or a link leads to; None if there is none.

    Raises:
        OSError: The system does not tell it.
    """
    try:
        return target.stat()
    except FileNotFoundError:
        return None
