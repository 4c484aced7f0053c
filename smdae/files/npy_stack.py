"""Stacks in .npy files: arrays of shape (N, H, W) or (N, H, W, 3), of which each page is a picture.

The array that is written has the shape, the sample type, the byte order and the order in memory of the one that was
read. As in Python, the last of three axes is that of channels if its length is 1 to 4.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from smdae.files.parts import Rewriting
from smdae.files.picture import Picture, from_samples, samples_of
from smdae.files.plain import npy_array, npy_header

MAX_CHANNELS = 4  # length of the last of three axes, up to which it is taken for channels
COLOURS = 3


def is_stack(shape: tuple[int, ...]) -> bool:
    """Return whether an array of that shape is a stack of pictures."""
    return (len(shape) == 3 and shape[2] > MAX_CHANNELS) or (len(shape) == 4 and shape[3] == COLOURS)


def parts_of_npy(data: bytes) -> "NpyStack | None":
    """Return the pages of a stack; None for a single picture. Raises InputError for an array that cannot be read."""
    shape, *_ = npy_header(data)
    return NpyStack(data, npy_array(data)) if is_stack(shape) and shape[0] else None


@dataclass(frozen=True, eq=False)
class NpyStack:
    """The pages of a stack.

    Attributes:
        array: Its array, with shape (N, H, W) or (N, H, W, 3).
    """

    data: bytes
    array: np.ndarray
    format = "NPY"
    piece = "page"
    alike = True

    @property
    def called(self) -> str:
        """Return what messages call the whole file, such as "a stack of 7 pages"."""
        return f"a stack of {len(self)} page{'s' if len(self) > 1 else ''}"

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[Picture]:
        native = self.array.dtype.newbyteorder("=")
        return (from_samples(page.astype(native), self.format) for page in self.array)

    def encoded(self, pictures: Sequence[Picture | None], how: Rewriting) -> bytes:
        """Return the file with other pixels; nothing else is written otherwise."""
        result = self.array.copy(order="K")
        for number, picture in enumerate(pictures):
            if picture is not None:
                result[number] = samples_of(picture)
        buffer = BytesIO()
        np.save(buffer, result, allow_pickle=False)
        return buffer.getvalue()
