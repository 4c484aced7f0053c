"""Pictures that hold no noise: text, screenshots, masks, drawings, dithers.

Noise leaves neighbours exactly alike only by chance. Of a block of whose pixels the part s is black or white, and whose
noise is of 1.3 gray levels or more, chance makes no more neighbours alike than

    s^2 + 0.22 (1 - s)^2

and that nine pixels of a patch of 3 x 3 have one value happens hardly ever, but where they are black or white. So where
the blocks that are not constant have clearly more of either, the picture was drawn. Constant blocks say nothing: bars
are pasted into noisy pictures too, and noise beyond black and white is cut off.

Noise of few values, as counts of few photons are, makes more neighbours alike. But it leaves them where they are by
chance: then as many are alike once the pixels of each block have been shuffled, and of what was drawn there are fewer.

A dither has two values, or a few that alternate: its neighbours differ more than noise would let them, with a
correlation well below zero.
"""

import numpy as np

from smdae.estimation.blocks import SIDE, Blocks

__all__ = ["why_drawn"]

ALIKE_BY_CHANCE = 0.22  # of neighbours
DRAWN_EXCESS = 0.07  # of neighbours that are alike, over chance
PATCHY = ((0.03, 0.6), (0.018, 0.9))  # likewise, where so many blocks hold a constant patch
DRAWN_INNER_SHARE = 0.5  # of the blocks that are not mostly black or white, that hold one
MAX_ASKED = 4_000  # blocks
MAX_SATURATED = 0.5  # the part of such a block's pixels that may be black or white
MIN_ASKED = 0.05  # of the blocks that are not constant: all are asked, if the inner ones are fewer
SHUFFLED = (-0.015, 0.03)  # of neighbours, that are more often alike than once shuffled, if they lie by chance
FEW_VALUES = 16  # of a dither
DITHER_CORRELATION = -0.1  # of neighbours, at most
SAMPLE = 1 << 18  # pixels in which values are counted


def why_drawn(planes: np.ndarray, blocks: Blocks, compressed: bool = False) -> str | None:
    """Return why a picture cannot hold noise, in a few words; None if it may.

    Args:
        planes: The picture, with shape (H, W, C).
        blocks: Of the picture.
        compressed: Whether it comes from a JPEG, which makes neighbours alike itself.
    """
    changing = blocks.valid[:, None] & ~blocks.constant  # (n, C)
    if not changing.any():
        return "it is constant"
    flat = planes.reshape(-1, planes.shape[2])
    some = flat[:: max(1, len(flat) // SAMPLE)]
    values = max(len(np.unique(some[:, c])) for c in range(some.shape[1]))
    if values <= 2:
        return "it has only two values"
    if values <= FEW_VALUES and _neighbours(blocks, changing) < DITHER_CORRELATION:
        return "it is dithered"
    if compressed:
        return None
    excess = _excess(blocks, changing)
    inner = changing & (blocks.saturated < MAX_SATURATED)
    of_all = float(blocks.partly_constant[changing].mean())
    of_inner = float(blocks.partly_constant[inner].mean()) if inner.sum() >= MIN_ASKED * changing.sum() else 0.0
    patchy = any(excess > least and of_all > share for least, share in PATCHY)
    looks_drawn = patchy or excess > DRAWN_EXCESS or of_inner > DRAWN_INNER_SHARE
    if looks_drawn and not _lie_by_chance(blocks, changing):
        return "its neighbouring pixels are exactly alike"
    return None


def _excess(blocks: Blocks, changing: np.ndarray) -> float:
    """Return how many more neighbours are exactly alike than chance makes so, as a part of all."""
    index, pixels, asked = _asked(blocks, changing)
    saturated = blocks.saturated[index]
    chance = saturated**2 + ALIKE_BY_CHANCE * (1 - saturated) ** 2
    return float((_alike(pixels) - chance)[asked].mean())


def _lie_by_chance(blocks: Blocks, changing: np.ndarray) -> bool:
    """Return whether neighbours are alike as often as they are when the pixels of each block are shuffled."""
    _, pixels, asked = _asked(blocks, changing)
    flat = pixels.reshape(*pixels.shape[:2], SIDE**2)
    shuffled = np.random.default_rng(0).permuted(flat, axis=2).reshape(pixels.shape)
    more = float((_alike(pixels) - _alike(shuffled))[asked].mean())
    return SHUFFLED[0] < more < SHUFFLED[1]


def _asked(blocks: Blocks, changing: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return some blocks that change in a channel, (m,), their pixels, (m, C, 8, 8), and in which channels, (m, C)."""
    index = np.flatnonzero(changing.any(1))
    index = index[:: max(1, len(index) // MAX_ASKED)]
    return index, blocks.pixels(index), changing[index]


def _alike(pixels: np.ndarray) -> np.ndarray:
    """Return the part of the neighbours that are exactly alike, (m, C), of blocks (m, C, 8, 8)."""
    beside = (pixels[..., 1:] == pixels[..., :-1]).mean((2, 3))
    below = (pixels[..., 1:, :] == pixels[..., :-1, :]).mean((2, 3))
    return (beside + below) / 2


def _neighbours(blocks: Blocks, changing: np.ndarray) -> float:
    """Return the mean correlation of pixels side by side in blocks that change."""
    _, pixels, asked = _asked(blocks, changing)
    pixels = pixels.reshape(-1, SIDE, SIDE)[asked.ravel()]
    centred = pixels - pixels.mean((1, 2), keepdims=True)
    beside = (centred[:, :, 1:] * centred[:, :, :-1]).mean() + (centred[:, 1:] * centred[:, :-1]).mean()
    return float(beside / 2 / np.square(centred).mean())
