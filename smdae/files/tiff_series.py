"""The series of a TIFF: which pages follow each other along which axes, according to OME-XML, ImageJ and others.

tifffile parses their descriptions, which need not be true.
"""

import math
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from smdae.errors import InputError
from smdae.files.tiff_axes import Axes, Selection, axes_named, of_series

if TYPE_CHECKING:
    import tifffile

MAX_NUMBER = 10**7  # of planes, that OME-XML can be believed
OME_COUNT = re.compile(r'\b(?:Size[A-Z]|PlaneCount|NumPlanes|IFD|First[A-Z]|SamplesPerPixel)="([0-9]+)"')
OME_RANGE = re.compile(r'\b(?:Start|End|Step)="([-+0-9.eE]{1,30})"')
FIRST_OF_SERIES = ("ome", "imagej", "shaped")


def by_series(
    file: "tifffile.TiffFile",
    reduced: list[bool],
    selection: Selection,
    numbers: dict[int, tuple[int, int]],
    behind: dict[int, int],
) -> tuple[list[Axes], set[int], list[str]]:
    """Return the axes of each series, the directories of smaller levels of pyramids, and remarks for the user.

    Args:
        file: The file.
        reduced: For each directory, whether it is a thumbnail.
        selection: What the user says.
        numbers: Filled with the series of each directory and its position in it.
        behind: Filled with the number of planes whose samples follow those of a directory.
    """
    axes: list[Axes] = []
    lower: set[int] = set()
    remarks: list[str] = []
    for series in _series(file):
        own = [page if page is not None and page.parent is file else None for page in series._pages]
        for level in series.levels[1:]:
            lower |= {p.index for p in level._pages if p is not None and p.parent is file and not p.is_subifd}
        first = next((page for page in own if page is not None), None)
        if first is None or first.is_subifd:
            continue
        key = series.keyframe
        size = math.prod(key.shape)
        count = max(1, math.prod(series.shape) // max(size, 1))
        if len(own) == 1 and count > 1:
            following = [k for k in range(first.index, len(reduced)) if not reduced[k]]
            if len(following) >= count:
                positions = dict(zip(following[:count], range(count), strict=True))
            else:
                positions = {first.index: 0}
                # Of planes that lie beyond the end of the file, one is enough to be refused.
                held = (file.filehandle.size - key.dataoffsets[0]) // max(key.nbytes, 1)
                behind[first.index] = max(1, min(count, held + 1))
        else:
            count = len(own)
            positions = {page.index: k for k, page in enumerate(own) if page is not None and not page.is_subifd}
        described = of_series(series.axes, series.shape, key.axes, key.shape, count)
        if selection.axes is not None:
            lead = len(series.shape) - len(key.shape)
            own_shape = series.shape[:lead] if described is not None else (count,)
            described = axes_named(selection.axes, key.axes, key.shape, tuple(dict.fromkeys((own_shape, (count,)))))
        elif described is None:
            described = Axes("I", (count,), text="I" + key.axes)
        for index, position in positions.items():
            numbers.setdefault(index, (len(axes), position))
        axes.append(described)
    if file.is_imagej and len(reduced) == 1 and not behind:
        # tifffile takes no note of planes that lie beyond the end of the file.
        page = file.pages.first
        images = int((file.imagej_metadata or {}).get("images", 1))
        if images > 1 and page.is_final:
            held = (file.filehandle.size - page.dataoffsets[0]) // max(page.nbytes, 1)
            behind[0] = max(1, min(images, held + 1))
    kind = next((kind for kind in FIRST_OF_SERIES if getattr(file, f"is_{kind}")), None)
    if kind and selection.axes is None and not any(series.kind in FIRST_OF_SERIES for series in _series(file)):
        remarks.append("what it says of its axes contradicts its pages: taken for one stack (--axes gives them)")
    _forget_series(file)
    return axes, lower, remarks


def _series(file: "tifffile.TiffFile") -> "list[tifffile.TiffPageSeries]":
    """Return tifffile's series; an empty list if it fails."""
    if file.is_ome and _is_vast(file.pages.first.description):
        file.is_ome = False
    try:
        return list(file.series)
    except MemoryError:
        raise
    except Exception:  # whatever it stumbles at, the pages may be fine
        return []


def _is_vast(text: str) -> bool:
    """Return whether OME-XML promises more planes, or divides an axis into more parts, than there can be."""
    if any(len(number) > 8 or int(number) > MAX_NUMBER for number in OME_COUNT.findall(text)):
        return True
    ends = [0.0]
    for value in OME_RANGE.findall(text):
        with suppress(ValueError):
            ends.append(abs(float(value)))
    least = min((end for end in ends if end), default=1.0)
    return not max(ends) <= MAX_NUMBER * least


def _forget_series(file: "tifffile.TiffFile") -> None:
    """Let go of an object for each page, which takes more memory than a few bytes."""
    file.__dict__.pop("series", None)
    file.pages.cache = True
    file.pages.cache = False
    file.pages.useframes = False


def alone(file: "tifffile.TiffFile", index: int, selection: Selection) -> Axes:
    """Return the axes of a page that belongs to no series: those that the user selects, else none.

    Raises:
        InputError: The file is truncated.
        UsageError: The axes that the user selects contradict the page.
    """
    if selection.axes is None:
        return Axes("", ())
    try:
        page = file.pages[index].aspage()
    except IndexError as error:
        raise InputError("the file is truncated") from error
    return axes_named(selection.axes, page.axes, page.shape, ((), (1,)))
