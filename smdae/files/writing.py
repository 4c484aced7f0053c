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
import io
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from smdae.errors import OutputError

try:
    import fcntl
except ImportError:  # without locks nothing can be told of the dead, and their files stay
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "Origin",
    "clear",
    "refusals",
    "refuse_changed",
    "refuse_existing",
    "refuse_making",
    "whole",
    "whole_file",
    "write",
]

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
CLOSED = -1
PIECE = 1 << 20  # bytes, that are copied at once
SHOWN_NAME = 40  # characters of a file's name in that of its temporary file
TEMPORARY = re.compile(r"\..{1,40}\.\d+\.[0-9a-f]{12}\.part", re.DOTALL)
GROUP, OTHERS = 0o070, 0o007
OF_CONTENT = ("security.ima", "security.evm")  # extended attributes that are wrong for another content
WINDOWS = os.name == "nt"
PATIENCE = (0.05, 0.1, 0.2, 0.4, 0.8)  # seconds to wait, on Windows, for whoever has looked into a file to close it
# What Windows takes for a device, whatever follows a dot; and what it has in no name.
DEVICES = re.compile(r"(?:con|prn|aux|nul|com[1-9¹²³]|lpt[1-9¹²³])(?:\s*\.|\s*$)", re.IGNORECASE)
IN_NO_NAME = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]$')


def _unheard(what: str) -> None:
    """Take no notice of what was lost."""


@dataclass(frozen=True)
class Origin:
    """The file that another is made of.

    Attributes:
        status: It, as it was when it was looked at.
        is_target: Whether it is the very file to be replaced, which then must be as it was.
        lost: Told what of a replaced file could not be kept: its owner, its extended attributes.
    """

    status: os.stat_result
    is_target: bool = False
    lost: Callable[[str], object] = _unheard


def write(path: Path, data: bytes, *, overwrite: bool = False, origin: Origin | None = None) -> None:
    """Write `data` as the file `path`, whole or not at all; raises as `whole` does."""
    with whole(path, overwrite=overwrite, origin=origin) as put:
        put(data)


@contextlib.contextmanager
def whole(
    path: Path, *, overwrite: bool = False, origin: Origin | None = None
) -> Iterator[Callable[[bytes | bytearray | memoryview], None]]:
    """Write the file `path` piece by piece, whole or not at all: gives the function that takes the next bytes.

    Raises OutputError where the file exists and `overwrite` is False, where the origin is to be replaced and has
    changed, and for whatever stops the writing; nothing is left behind then, nor after an interrupt or any
    exception inside, which passes as it is, and an existing file is as it was.
    """
    with _descriptor(path, overwrite, origin) as descriptor:
        yield _writer(path, descriptor)


@contextlib.contextmanager
def whole_file(path: Path, *, overwrite: bool = False, origin: Origin | None = None) -> Iterator[BinaryIO]:
    """Write the file `path` by going to and fro in it, whole or not at all; raises as `whole` does.

    What goes into a device or a pipe is written to a temporary file first.
    """
    refuse_existing(path, overwrite=overwrite)
    with refusals(path):
        there = _status(_resolved(path))
    if there is None or stat.S_ISREG(there.st_mode):
        with _descriptor(path, overwrite, origin) as descriptor:
            yield cast(BinaryIO, _File(path, descriptor))
        return
    with tempfile.NamedTemporaryFile() as file:
        yield cast(BinaryIO, file)
        file.seek(0)
        with whole(path, overwrite=overwrite, origin=origin) as put:
            while piece := file.read(PIECE):
                put(piece)


@contextlib.contextmanager
def _descriptor(path: Path, overwrite: bool, origin: Origin | None) -> Iterator[int]:
    """Give the descriptor of what becomes the file `path` if nothing goes wrong."""
    refuse_existing(path, overwrite=overwrite)
    with refusals(path):
        target = _resolved(path)
        replaced = _status(target)
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
                    _dress(temporary, descriptor, target, replaced, origin)
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
    _sync_folder(target.parent)


def refuse_changed(path: Path, before: os.stat_result) -> None:
    """Raise OutputError where a file that is to be replaced is not what it was when it was looked at."""
    with refusals(path):
        now = _status(_resolved(path))
    if now is None or _identity(now) != _identity(before):
        raise OutputError(
            f"cannot write {str(path)!r}: it is not the file that it was when this run began",
            "another program has changed it, and the newer version is kept",
        )


def clear(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder; those of living ones are locked, and stay."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        left = [e.path for e in entries if TEMPORARY.fullmatch(e.name) and not e.is_symlink()]
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


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """The planning check, before any work: raise OutputError where `write` would be refused.

    That is where `path` exists and `overwrite` is False, is a folder, or its folder is missing or not
    writable.
    """
    with refusals(path):
        target = _resolved(path)
        if WINDOWS and (DEVICES.match(target.name) or IN_NO_NAME.search(target.name)):
            raise OSError(errno.EINVAL, "Windows has no file of that name")
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


def _begun(target: Path, mode: int, origin: Origin | None) -> tuple[Path, int]:
    """Return a new temporary file for `target`, locked, and its descriptor.

    The system takes the umask off its mode: to ask for the umask would mean to change it for a moment.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    if origin is not None:
        above = target.parent.stat()
        group = above.st_gid if above.st_mode & stat.S_ISGID or not hasattr(os, "getegid") else os.getegid()
        mode &= _limit(origin.status, group)
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


def _limit(source: os.stat_result, group: int) -> int:
    """Return the mode that a file of that group may have at most, to be no more readable than its source."""
    mode = stat.S_IMODE(source.st_mode)
    if group != source.st_gid:  # for whom the source's members of its group are others
        mode &= ~GROUP | (mode & OTHERS) << 3
    return mode | stat.S_IWUSR


def _dress(temporary: Path, descriptor: int, target: Path, replaced: os.stat_result, origin: Origin | None) -> None:
    """Give a temporary file owner, extended attributes and mode of the file that it replaces."""
    lost = origin.lost if origin else _unheard
    if sys.platform != "win32":
        try:
            os.chown(descriptor, replaced.st_uid, replaced.st_gid)
        except OSError:
            with contextlib.suppress(OSError):
                os.chown(descriptor, -1, replaced.st_gid)
            lost("its owner")
    if sys.platform == "linux" and not _are_copied(target, descriptor):
        lost("some of its extended attributes")
    group = os.fstat(descriptor).st_gid
    mode = stat.S_IMODE(replaced.st_mode)
    if group != replaced.st_gid:
        mode &= _limit(replaced, group)
    if origin is not None:
        mode &= _limit(origin.status, group)
    os.chmod(temporary, mode)


def _are_copied(target: Path, descriptor: int) -> bool:
    """Copy the extended attributes of a file, and return whether all could be."""
    try:
        names = [name for name in os.listxattr(target) if name not in OF_CONTENT]
    except OSError:  # the file system knows none
        return True
    done = True
    for name in names:
        try:
            value = os.getxattr(target, name)
            if name not in os.listxattr(descriptor) or os.getxattr(descriptor, name) != value:
                os.setxattr(descriptor, name, value)
        except OSError:
            done = False
    return done


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


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


class _File(io.RawIOBase):
    """An open file in which one can go to and fro, and that says in one line what stops the writing."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._put = _writer(path, descriptor)
        self._number = descriptor

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._put(view)
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return os.lseek(self._number, offset, whence)

    def tell(self) -> int:
        return os.lseek(self._number, 0, os.SEEK_CUR)


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
