"""A TIFF like another one, with other samples: written by tifffile with the layout, compression and tags of its source.

- A lossless compression stays, with its predictor. A lossy one, and one that is only read, becomes Deflate.
- Tiles, strips, planes, byte order and BigTIFF stay. A file becomes a BigTIFF where it may pass 4 GB.
- Pages that lie one behind the other, as tifffile and ImageJ write them, lie so again and can be mapped into memory.
- Of ImageJ's stacks behind a single directory the planes follow it again, whatever their size.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from smdae.errors import OutputError
from smdae.files.tiff_codec import NONE, codec_of
from smdae.files.tiff_pages import MASK, MINISBLACK, RGB, YCBCR, colours_of
from smdae.files.tiff_survey import Run
from smdae.files.tiff_tags import DESCRIPTION, EXIF, GPS, Tag, extra, kept, nested, renamed, retyped, shaped, tags_of

if TYPE_CHECKING:
    import tifffile

MAX_BYTES = 2**32 - 2**24
SIDE = 16  # pixels, of which sides of tiles are multiples


@dataclass(frozen=True)
class Style:
    """The differences of a result from its source.

    Attributes:
        depth: The type of its samples; None for that of the source.
        names: The name of the source and that of the result.
        words: Returns, once all pages are written, the line about the model to write into the file; None for none.
        is_unchanged: Returns, once all pages are written, whether the result is to be a copy of its source.
    """

    depth: str | None = None
    strip: bool = False
    axes: tuple[str, tuple[int, ...]] | None = None
    names: tuple[str, str] = ("", "")
    is_big: bool = False
    words: Callable[[], str | None] = lambda: None
    is_unchanged: Callable[[], bool] = lambda: False


def written(
    target: BinaryIO,
    source: BinaryIO,
    runs: Sequence[Run],
    page_of: Callable[[int], "tifffile.TiffPage"],
    samples: Iterator[np.ndarray],
    style: Style,
) -> None:
    """Write a TIFF that is like its source but has other samples.

    Args:
        target: The file to write to, in which it must be possible to go back.
        source: The file that it is to be like.
        runs: The runs of its pages.
        page_of: Returns the page of a number.
        samples: The samples of each page in turn, as `tiff_pages.samples_in` returns them.
        style: How the result differs from its source.

    Raises:
        OutputError: The result becomes larger than the 4 GB that a TIFF holds.
    """
    import tifffile

    byteorder = page_of(0).parent.byteorder
    try:
        with tifffile.TiffWriter(target, bigtiff=style.is_big, byteorder=byteorder, ome=False, imagej=False) as writer:
            for run in runs:
                page, first = page_of(run.first), next(samples)
                given = _arguments(target, source, page, first, style, run)
                shape = _shape(first)
                if run.count == 1:
                    writer.write(first.reshape(shape), **given)
                else:
                    rest = (next(samples) for _ in range(run.count - 1))
                    data = (array.reshape(shape) for array in chain([first], rest))
                    del first
                    dtype = np.dtype(style.depth or page.dtype)
                    writer.write(data, shape=(run.count, *shape), dtype=dtype, truncate=run.is_single, **given)
    except (struct.error, ValueError) as error:
        if "too large" in str(error) or isinstance(error, struct.error):
            raise OutputError("the result is larger than the 4 GB that a TIFF can hold", "write .npy") from error
        raise


def _arguments(
    target: BinaryIO,
    source: BinaryIO,
    page: "tifffile.TiffPage",
    samples: np.ndarray,
    style: Style,
    run: Run,
) -> dict[str, Any]:
    """Write the directories below a page, and return the arguments by which tifffile's writer writes the page."""
    count = samples.shape[0] * samples.shape[4]
    is_coloured = count != page.samplesperpixel  # by its table
    photometric = int(page.photometric)
    if photometric == YCBCR or is_coloured:
        photometric = RGB
    elif photometric == MASK:
        photometric = MINISBLACK
    compression, predictor, how = codec_of(source, page, samples.dtype, samples.shape[4])
    given: dict[str, Any] = {
        "photometric": photometric,
        "compression": compression,
        "predictor": predictor,
        "compressionargs": how,
        "metadata": None,
        "software": False,
        "maxworkers": 1,
        "volumetric": samples.shape[1] > 1,
    }
    if count > 1:
        given["planarconfig"] = "separate" if samples.shape[0] > 1 else "contig"
    colours = 3 if photometric == RGB else colours_of(page)
    if count > colours:
        kinds = tuple(int(kind) for kind in page.extrasamples)
        given["extrasamples"] = kinds if len(kinds) == count - colours else (2,) + (0,) * (count - colours - 1)
    bits = page.bitspersample
    if compression == NONE and samples.dtype.kind == "u" and samples.dtype == page.dtype and bits % 8:
        _refuse_unpacked(bits)
        given["bitspersample"] = bits
    if page.is_tiled:
        tile = (page.tilelength, page.tilewidth)
        if not any(side % SIDE for side in tile):
            given["tile"] = (page.tiledepth, *tile) if samples.shape[1] > 1 else tile
    elif page.rowsperstrip:
        given["rowsperstrip"] = page.rowsperstrip
    if 254 in page.tags and isinstance(page.subfiletype, int):
        is_mask = page.subfiletype & 4 and samples.dtype.kind != "b"
        given["subfiletype"] = page.subfiletype & ~4 if is_mask else page.subfiletype
    given |= _resolution(page)
    is_retyped = samples.dtype != page.dtype
    tags = _tags(page, style, is_retyped, is_coloured, run.first == 0)
    tags = [tag for tag in tags if tag.code not in (EXIF, GPS)]
    alone = run.alone | {EXIF, GPS} | ({DESCRIPTION} if style.strip else set())
    if not style.strip and style.is_big == page.parent.is_bigtiff:
        tags += _below(target, source, page)
    given["extratags"] = extra(tags, count, samples.dtype.kind == "u" and not is_coloured, alone)
    return given


