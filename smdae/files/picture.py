"""A picture as smdae holds it between reading and writing: samples, alpha, white, metadata.

The kind (gray or colour) and the depth come from the file's header, never from its values: a dark 16-bit frame stays a
16-bit frame. Colour and alpha are kept apart because only colour is ever processed; alpha returns bit for bit. Pixels
are neither rotated nor colour managed: the EXIF orientation and the ICC profile travel along untouched.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from smdae.errors import InputError, OutputError
from smdae.jpeg import LUMA

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 500_000_000
BAND = 256  # rows

WHITES = {"uint8": 255.0, "uint16": 65535.0, "float16": 1.0, "float32": 1.0, "float64": 1.0}
# Integers that floats stand for, which hold all of their values.
STANDS_FOR = {"int8": "float32", "int16": "float32", "int32": "float64", "uint32": "float64"}
SAMPLES = (*WHITES, *STANDS_FOR)

MAX_FLOAT = 4.0  # times white, that floats must pass to be taken for values of another unit
LIKELY_WHITES = (255.0, 65535.0)  # that floats have, if not 1

UNREADABLE_MODES = {
    "CMYK": ("CMYK colour", "convert it to RGB first"),
    "LAB": ("L*a*b* colour", "convert it to RGB first"),
    "I": ("32-bit integer samples", "convert it to 16-bit or floating point first"),
}
MAX_NARROW, MIN_WIDE = 16, 64  # pixels: pages so narrow, of so many and so long, are mostly channels that come last


@dataclass(frozen=True)
class Metadata:
    r"""The metadata of a picture, as bytes that no one here interprets.

    Attributes:
        exif: The TIFF stream of EXIF, without the `Exif\0\0` of JPEG; None, as the next three, where there is none.
        dpi: The horizontal and vertical resolution, as `dots_per_inch` returns them.
        png: The chunks (type, payload) of a PNG about colours, and those of text.
        jpeg: The segments (marker, payload) that applications wrote into a JPEG.
        tail: The bytes behind the end of a JPEG.
        progressive: Whether a JPEG is shown coarsely first, and then finer.
        gif: The GIF that the pixels came from; None for others.
        jp2: The boxes (kind, payload) of a JPEG 2000.
        jxl: The boxes (kind, payload) of a JPEG XL.
        jxl_colours: The bits by which the header of a JPEG XL describes its colours, as text of 0 and 1.
        codestream: Whether a JPEG 2000 had no boxes.
        heif: The options by which a HEIC was encoded.
        comments: Those of a PPM or PAM.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    png: tuple[tuple[bytes, bytes], ...] = ()
    jpeg: tuple[tuple[int, bytes], ...] = ()
    tail: bytes = b""
    progressive: bool = False
    gif: bytes | None = None
    jp2: tuple[tuple[bytes, bytes], ...] = ()
    jxl: tuple[tuple[bytes, bytes], ...] = ()
    jxl_colours: str = ""
    codestream: bool = False
    heif: tuple[tuple[str, Any], ...] = ()
    comments: tuple[bytes, ...] = ()


@dataclass(frozen=True, eq=False)
class Picture:
    """One still image.

    Attributes:
        pixels: Gray or colour, (H, W) or (H, W, 3), of a dtype in `WHITES`.
        white: The value of full intensity: 255, 65535, or 1 for floats; for floats that stand for integers, the largest
            value of those.
        format: The name in `formats.FORMATS` of the format that it was read from.
        alpha: Opacity, (H, W), of the same dtype; None if there is none.
        premultiplied: Whether the colours are multiplied by alpha, as in some TIFFs.
        quality: The quality of a JPEG, 1 to 100, found from its quantisation tables; None for other formats.
        is_finite: Whether no value is NaN or infinite.
        maxval: White in the file, such as 4095 in 12 bits, where the pixels were stretched to `white`; else None.
        lost: What of the file is not in it, in words, as in "its depth map".
        stored: The type in `STANDS_FOR` that its floats stand for; None if the file has the type of `pixels`.
    """

    pixels: np.ndarray
    white: float
    format: str
    alpha: np.ndarray | None = None
    metadata: Metadata = field(default_factory=Metadata)
    lossless: bool = True
    premultiplied: bool = False
    quality: int | None = None
    is_finite: bool = True
    maxval: int | None = None
    lost: tuple[str, ...] = ()
    stored: str | None = None

    @property
    def depth(self) -> str:
        """Return the name of the type of the samples in a file, such as uint8."""
        return self.stored or self.pixels.dtype.name


