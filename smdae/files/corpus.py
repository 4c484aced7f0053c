"""The images that a fit or a comparison is given: folders, image files, arrays of patches.

    folder          every image and array in it, however deep, and behind links, each once; not in hidden folders
    image           as it is, gray by ITU-R 601 luma unless colour is asked for; of a TIFF stack every page and channel,
                    of FITS every plane, of Y4M the luma of the first frames
    .npy, .npz      one image (H, W) or (H, W, 3), or a stack of them, (n, H, W) or (n, H, W, C), C being 1 or 3;
                    what is a table of rows instead, see `table`

All of one fit have one unit. 8-bit images stay 8-bit; mixed depths become floats on a scale where white is 1.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from smdae.errors import InputError, UsageError
from smdae.files.corpus_files import files_below, images_in
from smdae.files.kinds import counted, kind_of
from smdae.files.picture import likely_white, luma
from smdae.progress import Watch

if TYPE_CHECKING:
    from smdae.files.cache import Cache

ALIKE = ({"uint8"}, {"float32"})  # depths of images that stay as they are
MAX_EXAMINED = 64  # images, evenly chosen, by whose values the unit of all is checked

T = TypeVar("T")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Corpus:
    """The images of a fit or a comparison, and the files that they are from.

    Attributes:
        images: Arrays of one dtype, (H, W), or (H, W, 3) in colour; for a table a single one, (1, rows, columns).
        skipped: A line for each file that could not be used.
        unread: The number of these files of each kind.
        small: The number of images, by the kind of their files, that were smaller than a patch.
        left_out: The number of files of each kind in folders that were not read, as they are no images.
        names: The name of each file in turn, with its number of images.
        has_floats: Whether a file held floats; False for images in a cache, which does not tell.
        columns: The names of the columns of a table; () if it has none.
    """

    images: Sequence[np.ndarray]
    white: float
    skipped: tuple[str, ...] = ()
    unread: Counter[str] = field(default_factory=Counter)
    small: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    names: tuple[tuple[str, int], ...] = ()
    has_floats: bool = False
    columns: tuple[str, ...] = ()

    def weights(self, by_name: Mapping[str, float]) -> list[float] | None:
        """Return how often each image is drawn, 1 being as often as it has places; None if `by_name` is empty.

        Args:
            by_name: Patterns of file names, such as 'text_*'; the first that fits counts, and 1 where none does.
        """
        if not by_name:
            return None

        def weight_of(name: str) -> float:
            return next((weight for pattern, weight in by_name.items() if fnmatchcase(name, pattern)), 1.0)

        return [weight for name, count in self.names for weight in [weight_of(name)] * count]


class _Found(NamedTuple):
    """An image of a file, the value of white in it, whether it was of floats there, and what the file is called."""

    image: np.ndarray
    white: float
    is_float: bool
    name: str


def refuse_unit(corpus: Corpus) -> None:
    """Raise UsageError if images of floats whose white is not given have values far beyond 1; some are looked at."""
    count = len(corpus.images)
    names = [name for name, images in corpus.names for _ in range(images)]
    for i in sorted({round(i) for i in np.linspace(0, count - 1, min(MAX_EXAMINED, count))}):
        refuse_other_white(corpus.images[i], names[i])


def refuse_other_white(pixels: np.ndarray, name: str) -> None:
    """Raise UsageError if pixels are floats with values far beyond 1; the message calls them `name`."""
    if pixels.dtype.kind != "f":
        return
    largest = float(np.abs(pixels).max(initial=0, where=np.isfinite(pixels)))
    white = likely_white(largest)
    if white is not None:
        raise UsageError(
            f"the values of '{name}' reach {largest:.4g}, but white is 1: did you mean --white {white:g}?",
            "give --white 1 if white is really 1",
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
        watch: Called with the number of files done, and with their total.
        cache: A folder where images are kept, each file decoded once; they stay there, and what is wanted is read. None
            to have them in memory.
        note: Called with text on the cache that the user may want to read.
        warn: Called with text on what is wrong with the cache.

    Returns:
        The images that are large enough, and what was skipped: a file in a folder that cannot be used raises nothing.

    Raises:
        InputError: A path does not exist, or nothing usable is left.
        OutputError: The cache cannot be written.
        UsageError: This system has no locks, which a cache needs.
    """
    for path in paths:
        if not os.path.exists(path):
            raise InputError(f"cannot read '{path}': there is no such file or folder")
    left_out: Counter[str] = Counter()
    files = [(file, file != path) for path in paths for file in files_below(path, left_out=left_out)]
    if not files:
        others = f", {left_out.total():,} skipped: {counted(left_out)}" if left_out else ""
        raise InputError(
            f"no images found in {named(paths)}{others}", "folders are searched for images and .npy or .npz arrays"
        )
    if cache is not None:
        from smdae.files.cache import Cache

        with Cache(cache, _decoded, note=note, warn=warn) as store:
            corpus = _in_cache(store, paths, files, size, 3 if color else 1, white, watch)
            return replace(corpus, left_out=left_out)

    def read(file: Path) -> list[_Found]:
        each = images_in(file, white)
        return [_Found(_channels(image, color), peak, is_float, file.name) for image, peak, is_float in each]

    found, skipped, unread = _each(files, read, watch)
    images = [one for some in found for one in some]
    small = _too_small([(min(one.image.shape[:2]), 1, one.name) for one in images], size, paths, skipped)
    large = [one for one in images if min(one.image.shape[:2]) >= size]
    names = tuple((one.name, 1) for one in large)
    has_floats = any(one.is_float for one in large)
    depths = {one.image.dtype.name for one in large}
    is_alike = depths in ALIKE
    return Corpus(
        [one.image if is_alike else one.image.astype(np.float32) / np.float32(one.white) for one in large],
        large[0].white if is_alike else 1.0,
        skipped,
        unread,
        small,
        left_out,
        names,
        has_floats,
    )


