"""Folders that are written whole or not at all, as `writing` does it for files.

What is written goes to a folder beside the target, which is locked while its writer lives and takes the target's name
at the end. No system call replaces a folder that is not empty: an old one gets another name first, and is removed when
the new one has its place. A process that is killed between the two leaves the old folder under that name.
"""

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from smdae.errors import OutputError
from smdae.files.dressing import Origin
from smdae.files.refusals import check_folder, refusals
from smdae.files.writing import SHOWN_NAME, sync

try:
    import fcntl
except ImportError:  # as on Windows
    fcntl = None  # type: ignore[assignment]


def refuse_folder(path: Path, *, overwrite: bool, may_go: Callable[[Path], bool]) -> None:
    """Raise OutputError, before any work, where `whole_folder` would be refused.

    Args:
        path: The folder that is to be.
        overwrite: Whether one that is there may be replaced.
        may_go: Returns whether a folder is of a kind that may be replaced; others may hold files of the user.
    """
    with refusals(path):
        target = Path(os.path.realpath(path))
        if os.path.lexists(target):
            if not overwrite:
                raise FileExistsError(errno.EEXIST, "")
            if not target.is_dir():
                raise OutputError(f"cannot write '{path}': it is a file, and the result is a folder", "name another")
            if not may_go(target):
                raise OutputError(
                    f"cannot write '{path}': it is a folder with other things in it", "name another with -o"
                )
        check_folder(target.parent)


@contextlib.contextmanager
def whole_folder(
    path: Path, *, overwrite: bool, may_go: Callable[[Path], bool], origin: Origin | None = None
) -> Iterator[Path]:
    """Yield a new folder, which becomes `path` when the `with` block ends, and is removed if the block raises an error.

    Arguments and errors are those of `refuse_folder`. `origin` is the file that the folder is made from, or None: no
    one may read the folder who may not read that file.
    """
    refuse_folder(path, overwrite=overwrite, may_go=may_go)
    target = Path(os.path.realpath(path))
    mode = 0o777 if origin is None else stat.S_IMODE(origin.status.st_mode) | stat.S_IRWXU
    with refusals(path):
        part = _beside(target, "part")
        part.mkdir(mode)
    lock = _locked(part)
    try:
        yield part
        with refusals(path):
            _sync(part)
            if overwrite and target.is_dir():
                _exchange(part, target)
            else:
                os.rename(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _exchange(part: Path, target: Path) -> None:
    """Let a folder take the place of another, which is gone afterwards."""
    old = _beside(target, "old")
    os.rename(target, old)
    try:
        os.rename(part, target)
    except BaseException:
        os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(f".{target.name[:SHOWN_NAME]}.{os.getpid()}.{secrets.token_hex(6)}.{ending}")


def _locked(folder: Path) -> int | None:
    """Return the descriptor of a folder that is locked by it; None where there are no locks."""
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    with contextlib.suppress(OSError):  # some file systems know none
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _sync(folder: Path) -> None:
    """Let what is in a folder reach the disk."""
    for place, _, names in os.walk(folder):
        for name in (".", *names):
            sync(os.path.join(place, name))
