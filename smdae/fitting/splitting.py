"""Split images into those to fit on and those held out: whole images, or a strip of a single one, with texture.

The roughness of a window is the mean over neighbours in a row of |x_i - x_(i+1)|. It is 0 on a flat bar, where a smooth
model has almost no error, and an absurdly high PSNR. Of several windows the usual one is taken if it has at least half
the typical roughness, that is the median over windows that are not flat; else the one closest to typical.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from smdae.files.disk_store import Stored

MIN_STRIP = 24  # pixels, the least width of a strip that is held out of a single noisy image
MIN_ROUGHNESS = 0.5  # of a window, as a share of the typical one
MAX_MEASURED = 512  # pixels along a strip on which its roughness is measured


@dataclass(frozen=True)
class Part:
    """Images, the levels of their noise, white being 1, or None if they are clean, and their weights, None for 1."""

    images: Sequence[np.ndarray]
    levels: list[float] | None
    weights: list[float] | None = None


def chosen(images: Sequence[np.ndarray], indices: Sequence[int]) -> Sequence[np.ndarray]:
    """Return the images with the given indices, without reading those on disk."""
    return images.take(indices) if isinstance(images, Stored) else [images[i] for i in indices]


def evenly(images: Sequence[np.ndarray], most: int) -> list[int]:
    """Return the indices of up to `most` images, evenly spaced and in order, the first and the last among them.

    Of more images than one, `most` 1 takes the first alone.
    """
    return sorted({round(i) for i in np.linspace(0, len(images) - 1, min(most, len(images)))})


def split(
    images: Sequence[np.ndarray],
    size: int,
    share: float,
    seed: int,
    levels: Sequence[float] | None = None,
    weights: Sequence[float] | None = None,
) -> tuple[Part, Part]:
    """Return images to fit on and images held out; arrays are (H, W) or (H, W, C), their sides at least `size`.

    Whole images are held out, as patches of one image are alike; flat ones only if there are no others. Of a single
    image a strip is held out, at its end, or elsewhere if the end is flat. Whether images in a file are flat is not
    asked. The strip of a noisy image may be narrower than a patch, as Stein's estimate needs only pixels.

    At least one image is held out, and never all; nothing if there is a single image too small for a strip. `levels`
    are those of noisy images, and `weights` how often the images are drawn.
    """

    def part(indices: Sequence[int]) -> Part:
        rows = (None if row is None else [row[i] for i in indices] for row in (levels, weights))
        return Part(chosen(images, indices), *rows)

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
    repeated = (None if row is None else list(row) * len(fitted) for row in (whole.levels, whole.weights))
    return Part(fitted, *repeated), replace(whole, images=held_out)


def roughness(window: np.ndarray | Tensor) -> float:
    """Return the mean absolute difference of pixels side by side in a window; 0 for one pixel wide.

    The window is an array (H, W) or (H, W, C), or a tensor (C, H, W).
    """
    x = window.double() if isinstance(window, Tensor) else torch.from_numpy(np.asarray(window, np.float64))
    axis = 2 if isinstance(window, Tensor) else 1
    return x.diff(dim=axis).abs().mean().item() if x.shape[axis] > 1 else 0.0


def choose(roughnesses: Sequence[float], usual: int) -> int:
    """Return the index of the window to take, given the roughness of each: `usual`, unless that is much smoother."""
    rough = [value for value in roughnesses if value > 0]
    if not rough:
        return usual
    typical = float(np.median(rough))
    if roughnesses[usual] >= MIN_ROUGHNESS * typical:
        return usual
    return min(range(len(roughnesses)), key=lambda k: abs(roughnesses[k] - typical))


def _first_rough(images: Sequence[np.ndarray], order: Sequence[int], count: int) -> list[int]:
    """Return the first `count` images, in that order, that are not flat; flat ones too if there are too few.

    Images in a file are not checked, as there may be very many.
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

    For an image in a file, which can only be cut in two, it is at one of the ends.
    """
    length = _sides(images)[axis]
    begins = [0, length - width]
    if not isinstance(images, Stored):
        # Leave on either side nothing, or at least a patch.
        inner = range(width, length - 2 * width + 1, width)
        begins = [0, *(begin for begin in inner if size <= begin <= length - width - size), length - width]
    found = [roughness(_strip(images, axis, begin, width)) for begin in begins]
    return begins[choose(found, len(begins) - 1)]


def _strip(images: Sequence[np.ndarray], axis: int, begin: int, width: int) -> np.ndarray | Tensor:
    """Return a strip of a single image; for one in a file only the middle of the strip."""
    if not isinstance(images, Stored):
        return images[0].take(range(begin, begin + width), axis)
    across = _sides(images)[1 - axis]
    length = min(across, MAX_MEASURED)
    middle = (across - length) // 2
    if axis == 0:
        return images.window(0, begin, middle, width, length)
    return images.window(0, middle, begin, length, width)


def _sides(images: Sequence[np.ndarray]) -> tuple[int, int]:
    """Return height and width of the first image."""
    return (int(images.heights), int(images.widths)) if isinstance(images, Stored) else images[0].shape[:2]


def _parted(
    images: Sequence[np.ndarray], axis: int, begin: int, width: int, size: int
) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
    """Cut a strip out of a single image; return the remaining pieces that hold a patch, and the strip."""
    if isinstance(images, Stored):
        first, last = images.parted(axis, begin or width)
        return (first, last) if begin else (last, first)
    before, strip, after = np.split(images[0], [begin, begin + width], axis=axis)
    return [piece for piece in (before, after) if piece.shape[axis] >= size], [strip]
