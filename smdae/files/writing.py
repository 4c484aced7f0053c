"""The one writer of files: what it writes is whole or absent.

The bytes go to a temporary file in the target's folder, reach the disk, and take the target's name in one
step: by `rename` where an old file may be replaced, and by `link`, which fails if the name is taken, where it
may not, so that of two processes that race for a name exactly one wins. A file system without links falls
back on claiming the name with an empty file first. A symbolic link stays and its target is written. A device
or a pipe is written straight.

A new file gets the mode that the umask gives; a replaced one keeps its own, its owner and its extended attributes. What
is made of another file is no more readable than that one, nor is it while it grows.

Each temporary file is locked by its writer while that lives. One that is not is of a process that was killed, and is
removed by whoever writes to the folder next.

Windows has none of these locks. It renames no file that this process has open, replaces none that any process has open,
and has no file of some names.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from smdae.files.dressing import Origin, dress, limit
from smdae.files.refusals import WINDOWS, refusals, refuse_changed, refuse_existing, resolved, status_of
from smdae.files.scratch import Descriptor, scratch

try:
    import fcntl
except ImportError:  # without locks, files of dead processes cannot be recognised, and stay
    fcntl = None  # type: ignore[assignment]

LINK_UNSUPPORTED = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)
CLOSED = -1
PIECE = 1 << 20  # bytes, that are copied at once
SHOWN_NAME = 40  # characters of a file's name in that of its temporary file
TEMPORARY = re.compile(r"\..{1,40}\.\d+\.[0-9a-f]{12}\.part", re.DOTALL)
PATIENCE = (0.05, 0.1, 0.2, 0.4, 0.8)  # seconds to wait, on Windows, for whoever has looked into a file to close it


def write(path: Path, data: bytes, *, overwrite: bool = False, origin: Origin | None = None) -> None:
    """Write `data` as the file `path`, whole or not at all; raise OutputError as `whole` does."""
    with whole(path, overwrite=overwrite, origin=origin) as put:
        put(data)


@contextlib.contextmanager
def whole(
    path: Path, *, overwrite: bool = False, origin: Origin | None = None
) -> Iterator[Callable[[bytes | bytearray | memoryview], None]]:
    """Yield a function that writes the next bytes of the file `path`, which appears whole or not at all.

    Raises OutputError where the file exists and `overwrite` is False, where the origin is to be replaced and has
    changed, and for whatever stops the writing; nothing is left behind then, nor after an interrupt or any exception
    inside, which passes as it is, and an existing file is as it was.
    """
    with _descriptor(path, overwrite, origin) as descriptor:
        yield _writer(path, descriptor)


@contextlib.contextmanager
def whole_file(path: Path, *, overwrite: bool = False, origin: Origin | None = None) -> Iterator[BinaryIO]:
    """Yield a file open for writing, to and fro, that becomes `path` whole or not at all; OutputError as in `whole`.

    What goes into a device or a pipe is written to a temporary file first.
    """
    refuse_existing(path, overwrite=overwrite)
    with refusals(path):
        there = status_of(resolved(path))
    if there is None or stat.S_ISREG(there.st_mode):
        with _descriptor(path, overwrite, origin) as descriptor:
            yield cast(BinaryIO, Descriptor(_writer(path, descriptor), descriptor))
        return
    with scratch() as file:
        yield file
        file.seek(0)
        with whole(path, overwrite=overwrite, origin=origin) as put:
            while piece := file.read(PIECE):
                put(piece)


@contextlib.contextmanager
def _descriptor(path: Path, overwrite: bool, origin: Origin | None) -> Iterator[int]:
    """Give the descriptor of what becomes the file `path` if nothing goes wrong."""
    refuse_existing(path, overwrite=overwrite)
    with refusals(path):
        target = resolved(path)
        replaced = status_of(target)
    if replaced is not None and not stat.S_ISREG(replaced.st_mode):
        with refusals(path):
            device = target.open("wb", buffering=0)
        with device:
            yield device.fileno()
        return
    with refusals(path):
        temporary, descriptor = _begun(target, 0o666 if replaced is None else 0o600, origin)
    try:
        try:
            yield descriptor
            with refusals(path):
                if replaced is not None:
                    dress(temporary, descriptor, target, replaced, origin)
                os.fsync(descriptor)
            if origin is not None and origin.is_target:
                refuse_changed(path, origin.status)
            with refusals(path):
                if fcntl is None:  # as on Windows, where no open file can be renamed
                    os.close(descriptor)
                    descriptor = CLOSED
                if overwrite:
                    _replace(temporary, target)
                else:
                    _take_name(temporary, target)
        finally:
            # Before the lock goes, lest another process take it for that of a dead one.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
    finally:
        if descriptor != CLOSED:  # the number may be another file's by now
            with contextlib.suppress(OSError):
                os.close(descriptor)
    sync(target.parent)


def clear(folder: Path) -> None:
    """Remove what killed processes were writing in a folder, files and folders; what living ones write is locked.

    Nothing is removed where the system has no locks, and no error is raised for what cannot be removed.
    """
    if fcntl is None:
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        named = [e for e in entries if TEMPORARY.fullmatch(e.name)]
        left = [e.path for e in named if e.is_file(follow_symlinks=False) or e.is_dir(follow_symlinks=False)]
        for path in left:
            with contextlib.suppress(OSError):
                _remove_unlocked(path)


def _remove_unlocked(path: str) -> None:
    """Remove a temporary file, or folder, unless its writer lives, in which case it raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    finally:
        os.close(descriptor)


def _begun(target: Path, mode: int, origin: Origin | None) -> tuple[Path, int]:
    """Return a new temporary file for `target`, locked, and its descriptor.

    The system takes the umask off its mode: to ask for the umask would mean to change it for a moment.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    if origin is not None:
        above = target.parent.stat()
        group = above.st_gid if above.st_mode & stat.S_ISGID or not hasattr(os, "getegid") else os.getegid()
        mode &= limit(origin.status, group)
    while True:
        temporary = target.with_name(f".{target.name[:SHOWN_NAME]}.{os.getpid()}.{secrets.token_hex(6)}.part")
        descriptor = os.open(temporary, flags, mode)
        if fcntl is None:
            return temporary, descriptor
        with contextlib.suppress(OSError):  # some file systems know no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return temporary, descriptor
        os.close(descriptor)  # another process cleared it away before it was locked


def _writer(path: Path, descriptor: int) -> Callable[[bytes | bytearray | memoryview], None]:
    def put(data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        with refusals(path):
            while rest:
                rest = rest[os.write(descriptor, rest) :]

    return put


def _replace(temporary: Path, target: Path) -> None:
    """Give a file the name of another; on Windows, wait for other programs that have that one open for a moment."""
    for pause in PATIENCE if WINDOWS else ():
        try:
            os.replace(temporary, target)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    os.replace(temporary, target)


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


def sync(place: str | Path) -> None:
    """Let a file, or the names in a folder, reach the disk, if the system lets a folder be opened or synchronised."""
    with contextlib.suppress(OSError):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
