"""Room for a picture: the memory that it takes, known before a pixel is decoded, and the refusal of too large ones.

A few bytes can stand for gigabytes of samples. With n bytes of samples, p pixels and a file of f bytes, work on a
picture takes at most about

    f + 3 n + 8 p   bytes

beside what programs and models take: the samples, twice what they come from or become, and floats of each pixel.
"""

from smdae.errors import MemoryLimitError
from smdae.memory import left

COPIES = 3  # of the samples
WORK = 8  # bytes a pixel
ALWAYS = 64 << 20  # bytes that work may take without a look at the free memory
FREE = 5 << 29  # bytes that work on any picture may take
MAX_EXPANSION = 50  # times the bytes of its file, that work on a larger picture may take


def needed(pixels: int, nbytes: int, file: int) -> int:
    """Return the bytes of memory for work on a number of pixels, whose samples take `nbytes`, from a file of a size."""
    return file + COPIES * nbytes + WORK * pixels


def refuse_huge(pixels: int, nbytes: int, file: int) -> None:
    """Raise MemoryLimitError, before decoding, if a picture needs more memory than there is or its file can justify."""
    need = needed(pixels, nbytes, file)
    if need > ALWAYS and need > min(left(), max(FREE, MAX_EXPANSION * file)):
        raise MemoryLimitError(
            f"its {pixels:,} pixels would take {need / 2**30:.1f} GB of memory", "cut it into smaller images first"
        )
