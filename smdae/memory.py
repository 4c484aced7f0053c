"""Memory: how much there is, whether it ran out, and keeping what was freed.

A step of a fit frees and asks for the same few megabytes over and over. The C library hands blocks of that size back to
the kernel at once, and each return is a page fault for every 4 KB: a tenth of a step of the energy model. One call
before the work tells it to keep them. Threads would get heaps of their own, which give back all the same: eight that
denoise pictures of a megapixel take 23,000 page faults for each, and 7 from one heap for all. Elsewhere than on Linux
with glibc nothing happens.
"""

import ctypes
import errno
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["available", "give_back", "is_out_of_memory", "keep_freed_memory"]

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # glibc's names for them, from malloc.h
LARGEST = 64 << 20  # bytes; larger blocks still go back, so that a peak does not last
MOST_KEPT = (1 << 31) - 1  # bytes
UNKNOWN = 4 << 30  # bytes; where the system does not say


def keep_freed_memory(threads: int = 1) -> None:
    """Let this process keep blocks up to 64 MB that it frees, enough of them for so many threads at work."""
    if mallopt := _from_libc("mallopt"):
        mallopt(MMAP_THRESHOLD, LARGEST)
        mallopt(TRIM_THRESHOLD, min(4 * LARGEST * threads, MOST_KEPT))
        if threads > 1:
            mallopt(ARENA_MAX, 1)


def give_back() -> None:
    """Give what was freed and kept back to the system, after work on something large."""
    if trim := _from_libc("malloc_trim"):
        trim(0)


def _from_libc(name: str) -> Any:
    """A function of the C library, None where that is not glibc."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None


def available(device: "torch.device") -> int:
    """Bytes that can still be had on a device."""
    if device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return UNKNOWN


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; torch's are told by name and text, as it may not have been loaded."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if getattr(error, "errno", None) == errno.ENOMEM:
        return True
    words = ("DefaultCPUAllocator", "could not create a memory", "failed to map segment")
    return any(word in str(error) for word in words)