def _in_cache(
    store: "Cache",
    paths: Sequence[Path],
    files: Sequence[tuple[Path, bool]],
    size: int,
    channels: int,
    white: float,
    watch: Watch,
) -> Corpus:
    """Return the same images, in a cache."""
    while True:
        generation = store.generation
        found, skipped, unread = _each(files, lambda file: (file, store.runs(file, channels)), watch)
        sides = [(min(run.height, run.width), run.images, file.name) for file, runs in found for run in runs]
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
    return Corpus(store.stored(large, channels), peak, skipped, unread, small, names=names)


def _each(
    files: Sequence[tuple[Path, bool]], read: Callable[[Path], T], watch: Watch
) -> tuple[list[T], tuple[str, ...], Counter[str]]:
    """Return the results of reading the files, a line for each that cannot be read, and the number of these by kind.

    Raises:
        InputError: The only file cannot be read.
    """
    found, skipped, unread = [], [], Counter[str]()
    for i, (file, from_folder) in enumerate(files):
        try:
            found.append(read(file))
        except InputError as error:
            if not from_folder and len(files) == 1:
                raise
            skipped.append(error.message)
            unread[kind_of(file.name)] += 1
        watch(i + 1, len(files))
    return found, tuple(skipped), unread


def _too_small(
    sides: list[tuple[int, int, str]], size: int, paths: Sequence[Path], skipped: Sequence[str]
) -> Counter[str]:
    """Return how many images of each kind have a side below `size`, given lesser side, number and file name of each.

    Raises:
        InputError: All are, or there is none.
    """
    small = [side for side, _, _ in sides if side < size]
    kinds: Counter[str] = Counter()
    for side, count, name in sides:
        if side < size:
            kinds[kind_of(name)] += count
    if len(small) < len(sides):
        return kinds
    if small:
        raise InputError(
            f"all {kinds.total()} images in {named(paths)} are smaller than the patch size {size}",
            f"give larger images, or --patch-size {max(2, *small)}",
        )
    if not skipped:  # as a video without a frame
        raise InputError(f"no usable image in {named(paths)}: there is none")
    raise InputError(f"no usable image in {named(paths)}: {skipped[0]}", f"{len(skipped)} files were skipped")


def named(paths: Sequence[Path]) -> str:
    """Return some paths as messages name them: the first three, and the number of others."""
    names = ", ".join(f"'{path}'" for path in paths[:3])
    return names if len(paths) <= 3 else f"{names} and {len(paths) - 3} more"


def _decoded(file: Path, channels: int, white: float | None) -> Iterator[tuple[np.ndarray, str]]:
    """Yield the images of a file as a cache keeps them, with the names of their depths; as floats if white is given."""
    for image, peak, _ in images_in(file, white or 1.0):
        pixels = _channels(image, channels == 3)
        depth = pixels.dtype.name
        if white is not None or depth == "uint16":
            pixels = pixels.astype(np.float32) / np.float32(peak)
        yield pixels, "float32" if white is not None else depth


def _channels(image: np.ndarray, color: bool) -> np.ndarray:
    """Return an image with shape (H, W), or (H, W, 3) in colour."""
    if color:
        return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    return luma(image) if image.ndim == 3 else image
