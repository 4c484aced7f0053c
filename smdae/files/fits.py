"""FITS: the images and cubes of astronomy, whose values are rewritten where they lie; all else stays, byte for byte.

What was done is told in a card HISTORY of an image that has changed.

A file is a row of units, each a header of cards and its data (FITS standard 4.0). astropy, an extra (`smdae[fits]`),
says what each holds and where. Values are BZERO + BSCALE times what is stored, big-endian; what is stored as BLANK, or
as NaN, is no value and stays.

The images that are denoised are those named SCI where there are any, else the first: others may be errors, masks or
weights, which are data about it.

Files are often packed by gzip, as image.fits.gz. They are unpacked to a temporary file, and results are packed again.
"""

import contextlib
import functools
import importlib.util
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from smdae.errors import InputError
from smdae.files import images, packing, regular
from smdae.files.fits_header import BLOCK, SIGNATURE, refuse_many_axes, with_history
from smdae.files.marks import OPENING, printable
from smdae.files.picture import check_size
from smdae.files.scratch import scratch

ENDINGS = (".fits", ".fit", ".fts")
INSTALL = "pip install 'smdae[fits]'"
SCIENCE = "SCI"
PIECE = 1 << 22  # bytes copied at once
TYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
CHECKSUMS = ("CHECKSUM", "DATASUM")


