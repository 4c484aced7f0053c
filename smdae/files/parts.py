"""Files that hold more than one picture, other than TIFF: which they are, and what all of them can do.

The parts of a file are what is denoised one by one: the frames of an animation, the pictures of an MPO, the inks of a
picture in CMYK, the pages of an array. What is not denoised stays in the file as it is, to the bit.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from smdae.errors import InputError
from smdae.files import images
from smdae.files.formats import function
from smdae.files.picture import Picture

# Each returns the parts of a file, None for a single picture. It raises InputError for a file that is damaged or has
# too many, and MemoryLimitError for a canvas that takes more memory than there is.
FINDERS = {
    "JPEG": "mpo.parts_of_jpeg",
    "GIF": "gif.parts_of_gif",
    "PNG": "apng.parts_of_png",
    "WEBP": "webp_animation.parts_of_webp",
    "NPY": "npy_stack.parts_of_npy",
}


@dataclass(frozen=True)
class Rewriting:
    """How a file of several pictures is written again.

    Attributes:
        quality: The quality of a lossy format, 1 to 100; None for the usual one.
        strip: Whether words, dates and places are left out.
        words: What the file is to say of itself, see `marks`; None for nothing.
    """

    quality: int | None = None
    strip: bool = False
    words: str | None = None


class Container(Protocol):
    """The pictures of one file, of which decoding may raise anything; `len` is their number, iterating decodes them."""

    @property
    def data(self) -> bytes:
        """Return the bytes of the file."""
        ...

    @property
    def format(self) -> str:
        """Return the name of its format in the table of formats."""
        ...

    @property
    def called(self) -> str:
        """Return what messages call the whole file, such as "an animation of 7 frames"."""
        ...

    @property
    def piece(self) -> str:
        """Return what messages call a part of it, such as "frame"."""
        ...

    @property
    def alike(self) -> bool:
        """Return whether all parts have the same noise."""
        ...

    def __len__(self) -> int:
        """Return the number of parts."""
        ...

    def __iter__(self) -> Iterator[Picture]:
        """Return an iterator that decodes one part after the other."""
        ...

    def encoded(self, pictures: Sequence[Picture | None], how: Rewriting) -> bytes:
        """Return the whole file with the new picture of each part; None for a part that stays as it is."""
        ...


@dataclass(frozen=True, eq=False)
class Parts:
    """The pictures of one file."""

    container: Container
    name: str

    def __len__(self) -> int:
        return len(self.container)

    def __iter__(self) -> Iterator[Picture]:
        """Decode one after the other; raises InputError, which names the part, for one that cannot be decoded."""
        pictures = iter(self.container)
        for number in range(len(self)):
            with images.decoding(f"part {number + 1} of {self.name!r}"):
                picture = next(pictures)
            yield picture

    def page(self, number: int) -> Picture:
        """Return the picture with a number, from 0; StopIteration if there is none. Those before it are decoded too."""
        return next(picture for k, picture in enumerate(self) if k == number)

    def encoded(
        self,
        pictures: Sequence[Picture | None],
        quality: int | None = None,
        strip: bool = False,
        words: str | None = None,
    ) -> bytes:
        """Return the whole file with other pixels, as `Container.encoded` does; the very file if nothing changes.

        Raises:
            InputError, OutputError, MemoryLimitError: As `Container.encoded`, in one line that names the file.
        """
        if quality is None and not strip and all(picture is None for picture in pictures):
            return self.container.data
        with images.decoding(repr(self.name)):  # what did not change may be decoded only now
            return self.container.encoded(pictures, Rewriting(quality, strip, words))


def find(source: Path | bytes, name: str) -> Parts | None:
    """Return the parts of a file; None for one that holds a single picture, a TIFF, and what `images.read` refuses.

    A pipe is not read.

    Raises:
        InputError: Its parts cannot be separated.
        MemoryLimitError: They take more memory than there is.
    """
    if isinstance(source, Path) and not os.path.isfile(source):
        return None
    try:
        head = source[: images.HEAD] if isinstance(source, bytes) else _head(source)
        finder = FINDERS.get(images.format_of(head, name))
    except (InputError, OSError):
        return None
    if finder is None:
        return None
    data = images.content(source, name) if isinstance(source, Path) else source
    with images.decoding(repr(name)):
        container = function(finder)(data)
    return None if container is None else Parts(container, name)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(images.HEAD)
