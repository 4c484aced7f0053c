"""Freed memory is kept for the next step rather than given back to the system.

A step of a fit frees and asks for the same few megabytes over and over. The C library hands blocks of that size back to
the kernel at once, and each return is a page fault for every 4 KB: a tenth of a step of the energy model. One call
before the work tells it to keep them. Elsewhere than on Linux with glibc nothing happens.
"""

import ctypes
import sys

__all__ = ["keep_freed_memory"]

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's names for them, from malloc.h
LARGEST = 64 << 20  # bytes; larger blocks still go back, so that a peak does not last


def keep_freed_memory() -> None:
    """Let this process keep blocks up to 64 MB that it frees."""
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(MMAP_THRESHOLD, LARGEST)
    mallopt(TRIM_THRESHOLD, 4 * LARGEST)