@dataclass(frozen=True, eq=False)
class Image:
    """An image or a cube in an open file: its planes, in the order in which they are stored.

    Attributes:
        number: The number of its unit, counted from 0.
        shape: The height and width of a plane.
        start: The offset of its data in the file, in bytes.
        blank: The number that is stored where there is no value; None if there is no such number.
        header_at: The offset of its header in the file, in bytes.
    """

    number: int
    shape: tuple[int, int]
    count: int
    start: int
    dtype: np.dtype
    scale: float
    zero: float
    blank: int | None
    header_at: int
    has_sums: bool

    @property
    def nbytes(self) -> int:
        """Return the number of bytes of a plane in the file."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def plane(self, file: BinaryIO, k: int) -> np.ndarray:
        """Return the values of a plane, (H, W): float64 if it has float64 or integers of over 16 bits, else float32.

        NaN stands where there is no value.

        Raises:
            InputError: The file is truncated.
        """
        values, missing = self._stored(file, k)
        wide = self.dtype.itemsize > 4 or (self.dtype.kind == "i" and self.dtype.itemsize > 2)
        physical = values.astype(np.float64) * self.scale + self.zero
        if missing is not None:
            physical[missing] = np.nan
        return physical if wide else physical.astype(np.float32)

    def rewritten(self, file: BinaryIO, k: int, before: np.ndarray, after: np.ndarray) -> bytes:
        """Return the bytes of a plane whose values were `before` and are to be `after`; what did not change stays.

        Raises:
            InputError: The file is truncated.
        """
        values, missing = self._stored(file, k)
        stored = (after.astype(np.float64) - self.zero) / self.scale
        if self.dtype.kind != "f":
            limits = np.iinfo(self.dtype)
            stored = np.rint(np.nan_to_num(stored)).clip(limits.min, limits.max)
        keep = ~np.isfinite(before) | (after == before)
        if missing is not None:
            keep |= missing
            stored = np.where(stored == self.blank, stored + 1, stored)  # a value does not become a gap
        return np.where(keep, values, stored.astype(self.dtype.newbyteorder("="))).astype(self.dtype).tobytes()

    def _stored(self, file: BinaryIO, k: int) -> tuple[np.ndarray, np.ndarray | None]:
        file.seek(self.start + k * self.nbytes)
        data = file.read(self.nbytes)
        if len(data) < self.nbytes:
            raise InputError("the file is truncated")
        values = np.frombuffer(data, self.dtype).reshape(self.shape).astype(self.dtype.newbyteorder("="))
        return values, None if self.blank is None else values == self.blank


@dataclass(frozen=True, eq=False)
class Opened:
    """An open FITS file.

    Attributes:
        images: The images that are denoised.
        left: The names of the other images, which stay as they are.
        was_packed: Whether it was packed by gzip, and is unpacked here.
    """

    images: tuple[Image, ...]
    left: tuple[str, ...]
    file: BinaryIO
    size: int
    was_packed: bool


@functools.cache
def is_installed() -> bool:
    """Return whether astropy, which comes with the extra smdae[fits], is installed."""
    return importlib.util.find_spec("astropy") is not None


def is_fits(source: Path | bytes) -> bool:
    """Return whether a file begins as FITS does, perhaps after it is unpacked."""
    try:
        with regular.opened(source) if isinstance(source, Path) else BytesIO(source) as file:
            head = file.read(packing.HEAD)
    except (OSError, ValueError):  # its reader reports it
        return False
    return packing.begun(head, len(SIGNATURE)).startswith(SIGNATURE)


def is_named(name: str | Path) -> bool:
    """Return whether a file is called as FITS files are, packed or not."""
    return str(name).lower().removesuffix(packing.ENDING).endswith(ENDINGS)


@contextlib.contextmanager
def opened(source: Path | bytes, name: str) -> Iterator[Opened]:
    """Open a file, and yield it as `Opened`, with the images to denoise, for as long as the context lasts.

    Raises:
        InputError: The extra smdae[fits] is missing, the file cannot be read, or it has no image, or one that is not
            supported.
        MemoryLimitError: A plane takes more memory than there is.
    """
    if not is_installed():
        raise InputError(f"cannot read '{name}': FITS files need the extra smdae[fits]", INSTALL)
    from astropy.io import fits

    with contextlib.ExitStack() as whole:
        with images.opening(name):
            file: BinaryIO = source.open("rb") if isinstance(source, Path) else BytesIO(source)
            whole.enter_context(file)
            was_packed = packing.is_packed(file.read(packing.HEAD))
            file.seek(0)
        with images.decoding(f"'{name}'"):
            if was_packed:
                file = whole.enter_context(packing.unpacked(file))
            size = file.seek(0, 2)
            refuse_many_axes(file)
            file.seek(0)
            units = fits.open(file, mode="readonly", memmap=False, lazy_load_hdus=False, do_not_scale_image_data=True)
            found = [(number, unit) for number, unit in enumerate(units) if _is_image(unit)]
            if not found:
                kinds = {type(unit).__name__ for unit in units}
                if "CompImageHDU" in kinds or any(unit.header.get("ZIMAGE") for unit in units):
                    raise InputError("its images are compressed", "run funpack on it first")
                tables = "only tables" if any("Table" in kind for kind in kinds) else "no data"
                raise InputError(f"it has no image, {tables}")
            science = [one for one in found if one[1].name == SCIENCE] or found[:1]
            chosen = tuple(_image(number, unit, size) for number, unit in science)
            left = tuple(
                f"{number} ({unit.name})" if unit.name else str(number)
                for number, unit in found
                if all(number != one.number for one in chosen)
            )
        yield Opened(chosen, left, file, size, was_packed)


def written(
    file: Opened, results: Callable[[Image], Iterator[np.ndarray]], words: Callable[[Image], str | None]
) -> Iterator[bytes]:
    """Yield the bytes of a file in which the images have other values, piece by piece.

    Args:
        file: The open file.
        results: Returns the planes of an image as they are to be, one by one.
        words: Returns text for the header of an image, called when all its planes are written; None for no text.

    Raises:
        InputError: The file is truncated.
    """
    position = 0
    for image in file.images:
        with scratch() as data:  # a header with checksums comes before the data that they are of
            for k, plane in enumerate(results(image)):
                data.write(image.rewritten(file.file, k, image.plane(file.file, k), plane))
            yield from _piece(file.file, position, image.header_at)
            data.seek(0)
            yield _header(file.file, image, data, words(image))
            yield from _piece(data, 0, image.count * image.nbytes)
        position = image.start + image.count * image.nbytes
    yield from _piece(file.file, position, file.size)


def _piece(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    file.seek(start)
    while start < end:
        data = file.read(min(PIECE, end - start))
        if not data:
            return
        start += len(data)
        yield data


def _header(file: BinaryIO, image: Image, data: BinaryIO, words: str | None) -> bytes:
    """Return the header of an image, with `words` unless they are None, and with new checksums if it has checksums."""
    file.seek(image.header_at)
    header = file.read(image.start - image.header_at)
    if words is not None:
        header = with_history(header, OPENING, printable(words))
    if not image.has_sums:
        return header
    from astropy.io import fits

    content = data.read()
    data.seek(0)
    kind = fits.PrimaryHDU if image.header_at == 0 else fits.ImageHDU
    padded = header + content + bytes(-len(content) % BLOCK)
    unit = kind.fromstring(padded, checksum=False, do_not_scale_image_data=True)
    unit.add_checksum()
    found: bytes = unit.header.tostring().encode("ascii")
    return found


def _is_image(unit: Any) -> bool:
    from astropy.io import fits

    if isinstance(unit, fits.CompImageHDU):  # an image to astropy, but a table in the file
        return False
    return isinstance(unit, fits.PrimaryHDU | fits.ImageHDU) and unit.header.get("NAXIS", 0) >= 2 and unit.size > 0


def _image(number: int, unit: Any, size: int) -> Image:
    header = unit.header
    axes = [header[f"NAXIS{k}"] for k in range(1, header["NAXIS"] + 1)]  # the fastest first
    if not all(type(length) is int and length > 0 for length in axes):
        raise InputError(f"unit {number} has axes of {' x '.join(map(str, axes))}")
    check_size(axes[0], axes[1])
    if header["BITPIX"] not in TYPES:
        raise InputError(f"unit {number} has BITPIX {header['BITPIX']}")
    scale, zero = float(header.get("BSCALE", 1.0)), float(header.get("BZERO", 0.0))
    if not np.isfinite([scale, zero]).all() or scale == 0:
        raise InputError(f"unit {number} has BSCALE {scale:g} and BZERO {zero:g}")
    dtype = np.dtype(TYPES[header["BITPIX"]])
    blank = header.get("BLANK") if dtype.kind != "f" else None
    blank = blank if type(blank) is int else None  # as astropy does, which ignores others
    place = unit.fileinfo()
    sums = any(name in header for name in CHECKSUMS)
    count = math.prod(axes[2:])
    image = Image(number, (axes[1], axes[0]), count, place["datLoc"], dtype, scale, zero, blank, place["hdrLoc"], sums)
    if image.start + count * image.nbytes > size:
        raise InputError("the file is truncated")
    return image
