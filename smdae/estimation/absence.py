"""Pictures that hold no noise: text, screenshots, masks, drawings, dithers.

In noise of 1.3 gray levels or more, neighbouring pixels are equal only by chance. In a block of which the share s is
black or white, chance makes no more than

    s^2 + 0.22 (1 - s)^2

of the neighbours equal, and a patch of 3 x 3 pixels hardly ever has one value, unless it is black or white. So if the
blocks that are not constant have clearly more equal neighbours, or more constant patches, the picture was drawn.
Constant blocks prove nothing: bars are pasted into noisy pictures too, and noise beyond black and white is clipped.

Noise of few values, such as counts of few photons, has more equal neighbours. But as its values are placed by chance,
shuffling the pixels of each block leaves as many of them, while of a drawing it leaves fewer.

A dither has two values, or a few that alternate: the correlation of its neighbours is well below zero.
"""

import numpy as np

from smdae.estimation.blocks import SIDE, Blocks

EQUAL_BY_CHANCE = 0.22  # share of the neighbours that are equal in noise of 1.3 gray levels
# Share of equal neighbours over that by chance, above which a picture was drawn: alone, or if more than a share of the
# blocks hold a constant patch.
MAX_EXCESS, MAX_EXCESS_OF_PATCHY = 0.07, ((0.03, 0.6), (0.018, 0.9))
MAX_PATCHY_INNER = 0.5  # share of the inner blocks, those not mostly black or white, with a constant patch
MAX_SATURATED = 0.5  # share of an inner block's pixels that are black or white
MIN_INNER = 0.05  # share of the blocks that are not constant, if the inner blocks are to count
MAX_BLOCKS = 4_000  # in which neighbours are compared
# By how much more neighbours are equal than when shuffled, if their places are due to chance.
MIN_OVER_SHUFFLED, MAX_OVER_SHUFFLED = -0.015, 0.03
MAX_DITHER_VALUES = 16
MAX_DITHER_CORRELATION = -0.1  # of neighbours
MAX_SAMPLE = 1 << 18  # pixels in which values are counted


def why_drawn(planes: np.ndarray, blocks: Blocks, compressed: bool = False) -> str | None:
    """Return why a picture cannot hold noise, in a few words; None if it may.

    Args:
        planes: The picture, with shape (H, W, C).
        blocks: The blocks of the picture.
        compressed: Whether it comes from a JPEG, which makes neighbours equal by itself.
    """
    changing = blocks.valid[:, None] & ~blocks.constant  # (n, C)
    if not changing.any():
        return "it is constant"
    flat = planes.reshape(-1, planes.shape[2])
    some = flat[:: max(1, len(flat) // MAX_SAMPLE)]
    values = max(len(np.unique(some[:, c])) for c in range(some.shape[1]))
    if values <= 2:
        return "it has only two values"
    if values <= MAX_DITHER_VALUES and _correlation(blocks, changing) < MAX_DITHER_CORRELATION:
        return "it is dithered"
    if compressed:
        return None
    excess = _excess(blocks, changing)
    inner = changing & (blocks.saturated < MAX_SATURATED)
    of_all = float(blocks.partly_constant[changing].mean())
    of_inner = float(blocks.partly_constant[inner].mean()) if inner.sum() >= MIN_INNER * changing.sum() else 0.0
    is_patchy = any(excess > limit and of_all > share for limit, share in MAX_EXCESS_OF_PATCHY)
    looks_drawn = is_patchy or excess > MAX_EXCESS or of_inner > MAX_PATCHY_INNER
    if looks_drawn and not _are_placed_by_chance(blocks, changing):
        return "its neighbouring pixels are exactly alike"
    return None


def _excess(blocks: Blocks, changing: np.ndarray) -> float:
    """Return the share of neighbours that are equal, less that which chance makes equal."""
    index, pixels, changes = _sample(blocks, changing)
    saturated = blocks.saturated[index]
    chance = saturated**2 + EQUAL_BY_CHANCE * (1 - saturated) ** 2
    return float((_equal(pixels) - chance)[changes].mean())


def _are_placed_by_chance(blocks: Blocks, changing: np.ndarray) -> bool:
    """Return whether about as many neighbours are equal as after shuffling the pixels of each block."""
    _, pixels, changes = _sample(blocks, changing)
    flat = pixels.reshape(*pixels.shape[:2], SIDE**2)
    shuffled = np.random.default_rng(0).permuted(flat, axis=2).reshape(pixels.shape)
    more = float((_equal(pixels) - _equal(shuffled))[changes].mean())
    return MIN_OVER_SHUFFLED < more < MAX_OVER_SHUFFLED


def _sample(blocks: Blocks, changing: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return some blocks that are not constant, (m,), their pixels, (m, C, 8, 8), and in which channels, (m, C)."""
    index = np.flatnonzero(changing.any(1))
    index = index[:: max(1, len(index) // MAX_BLOCKS)]
    return index, blocks.pixels(index), changing[index]


def _equal(pixels: np.ndarray) -> np.ndarray:
    """Return the share of neighbours that are equal in each block, (m, C), for blocks with shape (m, C, 8, 8)."""
    beside = (pixels[..., 1:] == pixels[..., :-1]).mean((2, 3))
    below = (pixels[..., 1:, :] == pixels[..., :-1, :]).mean((2, 3))
    found: np.ndarray = (beside + below) / 2
    return found


def _correlation(blocks: Blocks, changing: np.ndarray) -> float:
    """Return the mean correlation of neighbours in blocks that are not constant."""
    _, pixels, changes = _sample(blocks, changing)
    pixels = pixels.reshape(-1, SIDE, SIDE)[changes.ravel()]
    centred = pixels - pixels.mean((1, 2), keepdims=True)
    beside = (centred[:, :, 1:] * centred[:, :, :-1]).mean() + (centred[:, 1:] * centred[:, :-1]).mean()
    return float(beside / 2 / np.square(centred).mean())
