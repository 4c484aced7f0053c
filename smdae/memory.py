"""Memory: how much there is, whether it ran out, and keeping what was freed.

A step of a fit frees and asks for the same few megabytes over and over. The C library hands blocks of that size back to
the kernel at once, and each return is a page fault for every 4 KB: a tenth of a step of the energy model. One call
before the work makes it keep them. Threads would get heaps of their own, which give back all the same: eight that
denoise pictures of a megapixel take 23,000 page faults for each, and 7 from one heap for all. Elsewhere than on Linux
with glibc nothing happens.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

try:
    import resource
except ImportError:  # there is none on Windows
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # parameters of mallopt, from glibc's malloc.h
MAX_KEPT_BLOCK = 64 << 20  # bytes; larger blocks still go back, so that a peak does not last
MOST_KEPT = (1 << 31) - 1  # bytes
UNKNOWN = 4 << 30  # bytes; where the system does not say
FREE = 0.5  # of all memory, where the system only says how much there is of it
ENOUGH_TO_COMPILE = 64 << 20  # bytes, for any module
# Limit, use, and which part of that could be given back, of a control group: of version 2, and of version 1.
GROUP_FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


# Bytes of main memory that may be taken, None for all that is left.
LIMIT: ContextVar[int | None] = ContextVar("limit", default=None)


def keep_freed_memory(threads: int = 1) -> None:
    """Let this process keep freed blocks up to 64 MB for reuse, as many as `threads` threads use; glibc only."""
    if mallopt := _from_libc("mallopt"):
        mallopt(MMAP_THRESHOLD, MAX_KEPT_BLOCK)
        mallopt(TRIM_THRESHOLD, min(4 * MAX_KEPT_BLOCK * threads, MOST_KEPT))
        if threads > 1:
            mallopt(ARENA_MAX, 1)


def give_back() -> None:
    """Give freed blocks that this process kept back to the system; do nothing without glibc."""
    if trim := _from_libc("malloc_trim"):
        trim(0)


def _from_libc(name: str) -> Any:
    """Return a function of the C library; None where that is not glibc."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None


def available(device: "torch.device") -> int:
    """Return how many bytes are free on a device: on CUDA of its own memory, else of main memory, see `left`.

    Blocks that torch keeps for reuse on CUDA do not count as free.
    """
    if device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[0]
    return left()


def left(root: Path = Path("/")) -> int:
    """Return the bytes of main memory that are left: the least of what sets a limit.

    That is the machine, its control groups, the address space of the process (`ulimit -v`), and `limited`.

    Args:
        root: Where `proc` and `sys` are.
    """
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        machine = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        machine = without_proc()
    most = LIMIT.get()
    return min([machine, *_left_in_groups(root), *_left_of_addresses(root), *([] if most is None else [most])])


@contextmanager
def limited(most: int | None) -> Iterator[None]:
    """Let `left` be at most `most` bytes for as long as the context lasts; None for no limit."""
    token = LIMIT.set(most)
    try:
        yield
    finally:
        LIMIT.reset(token)


def without_proc() -> int:
    """Return the bytes that a machine without /proc may still give: as Windows says, or half of all memory, or 4 GB."""
    if sys.platform == "win32":
        return _left_on_windows(ctypes.WinDLL("kernel32"))
    try:
        return int(FREE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (OSError, ValueError, AttributeError):
        return UNKNOWN


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of sysinfoapi.h."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("all", ctypes.c_uint64),
        ("available", ctypes.c_uint64),
        ("others", ctypes.c_uint64 * 5),
    )


def _left_on_windows(kernel: Any) -> int:
    """Return the bytes of main memory that are available by kernel32, UNKNOWN if it fails."""
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    return int(status.available) if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else UNKNOWN


def _left_of_addresses(root: Path) -> Iterator[int]:
    """Yield the bytes that the address space of this process may still grow by, if there is a limit to it."""
    if resource is None:
        return
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    with suppress(OSError, ValueError, IndexError):
        pages = int((root / "proc/self/statm").read_text().split()[0])
        if most != resource.RLIM_INFINITY:
            yield max(0, most - pages * os.sysconf("SC_PAGE_SIZE"))


def _left_in_groups(root: Path) -> Iterator[int]:
    """Yield the bytes that each control group with a limit still has, from this process's own up to the root's."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers not in GROUP_FILES:
            continue
        base = root / "sys/fs/cgroup" / controllers
        # In a container the name may be that outside, and only the root is there.
        own = base / name.lstrip("/")
        for group in (own, *(above for above in own.parents if above.is_relative_to(base))):
            room = _left_in_group(group, *GROUP_FILES[controllers])
            if room is not None:
                yield room


def _left_in_group(group: Path, limit: str, use: str, cached: str) -> int | None:
    """Return the bytes that a control group still has; None where it has no limit, or cannot be read."""
    try:
        most = int((group / limit).read_text())
        taken = int((group / use).read_text())
        rows = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no number is no limit
        return None
    return max(0, most - taken + int(rows.get(cached, 0)))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out; torch's are known by name, as torch may not be loaded.

    Where there is hardly any left, the errors of Python's compiler do so too: it may call the syntax of a module wrong
    that it had no memory to parse.
    """
    if isinstance(error, SyntaxError | SystemError):
        return left() < ENOUGH_TO_COMPILE
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if getattr(error, "errno", None) == errno.ENOMEM:
        return True
    words = ("DefaultCPUAllocator", "could not create a memory", "failed to map segment")
    return any(word in str(error) for word in words)


def if_it_fits(work: Callable[[], T]) -> T | None:
    """Return what a function returns; None if memory does not suffice, so that earlier results are not lost."""
    try:
        return work()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None
