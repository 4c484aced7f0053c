"""The images that a fit or a comparison is given: folders, image files, arrays of patches.

    folder          every image and array in it, however deep; links to folders are not followed
    image           as it is, gray by ITU-R 601 luma unless colour is asked for; of a TIFF stack every page and channel
    .npy, .npz      one image (H, W) or (H, W, 3), or a stack of them, (n, H, W) or (n, H, W, C), C being 1 or 3;
                    what is a table of rows instead, see `table`

All of one fit have one unit. 8-bit images stay 8-bit; mixed depths become floats on a scale where white is 1.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from smdae.errors import InputError, UsageError
from smdae.files import stack
from smdae.files.formats import SUFFIXES
from smdae.files.images import opening, read
from smdae.files.picture import WHITES, Picture, likely_white, luma
from smdae.files.regular import opened

if TYPE_CHECKING:
    from smdae.files.cache import Cache
    from smdae.files.picture import Picture

__all__ = ["ARRAYS", "Corpus", "arrays", "files_below", "gather", "named", "refuse_unit"]

ARRAYS = (".npy", ".npz")
ALIKE = ({"uint8"}, {"float32"})  # depths of images that stay as they are
LOOKED_AT = 64  # images, evenly chosen, whose values tell the unit of all
PIECE = 1 << 24  # bytes of a stack that are read at once

T = TypeVar("T")
Watch = Callable[[int, int], None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Corpus:
    """What was gathered.

    Attributes:
        images: Arrays of one dtype, (H, W), or (H, W, 3) in colour.
        white: The value of white in them.
        skipped: One line for each file that could not be used.
        small: How many images were smaller than a patch.
        names: The names of the files, and how many images each has in turn.
        has_floats: Whether a file held floats; not told of images in a cache.
    """

    images: Sequence[np.ndarray]
    white: float
    skipped: tuple[str, ...]
    small: int
    names: tuple[tuple[str, int], ...] = ()
    has_floats: bool = False

    def weights(self, by_name: Mapping[str, float]) -> list[float] | None:
        """Return how often each image is drawn, 1 being as often as it has places; None if all of them are 1.

        Args:
            by_name: Patterns of file names, such as 'text_*'; of those that fit, the first counts.
        """
        if not by_name:
            return None

        def weight_of(name: str) -> float:
            return next((weight for pattern, weight in by_name.items() if fnmatchcase(name, pattern)), 1.0)

        return [weight for name, count in self.names for weight in [weight_of(name)] * count]


def refuse_unit(corpus: Corpus) -> None:
    """Raise UsageError where floats whose white nobody has told have values far beyond 1."""
    count = len(corpus.images)
    names = [name for name, images in corpus.names for _ in range(images)]
    for i in sorted({round(i) for i in np.linspace(0, count - 1, min(LOOKED_AT, count))}):
        image = corpus.images[i]
        largest = float(np.abs(image).max()) if image.dtype.kind == "f" else 0.0
        white = likely_white(largest)
        if white is not None:
            raise UsageError(
                f"the values of '{names[i]}' reach {largest:.4g}, but white is 1: did you mean --white {white:g}?",
                "--white 1 says that they are meant so",
            )


def gather(
    paths: Sequence[Path],
    size: int,
    *,
    color: bool = False,
    white: float = 1.0,
    watch: Watch = lambda done, of: None,
    cache: Path | None = None,
    note: Say = lambda text: None,
    warn: Say = lambda text: None,
) -> Corpus:
    """Read all images below the paths.

    Args:
        paths: Folders and files.
        size: The least side of an image that is of use.
        color: Keep colours, and turn gray images into gray colours.
        white: The value of white in float images; integers have their own.
        watch: Told how many files are done, and of how many.
        cache: A folder where images are kept, each file decoded once; they stay there, and what is wanted is read.
            None to have them in memory.
        note: Told what the user may want to know of the cache.
        warn: Told what is wrong with it.

    Raises:
        InputError: A path does not exist, or nothing usable is left.
        OutputError: The cache cannot be written.
    """
    for path in paths:
        if not os.path.exists(path):
            raise InputError(f"cannot read '{path}': there is no such file or folder")
    files = [(file, path.is_dir()) for path in paths for file in files_below(path)]
    if not files:
        raise InputError(
            f"no images found in {named(paths)}", "folders are searched for images and .npy or .npz arrays"
        )
    if cache is not None:
        from smdae.files.cache import Cache

        with Cache(cache, _decoded, note=note, warn=warn) as store:
            return _in_cache(store, paths, files, size, 3 if color else 1, white, watch)
    found, skipped = _each(
        files, lambda file: [(_channels(i, color), peak, file.name) for i, peak in _read(file, white)], watch
    )
    images = [one for some in found for one in some]
    small = _too_small([(min(image.shape[:2]), 1) for image, *_ in images], size, paths, skipped)
    large = [one for one in images if min(one[0].shape[:2]) >= size]
    names = tuple((name, 1) for *_, name in large)
    depths = {image.dtype.name for image, *_ in large}
    if depths in ALIKE:
        return Corpus([image for image, *_ in large], large[0][1], skipped, small, names, "float32" in depths)
    scaled = [image.astype(np.float32) / np.float32(peak) for image, peak, _ in large]
    return Corpus(scaled, 1.0, skipped, small, names, "float32" in depths)


def _in_cache(
    store: "Cache",
    paths: Sequence[Path],
    files: Sequence[tuple[Path, bool]],
    size: int,
    channels: int,
    white: float,
    watch: Watch,
) -> Corpus:
    """The same images, in a cache."""
    while True:
        generation = store.generation
        found, skipped = _each(files, lambda file: (file, store.runs(file, channels)), watch)
        sides = [(min(run.height, run.width), run.images) for _, runs in found for run in runs]
        small = _too_small(sides, size, paths, skipped)
        scaled = [runs for _, runs in found]
        depths = {run.depth for runs in scaled for run in runs if min(run.height, run.width) >= size}
        if depths not in ALIKE:
            done = {"uint16"} | ({"float32"} if white == 1 else set())  # white is 1 in these as they are kept
            scaled = [
                runs if {run.depth for run in runs} <= done else store.runs(file, channels, white)
                for file, runs in found
            ]
        if store.generation == generation:
            break
    large = [run for runs in scaled for run in runs if min(run.height, run.width) >= size]
    names = tuple(
        (file.name, run.images)
        for (file, _), runs in zip(found, scaled, strict=True)
        for run in runs
        if min(run.height, run.width) >= size
    )
    peak = 255.0 if depths == {"uint8"} else white if depths == {"float32"} else 1.0
    return Corpus(store.stored(large, channels), peak, skipped, small, names)


def _each(
    files: Sequence[tuple[Path, bool]], read: Callable[[Path], T], watch: Watch
) -> tuple[list[T], tuple[str, ...]]:
    """What is read of each file, and a line for each that cannot be read: one named alone is an error."""
    found, skipped = [], []
    for i, (file, from_folder) in enumerate(files):
        try:
            found.append(read(file))
        except InputError as error:
            if not from_folder and len(files) == 1:
                raise
            skipped.append(error.message)
        watch(i + 1, len(files))
    return found, tuple(skipped)


def _too_small(sides: list[tuple[int, int]], size: int, paths: Sequence[Path], skipped: Sequence[str]) -> int:
    """Return how many of the images, given the lesser side of each, and how many have it.

    Raises:
        InputError: All are, or there is none.
    """
    small = [(side, count) for side, count in sides if side < size]
    total = sum(count for _, count in small)
    if len(small) < len(sides):
        return total
    if small:
        raise InputError(
            f"all {total} images in {named(paths)} are smaller than the patch size {size}",
            f"give larger images, or --patch-size {max(2, *(side for side, _ in small))}",
        )
    raise InputError(f"no usable image in {named(paths)}: {skipped[0]}", f"{len(skipped)} files were skipped")


def named(paths: Sequence[Path]) -> str:
    names = ", ".join(f"'{path}'" for path in paths[:3])
    return names if len(paths) <= 3 else f"{names} and {len(paths) - 3} more"


def files_below(path: Path, more: Sequence[str] = ()) -> Iterator[Path]:
    """Yield the path itself, or the images and arrays below it, and files with more suffixes, in a fixed order."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            file = Path(folder) / name
            # A pipe or a device may never end; a link that leads nowhere is told of by reading it.
            is_stream = os.path.exists(file) and not os.path.isfile(file)
            if file.suffix.lower() in (*SUFFIXES, *ARRAYS, *more) and not name.startswith(".") and not is_stream:
                yield file


