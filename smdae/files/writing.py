"""The one writer of files: what it writes is whole or absent.

The bytes go to a temporary file in the target's folder, reach the disk, and take the target's name in one
step: by `rename` where an old file may be replaced, and by `link`, which fails if the name is taken, where it
may not, so that of two processes that race for a name exactly one wins. A file system without links falls
back on claiming the name with an empty file first. A symbolic link stays and its target is written. A device
or a pipe is written straight.

A new file gets the mode that the umask gives; a replaced one keeps its own.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from smdae.errors import OutputError

__all__ = ["refusals", "refuse_existing", "refuse_making", "whole", "write"]

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
LINK_UNSUPPORTED = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)
SHOWN_NAME = 40


def write(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write `data` as the file `path`, whole or not at all; raises as `whole` does."""
    with whole(path, overwrite=overwrite) as put:
        put(data)


@contextlib.contextmanager
def whole(path: Path, *, overwrite: bool = False) -> Iterator[Callable[[bytes | bytearray | memoryview], None]]:
    """Write the file `path` piece by piece, whole or not at all: gives the function that takes the next bytes.

    Raises OutputError where the file exists and `overwrite` is False, and for whatever stops the writing;
    nothing is left behind then, nor after an interrupt or any exception inside, which passes as it is, and
    an existing file is as it was.
    """
    refuse_existing(path, overwrite=overwrite)
    with refusals(path):
        target = _resolved(path)
        replaced = _status(target)
    if replaced is not None and not stat.S_ISREG(replaced.st_mode):
        with refusals(path):
            device = target.open("wb", buffering=0)
        with device:
            yield _writer(path, device.fileno())
        return
    temporary = target.with_name(f".{target.name[:SHOWN_NAME]}.{os.getpid()}.{secrets.token_hex(6)}.part")
    try:
        # The system takes the umask off 0666: to ask for the umask would mean to change it for a moment.
        with refusals(path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            descriptor = os.open(temporary, flags, 0o666)
        try:
            yield _writer(path, descriptor)
            with refusals(path):
                if replaced is not None:
                    os.chmod(temporary, stat.S_IMODE(replaced.st_mode))
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with refusals(path):
            if overwrite:
                os.replace(temporary, target)
            else:
                _take_name(temporary, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    _sync_folder(target.parent)


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """The planning check, before any work: raise OutputError where `write` would be refused.

    That is where `path` exists and `overwrite` is False, is a folder, or its folder is missing or not
    writable.
    """
    with refusals(path):
        target = _resolved(path)
        status = _status(target)
        if status is None or stat.S_ISREG(status.st_mode):
            if status is not None and not overwrite:
                raise FileExistsError(errno.EEXIST, "")
            if not target.parent.is_dir():
                raise FileNotFoundError(errno.ENOENT, "")
            if not os.access(target.parent, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "")
        elif stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "")
        elif not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "")


def refuse_making(folder: Path, first: Path) -> None:
    """The planning check for folders: raise OutputError where those from `first` down to `folder` could not be made."""
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
    """Whatever stops the writing of a file inside comes out as OutputError, one line that names it."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: OSError | ValueError) -> OutputError:
    code = getattr(error, "errno", None)
    if code == errno.ENOENT:
        reason = f"there is no folder {str(path.parent)!r}"
    else:
        reason = REASONS.get(code or 0) or (getattr(error, "strerror", None) or str(error)).lower()
    return OutputError(f"cannot write {str(path)!r}: {reason}", "-y replaces it" if code == errno.EEXIST else None)


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _status(target: Path) -> os.stat_result | None:
    try:
        return target.stat()
    except FileNotFoundError:
        return None


def _writer(path: Path, descriptor: int) -> Callable[[bytes | bytearray | memoryview], None]:
    def put(data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        with refusals(path):
            while rest:
                rest = rest[os.write(descriptor, rest) :]

    return put


def _take_name(temporary: Path, target: Path) -> None:
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno not in LINK_UNSUPPORTED:
            raise
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        try:
            os.replace(temporary, target)
        except BaseException:
            os.unlink(target)
            raise


def _sync_folder(folder: Path) -> None:
    # Not every system lets a folder be opened or synchronised; the file itself is safe by now.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
