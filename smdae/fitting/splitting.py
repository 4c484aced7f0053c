"""Images to fit on and images held out: whole ones, or a strip of a single image, that have texture or noise."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from smdae.files.disk_store import Stored
from smdae.fitting.texture import choose, roughness

__all__ = ["Part", "chosen", "split"]

MIN_STRIP = 24  # pixels, the least strip that is held out of a single noisy image
MAX_MEASURED = 512  # pixels of a strip, along it, that its roughness is measured on


@dataclass(frozen=True)
class Part:
    """Images, the levels of their noise if they are noisy, and their weights if they have any."""

    images: Sequence[np.ndarray]
    levels: list[float] | None
    weights: list[float] | None = None


def chosen(images: Sequence[np.ndarray], some: Sequence[int]) -> Sequence[np.ndarray]:
    """Return some of the images; of those in a file none is read."""
    return images.take(some) if isinstance(images, Stored) else [images[i] for i in some]


def split(
    images: Sequence[np.ndarray],
    size: int,
    share: float,
    seed: int,
    levels: Sequence[float] | None = None,
    weights: Sequence[float] | None = None,
) -> tuple[Part, Part]:
    """Return images to fit on and images held out.

    Whole images are held out, as patches of one image are alike; of a single image, a strip: at its end, or elsewhere
    if the end is flat. That of a noisy one may be thinner than a patch: Stein's estimate wants pixels, and a small
    image has none to spare. Of several images none is held out that is flat, as long as there are others.

    Args:
        images: Arrays with shape (H, W) or (H, W, C), sides at least `size`.
        size: Side of a patch.
        share: The part to hold out, between 0 and 1; at least one image, never all, and nothing of a small single one.
        seed: Chooses the images.
        levels: Those of the images' noise, if they are noisy.
        weights: How often the images are drawn, if some are drawn more often than others.
    """

    def part(some: Sequence[int]) -> Part:
        rows = (None if row is None else [row[i] for i in some] for row in (levels, weights))
        return Part(chosen(images, some), *rows)

    if len(images) > 1:
        order = np.random.default_rng(seed).permutation(len(images)).tolist()
        count = min(max(1, round(share * len(images))), len(images) - 1)
        held = _first_rough(images, order, count)
        return part(sorted(set(order) - set(held))), part(sorted(held))
    whole = part([0])
    sides = _sides(images)
    axis = int(np.argmax(sides))
    least = size if levels is None else min(size, MIN_STRIP)
    width = max(least, round(share * sides[axis]))
    if sides[axis] - width < size:
        return whole, Part([], None if levels is None else [])
    fitted, held_out = _parted(whole.images, axis, _begin_of_strip(whole.images, axis, width, size), width, size)
    alike = (None if row is None else list(row) * len(fitted) for row in (whole.levels, whole.weights))
    return Part(fitted, *alike), replace(whole, images=held_out)


def _first_rough(images: Sequence[np.ndarray], order: Sequence[int], count: int) -> list[int]:
    """Return the first so many of the images, in that order, that are not flat; flat ones too if there are too few.

    Those in a file, of which there may be very many, are not looked at.
    """
    if isinstance(images, Stored):
        return list(order[:count])
    held: list[int] = []
    for i in order:
        if len(held) < count and roughness(images[i]) > 0:
            held.append(i)
        if len(held) == count:
            return held
    return [*held, *(i for i in order if i not in held)][:count]


def _begin_of_strip(images: Sequence[np.ndarray], axis: int, width: int, size: int) -> int:
    """Return where the strip of a single image begins that is held out: at its end, unless that is flat.

    Of an image in a file, which is parted in two, it is at one of the ends.
    """
    length = _sides(images)[axis]
    begins = [0, length - width]
    if not isinstance(images, Stored):
        # What is left on either side is worth having: nothing, or no less than a patch.
        inner = range(width, length - 2 * width + 1, width)
        begins = [0, *(begin for begin in inner if size <= begin <= length - width - size), length - width]
    found = [roughness(_strip(images, axis, begin, width)) for begin in begins]
    return begins[choose(found, len(begins) - 1)]


def _strip(images: Sequence[np.ndarray], axis: int, begin: int, width: int) -> np.ndarray | Tensor:
    """Return a strip of a single image; of one in a file no more than the middle of it."""
    if not isinstance(images, Stored):
        return images[0].take(range(begin, begin + width), axis)
    across = _sides(images)[1 - axis]
    some = min(across, MAX_MEASURED)
    middle = (across - some) // 2
    return images.window(0, begin, middle, width, some) if axis == 0 else images.window(0, middle, begin, some, width)


def _sides(images: Sequence[np.ndarray]) -> tuple[int, int]:
    """Return height and width of the first image."""
    return (int(images.heights), int(images.widths)) if isinstance(images, Stored) else images[0].shape[:2]


def _parted(
    images: Sequence[np.ndarray], axis: int, begin: int, width: int, size: int
) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
    """Return a single image without a strip, in as many pieces as there are that hold a patch, and the strip."""
    if isinstance(images, Stored):
        first, last = images.parted(axis, begin or width)
        return (first, last) if begin else (last, first)
    before, strip, after = np.split(images[0], [begin, begin + width], axis=axis)
    return [piece for piece in (before, after) if piece.shape[axis] >= size], [strip]