def _refuse_unpacked(bits: int) -> None:
    """Raise OutputError if the installed imagecodecs cannot pack such samples, as those before 2026.3.6."""
    import imagecodecs

    try:
        imagecodecs.packints_encode(np.zeros(8, np.uint8), 4)
    except NotImplementedError:
        raise OutputError(
            f"samples of {bits} bits cannot be written by imagecodecs {imagecodecs.__version__}",
            "install imagecodecs 2026.3.6 or later, or save the file with 16 bits a sample first",
        ) from None


def _tags(page: "tifffile.TiffPage", style: Style, is_retyped: bool, is_coloured: bool, is_first: bool) -> list[Tag]:
    """Return the tags of a page, changed where another name or type of its samples demands it."""
    tags = kept(tags_of(page), style.strip, is_retyped)
    if is_coloured:
        tags = [tag for tag in tags if tag.code not in (284, 320, 339)]
    if style.strip:
        return [*tags, shaped(*style.axes)] if style.axes is not None and is_first else tags
    result = []
    for tag in tags:
        value = tag.value
        if tag.code == DESCRIPTION:
            value = renamed(value, *style.names)
            if is_retyped:
                value = retyped(value, style.depth or "")
        result.append(Tag(tag.code, tag.type, value))
    return result


def _below(target: BinaryIO, source: BinaryIO, page: "tifffile.TiffPage") -> list[Tag]:
    """Write the directories of EXIF and GPS of a page, and return the tags that point to them."""
    tags = []
    for code in (EXIF, GPS):
        target.seek(0, 2)
        at = target.tell()
        target.write(bytes(at % 2))
        at += at % 2
        data = nested(source, page, code, at)
        if data is not None:
            target.write(data)
            size = page.parent.tiff.offsetsize
            pointer = struct.pack(page.parent.byteorder + ("Q" if size == 8 else "I"), at)
            tags.append(Tag(code, 16 if size == 8 else 4, pointer))
    return tags


def _resolution(page: "tifffile.TiffPage") -> dict[str, Any]:
    found = []
    for code in (282, 283):
        value = page.tags.valueof(code)
        if isinstance(value, tuple) and len(value) == 2 and value[1]:
            found.append(tuple(int(part) for part in value))
    if len(found) < 2:
        return {}
    unit = 2
    with suppress(TypeError, ValueError):
        unit = int(page.tags.valueof(296, 2))
    return {"resolution": tuple(found), "resolutionunit": unit if unit in (1, 2, 3, 4, 5) else 1}


def _shape(samples: np.ndarray) -> tuple[int, ...]:
    """Return the shape that tifffile's writer expects of a page."""
    apart, depth, height, width, together = samples.shape
    middle = (depth, height, width) if depth > 1 else (height, width)
    return (*((apart,) if apart > 1 else ()), *middle, *((together,) if together > 1 else ()))
