"""Files that users name, opened to be read: pipes and devices, for which one may wait for ever, are refused.

A shell stands a pipe under /dev/fd for `<(command)`, and the first of them may go by the name /dev/stdin. Someone does
write to these, so they are read as streams, as far as whoever reads them goes.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO

DESCRIPTORS = ("/dev/fd", "/dev/stdin", "/proc/self/fd")


def opened(path: Path) -> BinaryIO:
    """Return a file, open to be read, buffered.

    Raises:
        OSError: It cannot be opened.
        ValueError: It is a pipe or a device that no shell has opened.
    """
    # Without the flag to open a pipe would wait for one who writes to it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    file = os.fdopen(descriptor, "rb")
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        place = Path(os.path.abspath(path))
        if not (stat.S_ISFIFO(mode) and any(place.is_relative_to(folder) for folder in DESCRIPTORS)):
            file.close()
            raise ValueError("it is a pipe or a device, not a file")
        os.set_blocking(descriptor, True)
    return file