def _read(file: Path, white: float) -> Iterator[tuple[np.ndarray, float]]:
    """The images of a file, each with the value of white in it, which for floats is the one given."""
    if file.suffix.lower() not in ARRAYS:
        for picture in _pictures(file):
            if not picture.is_finite:
                raise InputError(f"cannot use '{file}': it has values that are not numbers (NaN or infinity)")
            if picture.stored is not None:
                yield _float32(picture.pixels, file) / np.float32(picture.white), 1.0
            elif picture.pixels.dtype.kind == "f":
                yield _float32(picture.pixels, file), white
            else:
                yield picture.pixels, picture.white
        return
    for array in arrays(file):
        if array.dtype.name not in WHITES:
            raise InputError(f"cannot use '{file}': its values are {array.dtype}, not uint8, uint16 or float")
        if array.ndim == 4 and array.shape[-1] == 1:
            array = array[..., 0]
        colour = array.ndim >= 3 and array.shape[-1] == 3
        if array.ndim - colour not in (2, 3) or 0 in array.shape:
            raise InputError(
                f"cannot use '{file}': its shape is {array.shape}",
                "arrays are (H, W), (n, H, W), or those with 3 colours",
            )
        shape = array.shape if array.ndim - colour == 3 else (1, *array.shape)
        for several in _pieces(array, shape, file):
            for image in several:
                yield (_float32(image, file), white) if image.dtype.kind == "f" else (image, WHITES[image.dtype.name])


