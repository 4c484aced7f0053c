"""Images in a file, as a cache has them, without the cache; and a process that makes a cache, and may be killed."""

import os
import signal
from pathlib import Path

import numpy as np

from smdae.files import cache
from smdae.files.corpus import gather
from smdae.files.disk_store import Stored, in_strips
from smdae.files.piece_reader import Pieces


def stored(images: list[np.ndarray], path: Path) -> Stored:
    """Images of one dtype, uint8 or float32, in a new file."""
    strips = [b"".join(strip.tobytes() for strip in in_strips(image)) for image in images]
    data, dtype = b"".join(strips), images[0].dtype
    path.write_bytes(data)
    ends = np.cumsum([len(strip) // dtype.itemsize for strip in strips])
    return Stored(
        Pieces(path, len(data), slice(0, len(data))),
        dtype,
        np.concatenate([[0], ends[:-1]]),
        np.array([image.shape[0] for image in images]),
        np.array([image.shape[1] for image in images]),
        images[0].shape[2] if images[0].ndim == 3 else 1,
    )


def gathering(folder: Path, apart: int = cache.BYTES_BETWEEN_INDICES, writes: int | None = None) -> None:
    """Make a cache of the photos in a folder, and be killed in the middle of a write after so many."""
    os.chdir(folder)
    cache.BYTES_BETWEEN_INDICES = apart
    put, left = os.pwrite, [writes]

    def pwrite(file: int, data: memoryview, at: int) -> int:
        if left[0] is not None:
            left[0] -= 1
            if left[0] < 0:
                put(file, data[: len(data) // 2], at)
                os.kill(os.getpid(), signal.SIGKILL)
        return put(file, data, at)

    os.pwrite = pwrite
    gather([Path("photos")], 4, cache=Path("cache"))
