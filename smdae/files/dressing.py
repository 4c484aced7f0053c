"""Owner and mode of a new file: those of the file that it replaces, and readable to no more than its source is."""

import contextlib
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

GROUP, OTHERS = 0o070, 0o007
OF_CONTENT = ("security.ima", "security.evm")  # extended attributes that are wrong for another content


def _unheard(what: str) -> None:
    """Take no notice of what was lost."""


@dataclass(frozen=True)
class Origin:
    """The file that another is made of.

    Attributes:
        status: Its status when the run was planned.
        is_target: Whether it is the very file to be replaced, which then must be as it was.
        lost: Called with what of a replaced file could not be kept: its owner, its extended attributes.
    """

    status: os.stat_result
    is_target: bool = False
    lost: Callable[[str], object] = _unheard


def limit(source: os.stat_result, group: int) -> int:
    """Return the mode bits for a file made from `source`, whose own they are, with writing by the owner.

    If `group` is another than that of `source`, its members may do no more than others may.
    """
    mode = stat.S_IMODE(source.st_mode)
    if group != source.st_gid:  # for whom the source's members of its group are others
        mode &= ~GROUP | (mode & OTHERS) << 3
    return mode | stat.S_IWUSR


def dress(temporary: Path, descriptor: int, target: Path, replaced: os.stat_result, origin: Origin | None) -> None:
    """Give a temporary file the owner, the extended attributes and the mode of the file that it will replace.

    What the system does not allow is left out, and `origin.lost` is called with it.
    """
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
        mode &= limit(replaced, group)
    if origin is not None:
        mode &= limit(origin.status, group)
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
