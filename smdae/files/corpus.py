"""The images that a fit or a comparison is given: folders, image files, arrays of patches.

    folder          every image and array in it, however deep; links to folders are not followed
    image           as it is, gray by ITU-R 601 luma unless colour is asked for
    .npy, .npz      one image (H, W) or (H, W, 3), or a stack of them, (n, H, W) or (n, H, W, 3)

All of one fit have one unit. 8-bit images stay 8-bit; mixed depths become floats on a scale where white is 1.
"""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smdae.errors import InputError
from smdae.files.images import SUFFIXES, read
from smdae.files.picture import WHITES, luma

__all__ = ["Corpus", "gather"]

ARRAYS = (".npy", ".npz")


@dataclass(frozen=True)
class Corpus:
    """What was gathered.

    Attributes:
        images: Arrays of one dtype, (H, W), or (H, W, 3) in colour.
        white: The value of white in them.
        skipped: One line for each file that could not be used.
        small: How many images were smaller than a patch.
    """

    images: list[np.ndarray]
    white: float
    skipped: tuple[str, ...]
    small: int


def gather(
    paths: Sequence[Path],
    size: int,
    *,
    color: bool = False,
    white: float = 1.0,
    watch: Callable[[int, int], None] = lambda i, n: None,
) -> Corpus:
    """Read all images below the paths.

    Args:
        paths: Folders and files.
        size: The least side of an image that is of use.
        color: Keep colours, and turn gray images into gray colours.
        white: The value of white in float images; integers have their own.
        watch: Told how many files are done, and of how many.

    Raises:
        InputError: A path does not exist, or nothing usable is left.
    """
    for path in paths:
        if not os.path.exists(path):
            raise InputError(f"cannot read '{path}': there is no such file or folder")
    files = [(file, path.is_dir()) for path in paths for file in _files(path)]
    if not files:
        raise InputError(
            f"no images found in {_named(paths)}", "folders are searched for images and .npy or .npz arrays"
        )
    images: list[tuple[np.ndarray, float]] = []
    skipped: list[str] = []
    for i, (file, from_folder) in enumerate(files):
        try:
            images += [(_channels(image, color), peak) for image, peak in _read(file, white)]
        except InputError as error:
            if not from_folder and len(files) == 1:
                raise
            skipped.append(error.message)
        watch(i + 1, len(files))
    large = [(image, peak) for image, peak in images if min(image.shape[:2]) >= size]
    small = len(images) - len(large)
    if not large:
        if small:
            raise InputError(
                f"all {small} images in {_named(paths)} are smaller than the patch size {size}",
                f"give larger images, or --patch-size {max(2, max(min(i.shape[:2]) for i, _ in images))}",
            )
        raise InputError(f"no usable image in {_named(paths)}: {skipped[0]}", f"{len(skipped)} files were skipped")
    kinds = {image.dtype.name for image, _ in large}
    if kinds in ({"uint8"}, {"float32"}):
        return Corpus([image for image, _ in large], large[0][1], tuple(skipped), small)
    scaled = [image.astype(np.float32) / np.float32(peak) for image, peak in large]
    return Corpus(scaled, 1.0, tuple(skipped), small)


def _named(paths: Sequence[Path]) -> str:
    names = ", ".join(f"'{path}'" for path in paths[:3])
    return names if len(paths) <= 3 else f"{names} and {len(paths) - 3} more"


def _files(path: Path) -> Iterator[Path]:
    """The path itself, or the images and arrays below it, in a fixed order."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            if Path(name).suffix.lower() in (*SUFFIXES, *ARRAYS) and not name.startswith("."):
                yield Path(folder) / name


def _read(file: Path, white: float) -> Iterator[tuple[np.ndarray, float]]:
    """The images of a file, each with the value of white in it, which for floats is the one given."""
    if file.suffix.lower() not in ARRAYS:
        picture = read(file, str(file))
        if picture.pixels.dtype.kind == "f":
            yield _float32(picture.pixels, file), white
        else:
            yield picture.pixels, picture.white
        return
    for array in _arrays(file):
        if array.dtype.name not in WHITES:
            raise InputError(f"cannot use '{file}': its values are {array.dtype}, not uint8, uint16 or float")
        peak = WHITES[array.dtype.name]
        if array.dtype.kind == "f":
            array, peak = _float32(array, file), white
        colour = array.ndim >= 3 and array.shape[-1] == 3
        if array.ndim - colour not in (2, 3) or 0 in array.shape:
            raise InputError(
                f"cannot use '{file}': its shape is {array.shape}",
                "arrays are (H, W), (n, H, W), or those with 3 colours",
            )
        stack = array if array.ndim - colour == 3 else array[None]
        yield from ((image, peak) for image in stack)


def _arrays(file: Path) -> list[np.ndarray]:
    try:
        data = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
        return [data] if isinstance(data, np.ndarray) else [data[name] for name in data.files]
    except Exception as error:
        raise InputError(f"cannot read '{file}': it is not an array that can be loaded, or was cut off") from error


def _float32(array: np.ndarray, file: Path) -> np.ndarray:
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError(f"cannot use '{file}': it has values that are not numbers (NaN or infinity)")
    return array


def _channels(image: np.ndarray, color: bool) -> np.ndarray:
    """(H, W), or (H, W, 3) in colour."""
    if color:
        return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    return luma(image) if image.ndim == 3 else image
