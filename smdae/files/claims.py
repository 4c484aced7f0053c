"""Folders whose pictures a run replaces are claimed by it, so that no two runs denoise the same ones twice.

A claim is a lock on the folder itself: no file is made for it, and it ends with the process, however that ends. Whoever
takes all pictures of a folder claims it alone; those who were given single files share it.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from smdae.errors import OutputError

try:
    import fcntl
except ImportError:  # there are no locks, and so no claims
    fcntl = None  # type: ignore[assignment]

__all__ = ["claimed"]


@contextlib.contextmanager
def claimed(folders: Mapping[Path, bool]) -> Iterator[None]:
    """Claim folders as long as the context lasts: a folder with True for this run alone, with False shared with others.

    A folder that cannot be opened or locked is not claimed: some file systems know no locks.

    Raises:
        OutputError: Another run has claimed one, and either claim is for one run alone.
    """
    with contextlib.ExitStack() as stack:
        for folder, alone in folders.items() if fcntl is not None else ():
            with contextlib.suppress(OSError):
                descriptor = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                try:
                    fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise OutputError(
                        f"another run replaces pictures in '{folder}'", "wait for its end, or end it"
                    ) from None
        yield
