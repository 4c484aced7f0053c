"""The file formats that smdae reads and writes, one row each.

Help, messages, docs/formats.md and the choice of a codec are all made of this table. It is light: a codec is loaded
when a file of its format is read or written.

`python -m smdae.files.formats` prints docs/formats.md.
"""

import importlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from typing import Any

BYTES = ("uint8",)
INTEGERS = ("uint8", "uint16")
SIGNED = ("int8", "int16", "int32", "uint32")
ANY = (*INTEGERS, "float16", "float32", "float64", *SIGNED)
SHORT = {"uint8": "8 bits", "uint16": "16", "float16": "float 16", "float32": "32", "float64": "64"}
SHORT |= {"int8": "signed 8", "int16": "16", "int32": "32", "uint32": "unsigned 32"}


@dataclass(frozen=True)
class Format:
    """One file format.

    Attributes:
        suffixes: The endings of its files, in lower case; a result gets the first if the format is asked for by name.
        samples: The types of samples that it can hold.
        kept: What of a file is kept besides its pixels, in words.
        read: The function that reads such a file, `module.function` below smdae.files. It raises InputError or
            MemoryLimitError with a reason; of whatever else damage raises `images.decoding` makes an InputError.
        exif: Whether it can hold EXIF, and so the orientation.
        quality: Whether it is written at a quality, which `encode` then takes.
        extra: The extra of smdae that its library comes with; None where all have it.
        module: The name by which the library is imported, where it comes with an extra.
        maxval: Whether it stores the value of white, so that 12 bits stay 12 bits.
    """

    name: str
    suffixes: tuple[str, ...]
    samples: tuple[str, ...]
    kept: str
    library: str
    read: str
    encode: str
    alpha: bool = True
    profile: bool = True
    exif: bool = True
    quality: bool = False
    extra: str | None = None
    module: str | None = None
    longest_side: int = 2**31 - 1
    maxval: bool = False


ROWS = (
    Format(
        "PNG",
        (".png",),
        INTEGERS,
        "colour chunks, ICC, EXIF, XMP, text, resolution, background, bits that matter, other chunks that may be "
        "copied; frames, times and loops of an animation; the time of the last change is left out",
        "Pillow, imagecodecs for 16 bits",
        "png.read",
        "png.encode",
    ),
    Format(
        "JPEG",
        (".jpg", ".jpeg", ".mpo"),
        BYTES,
        "every segment (EXIF, ICC, XMP, IPTC, comments, resolution), what stands behind its end, "
        "progressive or not, all pictures of MPO, the four inks of CMYK",
        "Pillow",
        "jpeg_file.read",
        "jpeg_file.encode",
        alpha=False,
        quality=True,
        longest_side=65500,
    ),
    Format(
        "TIFF",
        (".tif", ".tiff", ".tf2", ".tf8", ".btf"),
        ANY,
        "pages, channels, volumes, axes, every tag of each page (OME-XML, ImageJ, EXIF, ICC, XMP, resolution), "
        "lossless compressions, tiles, strips, planes, byte order, BigTIFF, bits a sample; lossy compressions become "
        "Deflate, smaller pages are left out",
        "tifffile, imagecodecs",
        "tiff.read",
        "tiff.encode",
    ),
    Format(
        "WEBP",
        (".webp",),
        BYTES,
        "lossless or lossy, EXIF, ICC, XMP; frames, times and loops of an animation",
        "Pillow",
        "eight_bit.read_webp",
        "eight_bit.encode_webp",
        quality=True,
        longest_side=16383,
    ),
    Format(
        "GIF",
        (".gif",),
        BYTES,
        "every block; frames, times and loops of an animation; not written from other formats",
        "Pillow",
        "gif.read",
        "gif.encode",
    ),
    Format(
        "AVIF",
        (".avif",),
        BYTES,
        "EXIF, ICC, XMP, orientation; 10 and 12 bits and other colours than sRGB without a profile are refused",
        "Pillow",
        "eight_bit.read_avif",
        "eight_bit.encode_avif",
        quality=True,
        longest_side=65536,
    ),
    Format(
        "HEIC",
        (".heic", ".heif", ".hif"),
        INTEGERS,
        "10 and 12 bits, EXIF, ICC, XMP, colours by number, orientation, subsampling; depth and gain maps are lost",
        "pillow-heif",
        "heic.read",
        "heic.encode",
        quality=True,
        extra="heic",
        module="pillow_heif",
        longest_side=16384,
        maxval=True,
    ),
    Format(
        "JXL",
        (".jxl",),
        (*INTEGERS, "float32"),
        "lossless or lossy, bits, colours, boxes (EXIF, XMP); a profile in the codestream and lossy files but those of "
        "8 bits in sRGB are refused",
        "imagecodecs",
        "jpegxl.read",
        "jpegxl.encode",
        profile=False,
        quality=True,
        maxval=True,
    ),
    Format(
        "JP2",
        (".jp2", ".j2k"),
        INTEGERS,
        "lossless or lossy, bits, every box (ICC, EXIF, XMP, resolution); one tile",
        "imagecodecs",
        "jpeg2000.read",
        "jpeg2000.encode",
        quality=True,
        maxval=True,
    ),
    Format(
        "BMP",
        (".bmp",),
        BYTES,
        "resolution",
        "Pillow",
        "eight_bit.read_bmp",
        "eight_bit.encode_bmp",
        profile=False,
        exif=False,
    ),
    Format(
        "PPM",
        (".ppm", ".pgm", ".pnm", ".pbm"),
        INTEGERS,
        "the maximum, comments; a 1-bit PBM that changes becomes a PGM",
        "smdae",
        "plain.read_pnm",
        "plain.encode_pnm",
        alpha=False,
        profile=False,
        exif=False,
        maxval=True,
    ),
    Format(
        "PAM",
        (".pam",),
        INTEGERS,
        "the maximum, comments",
        "smdae",
        "plain.read_pam",
        "plain.encode_pam",
        profile=False,
        exif=False,
        maxval=True,
    ),
    Format(
        "NPY",
        (".npy",),
        ANY,
        "stacks of shape (N, H, W) and (N, H, W, 3), byte order; nothing else is in it",
        "NumPy",
        "plain.read_npy",
        "plain.encode_npy",
        alpha=False,
        profile=False,
        exif=False,
    ),
)
FORMATS = {row.name: row for row in ROWS}
SUFFIXES = {suffix: row.name for row in ROWS for suffix in row.suffixes}
WITH_QUALITY = tuple(row for row in ROWS if row.quality)
NAMES = tuple(row.name.lower() for row in ROWS)
# What may be asked for as the format of results, and the ending that they get.
ENDINGS = {suffix[1:]: suffix for suffix in SUFFIXES} | {row.name.lower(): row.suffixes[0] for row in ROWS}


