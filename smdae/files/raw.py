"""Camera raw files: what the sensor saw, and the picture that LibRaw develops of it.

LibRaw knows the formats of cameras; it is an extra, `smdae[raw]`. A file with a Bayer mosaic gives that, and takes
another in its place before it is developed. Of other files (X-Trans, sensors of four colours, pictures that the camera
or a converter has demosaiced) there is the developed picture alone.

Facts this relies on:
- Many raw files are TIFFs whose first picture is a thumbnail. DNG is recognised by a tag, others by their names.
- LibRaw's `raw_image` can be written to; black, and how far above it white is, can be set anew then.
- LibRaw takes the largest value for white where it is over 3/4 of it. It is asked not to, and that is done here, so
  that a picture is as bright with noise as without.
- The result is sRGB, or linear light with the same primaries; LibRaw turns nothing, so that the EXIF orientation holds.
"""

import contextlib
import functools
import importlib.util
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.ExifTags import Base
from PIL.TiffTags import SHORT

from smdae.errors import InputError, MemoryLimitError
from smdae.files import colour_profile, images, regular
from smdae.files.exif import described, exif_of
from smdae.files.foreign import RAW, TIFFS, foreign
from smdae.files.picture import Metadata, Picture, check_size

if TYPE_CHECKING:
    import rawpy

    from smdae.curves import Affine
    from smdae.mosaic import Mosaic

