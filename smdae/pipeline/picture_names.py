"""The names of files: which are pictures and of what kind, and which are results of others.

No file is opened. An ending of two parts, as .ome.tif or .fits.gz, is one.
"""

import re
from collections.abc import Sequence
from pathlib import Path

SUFFIX = "_denoised"  # of results beside their inputs
VOLUME = ".zarr"
# Endings of OME-TIFF and OME-Zarr, the first before the others.
OME, OF_OME = ".ome", (".tif", ".tiff", ".tf2", ".tf8", ".btf", VOLUME)


def parted_name(name: str) -> tuple[str, str]:
    """Return the stem and the ending of the name of a picture's file, without its folder.

    The ending is the last one, such as .png, and "" if there is none. Both parts of .ome.tif, .ome.zarr and .fits.gz
    belong to it.
    """
    from smdae.files import fits, packing

    path = Path(name)
    inner = Path(path.stem)
    if path.suffix.lower() == packing.ENDING and fits.is_named(name) and inner.suffix:
        return inner.stem, inner.suffix + path.suffix
    if inner.suffix.lower() == OME and path.suffix.lower() in OF_OME and inner.stem:
        return inner.stem, inner.suffix + path.suffix
    return path.stem, path.suffix


def is_picture(name: str | Path) -> bool:
    """Return whether a file is called as a picture that smdae reads is."""
    from smdae.files.formats import SUFFIXES

    return Path(name).suffix.lower() in SUFFIXES


def is_raw_name(name: str | Path) -> bool:
    """Return whether a file is called as camera raw files are."""
    from smdae.files.foreign import RAW

    return Path(name).suffix.lower() in RAW.endings


def is_more(name: str | Path) -> bool:
    """Return whether a file is called as one that `denoise` alone reads: camera raw, FITS, Y4M or OME-Zarr."""
    return special_format(name) is not None


def special_format(name: str | Path) -> str | None:
    """Return "camera raw", "FITS", "Y4M" or "OME-Zarr" if the ending of a name stands for that format, else None."""
    from smdae.files import fits, y4m

    if is_raw_name(name):
        return "camera raw"
    if fits.is_named(name):
        return "FITS"
    return {y4m.ENDING: "Y4M", VOLUME: "OME-Zarr"}.get(Path(name).suffix.lower())


def missing_reader(name: str) -> str | None:
    """Return how to install the reader of a file of that name; None if a reader is installed, or there is none."""
    from smdae.files import fits, ome_zarr, raw
    from smdae.files.formats import FORMATS, SUFFIXES, missing

    ending = Path(name).suffix.lower()
    if ending in SUFFIXES:
        absent = missing(FORMATS[SUFFIXES[ending]])
        return None if absent is None else absent[1]
    if is_raw_name(name):
        return None if raw.is_installed() else raw.INSTALL
    if ending == VOLUME:
        return None if ome_zarr.is_installed() else ome_zarr.INSTALL
    return None if not fits.is_named(name) or fits.is_installed() else fits.INSTALL


def results_among(names: Sequence[str], suffixes: Sequence[str]) -> set[str]:
    """Return which pictures are results of others in the same folder, or were written beside such results."""
    named = [name for name in names if is_picture(name) or is_more(name)]
    stems = {parted_name(name)[0] for name in named}
    ending = re.compile(f"(.+)(?:{'|'.join(map(re.escape, suffixes))})(?:_(?:sample|component|mode)[0-9]+)?")
    matches = {name: ending.fullmatch(parted_name(name)[0]) for name in named}
    return {name for name, match in matches.items() if match and match[1] in stems}