def missing(row: Format) -> tuple[str, str] | None:
    """Return a message that the library of a format is missing, and how to install it; None if it is installed."""
    if row.module is None or importlib.util.find_spec(row.module) is not None:
        return None
    return f"{row.name} takes {row.library}, which is not installed", f'pip install "smdae[{row.extra}]"'


@cache
def function(path: str) -> Any:
    """Return a function of a row, `module.function` below smdae.files, whose module is loaded now if it was not yet."""
    module, name = path.split(".")
    return getattr(importlib.import_module(f"smdae.files.{module}"), name)


def in_words(rows: "tuple[Format, ...]" = ROWS) -> str:
    """Return the names of formats as a sentence has them: A, B and C."""
    *names, last = (row.name for row in rows)
    return f"{', '.join(names)} and {last}" if names else last


def page() -> str:
    """Return the text of docs/formats.md."""
    head = ("Format", "Endings", "Samples", "Alpha", "Comes back with the pixels", "Library", "Extra")
    lines = [_line(head), _line(["---"] * len(head)), *(_line(_cells(row)) for row in ROWS)]
    return f"{PAGE}\n" + "\n".join(lines) + "\n"


def _cells(row: Format) -> tuple[str, ...]:
    samples = ", ".join(SHORT[name] for name in row.samples)
    return (
        row.name,
        " ".join(row.suffixes),
        f"{samples}, any maximum" if row.maxval else samples,
        "yes" if row.alpha else "no",
        row.kept,
        row.library,
        f"`smdae[{row.extra}]`" if row.extra else "",
    )


def _line(cells: "tuple[str, ...] | list[str]") -> str:
    return f"| {' | '.join(cells)} |"


PAGE = """# File formats

What `denoise` reads it writes in the same format, with samples of the same type, and with what stands in the column
"Comes back with the pixels". The type of a file is found from its first bytes, not from its name. Orientation is kept,
not applied. An extra is added to an installed smdae with, for example, `pip install "smdae[heic]"`.

Camera raw files, FITS, OME-Zarr and Y4M video have pages of their own: [camera raw](formats-raw.md),
[FITS](formats-fits.md), [OME-Zarr](formats-zarr.md), [video and pipes](formats-streams.md).

This page is made of the table in `smdae/files/formats.py`: `python -m smdae.files.formats > docs/formats.md`.
"""

if __name__ == "__main__":
    print(page(), end="")
