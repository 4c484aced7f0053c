"""EXIF is a TIFF directory: what moves between EXIF bytes and the tags of a TIFF file.

The tags of IFD0 that describe a picture, and the EXIF and GPS directories that hang below it, pass from one
to the other; the tags on the layout of the pixels never do. JPEG, PNG and WebP carry EXIF as opaque bytes and
have no need of this. Text of IFD0 passes as the bytes it is, whatever its encoding; in the directories below,
Pillow writes ASCII and chooses the types of numbers anew. A description that cannot be understood counts as
none.
"""

import warnings
from dataclasses import replace
from io import BytesIO
from typing import Any, BinaryIO

from PIL.ExifTags import IFD, Base
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from PIL.TiffTags import LONG

from smdae.files.picture import Metadata, dots_per_inch

HEADER = b"II*\0\x08\0\0\0"
DESCRIPTIVE = (
    Base.ImageDescription,
    Base.Make,
    Base.Model,
    Base.Orientation,
    Base.XResolution,
    Base.YResolution,
    Base.ResolutionUnit,
    Base.Software,
    Base.DateTime,
    Base.Artist,
    Base.HostComputer,
    Base.Copyright,
    IFD.Exif,
    IFD.GPSInfo,
)
NESTED: dict[int | None, tuple[int, ...]] = {None: (IFD.Exif, IFD.GPSInfo), IFD.Exif: (IFD.Interop,)}
# Chunks of a PNG on colours, their background and depth, and on the shape of pixels.
OF_LOOKS = (b"cHRM", b"cICP", b"gAMA", b"sRGB", b"mDCV", b"cLLI", b"mDCv", b"cLLi", b"pHYs", b"bKGD", b"sBIT")
OF_COLOURS = (b"jP  ", b"ftyp", b"jp2h", b"jp2c")  # boxes of a JPEG 2000
DOTS_PER_INCH = {2: 1.0, 3: 2.54}


def described(tiff: BinaryIO, offset: int | None = None) -> ImageFileDirectory_v2:
    """Return the descriptive tags of a TIFF file or of EXIF bytes; an empty directory if these cannot be understood.

    The tags are read from the directory at `offset`, or from the first if that is None.
    """
    directory = ImageFileDirectory_v2()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tags, types = _directory(tiff, offset, None)
            for tag in DESCRIPTIVE:
                if tag in tags:
                    directory.tagtype[tag] = types[tag]
                    directory[tag] = _as_bytes(tags[tag])
            directory.tobytes()
    except Exception:
        # Whatever is wrong with the words on a picture, the picture is worth having without them.
        return ImageFileDirectory_v2()
    return directory


def exif_of(directory: ImageFileDirectory_v2) -> bytes | None:
    """Return the EXIF bytes of a directory, or None for an empty one."""
    return HEADER + directory.tobytes(8) if len(directory) else None


def resolution(directory: ImageFileDirectory_v2) -> tuple[float, float] | None:
    """Return dots per inch, (horizontal, vertical), or None where the directory gives no length."""
    scale = DOTS_PER_INCH.get(directory.get(Base.ResolutionUnit, 2))
    if scale is None or Base.XResolution not in directory or Base.YResolution not in directory:
        return None
    return dots_per_inch(*(float(directory[tag]) * scale for tag in (Base.XResolution, Base.YResolution)))


def stripped(metadata: Metadata) -> Metadata:
    """Return a `Metadata` with only what decides how a picture looks; words, dates and places are left out.

    Colour profiles and resolution stay; of EXIF the orientation alone stays.
    """
    words = described(BytesIO(metadata.exif or b""))
    upright = ImageFileDirectory_v2()
    if Base.Orientation in words:
        upright.tagtype[Base.Orientation] = words.tagtype[Base.Orientation]
        upright[Base.Orientation] = words[Base.Orientation]
    chunks = tuple(chunk for chunk in metadata.png if chunk[0] in OF_LOOKS)
    colours = tuple(box for box in metadata.jp2 if box[0] in OF_COLOURS)
    bare = replace(metadata, xmp=None, png=chunks, jpeg=(), tail=b"", gif=None, jp2=colours, jxl=(), comments=())
    return replace(bare, exif=exif_of(upright))


def _directory(tiff: BinaryIO, offset: int | None, group: int | None) -> tuple[dict[int, Any], dict[int, int]]:
    tiff.seek(0)
    header = tiff.read(16)
    big = header[2:4] in (b"+\0", b"\0+")
    directory = ImageFileDirectory_v2(header if big else header[:8], group=group)
    tiff.seek(directory.next if offset is None else offset)
    directory.load(tiff)
    tags, types = dict(directory), dict(directory.tagtype)
    for tag in NESTED.get(group, ()):
        if tag in tags:
            tags[tag], types[tag] = _directory(tiff, tags[tag], tag)[0], LONG
    return tags, types


def _as_bytes(value: Any) -> Any:
    # Pillow reads text as Latin-1 but writes it as ASCII.
    return value.encode("latin-1") if isinstance(value, str) else value