ENDINGS = RAW.endings
INSTALL = "pip install 'smdae[raw]'"
DNG_VERSION, NOISE_PROFILE = 50706, 51041
SAFE_TAGS = 4096  # of a directory that makes sense
COLOURS = b"RGBG"  # of planes, by LibRaw's numbers
SURE_WHITE = 0.75  # of the white in the file, which the largest value must exceed to be taken for white
BLACK, SPAN = 4096, 60000  # of mosaics that are given back, for which 16 bits are used whatever the camera's
ORIENTATION = {0: 1, 1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}  # of EXIF, by LibRaw's flip
BIN, BRIGHT, LEAST_WHITE = 8, 0.01, 32  # of the histogram by which LibRaw makes pictures brighter
SRGB_CURVE, LINEAR_CURVE = (2.4, 12.92), (1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Shot:
    """An open raw file.

    Attributes:
        mosaic: What the sensor saw; None where it is no Bayer mosaic.
        reason: Why there is no mosaic, in a few words; empty if there is.
        black: The value of black at each site of the pattern, (2, 2), in the sensor's unit.
        white: The value of white, in the sensor's unit.
        noise: The noise at each site of the pattern, row by row, black being 0 and white 1; None if the file gives
            none.
        metadata: The metadata of the developed picture, without a colour profile.
    """

    mosaic: "Mosaic | None"
    reason: str
    black: np.ndarray
    white: float
    noise: "tuple[Affine, ...] | None"
    metadata: Metadata
    _file: "rawpy.RawPy"

    @property
    def size(self) -> tuple[int, int]:
        """Return the width and the height of the picture."""
        return self._file.sizes.width, self._file.sizes.height

    def developed(self, pixels: np.ndarray | None = None, linear: bool = False, brighter: bool = True) -> Picture:
        """Return the developed picture, uint16 with shape (H, W, 3).

        Args:
            pixels: The mosaic to develop, (H, W), black being 0 and white 1; None for that of the file.
            linear: Whether values are proportional to light, with no change of brightness; else they are sRGB.
            brighter: Whether sRGB may become brighter, as LibRaw does it: until 1 % of that of the file is white.
        """
        how: dict[str, Any] = {}
        if self.mosaic is not None:
            values = self.mosaic.pixels if pixels is None else pixels
            if pixels is not None and brighter and not linear:
                how = {"bright": self._brightness, "no_auto_bright": True}
            self._file.raw_image_visible[:] = np.rint(BLACK + SPAN * values).clip(0, 65535).astype(np.uint16)
            how |= {"user_black": BLACK, "user_cblack": [0] * 4, "user_sat": SPAN, "adjust_maximum_thr": 0.0}
        samples = self._file.postprocess(
            output_bps=16,
            use_camera_wb=True,
            user_flip=0,
            gamma=LINEAR_CURVE if linear else SRGB_CURVE,
            **({"no_auto_bright": linear or not brighter} | how),
        )
        metadata = Metadata(exif=self.metadata.exif, icc=colour_profile.linear() if linear else colour_profile.srgb())
        return Picture(np.array(samples), 65535.0, "TIFF", metadata=metadata)

    @functools.cached_property
    def _brightness(self) -> float:
        """Return the factor by which LibRaw makes the picture of the file brighter, until 1 % of a colour is white.

        By itself a denoised one would become brighter than one with noise, whose brightest values lie farther from the
        others: by 9 %, of a drawing with strong noise.
        """
        light = self.developed(linear=True).pixels
        white = max(_brightest(light[..., c]) for c in range(light.shape[2]))
        return 65536 / (white * BIN + 0.5)  # which LibRaw rounds down to what it would have found


@functools.cache
def is_installed() -> bool:
    """Return whether rawpy, which comes with the extra smdae[raw], is installed."""
    return importlib.util.find_spec("rawpy") is not None


def is_raw(source: Path | bytes, name: str) -> bool:
    """Return whether a file is a camera raw file, by its first bytes, its name, or the tag that DNG has."""
    try:
        with regular.opened(source) if isinstance(source, Path) else BytesIO(source) as file:
            head = file.read(images.HEAD)
            if foreign(head, name, images.is_known(head)) is RAW:
                return True
            if head[:4] not in TIFFS[:2]:
                return False
            order = "<" if head[:2] == b"II" else ">"
            file.seek(struct.unpack(order + "I", head[4:8])[0])
            count = struct.unpack(order + "H", file.read(2))[0]
            entries = file.read(12 * min(count, SAFE_TAGS))
            tags = (struct.unpack_from(order + "H", entries, at)[0] for at in range(0, len(entries) - 11, 12))
            return DNG_VERSION in tags
    except (OSError, ValueError, struct.error):  # its reader reports it
        return False


@contextlib.contextmanager
def opened(data: bytes, name: str, quiet: bool = False) -> Iterator[Shot]:
    """Open a raw file, and yield it for as long as the context lasts.

    Args:
        data: The file.
        name: What messages call it.
        quiet: Whether to drop what is written to stderr while the file is opened: what LibRaw says of damaged files,
            and what other threads say.

    Raises:
        InputError: The extra is missing, or the file is damaged or of a camera that LibRaw does not know.
        MemoryLimitError: The file takes more memory than there is.
    """
    if not is_installed():
        raise InputError(f"cannot read '{name}': camera raw files need the extra smdae[raw]", INSTALL)
    import rawpy

    with contextlib.ExitStack() as whole:
        with images.decoding(repr(name)), _unheard() if quiet else contextlib.nullcontext():
            try:
                file = whole.enter_context(rawpy.imread(BytesIO(data)))
                if file.raw_type == rawpy.RawType.Flat and file.raw_image is None:
                    raise InputError("it holds no picture")
            except rawpy.LibRawFileUnsupportedError as error:
                raise InputError("LibRaw does not know this camera raw file", "convert it to DNG first") from error
            except rawpy.LibRawUnsufficientMemoryError as error:
                raise MemoryLimitError("it takes more memory than there is") from error
            check_size(file.sizes.width, file.sizes.height)
            shot = _shot(file, data)
        yield shot


def _brightest(values: np.ndarray) -> int:
    """Return the bin above which 1 % of some 16-bit values lie, as LibRaw counts them."""
    above = np.cumsum(np.bincount(values.reshape(-1) // BIN, minlength=65536 // BIN)[::-1])
    below_top = int(np.searchsorted(above, int(values.size * BRIGHT), side="right"))
    return max(65536 // BIN - 1 - below_top, LEAST_WHITE)


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Drop what libraries write to stderr below Python, for as long as the context lasts."""
    sys.stderr.flush()
    kept = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _shot(file: "rawpy.RawPy", data: bytes) -> Shot:
    from smdae.mosaic import Mosaic

    metadata = Metadata(exif=_exif(data, file))
    reason = _why_no_bayer(file)
    if reason:
        return Shot(None, reason, np.zeros((2, 2)), 1.0, None, metadata, file)
    numbers = np.array(file.raw_colors_visible[:2, :2])
    black = np.array(file.black_level_per_channel, np.float32)[numbers]
    values = np.array(file.raw_image_visible)
    white, largest = float(file.white_level), float(values.max())
    if SURE_WHITE < (largest - black.max()) / max(white - black.max(), 1) < 1:
        white = largest
    if white <= black.max():
        raise InputError(f"its black, {black.max():g}, is not below its white, {white:g}")
    pixels = np.empty(values.shape, np.float32)
    for place in np.ndindex(2, 2):
        part = tuple(slice(start, None, 2) for start in place)
        pixels[part] = (values[part] - black[place]) / (white - black[place])
    mosaic = Mosaic(pixels, _colours(numbers), _balance(file), -float((black / (white - black)).min()))
    return Shot(mosaic, "", black, white, _stated_noise(data, mosaic.colours), metadata, file)


def _why_no_bayer(file: "rawpy.RawPy") -> str:
    """Return why a file has no Bayer mosaic that can be used; "" if it has one."""
    import rawpy

    if file.raw_type != rawpy.RawType.Flat:
        return "is demosaiced already"
    if file.num_colors == 1:
        return "has no colours"
    pattern = np.array(file.raw_pattern)  # of None an array without axes
    if pattern.shape != (2, 2):
        return "has an X-Trans mosaic" if pattern.shape == (6, 6) else "has an unknown mosaic"
    colours = _colours(file.raw_colors_visible[:2, :2]) if file.color_desc == COLOURS else np.zeros((2, 2))
    is_bayer = sorted(colours.reshape(-1).tolist()) == [0, 1, 1, 2] and (np.diag(colours) == 1).sum() != 1
    height, width = file.raw_image_visible.shape
    if not is_bayer:
        return "has an unknown mosaic"
    return "" if min(height, width) >= 16 else "is too small"


def _colours(numbers: np.ndarray) -> np.ndarray:
    """Return red, green and blue as 0, 1, 2 of LibRaw's numbers, of which 3 is the second green."""
    return np.where(numbers == 3, 1, numbers)


def _balance(file: "rawpy.RawPy") -> tuple[float, float, float]:
    """Return the white balance of red, green and blue; 1 where it makes no sense."""
    red, green, blue, _ = file.camera_whitebalance
    if min(red, green, blue) <= 0:
        red, green, blue, _ = file.daylight_whitebalance
    return (red / green, 1.0, blue / green) if min(red, green, blue) > 0 else (1.0, 1.0, 1.0)


def _stated_noise(data: bytes, colours: np.ndarray) -> "tuple[Affine, ...] | None":
    """Return the noise that a DNG states for each place of the pattern, variance = S x + O; None if it states none."""
    import tifffile

    from smdae.curves import Affine

    with contextlib.suppress(Exception), tifffile.TiffFile(BytesIO(data)) as file:
        first = file.pages.first
        for page in (first, *(first.pages or ())):
            tag = page.tags.get(NOISE_PROFILE)
            if tag is not None:
                values = np.array(tag.value, np.float64).reshape(-1, 2)
                if len(values) not in (1, 3) or not np.isfinite(values).all() or not (values[:, 0] > 0).all():
                    return None
                each = [Affine(slope, 0.0, max(offset, 0.0) ** 0.5) for slope, offset in values.tolist()]
                return tuple(each[c if len(each) == 3 else 0] for c in colours.reshape(-1).tolist())
    return None


def _exif(data: bytes, file: "rawpy.RawPy") -> bytes | None:
    """Return the EXIF of a raw file: of its TIFF, whatever its magic number, or of the JPEG in it."""
    head = {b"IIRO": b"II*\0", b"IIRS": b"II*\0", b"MMOR": b"MM\0*", b"IIU\0": b"II*\0"}.get(data[:4], data[:4])
    words = described(BytesIO(head + data[4:]))
    if not len(words):
        with contextlib.suppress(Exception):
            from PIL import Image

            with Image.open(BytesIO(bytes(file.extract_thumb().data))) as thumbnail:
                words = described(BytesIO((thumbnail.info.get("exif") or b"").removeprefix(b"Exif\0\0")))
    words.tagtype[Base.Orientation] = SHORT
    words[Base.Orientation] = ORIENTATION[file.sizes.flip & 7]
    return exif_of(words)
