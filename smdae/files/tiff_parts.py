"""The parts of a page that are denoised: its colours together, and each channel of data by itself.

    gray                    one part
    RGB, YCbCr              three samples, one part, unless the user calls them channels
    ExtraSamples 1, 2       alpha of the part before; without the tag, a last sample beside colours is taken for it
    ExtraSamples 0, CMYK    a part for each
    a look-up table         indices are data where the table is smooth, as ImageJ's are; else they are looked up

Unsigned gray that counts down from white is turned round, for the noise of light grows with the light.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from smdae.errors import InputError
from smdae.files.picture import Metadata, Picture, from_samples, samples_of
from smdae.files.tiff_pages import JPEGS, MINISWHITE, PALETTE, RGB, YCBCR, colours_of

if TYPE_CHECKING:
    import tifffile

PREMULTIPLIED, STRAIGHT = 1, 2
SMOOTH = 0.1  # of full intensity, by which neighbours in a table may differ
ROUGH = 0.05  # of the neighbours, that may differ by more in one that is smooth


@dataclass(frozen=True)
class Part:
    """Samples of a page that are denoised together.

    Attributes:
        depth: The plane of a page that is a volume.
        samples: Their numbers.
        alpha: The number of their alpha; None for none.
        channel: The number of the channel among those of the page, counted from 0.
        is_kept: Whether they are no picture, and stay as they are.
    """

    depth: int
    samples: tuple[int, ...]
    alpha: int | None = None
    channel: int = 0
    is_kept: bool = False


def parts_of(page: "tifffile.TiffPage", split: bool) -> list[Part]:
    """Return the samples of a page by groups that are denoised together, and those that are kept as they are.

    With `split` colours are channels.
    """
    count = page.samplesperpixel
    colours = colours_of(page)
    together = page.photometric in (RGB, YCBCR) and not split
    groups: list[tuple[int, ...]] = [tuple(range(colours))] if together else [(s,) for s in range(colours)]
    extra = list(range(colours, count))
    alpha = None
    kinds = tuple(page.extrasamples)
    if extra and len(groups) == 1:
        kind = kinds[0] if kinds else STRAIGHT if len(extra) == 1 else 0
        if kind in (PREMULTIPLIED, STRAIGHT):
            alpha = extra.pop(0)
    is_kept = page.dtype is not None and page.dtype.name == "bool"
    parts = []
    for depth in range(page.imagedepth):
        numbered = [*groups, *((s,) for s in extra)]
        for channel, samples in enumerate(numbered):
            again = kinds[samples[0] - colours] if samples[0] >= colours and len(kinds) > samples[0] - colours else 0
            parts.append(Part(depth, samples, alpha if channel == 0 else None, channel, is_kept or again in (1, 2)))
    return parts


def parted(samples: np.ndarray, part: Part, page: "tifffile.TiffPage", metadata: Metadata | None = None) -> Picture:
    """Return a part of the samples of a page, which have shape (samples apart, depth, H, W, samples together).

    Raises:
        InputError: The samples are of a type that smdae does not process.
    """
    planes = [_plane(samples, part.depth, s) for s in part.samples]
    if part.alpha is not None:
        planes.append(_plane(samples, part.depth, part.alpha))
    if is_turned(page, part):
        planes[0] = _turned(planes[0], page.bitspersample)
    whole = planes[0] if len(planes) == 1 else np.dstack(planes)
    picture = from_samples(
        whole.view(np.uint8) if whole.dtype == bool else whole,
        "TIFF",
        lossless=page.compression not in JPEGS,
        premultiplied=tuple(page.extrasamples[:1]) == (PREMULTIPLIED,) and part.alpha is not None,
        metadata=metadata or Metadata(),
    )
    bits = page.bitspersample
    # Of colours that are looked up, the bits are those of the index.
    is_narrow = 1 < bits < 8 * np.dtype(picture.depth).itemsize and not is_looked_up(page)
    return replace(picture, white=2.0**bits - 1) if is_narrow else picture


def joined(parts: Sequence[Part], pictures: Sequence[Picture], page: "tifffile.TiffPage") -> np.ndarray:
    """Return the samples of a page whose parts are these pictures, as `tiff_pages.samples_in` gives them.

    Raises:
        InputError: They have samples of different types.
    """
    names = {picture.depth for picture in pictures}
    if len(names) != 1:
        raise InputError("its channels have samples of different types")
    is_bits = all(part.is_kept for part in parts) and page.dtype is not None and page.dtype.name == "bool"
    shape = (1, *page.shaped[1:4], 3) if is_looked_up(page) else page.shaped
    result = np.empty(shape, "bool" if is_bits else names.pop())
    bits = page.bitspersample if page.dtype is not None and page.dtype.name == result.dtype.name else 0
    for part, picture in zip(parts, pictures, strict=True):
        whole = np.atleast_3d(samples_of(picture))
        numbers = [*part.samples, *([] if part.alpha is None else [part.alpha])]
        for k, number in enumerate(numbers):
            plane = whole[..., k]
            if is_turned(page, part) and k == 0:
                whole_bits = bits or 8 * plane.dtype.itemsize
                plane = _turned(plane, whole_bits) if plane.dtype.kind == "u" else picture.white - plane
            elif 1 < bits < 8 * plane.dtype.itemsize:
                plane = np.minimum(plane, 2**bits - 1)
            _plane(result, part.depth, number)[...] = plane.astype(bool) if is_bits else plane
    return result


def is_turned(page: "tifffile.TiffPage", part: Part) -> bool:
    """Return whether a part is stored with 0 for white, in unsigned samples of up to 16 bits."""
    unsigned = page.dtype is not None and page.dtype.kind == "u" and page.dtype.itemsize <= 2
    return page.photometric == MINISWHITE and unsigned and part.samples == (0,)


def _turned(plane: np.ndarray, bits: int) -> np.ndarray:
    found: np.ndarray = (2**bits - 1 - np.minimum(plane.astype(np.int64), 2**bits - 1)).astype(plane.dtype)
    return found


def _plane(samples: np.ndarray, depth: int, number: int) -> np.ndarray:
    """Return one sample of all pixels, a view of shape (H, W)."""
    return samples[number, depth, :, :, 0] if samples.shape[4] == 1 else samples[0, depth, :, :, number]


def is_looked_up(page: "tifffile.TiffPage") -> bool:
    """Return whether the samples of a page are indices into a table of unordered colours, as in a drawing."""
    if page.photometric != PALETTE:
        return False
    table = page.colormap
    if table is None or page.is_imagej or page.parent.is_imagej or page.parent.is_ome:
        return False
    differs = np.flatnonzero((table != table[:, -1:]).any(0))
    used = table[:, : differs[-1] + 2 if differs.size else 1]  # the last entries of a short table are all alike
    steps = np.abs(np.diff(used.astype(np.float64), axis=1)).max(0) / max(int(table.max()), 1)
    return bool(steps.size and np.mean(steps > SMOOTH) > ROUGH)


def looked_up(samples: np.ndarray, page: "tifffile.TiffPage") -> np.ndarray:
    """Return the colours that the samples of a page stand for, (1, depth, H, W, 3), of 8 bits if 8 hold them all.

    Raises:
        InputError: The table of colours is missing, or too short.
    """
    table = page.colormap
    if table is None:
        raise InputError("its table of colours is missing")
    if not (table % 257).any() or table.max() < 256:
        table = (table // 257 if table.max() > 255 else table).astype(np.uint8)
    elif not (table & 255).any():
        table = (table >> 8).astype(np.uint8)
    plane = samples[0, :, :, :, 0]
    if plane.size and int(plane.max()) >= table.shape[1]:
        raise InputError("its table of colours is too short")
    return np.moveaxis(table[:, plane], 0, -1)[None]