def _pictures(file: Path) -> Iterator[Picture]:
    """Yield the picture of a file, or those of all pages and channels of a TIFF, a page at a time."""
    if stack.count(file) == 1:
        yield read(file, str(file))
        return
    with stack.opened(file, str(file)) as pages:
        for number in range(len(pages)):
            yield from (picture for _, picture in pages.chosen(number))
        if not pages.groups:  # of black and white alone, which is refused with the reason
            yield read(file, str(file))


def arrays(file: Path) -> Iterator[np.ndarray]:
    """The arrays in a file. That of a .npy is a map of it."""
    with opening(str(file)):
        opened(file).close()  # NumPy would wait for a pipe
    with _loading(file):
        data = np.load(file, mmap_mode="r", allow_pickle=False)
    if isinstance(data, np.ndarray):
        yield data
        return
    with data:
        for name in data.files:
            with _loading(file):
                array = data[name]
            yield array


def _pieces(array: np.ndarray, shape: tuple[int, ...], file: Path) -> Iterator[np.ndarray]:
    """An array as stacks of images, each in memory: what is touched of a map would stay there."""
    if not isinstance(array, np.memmap) or not array.flags.c_contiguous:
        yield np.asarray(array).reshape(shape)
        return
    numbers = math.prod(shape[1:])
    step = max(1, PIECE // (numbers * array.itemsize))
    for k in range(0, shape[0], step):
        count = min(step, shape[0] - k)
        with _loading(file):
            stack = np.fromfile(
                file, array.dtype, count * numbers, offset=array.offset + k * numbers * array.itemsize
            ).reshape(count, *shape[1:])
        yield stack


@contextmanager
def _loading(file: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise InputError(f"cannot read '{file}': it is not an array that can be loaded, or was cut off") from error


def _decoded(file: Path, channels: int, white: float | None) -> Iterator[tuple[np.ndarray, str]]:
    """Yield the images of a file as a cache keeps them, with the names of their depths; as floats if white is given."""
    for image, peak in _read(file, white or 1.0):
        pixels = _channels(image, channels == 3)
        depth = pixels.dtype.name
        if white is not None or depth == "uint16":
            pixels = pixels.astype(np.float32) / np.float32(peak)
        yield pixels, "float32" if white is not None else depth


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