def check_size(width: int, height: int, room: int = MAX_PIXELS) -> None:
    """Raise InputError, before decoding, for a header that promises no pixels or too many.

    Too many are more than `MAX_PIXELS`, or than the `room` that the rest of the file has for them: a decoder can take a
    minute to fill them with nothing.
    """
    if width < 1 or height < 1:
        raise InputError("it has no pixels")
    if width * height > MAX_PIXELS:
        raise InputError(
            f"its {width} x {height} pixels are over the limit of {MAX_PIXELS:,}",
            "cut it into smaller images first",
        )
    if width * height > room:
        raise InputError(f"the file is too short for {width} x {height} pixels")


def dots_per_inch(across: float, down: float) -> tuple[float, float] | None:
    """Return the horizontal and the vertical resolution, or None where they make no sense."""
    return (across, down) if 0 < across < 1e6 and 0 < down < 1e6 else None


def stretched(samples: np.ndarray, maxval: int) -> np.ndarray:
    """Return unsigned integers up to `maxval`, 1 to 65535, as uint8 or uint16 over the whole range of the type.

    It loses nothing: `unstretched` gives the same integers back.
    """
    dtype, full = (np.uint8, 255) if maxval < 256 else (np.uint16, 65535)
    if maxval != full:
        samples = (samples.astype(np.uint32) * np.uint32(full) + np.uint32(maxval // 2)) // np.uint32(maxval)
    return samples.astype(dtype, copy=False)


def unstretched(samples: np.ndarray, maxval: int | None) -> np.ndarray:
    """Return the samples of a picture, uint8 or uint16, as a file has them in which white is `maxval`."""
    full = int(np.iinfo(samples.dtype).max)
    if maxval is None or maxval == full:
        return samples
    values = (samples.astype(np.uint32) * np.uint32(maxval) + np.uint32(full // 2)) // np.uint32(full)
    return values.astype(samples.dtype)


def from_samples(samples: np.ndarray, format: str, **rest: Any) -> Picture:
    """Return the picture of (H, W) or (H, W, 1 to 4) samples, of which the last of two or of four channels is alpha.

    Raises InputError for sample types that smdae does not process, for no pixels, and for too many.
    """
    name = samples.dtype.name
    if name not in SAMPLES:
        raise InputError(f"its samples are {name}", f"smdae reads {', '.join(SAMPLES)}: convert it to one of these")
    check_size(samples.shape[1], samples.shape[0])
    stored = name if name in STANDS_FOR else None
    white = WHITES[name] if stored is None else float(np.iinfo(name).max)
    samples = samples.astype(STANDS_FOR.get(name, name), copy=False)
    samples = np.atleast_3d(samples)
    colours = samples.shape[2] - 1 + samples.shape[2] % 2
    pixels = samples[..., :colours] if colours == 3 else samples[..., 0]
    alpha = samples[..., colours] if samples.shape[2] > colours else None
    return Picture(
        pixels=np.require(pixels, requirements=["C", "W"]),
        alpha=None if alpha is None else np.require(alpha, requirements=["C", "W"]),
        white=white,
        format=format,
        is_finite=samples.dtype.kind == "u" or stored is not None or bool(np.isfinite(samples).all()),
        stored=stored,
        **rest,
    )


def samples_of(picture: Picture) -> np.ndarray:
    """Return colour and alpha joined: (H, W) for gray without alpha, else (H, W, 2 to 4), of the type in the file."""
    samples = picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])
    return samples if picture.stored is None else as_integers(samples, picture.stored)


def as_integers(values: np.ndarray, name: str) -> np.ndarray:
    """Return floats as integers of a type, each the nearest that there is."""
    ends = np.iinfo(name)
    return np.rint(values.astype(np.float64)).clip(ends.min, ends.max).astype(name)


def samples_in(image: "Image.Image") -> np.ndarray:
    """Return the samples of a Pillow image, (H, W) or (H, W, 2 to 4), palettes looked up; or raise InputError."""
    if image.mode in UNREADABLE_MODES:
        reason, hint = UNREADABLE_MODES[image.mode]
        raise InputError(f"it has {reason}", hint)
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    elif image.mode == "YCbCr":
        image = image.convert("RGB")
    elif image.mode == "1":
        image = image.convert("L")
    # A band of rows at a time: Pillow hands out pixels by way of two copies of all that it is asked for.
    width, height = image.size
    samples = None
    for top in range(0, height, BAND):
        band = np.asarray(image.crop((0, top, width, min(top + BAND, height))))
        if samples is None:
            samples = np.empty((height, *band.shape[1:]), band.dtype.newbyteorder("="))
        samples[top : top + BAND] = band
    assert samples is not None
    return samples


def deeper(picture: Picture, depth: str | None) -> bool:
    """Return whether samples of dtype `depth` have more bytes than those of the picture; False if `depth` is None."""
    return depth is not None and np.dtype(depth).itemsize > picture.pixels.dtype.itemsize


def with_depth(picture: Picture, depth: str | None, white: float = 1.0, pixels: bool = True) -> Picture:
    """Return the picture with samples of another depth: white becomes white in integers, and floats keep all values.

    Integers become floats of the same value as in the file, also where it uses 12 bits of 16.

    Args:
        picture: The picture, of any depth.
        depth: uint8, uint16 or float32; None for the depth of the picture.
        white: The value of white in the picture if it has floats.
        pixels: Whether to convert the samples; if not, they are all 0 and take no memory.

    Raises:
        OutputError: The picture holds NaN or infinity, and the new depth is one of integers.
    """
    if depth is None or picture.depth == depth:
        return picture
    if not picture.is_finite and depth != "float32":
        raise OutputError(f"it holds NaN or infinity, which {depth} cannot hold", "write floats: --bit-depth 32f")
    if depth == "float32":
        target = float(picture.maxval or picture.white)
        factor = np.float32(target / picture.white)
    else:
        target = WHITES[depth]
        factor = np.float32(target / (white if picture.pixels.dtype.kind == "f" else picture.white))

    def converted(samples: np.ndarray) -> np.ndarray:
        if not pixels:
            return np.broadcast_to(np.zeros((), depth), samples.shape)
        if depth == "uint16" and samples.dtype == np.uint8:
            return samples.astype(np.uint16) * np.uint16(257)
        scaled = samples.astype(np.float32) * factor
        return scaled if depth == "float32" else np.clip(np.rint(scaled), 0, target).astype(depth)

    alpha = None if picture.alpha is None else converted(picture.alpha)
    colours = converted(picture.pixels)
    return replace(picture, pixels=colours, alpha=alpha, white=target, maxval=None, stored=None)


def likely_white(largest: float) -> float | None:
    """Return the likely value of white in floats with magnitudes up to `largest`; None where white may be 1."""
    if largest <= MAX_FLOAT:
        return None
    return next((white for white in LIKELY_WHITES if largest <= 2 * white), largest)


def luma(pixels: np.ndarray) -> np.ndarray:
    """Return the gray (H, W) of RGB (H, W, 3) by ITU-R 601, in the same dtype; gray pixels return as they are.

    Integers use Pillow's 16-bit fixed point, so uint8 equals `Image.convert("L")` exactly.
    """
    if pixels.ndim == 2:
        return pixels
    red, green, blue = (pixels[..., channel] for channel in range(3))
    if pixels.dtype.kind == "f":
        return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).astype(pixels.dtype, copy=False)
    wide = [channel.astype(np.uint32) for channel in (red, green, blue)]
    return ((19595 * wide[0] + 38470 * wide[1] + 7471 * wide[2] + 0x8000) >> 16).astype(pixels.dtype)


def looks_like_channels(count: int, height: int, width: int) -> bool:
    """Return whether pages are so many, long and narrow that their columns are more likely the channels of one picture.

    Args:
        count: How many pages there are.
        height: Their rows.
        width: Their columns.
    """
    return 1 < width <= MAX_NARROW and min(count, height) >= MIN_WIDE
